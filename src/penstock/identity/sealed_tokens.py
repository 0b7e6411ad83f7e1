"""What a browser is given to bring back: sealed, for one purpose and for a time, so that nothing is kept here for whoever never comes back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from penstock.store.sealed_tokens import open_token, seal_token
from penstock.store.sealing import SealError

if TYPE_CHECKING:
    from penstock.application import App


def seal(app: App, content: Mapping[str, Any], purpose: str, *, until: int) -> str:
    """A token with this content, good until `until` (ms)."""
    return seal_token(app.sealer, {**content, "until": until}, purpose)


def unseal(app: App, token: str, purpose: str, *, most: int) -> dict[str, Any] | None:
    """The content of a token of at most so many characters; None for one that is of no use (any more)."""
    try:
        content = open_token(app.sealer, token, purpose, most=most)
    except SealError:
        return None
    return content if content["until"] > app.clock.now() else None
