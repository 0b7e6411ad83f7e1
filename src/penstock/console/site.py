"""Requests of the console: who looks, which page, which form, which live stream."""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import markupsafe
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from penstock import __version__
from penstock.console import cookies, words
from penstock.console.cookies import Visitor
from penstock.console.live import Concerns, Render, Streams
from penstock.wire.errors import AccessDenied, Refused, ServiceError

if TYPE_CHECKING:
    from penstock.room import App, Asgi

log = logging.getLogger("penstock.console")

_HERE = Path(__file__).parent
_FORM_BYTES = 64 << 10
_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cache-control": "no-store",
}
_THEMES = ("light", "dark")

Form = dict[str, str]
Page = Callable[["View"], Awaitable[Response]]


class View:
    """One request for a page by a signed-in user: the calls it makes and how it answers."""

    def __init__(self, site: Site, request: Request, visitor: Visitor, form: Form) -> None:
        self.site = site
        self.app = site.app
        self.request = request
        self.visitor = visitor
        self.form = form
        self.region = site.region_of(request)

    @property
    def path(self) -> dict[str, str]:
        """Parts of the path that the route names."""
        return self.request.path_params

    async def call(self, service: str, operation: str, **input: Any) -> dict[str, Any]:
        """Run an operation as the visitor. Raises its ServiceError, or AccessDenied."""
        return await self.app.invoke(self.visitor.session, service, operation, input, region=self.region)

    async def allowed(self, service: str, operation: str, **input: Any) -> dict[str, Any] | None:
        """As `call`, but None where the visitor may not: what may not be seen is not rendered."""
        try:
            return await self.call(service, operation, **input)
        except AccessDenied:
            return None

    def render(self, template: str, *, status: int = 200, **values: Any) -> Response:
        """A whole page."""
        return HTMLResponse(self.fragment(template, **values), status_code=status, headers=_HEADERS)

    def fragment(self, template: str, **values: Any) -> str:
        """Part of a page."""
        return self.site.templates.get_template(template).render(
            view=self, visitor=self.visitor, now=self.app.clock.now() / 1000, theme=self.site.theme_of(self.request), **values
        )

    def block(self, name: str, text: str) -> str:
        """A line of words as a block of its own."""
        return str(markupsafe.Markup('<p class="lede" id="{}">{}</p>').format(name, text))

    def stream(self, render: Render, concerns: Concerns) -> Response:
        """The live stream of a page; see `penstock.console.live`."""
        return self.site.streams.of(render, concerns)

    def back(self, path: str) -> Response:
        """After a form: to a page, so that a reload repeats nothing."""
        return RedirectResponse(f"/console/{path}", status_code=303, headers=_HEADERS)


class Site:
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
        )
        self.templates.globals.update(
            state=words.state,
            lasted=words.lasted,
            ago=words.ago,
            iso=words.iso,
            exact=words.exact,
            initials=words.initials,
            plural=words.plural,
            static=self._static_url,
            version=__version__,
        )
        self._digests: dict[str, str] = {}
        from penstock.console.pages import routes  # noqa: PLC0415 - pages need View, which is defined here

        self.asgi: Asgi = Starlette(
            routes=[
                Route("/console/static/{name}", self._static),
                Route("/console/login", self._login, methods=["GET", "POST"]),
                Route("/console/logout", self._logout, methods=["POST"]),
                *(
                    Route(f"/console/{path}", self._page(page), methods=[method])
                    for method, path, page in routes()
                ),
            ]
        )

    async def stop(self) -> None:
        """End the live streams: browsers come back to whoever answers then."""
        self.streams.stop()

    def region_of(self, request: Request) -> str:
        """The site that the visitor looks at."""
        chosen = request.cookies.get("penstock-region", "")
        settings = self.app.settings
        return chosen if chosen in settings.all_regions() else settings.region

    def theme_of(self, request: Request) -> str:
        """What data-theme says, so that the first paint is right; "" follows the system."""
        chosen = request.cookies.get("penstock-theme", "")
        return chosen if chosen in _THEMES else ""

    def _page(self, page: Page) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            visitor = await cookies.visitor(self.app, request.cookies.get(cookies.NAME, ""))
            if visitor is None:
                return RedirectResponse(f"/console/login?next={request.url.path}", status_code=303, headers=_HEADERS)
            form: Form = {}
            if request.method == "POST":
                form = await _form(request)
                if not cookies.same_token(visitor, form.pop("token", "")):
                    return PlainTextResponse("This form is too old. Go back, reload the page and try again.", 403)
            view = View(self, request, visitor, form)
            try:
                return await page(view)
            except AccessDenied as refused:
                return view.render("problem.html", status=403, title="You may not see this", words=refused.message)
            except ServiceError as error:
                status = 404 if "NotFound" in error.wire_code or "DoesNotExist" in error.wire_code else error.status
                return view.render("problem.html", status=status, title="That did not work", words=error.message)
            except Refused as refused:
                return view.render("problem.html", status=400, title="That did not work", words=refused.message)

        return answer

    async def _login(self, request: Request) -> Response:
        if request.method == "GET":
            return self._login_page(request)
        form = await _form(request)
        origin = request.headers.get("origin")
        if origin and origin.split("//", 1)[-1] != request.headers.get("host"):
            return PlainTextResponse("Sign in from this console's own page.", 403)
        account = form.get("account", "").strip() or self.app.settings.account
        try:
            signed_in = await self.app.identity.sign_in(
                account=account, user_name=form.get("user", "").strip(), password=form.get("password", "")
            )
        except AccessDenied as refused:
            return self._login_page(request, form, refused.message)
        response = RedirectResponse(_own_path(request.query_params.get("next", "")), status_code=303, headers=_HEADERS)
        response.set_cookie(
            cookies.NAME,
            cookies.issue(self.app, user_id=signed_in.session.principal_id, changed=signed_in.changed),
            path="/console/",
            httponly=True,
            secure=request.url.scheme == "https",
            samesite="strict",
        )
        return response

    def _login_page(self, request: Request, form: Form | None = None, error: str = "") -> Response:
        text = self.templates.get_template("login.html").render(
            theme=self.theme_of(request),
            account=(form or {}).get("account") or self.app.settings.account,
            user=(form or {}).get("user", ""),
            error=error,
            region=self.app.settings.region,
            host=request.headers.get("host", ""),
        )
        return HTMLResponse(text, status_code=403 if error else 200, headers=_HEADERS)

    async def _logout(self, _request: Request) -> Response:
        response = RedirectResponse("/console/login", status_code=303, headers=_HEADERS)
        response.delete_cookie(cookies.NAME, path="/console/")
        return response

    async def _static(self, request: Request) -> Response:
        path = _HERE / "static" / Path(request.path_params["name"]).name
        if not path.is_file():
            return PlainTextResponse("Not here.", 404)
        fresh = request.query_params.get("v") == self._digest(path.name)
        lasting = "public, max-age=31536000, immutable" if fresh else "no-cache"
        return FileResponse(path, headers={"cache-control": lasting, "x-content-type-options": "nosniff"})

    def _static_url(self, name: str) -> str:
        return f"/console/static/{name}?v={self._digest(name)}"

    def _digest(self, name: str) -> str:
        if name not in self._digests:
            self._digests[name] = hashlib.sha256((_HERE / "static" / name).read_bytes()).hexdigest()[:12]
        return self._digests[name]


async def _form(request: Request) -> Form:
    size = 0
    parts: list[bytes] = []
    async for part in request.stream():
        size += len(part)
        if size > _FORM_BYTES:
            return {}
        parts.append(part)
    from urllib.parse import parse_qsl  # noqa: PLC0415

    with contextlib.suppress(ValueError):
        return dict(parse_qsl(b"".join(parts).decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=100))
    return {}


def _own_path(path: str) -> str:
    """Where to go after signing in; never to another host."""
    return path if path.startswith("/console/") and "//" not in path and "\\" not in path else "/console/"
