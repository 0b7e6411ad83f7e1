"""The signed-in user's cookie: the sealed id of a session, HttpOnly, SameSite=Lax.

Over TLS it is a `__Host-` cookie, which a browser takes from this host alone and over TLS only: neither a neighbour below the same domain
nor somebody on the way of a plain request puts another in its place (RFC 6265bis, "The __Host- Prefix").
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response

from penstock.store.sealed_tokens import open_token, seal_token
from penstock.store.sealing import SealError
from penstock.webpages.view import Visitor
from penstock.wire.message import client_address
from penstock.wire.sign_in import SignedIn

if TYPE_CHECKING:
    from penstock.application import App

_NAME = "penstock-session"
ISSUER, PASSKEY = "penstock-sso", "penstock-passkey"
"""Of whoever is on the way to the issuer of single sign-on and back, or is asked for a passkey."""
_HELD_S = 600
_CONTEXT = "console/session"
_MAX_CHARACTERS = 2048


async def enter(app: App, request: Request, response: Response, signed_in: SignedIn) -> None:
    """Begin a session for a user who has just signed in, and let an answer set its cookie."""
    id_ = await app.identity.begin_session(
        signed_in, address=client_address(request.scope), agent=request.headers.get("user-agent", "")
    )
    _set(app, request, response, id_)


async def renew(app: App, request: Request, response: Response, visitor: Visitor) -> None:
    """Give a session another id, and let an answer set the cookie that holds it: an older one is worth nothing."""
    _set(app, request, response, await app.identity.renew_session(visitor.session_id))


def _set(app: App, request: Request, response: Response, id_: str) -> None:
    response.set_cookie(
        _name(app, request),
        seal_token(app.sealer, {"session": id_}, _CONTEXT),
        path=_path(app, request),
        httponly=True,
        secure=is_secure(app, request),
        # Lax, not Strict: a link in a chat to an approval must find its reader signed in. Forms carry a token.
        samesite="lax",
    )


def leave(app: App, request: Request, response: Response) -> None:
    """Let an answer take the cookie away."""
    response.delete_cookie(
        _name(app, request), path=_path(app, request), httponly=True, samesite="lax", secure=is_secure(app, request)
    )


async def visitor(app: App, request: Request, *, active: bool) -> Visitor | None:
    """Who a request comes from, unless its cookie is forged or the session has ended. `active`: a person asks for something."""
    value = request.cookies.get(_name(app, request), "")
    try:
        content = open_token(app.sealer, value, _CONTEXT, most=_MAX_CHARACTERS)
    except SealError:
        return None
    session_id = str(content.get("session"))
    signed_in = await app.identity.session_user(session_id, active=active)
    if signed_in is None:
        return None
    return Visitor(
        session=signed_in.session,
        user_name=signed_in.user_name,
        token=_form_token(session_id),
        session_id=session_id,
    )


def hold(app: App, request: Request, response: Response, name: str, value: str) -> None:
    """Let an answer set, or with "" take away, the cookie of somebody who is on the way in."""
    response.set_cookie(
        _name(app, request, name),
        value,
        max_age=_HELD_S if value else 0,
        path=_path(app, request),
        httponly=True,
        secure=is_secure(app, request),
        samesite="lax",  # the issuer sends its visitors back from its own pages
    )


def held(app: App, request: Request, name: str) -> str:
    """What that cookie holds."""
    return request.cookies.get(_name(app, request, name), "")


def is_secure(app: App, request: Request) -> bool:
    """Whether browsers come by TLS, of this server or of a proxy before it."""
    return request.url.scheme == "https" or app.public_url.startswith("https:")


def _name(app: App, request: Request, name: str = _NAME) -> str:
    return f"__Host-{name}" if is_secure(app, request) else name


def _path(app: App, request: Request) -> str:
    return "/" if is_secure(app, request) else "/console/"


def _form_token(session_id: str) -> str:
    return hmac.digest(session_id.encode(), b"console/forms", hashlib.sha256).hex()[:32]


def same_token(visitor: Visitor, sent: str) -> bool:
    """Whether a form came from one of our pages."""
    return hmac.compare_digest(visitor.token.encode(), sent.encode("utf-8", "replace"))
