"""What is given away to be brought back, as text: cookies, tokens and invitations, sealed for one purpose."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any

import orjson

from penstock.store.sealing import SealError

if TYPE_CHECKING:
    from penstock.store.sealing import Sealer


def seal_token(sealer: Sealer, content: Any, purpose: str) -> str:
    """A token with this content (JSON), in the alphabet of URLs."""
    return base64.urlsafe_b64encode(sealer.seal(orjson.dumps(content), purpose)).decode().rstrip("=")


def open_token(sealer: Sealer, token: str, purpose: str, *, most: int) -> Any:
    """The content of a token of at most so many characters. Raises SealError for one that was not sealed here for this purpose."""
    if not token or len(token) > most:
        raise SealError("it is empty or too long")
    try:
        sealed = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        return orjson.loads(sealer.open_given(sealed, purpose))
    except (ValueError, binascii.Error):
        raise SealError("it is no token") from None
