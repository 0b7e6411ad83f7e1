"""The signed-in user's cookie: sealed, bound to the password's date, HttpOnly, SameSite=Strict."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from penstock.store.sealing import SealError
from penstock.wire.call import Session

if TYPE_CHECKING:
    from penstock.room import App

NAME = "penstock-session"
_LASTS_MS = 12 * 3600_000
_CONTEXT = "console/session"
_MAX_BYTES = 2048


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who looks at the console."""

    session: Session
    user_name: str
    token: str  # what forms must send back (CSRF)

    @property
    def account(self) -> str:
        """The visitor's account."""
        return self.session.account


def issue(app: App, *, user_id: str, changed: int) -> str:
    """A cookie value for a user who has just signed in."""
    content = orjson.dumps({"user": user_id, "changed": changed, "until": app.clock.now() + _LASTS_MS})
    return base64.urlsafe_b64encode(app.sealer.seal(content, _CONTEXT)).decode().rstrip("=")


async def visitor(app: App, value: str) -> Visitor | None:
    """Who a cookie belongs to, unless it is old, forged, or the user or password is another by now."""
    if not value or len(value) > _MAX_BYTES:
        return None
    try:
        content = orjson.loads(app.sealer.open(base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)), _CONTEXT))
    except (SealError, ValueError, binascii.Error):
        return None
    if content["until"] <= app.clock.now():
        return None
    signed_in = await app.identity.still_signed_in(content["user"], content["changed"])
    if signed_in is None:
        return None
    return Visitor(session=signed_in.session, user_name=signed_in.user_name, token=_form_token(app, value))


def _form_token(app: App, value: str) -> str:
    return hmac.digest(app.sealer.derive("console/forms"), value.encode(), hashlib.sha256).hex()[:32]


def same_token(visitor: Visitor, sent: str) -> bool:
    """Whether a form came from one of our pages."""
    return hmac.compare_digest(visitor.token.encode(), sent.encode("utf-8", "replace"))
