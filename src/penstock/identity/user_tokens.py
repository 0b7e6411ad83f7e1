"""Sealed tokens that stand for a user on the way in: each is for one purpose and for a time, and void with the user's password."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

import orjson

from penstock.identity import signin
from penstock.store.sealing import SealError

if TYPE_CHECKING:
    from penstock.application import App

_MAX_TOKEN = 1024


def token_of(app: App, purpose: str, *, user_id: str, changed: int, until: int) -> str:
    """A token for a user whose password is of the date `changed`, good until `until` (ms both)."""
    content = orjson.dumps({"user": user_id, "changed": changed, "until": until})
    return base64.urlsafe_b64encode(app.sealer.seal(content, purpose)).decode().rstrip("=")


async def user_of(app: App, purpose: str, token: str) -> signin.SignedIn | None:
    """The user of a token, who is not signed in yet; None for a token that is of no use any more."""
    if not token or len(token) > _MAX_TOKEN:
        return None
    try:
        content = orjson.loads(app.sealer.open(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)), purpose))
    except (SealError, ValueError, binascii.Error):
        return None
    if content["until"] <= app.clock.now():
        return None
    return await signin.still_signed_in(app, content["user"], content["changed"])
