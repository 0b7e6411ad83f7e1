"""The operations of `logs`."""

from penstock.component import operations_of
from penstock.logs.errors import InvalidParameterException
from penstock.wire.pages import Pages

operation = operations_of("logs")

PAGES = Pages(lambda _token: InvalidParameterException("The specified nextToken is invalid."))
