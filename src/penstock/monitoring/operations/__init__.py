"""The operations of CloudWatch, by what they are about; what they share."""

from __future__ import annotations

from penstock.component import operations_of
from penstock.monitoring.errors import InvalidNextToken
from penstock.monitoring.records import Place
from penstock.wire.call import Call
from penstock.wire.pages import Pages

cloudwatch = operations_of("cloudwatch")
PAGES = Pages(lambda _token: InvalidNextToken(), member="NextToken")


def place(call: Call) -> Place:
    """Where the call's metrics lie."""
    return call.account, call.region
