"""The operations of `codebuild`."""

from __future__ import annotations

from penstock.builds.errors import InvalidInputException
from penstock.component import operations_of
from penstock.wire.pages import Pages

operation = operations_of("codebuild")

PAGES = Pages(lambda _token: InvalidInputException("Invalid nextToken"))
