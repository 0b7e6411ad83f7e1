"""The signed-in user's cookie: the sealed id of a session, HttpOnly, SameSite=Lax."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import TYPE_CHECKING

import orjson

from penstock.store.sealing import SealError
from penstock.webpages.view import Visitor
from penstock.wire.call import SignedIn

if TYPE_CHECKING:
    from penstock.application import App

NAME = "penstock-session"
_CONTEXT = "console/session"
_MAX_BYTES = 2048


async def issue(app: App, signed_in: SignedIn) -> str:
    """A cookie value for a user who has just signed in, and the session that it stands for."""
    content = orjson.dumps({"session": await app.identity.begin_session(signed_in)})
    return base64.urlsafe_b64encode(app.sealer.seal(content, _CONTEXT)).decode().rstrip("=")


async def visitor(app: App, value: str) -> Visitor | None:
    """Who a cookie belongs to, unless it is forged or its session has ended."""
    if not value or len(value) > _MAX_BYTES:
        return None
    try:
        content = orjson.loads(app.sealer.open(base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)), _CONTEXT))
    except (SealError, ValueError, binascii.Error):
        return None
    session_id = str(content.get("session"))
    signed_in = await app.identity.session_user(session_id)
    if signed_in is None:
        return None
    return Visitor(
        session=signed_in.session,
        user_name=signed_in.user_name,
        token=_form_token(session_id),
        session_id=session_id,
    )


def _form_token(session_id: str) -> str:
    return hmac.digest(session_id.encode(), b"console/forms", hashlib.sha256).hex()[:32]


def same_token(visitor: Visitor, sent: str) -> bool:
    """Whether a form came from one of our pages."""
    return hmac.compare_digest(visitor.token.encode(), sent.encode("utf-8", "replace"))
