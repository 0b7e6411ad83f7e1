"""The operations of `logs`."""

from penstock.component import operations_of
from penstock.logfiles.patterns import BadPattern, Pattern, compile_pattern
from penstock.logs.errors import InvalidParameterException
from penstock.wire.pages import Pages

operation = operations_of("logs")

PAGES = Pages(lambda _token: InvalidParameterException("The specified nextToken is invalid."))


def check_pattern(pattern: str) -> Pattern:
    """A filter pattern. Raises InvalidParameterException."""
    try:
        return compile_pattern(pattern)
    except BadPattern as bad:
        raise InvalidParameterException(str(bad)) from None
