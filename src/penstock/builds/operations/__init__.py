"""The operations of `codebuild`."""

from __future__ import annotations

from penstock.application import Call
from penstock.builds.errors import InvalidInputException
from penstock.component import operations_of
from penstock.wire.call import Input
from penstock.wire.pages import BadPageToken

operation = operations_of("codebuild")


def page_after(call: Call, input: Input) -> list[object] | None:
    """The keyset that a listing continues after. Raises InvalidInputException."""
    token = input.get("nextToken")
    if not token:
        return None
    try:
        return call.app.page_tokens.open(call, input, token)
    except BadPageToken:
        raise InvalidInputException("Invalid nextToken") from None
