"""Recorded calls as events: "AWS API Call via CloudTrail" at the default bus, with the record as their detail.

As on AWS they come where a trail of the account takes the call. A record becomes an event in the transaction that moves its line to the
database, if anybody wants it: once, whenever the process ends. Where nobody does, no row is written.
(AWS: EventBridge, "AWS service events delivered via AWS CloudTrail".)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa

from penstock.audit.attributes import read
from penstock.audit.packing import unpack
from penstock.audit.records import Block
from penstock.audit.trail_rules import overlaps, takes
from penstock.store.catalogue import EventType
from penstock.store.events import Event, emit
from penstock.store.fanout import Subscribers
from penstock.store.transaction import transaction_of
from penstock.trail import Unreadable, take_apart

# What EventBridge itself does for a rule is no event: a rule that asked for it would be its own cause.
_OUR_OWN = ("events.amazonaws.com", "delivery.logs.amazonaws.com")
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SAMPLE = {
    "eventVersion": "1.11",
    "userIdentity": {"type": "IAMUser", "principalId": "AIDAEXAMPLE", "arn": "arn:aws:iam::111111111111:user/ann"},
    "eventSource": "codepipeline.amazonaws.com",
    "eventName": "StartPipelineExecution",
    "awsRegion": "us-east-1",
    "sourceIPAddress": "192.0.2.1",
    "userAgent": "aws-cli/2",
    "readOnly": False,
    "eventType": "AwsApiCall",
    "managementEvent": True,
    "recipientAccountId": "111111111111",
    "eventCategory": "Management",
    "eventTime": "2026-11-30T20:00:00Z",
    "requestParameters": {"name": "shop"},
    "responseElements": {"pipelineExecutionId": "0b9ec8ae-8d1e-4f0c-9a31-6c1a3a1d2f11"},
    "requestID": "3f5b1e0c-6a0f-4d34-9d3b-6f3c4bb1a2d7",
    "eventID": "6a0f3f5b-1e0c-4d34-9d3b-a2d76f3c4bb1",
}

CALLED = EventType(
    name="audit.call.recorded",
    description="An API call that a trail of its account takes was recorded; the payload is the record.",
    aggregate="calls",
    source="aws.SERVICE",
    source_of=lambda event: "aws." + event.payload["eventSource"].partition(".")[0],
    detail_type="AWS API Call via CloudTrail",
    sample=_SAMPLE,
)


class Recorded(NamedTuple):
    """A record that may become an event."""

    at: int  # ms
    record: dict[str, Any]


def of_blocks(made: Sequence[Block], trails: Sequence[Any]) -> list[Recorded]:
    """The calls in blocks that trails take."""
    if not trails:
        return []
    taken = (block for block in made if any(overlaps(trail, block.first_at, block.last_at) for trail in trails))
    return [found for block in taken for found in of_lines(unpack(block.content), trails)]


def of_lines(lines: Sequence[bytes], trails: Sequence[Any]) -> list[Recorded]:
    """The calls in lines that trails take."""
    accounts = {trail.account.encode() for trail in trails}
    found: list[Recorded] = []
    for line in lines:
        if not any(account in line for account in accounts):
            continue
        try:
            taken = take_apart(line)
        except Unreadable:
            continue
        record = read(taken.record)
        if record is None or record.get("eventType") != "AwsApiCall" or _is_our_own(record):
            continue
        if not _ID.fullmatch(record["eventID"]):  # somebody has changed the line: `penstock audit verify` says so
            continue
        if any(takes(trail, record, taken.at) for trail in trails):
            found.append(Recorded(taken.at, orjson.loads(taken.record)))
    return found


def _is_our_own(record: dict[str, Any]) -> bool:
    return record.get("userIdentity", {}).get("invokedBy") in _OUR_OWN


def any_wanted(conn: sa.Connection, subscribers: Subscribers, found: Sequence[Recorded]) -> bool:
    """Whether anybody wants one of these calls."""
    return any(subscribers.of(conn, _event(one)) for one in found)


def emit_wanted(conn: sa.Connection, found: Sequence[Recorded]) -> None:
    """Let those calls be events that anybody wants, with this transaction."""
    for one in found:
        event = _event(one)
        if transaction_of(conn).subscribers.of(conn, event):
            emit(conn, event, now=one.at, id=one.record["eventID"])


def _event(one: Recorded) -> Event:
    record = one.record
    account, region = record["recipientAccountId"], record["awsRegion"]
    return Event(
        type=CALLED.name,
        account=account,
        region=region,
        aggregate=f"calls/{account}/{region}",
        payload=record,
        actor=str(record.get("userIdentity", {}).get("arn", "")),
        id=record["eventID"],
        at=one.at,
    )
