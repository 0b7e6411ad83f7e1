"""The operations of `codebuild`, and those of our own service that run what has no project."""

from __future__ import annotations

from penstock.builds.errors import InvalidInputException
from penstock.component import operations_of
from penstock.wire.pages import Pages

operation = operations_of("codebuild")
ours = operations_of("penstock")

PAGES = Pages(lambda _token: InvalidInputException("Invalid nextToken"))
