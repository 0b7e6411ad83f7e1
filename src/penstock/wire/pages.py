"""Page tokens: the keyset of the next page, sealed and bound to who asked what."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping
from typing import Any

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from penstock.wire.call import Call

_NONCE = 12
_MAX_TOKEN = 4096  # characters; keysets are names and numbers
_VERSION = b"\x01"
# Members that say which page, not what is listed.
_PAGE_MEMBERS = frozenset(
    {"nexttoken", "maxresults", "maxitems", "marker", "limit", "pagesize", "pagenumber", "maxkeys", "maxrecords"}
)


class BadPageToken(Exception):
    """The token is not one that was given out for this listing."""


class PageTokens:
    """Seals and opens page tokens under `key` (16, 24 or 32 bytes)."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def seal(self, call: Call[Any], filters: Mapping[str, Any], keyset: list[Any]) -> str:
        """A token for the page after `keyset` (JSON values). `filters` is the input; its page members do not bind."""
        nonce = os.urandom(_NONCE)
        sealed = self._cipher.encrypt(nonce, orjson.dumps(keyset), _bound(call, filters))
        return base64.urlsafe_b64encode(_VERSION + nonce + sealed).decode("ascii").rstrip("=")

    def open(self, call: Call[Any], filters: Mapping[str, Any], token: str) -> list[Any]:
        """The keyset of a token. Raises BadPageToken unless account, region, service, operation and filters are the same."""
        if len(token) > _MAX_TOKEN or not token.isascii():
            raise BadPageToken
        try:
            raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        except (binascii.Error, ValueError):
            raise BadPageToken from None
        if raw[:1] != _VERSION or len(raw) < 1 + _NONCE + 16:
            raise BadPageToken
        try:
            keyset = self._cipher.decrypt(raw[1 : 1 + _NONCE], raw[1 + _NONCE :], _bound(call, filters))
        except InvalidTag:
            raise BadPageToken from None
        return orjson.loads(keyset)


def _bound(call: Call[Any], filters: Mapping[str, Any]) -> bytes:
    binding = {name: value for name, value in filters.items() if name.lower() not in _PAGE_MEMBERS}
    where = [call.account, call.region, call.service, call.operation, binding]
    return orjson.dumps(where, default=repr, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)
