"""Pages of the service's lists: sealed keysets, 100 rows at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from penstock.application import Call
from penstock.deployments.errors import InvalidNextTokenException
from penstock.wire.call import Input
from penstock.wire.pages import BadPageToken

SIZE = 100


def opened(call: Call, filters: Input, token: str | None) -> list[Any] | None:
    """The keyset behind `nextToken`, or None for the first page. Raises InvalidNextTokenException."""
    if not token:
        return None
    try:
        return call.app.page_tokens.open(call, filters, token)
    except BadPageToken as error:
        raise InvalidNextTokenException from error


def next_token(call: Call, filters: Input, rows: Sequence[Any], keyset: Sequence[Any] | None) -> str | None:
    """The token after a page: None when `rows`, fetched with a limit of SIZE + 1, end with it."""
    if len(rows) <= SIZE or keyset is None:
        return None
    return call.app.page_tokens.seal(call, filters, list(keyset))


def filters_of(input: Input) -> Input:
    """What a token is bound to: the input without the token."""
    return {name: value for name, value in input.items() if name not in ("nextToken", "NextToken")}
