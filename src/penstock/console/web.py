"""The console's requests: visitor, page and form; and the static files."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import jinja2
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from penstock import __version__
from penstock.console import cookies, wording
from penstock.console.cookies import Visitor
from penstock.console.forms import read_form, same_origin
from penstock.console.live import Streams
from penstock.console.pages import routes
from penstock.console.plaintext import harmless
from penstock.console.signin import SignIn
from penstock.console.strict_transport import strict_transport
from penstock.console.view import HEADERS, REGION_COOKIE, Page, View
from penstock.wire.errors import AccessDenied, Refused, ServiceError

if TYPE_CHECKING:
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
        self.templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_HERE / "templates"),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=jinja2.StrictUndefined,
            # Whatever a template prints was written by somebody: characters that act are made visible everywhere.
            finalize=lambda value: harmless(value) if type(value) is str else value,
        )
        self.templates.filters["part"] = lambda value: quote(value, safe=":@")  # one part of a path
        self.templates.globals.update(
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
        self._digests: dict[str, str] = {}
        signin = SignIn(self)
        self.asgi: Asgi = strict_transport(
            Starlette(
                routes=[
                    Route("/console/static/{name}", self._static),
                    Route("/console/login", signin.page, methods=_METHODS),
                    Route("/console/welcome/{token}", signin.welcome, methods=_METHODS),
                    Route("/console/logout", signin.out, methods=["POST"]),
                    *(Route(f"/console/{path}", self._page(page), methods=[method]) for method, path, page in routes()),
                    Route("/console/{path:path}", self._page(_nowhere), methods=_METHODS),
                ]
            )
        )

    async def stop(self) -> None:
        """End the live streams: browsers come back to whoever answers then."""
        self.streams.stop()

    async def visitor_of(self, request: Request) -> Visitor | None:
        """The visitor who sends a request; None when not signed in."""
        return await cookies.visitor(self.app, request.cookies.get(cookies.NAME, ""))

    def region_of(self, request: Request) -> str:
        """The region that the visitor has chosen."""
        chosen = request.cookies.get(REGION_COOKIE, "")
        settings = self.app.settings
        return chosen if chosen in settings.all_regions() else settings.region

    def theme_of(self, request: Request) -> str:
        """What data-theme says, so that the first paint is right; "" follows the system."""
        chosen = request.cookies.get("penstock-theme", "")
        return chosen if chosen in _THEMES else ""

    def _page(self, page: Page) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            visitor = await self.visitor_of(request)
            if visitor is None:
                wanted = request.url.path if request.method == "GET" else "/console/"
                return RedirectResponse(f"/console/login?next={quote(wanted)}", status_code=303, headers=HEADERS)
            view = View(self, request, visitor, await read_form(request) if request.method == "POST" else {})
            if request.method == "POST" and not (
                same_origin(request) and cookies.same_token(visitor, view.form.pop("token", ""))
            ):
                return problem(
                    view, 403, "This form is too old", "Nothing was done. Go back, reload the page and try again."
                )
            try:
                await view.see_sections()
                return await page(view)
            except AccessDenied as refused:
                return problem(
                    view,
                    403,
                    "You have no permission to do this" if request.method == "POST" else "You have no access",
                    refused.message,
                )
            except ServiceError as error:
                missing = error.status == 404 or "NotFound" in error.wire_code or "DoesNotExist" in error.wire_code
                if missing:
                    return problem(view, 404, "Not found", error.message)
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


def problem(view: View, status: int, title: str, message: str) -> Response:
    """A page for what went wrong: our sentence above, the service's own message below."""
    found = _MISSING.search(message)
    return view.render("problem.html", status=status, title=title, message=message, missing=found[1] if found else "")


async def _nowhere(view: View) -> Response:
    return problem(
        view, 404, "Page not found", "The console has no page with this address. Check it, or begin with the pipelines."
    )
