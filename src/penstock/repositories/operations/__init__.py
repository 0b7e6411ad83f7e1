"""The operations of CodeCommit, and what Penstock adds to them."""

from penstock.component import operations_of
from penstock.repositories.errors import InvalidContinuationTokenException
from penstock.wire.pages import Pages

operation = operations_of("codecommit")
ours = operations_of("penstock")

PAGES = Pages(lambda _token: InvalidContinuationTokenException())
