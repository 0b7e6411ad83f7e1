"""The operations of S3, and what Penstock adds to them."""

from penstock.component import operations_of
from penstock.objects.errors import InvalidArgument
from penstock.wire.pages import Pages

s3 = operations_of("s3")
ours = operations_of("penstock")


def pages_by(*bound: str) -> Pages:
    """How a list with continuation tokens goes on: with the same members in `bound`."""
    return Pages(_refused, member="ContinuationToken", bound=bound)


def _refused(token: str) -> InvalidArgument:
    return InvalidArgument(
        "The continuation token provided is incorrect", ArgumentName="continuation-token", ArgumentValue=token
    )
