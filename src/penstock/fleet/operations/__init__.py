"""The operations of our own service that belong to the installation as a whole."""

from penstock.component import operations_of
from penstock.fleet.errors import InvalidNextTokenException
from penstock.wire.pages import Pages

operation = operations_of("penstock")

PAGES = Pages(lambda _token: InvalidNextTokenException())
