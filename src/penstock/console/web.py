"""The console's requests: visitor, page and form; and the static files."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from penstock import __version__
from penstock.console import cookies
from penstock.console.by_issuer import ByIssuer
from penstock.console.forms import read_form, same_origin
from penstock.console.signin import SignIn
from penstock.console.strict_transport import strict_transport
from penstock.webpages import wording
from penstock.webpages.detail import Detail
from penstock.webpages.listing import Listing
from penstock.webpages.live import Snapshot, Streams
from penstock.webpages.page import Answer, Page
from penstock.webpages.plaintext import harmless
from penstock.webpages.view import HEADERS, REGION_COOKIE, View, Visitor, part
from penstock.wire.errors import AccessDenied, Refused, ServiceError

if TYPE_CHECKING:
    import jinja2

    from penstock.application import App, Asgi

log = logging.getLogger("penstock.console")

_HERE = Path(__file__).parent
_STATIC = frozenset(path.name for path in (_HERE / "static").iterdir())
_THEMES = ("light", "dark")
_METHODS = ["GET", "POST"]
_MISSING = re.compile(r"not authorized to perform: ([a-z0-9-]+:[A-Za-z]+)")


class Console:
    """The console of one server process."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.streams = Streams(app)
        self._digests: dict[str, str] = {}

    def template(self, name: str) -> jinja2.Template:
        """One of the templates."""
        return self._templates.get_template(name)

    @cached_property
    def _templates(self) -> jinja2.Environment:
        """Those of the console, and as NAME/file.html those of the component NAME."""
        import jinja2  # noqa: PLC0415 - a fortieth of a start, and the first page's

        folders = {name: jinja2.FileSystemLoader(folder) for name, folder in self.app.templates.items()}
        environment = jinja2.Environment(
            loader=jinja2.ChoiceLoader([jinja2.FileSystemLoader(_HERE / "templates"), jinja2.PrefixLoader(folders)]),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=jinja2.StrictUndefined,
            # Whatever a template prints was written by somebody: characters that act are made visible everywhere.
            finalize=lambda value: harmless(value) if type(value) is str else value,
        )
        environment.filters["part"] = part
        environment.globals.update(
            state=wording.state,
            lasted=wording.lasted,
            ago=wording.ago,
            iso=wording.iso,
            exact=wording.exact,
            initials=wording.initials,
            plural=wording.plural,
            capital=wording.capital,
            static=self._static_url,
            version=__version__,
        )
        return environment

    async def asgi(self, scope: Any, receive: Any, send: Any) -> None:
        """The application below /console/."""
        await self._console(scope, receive, send)

    @cached_property
    def _console(self) -> Asgi:
        """Made for the first request: by then every component has declared its pages."""
        signin = SignIn(self)
        by_issuer = ByIssuer(self, signin)
        return strict_transport(
            Starlette(
                routes=[
                    Route("/console/static/{name}", self._static),
                    Route("/console/login", signin.page, methods=_METHODS),
                    Route("/console/login/factor", signin.factor, methods=["POST"]),
                    Route("/console/login/passkey", signin.ask_for_passkey),
                    Route("/console/login/passkey", signin.passkey, methods=["POST"]),
                    Route("/console/sso", by_issuer.begin),
                    Route("/console/sso/done", by_issuer.done),
                    Route("/console/sso/role", by_issuer.choose, methods=["POST"]),
                    Route("/console/welcome/{token}", signin.welcome, methods=_METHODS),
                    Route("/console/logout", signin.out, methods=["POST"]),
                    *(
                        route
                        for page in sorted(self.app.pages, key=lambda page: page.order)
                        for route in self._routes(page)
                    ),
                    Route("/console/{path:path}", self._answer(_nowhere), methods=_METHODS),
                ]
            )
        )

    def _routes(self, page: Page) -> Iterator[Route]:
        """A page's own address, that of its stream, and those of its forms."""

        async def show(view: View) -> Response:
            return _to_api(view, page, await page.load(view))

        async def live(view: View) -> Response:
            return view.stream(lambda: _list_now(view, page), view.of_account(page.events))

        own = f"/console/{page.path}"
        if page.live or page.events:
            yield Route(f"{own}/live", self._answer(page.live or live))
        yield Route(own, self._answer(show))
        for path, act in page.forms.items():
            yield Route(
                f"{own}/{path}".rstrip("/") if page.path else f"/console/{path}", self._answer(act), methods=["POST"]
            )

    async def stop(self) -> None:
        """End the live streams: browsers come back to whoever answers then."""
        self.streams.stop()

    async def visitor_of(self, request: Request) -> Visitor | None:
        """The visitor who sends a request; None when not signed in."""
        # A page that is only open, and asks for its live stream, is not used.
        return await cookies.visitor(self.app, request, active=not request.url.path.endswith("/live"))

    async def renew(self, request: Request, response: Response, visitor: Visitor) -> None:
        """Let an answer give a visitor's session another id."""
        await cookies.renew(self.app, request, response, visitor)

    def leave(self, request: Request, response: Response) -> None:
        """Let an answer take the cookie away."""
        cookies.leave(self.app, request, response)

    def region_of(self, request: Request) -> str:
        """The region that the address names, or that the visitor has chosen."""
        settings, named = self.app.settings, request.query_params.get("region", "")
        chosen = named if named in settings.all_regions() else request.cookies.get(REGION_COOKIE, "")
        return chosen if chosen in settings.all_regions() else settings.region

    def theme_of(self, request: Request) -> str:
        """What data-theme says, so that the first paint is right; "" follows the system."""
        chosen = request.cookies.get("penstock-theme", "")
        return chosen if chosen in _THEMES else ""

    def _answer(self, page: Answer) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            visitor = await self.visitor_of(request)
            if visitor is None:
                region = request.query_params.get("region", "")
                asked = f"{request.url.path}?region={quote(region)}" if region else request.url.path
                wanted = asked if request.method == "GET" else "/console/"
                return RedirectResponse(f"/console/login?next={quote(wanted)}", status_code=303, headers=HEADERS)
            form = await read_form(request) if request.method == "POST" else {}
            token = form.pop("token", "")
            view = View(self, request, visitor, form)
            if request.method == "POST" and not (same_origin(request) and cookies.same_token(visitor, token)):
                return problem(
                    view, 403, "This form is too old", "Nothing was done. Go back, reload the page and try again."
                )
            try:
                await view.see_sections()
                return _shown_from_now_on(view, await page(view))
            except AccessDenied as refused:
                return problem(
                    view,
                    403,
                    "You have no permission to do this" if request.method == "POST" else "You have no access",
                    refused.message,
                    authorization=refused.authorization,
                )
            except ServiceError as error:
                missing = error.status == 404 or "NotFound" in error.wire_code or "DoesNotExist" in error.wire_code
                if missing:
                    several = len(view.regions) > 1
                    here = (
                        f" This is the region {view.region}: choose another one above, if it is there."
                        if several
                        else ""
                    )
                    return problem(view, 404, "Not found", error.message + here)
                return problem(view, error.status, "The request was refused", error.message)
            except Refused as refused:
                return problem(view, 400, "The request was refused", refused.message)
            except Exception:
                log.exception("console.page_failed", extra={"path": request.url.path})
                return problem(
                    view,
                    500,
                    "The server failed",
                    "This page could not be made because of a defect in Penstock. The server's log has the details.",
                )

        return answer

    async def _static(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in _STATIC:  # what is not a file of ours is never looked for
            return PlainTextResponse("Not here.", 404)
        fresh = request.query_params.get("v") == self._digest(name)
        lasting = "public, max-age=31536000, immutable" if fresh else "no-cache"
        return FileResponse(
            _HERE / "static" / name, headers={"cache-control": lasting, "x-content-type-options": "nosniff"}
        )

    def _static_url(self, name: str) -> str:
        return f"/console/static/{name}?v={self._digest(name)}"

    def _digest(self, name: str) -> str:
        if name not in self._digests:
            self._digests[name] = hashlib.sha256((_HERE / "static" / name).read_bytes()).hexdigest()[:12]
        return self._digests[name]


def _to_api(view: View, page: Page, loaded: Listing | Detail | Mapping[str, Any] | Response) -> Response:
    if isinstance(loaded, Response):
        return loaded
    if isinstance(loaded, Listing):
        return view.render(page.template, page=page, listing=loaded)
    if isinstance(loaded, Detail):
        return view.render("detail.html", detail=loaded)
    return view.render(page.template, **loaded)


async def _list_now(view: View, page: Page) -> Snapshot:
    listing = await page.load(view)
    assert isinstance(listing, Listing), f"the page {page.path} names events, and is not a list"
    return Snapshot(
        {
            "list": view.fragment("_list.html", page=page, listing=listing),
            "lede": view.block("lede", listing.lede),
        }
    )


def _shown_from_now_on(view: View, response: Response) -> Response:
    """The answer; where the address names a region, what the page leads to, and its stream, are of that one too."""
    if view.request.method == "GET" and view.query.get("region") == view.region:
        view.keep_region(response)
    return response


def problem(view: View, status: int, title: str, message: str, *, authorization: str = "") -> Response:
    """A page for what went wrong: our sentence above, the service's own message below, and what is behind a denial, encoded."""
    found = _MISSING.search(message)
    missing = found[1] if found else ""
    return view.render(
        "problem.html", status=status, title=title, message=message, missing=missing, authorization=authorization
    )


async def _nowhere(view: View) -> Response:
    return problem(view, 404, "Page not found", "The console has no page with this address. Check it.")
