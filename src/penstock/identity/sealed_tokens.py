"""What a browser is given to bring back: sealed, for one purpose and for a time, so that nothing is kept here for whoever never comes back."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson

from penstock.store.sealing import SealError

if TYPE_CHECKING:
    from penstock.application import App


def seal(app: App, content: Mapping[str, Any], purpose: str, *, until: int) -> str:
    """A token with this content, good until `until` (ms)."""
    sealed = app.sealer.seal(orjson.dumps({**content, "until": until}), purpose)
    return base64.urlsafe_b64encode(sealed).decode().rstrip("=")


def unseal(app: App, token: str, purpose: str, *, most: int) -> dict[str, Any] | None:
    """The content of a token of at most so many characters; None for one that is of no use (any more)."""
    if not token or len(token) > most:
        return None
    try:
        content = orjson.loads(app.sealer.open(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)), purpose))
    except (SealError, ValueError, binascii.Error):
        return None
    return content if content["until"] > app.clock.now() else None
