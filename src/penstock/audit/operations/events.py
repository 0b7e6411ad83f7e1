"""LookupEvents."""

from __future__ import annotations

from typing import Any

from penstock.application import Call
from penstock.audit import lookup
from penstock.audit.attributes import NAMES, resources_of, user_name
from penstock.audit.errors import (
    InvalidEventCategoryException,
    InvalidLookupAttributesException,
    InvalidMaxResultsException,
    InvalidNextTokenException,
    InvalidTimeRangeException,
)
from penstock.audit.lookup import Found, Wanted
from penstock.audit.operations import operation
from penstock.audit.shipping import Shipping
from penstock.wire.call import Input, Output
from penstock.wire.pages import Pages

_MOST = 50
_DAYS_MS = 90 * 86_400_000
_PAGES = Pages(lambda _token: InvalidNextTokenException(), member="NextToken")


@operation("LookupEvents")
async def lookup_events(shipping: Shipping, call: Call, input: Input) -> Output:
    """Management events of the caller's account and region within 90 days, the newest first (AWS: CloudTrail, LookupEvents).

    What other processes have recorded is found within about a minute.
    """
    limit = input.get("MaxResults", _MOST)
    if not 1 <= limit <= _MOST:
        raise InvalidMaxResultsException
    if "EventCategory" in input:
        raise InvalidEventCategoryException
    name, value = _attribute(input)
    begin = max(input.get("StartTime", 0), call.now - _DAYS_MS)
    end = input.get("EndTime")
    if end is not None and input.get("StartTime", 0) > end:
        raise InvalidTimeRangeException
    after = _PAGES.after(call, input)
    wanted = Wanted(
        account=call.account,
        region=call.region,
        name=name,
        value=value,
        begin=begin,
        end=call.now if end is None else end + 999,  # times of events are shown in seconds
        before=None if after is None else (after[0], after[1]),
    )
    tail = await shipping.tail()  # before the blocks: what is moved meanwhile is found twice, not never
    found = await call.app.store.scan(lookup.newest, wanted, tail, limit + 1)
    page = _PAGES.page(call, input, found, limit=limit, keyset=lambda event: event.place)
    return {"Events": [_to_api(event) for event in page.rows], **page.more}


def _attribute(input: Input) -> tuple[str, str]:
    given = input.get("LookupAttributes") or []
    if not given:
        return "", ""
    if len(given) > 1:
        raise InvalidLookupAttributesException
    name, value = given[0]["AttributeKey"], given[0]["AttributeValue"]
    if name not in NAMES or not value or len(value) > 2000:
        raise InvalidLookupAttributesException
    return name, value


def _to_api(event: Found) -> dict[str, Any]:
    record = event.record
    output: dict[str, Any] = {
        "EventId": event.id,
        "EventName": record["eventName"],
        "ReadOnly": "true" if record["readOnly"] else "false",
        "EventTime": event.at,
        "EventSource": record["eventSource"],
        "Resources": [
            ({"ResourceType": type_} if type_ else {}) | {"ResourceName": name}
            for resource in record.get("resources", ())
            for type_, name in resources_of(resource["ARN"])
        ],
        "CloudTrailEvent": event.text.decode(),
    }
    if name := user_name(record):
        output["Username"] = name
    if key := (record.get("userIdentity") or {}).get("accessKeyId"):
        output["AccessKeyId"] = key
    return output
