"""Signing in by an OpenID Connect issuer: to its pages, back from them, and into a role."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response

from penstock.console import cookies
from penstock.console.forms import own_path, read_form, same_origin
from penstock.console.signin import BUSY
from penstock.webpages.addresses import is_at
from penstock.webpages.view import HEADERS
from penstock.wire.call import Origin
from penstock.wire.errors import AccessDenied, Throttled
from penstock.wire.message import client_address
from penstock.wire.sign_in import Offer, SingleSignOn

if TYPE_CHECKING:
    from penstock.console.signin import SignIn
    from penstock.console.web import Console

_MAX_PARAMETERS = 20


class ByIssuer:
    """The pages between the sign-in page and the console, where an issuer is chosen."""

    def __init__(self, web_console: Console, signin: SignIn) -> None:
        self._console, self._signin = web_console, signin

    async def begin(self, request: Request) -> Response:
        """To the issuer."""
        sso = self._sso
        if sso is None:
            return self._not_here()
        app, target = self._console.app, own_path(request.query_params.get("next", ""))
        if not is_at(request.headers.get("host", ""), app.public_url):
            # The issuer sends visitors back to the public address, and only the browser's cookie of that address comes with them.
            there = f"{app.public_url}/console/sso?next={quote(target)}"
            return RedirectResponse(there, status_code=303, headers=HEADERS)
        try:
            address, held = await sso.begin(target)
        except AccessDenied as refused:
            return self._signin.form(request, {}, error=refused.message, field="sso", status=503)
        except Throttled:
            return self._signin.form(request, {}, error=BUSY, field="sso", status=503)
        response = RedirectResponse(address, status_code=303, headers=HEADERS)
        cookies.hold(app, request, response, cookies.ISSUER, held)
        return response

    async def done(self, request: Request) -> Response:
        """Back from the issuer: into the role that lets the visitor in, or to the choice between several."""
        sso = self._sso
        if sso is None:
            return self._not_here()
        query = dict(request.query_params.multi_items()[:_MAX_PARAMETERS])
        try:
            offer = await sso.finish(cookies.held(self._console.app, request, cookies.ISSUER), query, _origin(request))
        except AccessDenied as refused:
            return self._refused(request, refused.message)
        except Throttled:
            return self._refused(request, BUSY)
        if len(offer.roles) > 1:
            return self._choice(request, offer)
        return await self._enter(request, sso, offer.token, offer.roles[0], offer.target)

    async def choose(self, request: Request) -> Response:
        """Into the role that was chosen."""
        sso = self._sso
        if sso is None:
            return self._not_here()
        if not same_origin(request):
            return PlainTextResponse("Sign in from this console's own page.", 403, headers=HEADERS)
        form = await read_form(request)
        return await self._enter(
            request, sso, form.get("offer", ""), form.get("role", ""), own_path(form.get("target", ""))
        )

    @property
    def _sso(self) -> SingleSignOn | None:
        return self._console.app.identity.single_sign_on

    def _not_here(self) -> Response:
        return PlainTextResponse("This installation has no single sign-on.", 404, headers=HEADERS)

    async def _enter(self, request: Request, sso: SingleSignOn, token: str, role: str, target: str) -> Response:
        app = self._console.app
        try:
            signed_in = await sso.enter(cookies.held(app, request, cookies.ISSUER), token, role, _origin(request))
        except AccessDenied as refused:
            return self._refused(request, refused.message)
        except Throttled:
            return self._refused(request, BUSY)
        response = await self._signin.enter(request, signed_in, target)
        cookies.hold(app, request, response, cookies.ISSUER, "")
        return response

    def _refused(self, request: Request, why: str) -> Response:
        response = self._signin.form(request, {}, error=why, field="sso")
        cookies.hold(self._console.app, request, response, cookies.ISSUER, "")
        return response

    def _choice(self, request: Request, offer: Offer) -> Response:
        named = [(role, role.rpartition("/")[2], role.split(":")[4]) for role in offer.roles]
        text = self._console.template("roles.html").render(
            theme=self._console.theme_of(request),
            user=offer.name,
            roles=named,
            offer=offer.token,
            target=offer.target,
            region=self._console.app.settings.region,
            host=request.headers.get("host", ""),
        )
        return HTMLResponse(text, headers=HEADERS)


def _origin(request: Request) -> Origin:
    return Origin(
        via="console",
        source_ip=client_address(request.scope),
        secure=request.url.scheme == "https",
        user_agent=request.headers.get("user-agent", ""),
    )
