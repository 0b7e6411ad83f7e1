"""Sealed tokens that stand for a user on the way in: each is for one purpose and for a time, and void with the user's password."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.identity import signin
from penstock.identity.sealed_tokens import seal, unseal

if TYPE_CHECKING:
    from penstock.application import App

_MAX_TOKEN = 1024


def token_of(app: App, purpose: str, *, user_id: str, changed: int, until: int) -> str:
    """A token for a user whose password is of the date `changed`, good until `until` (ms both)."""
    return seal(app, {"user": user_id, "changed": changed}, purpose, until=until)


async def user_of(app: App, purpose: str, token: str) -> signin.SignedIn | None:
    """The user of a token, who is not signed in yet; None for a token that is of no use any more."""
    content = unseal(app, token, purpose, most=_MAX_TOKEN)
    return None if content is None else await signin.still_signed_in(app, content["user"], content["changed"])
