"""Pages of lists: each ends with a token, the keyset of its last row, sealed and bound to who asked what."""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from penstock.wire.call import Call, Input, Output

R = TypeVar("R")

Keyset = Sequence[Any]
"""Values (JSON) of a row that place it in the order of its list: the next page has the rows behind them."""

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
    """Seals page tokens under the first of `keys` (16, 24 or 32 bytes), and opens those of any."""

    def __init__(self, keys: Callable[[], Sequence[bytes]]) -> None:
        self._keys = keys

    def seal(self, call: Call[Any], filters: Mapping[str, Any], keyset: list[Any]) -> str:
        """A token for the page after `keyset` (JSON values). `filters` is the input; its page members do not bind."""
        nonce = os.urandom(_NONCE)
        sealed = AESGCM(self._keys()[0]).encrypt(nonce, orjson.dumps(keyset), _bound(call, filters))
        return base64.urlsafe_b64encode(_VERSION + nonce + sealed).decode("ascii").rstrip("=")

    def open(self, call: Call[Any], filters: Mapping[str, Any], token: str) -> list[Any]:
        """The keyset of a token. Raises BadPageToken unless account, region, service, operation and filters are the same."""
        if len(token) > _MAX_TOKEN or not token.isascii():
            raise BadPageToken
        try:
            raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        except (binascii.Error, ValueError):
            raise BadPageToken from None
        if raw[:1] != _VERSION:
            raise BadPageToken
        bound = _bound(call, filters)
        for key in self._keys():
            with contextlib.suppress(InvalidTag, ValueError):  # a nonce that was cut off is no nonce
                return orjson.loads(AESGCM(key).decrypt(raw[1 : 1 + _NONCE], raw[1 + _NONCE :], bound))
        raise BadPageToken


def _bound(call: Call[Any], filters: Mapping[str, Any]) -> bytes:
    binding = {name: value for name, value in filters.items() if name.lower() not in _PAGE_MEMBERS}
    where = [call.account, call.region, call.service, call.operation, binding]
    return orjson.dumps(where, default=repr, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)


@dataclass(frozen=True, slots=True)
class Page(Generic[R]):
    """Rows of a list, and the member with the token of the page behind them; no member when they end the list."""

    rows: list[R]
    more: Output


class Pages:
    """How the lists of one service continue.

    `refused` makes the service's error for a token that was not given out for the same list. `member` of the input carries
    the token; an empty one asks for the first page. A token is bound to the input but for its page members, or to the members
    in `bound` where a client may change others on its way.
    """

    def __init__(
        self, refused: Callable[[str], Exception], *, member: str = "nextToken", bound: Sequence[str] | None = None
    ) -> None:
        self._refused = refused
        self._member = member
        self._bound = bound

    def after(self, call: Call[Any], input: Input) -> list[Any] | None:
        """The keyset behind which the page asked for begins; None for the first page. Raises the service's error."""
        token = input.get(self._member)
        if not token:
            return None
        try:
            return call.app.page_tokens.open(call, self._filters(input), token)
        except BadPageToken:
            raise self._refused(token) from None

    def token(self, call: Call[Any], input: Input, keyset: Keyset) -> str:
        """The token of the page behind a keyset."""
        return call.app.page_tokens.seal(call, self._filters(input), list(keyset))

    def page(
        self, call: Call[Any], input: Input, rows: Sequence[R], *, limit: int, keyset: Callable[[R], Keyset]
    ) -> Page[R]:
        """The page of `limit` rows out of `rows`, which were read with a limit of one more."""
        found = list(rows[:limit])
        more = len(rows) > limit > 0
        return Page(found, {self._member: self.token(call, input, keyset(found[-1]))} if more else {})

    def _filters(self, input: Input) -> Mapping[str, Any]:
        return input if self._bound is None else {name: input.get(name) or "" for name in self._bound}
