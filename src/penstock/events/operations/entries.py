"""PutEvents."""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson

from penstock.application import Call
from penstock.events.arriving import Arrived, wanted_by, write
from penstock.events.envelopes import envelope, has_a_date
from penstock.events.errors import ValidationException
from penstock.events.interest import RuleBook
from penstock.events.matching import MAX_DEPTH, is_deeper
from penstock.events.operations import bus_arn, events, place
from penstock.events.records import DEFAULT, Place
from penstock.store.failpoints import failpoint
from penstock.wire.arns import parse_arn
from penstock.wire.call import Input, Output
from penstock.wire.registry import Recorded

_LARGEST = 1 << 20  # bytes of all entries (AWS: PutEvents)
_TIME = 14  # bytes that a time counts


def _resources(call: Call, input: Input) -> list[str]:
    """The buses of the entries."""
    return list({_bus(call, entry).text: None for entry in input["Entries"]})


class _Bus(NamedTuple):
    place: Place
    name: str
    text: str  # its ARN


def _bus(call: Call, entry: Input) -> _Bus:
    """The bus of an entry. One of another account is named by its ARN, and its policy is asked for."""
    given = entry.get("EventBusName") or DEFAULT
    if not given.startswith("arn:"):
        return _Bus(place(call), given, bus_arn(call, given))
    arn = parse_arn(given, "events")
    name = "" if arn is None else arn.resource.removeprefix("event-bus/")
    if arn is None or (arn.partition, arn.region) != (call.partition, call.region) or name in ("", arn.resource):
        raise ValidationException(
            f"Parameter EventBusName is not valid: {given} is not the ARN of an event bus of this region."
        )
    return _Bus((arn.account, arn.region), name, given)


@events("PutEvents", resource=_resources, recorded=Recorded.DATA)
async def put_events(book: RuleBook, call: Call, input: Input) -> Output:
    """Let up to ten events arrive; what is answered with an id goes to every target that wants it."""
    if "EndpointId" in input:
        raise ValidationException("Global endpoints are not served. Leave out EndpointId.")
    if sum(map(_size, input["Entries"])) >= _LARGEST:
        raise ValidationException("Total size of the entries in the request is over the limit.")
    answers: list[Output] = []
    arrived: list[Arrived] = []
    for entry in input["Entries"]:
        refused = _refusal(entry)
        if refused is not None:
            answers.append(refused)
            continue
        event = _event(call, entry)
        answers.append({"EventId": event["id"]})
        bus = _bus(call, entry)
        arrived.append(Arrived(bus.place, bus.name, entry["Source"], event))
    await _accept(book, call, arrived)
    failed = sum("ErrorCode" in answer for answer in answers)
    return {"FailedEntryCount": failed, "Entries": answers}


async def _accept(book: RuleBook, call: Call, arrived: list[Arrived]) -> None:
    # A bus that does not exist has no rules: AWS answers with an id, and the event goes nowhere (recorded).
    wanted = [await wanted_by(book, one) for one in arrived]
    if not any(one.by_any for one in wanted):
        return
    await call.app.store.write(write, wanted)
    failpoint("events.accepted")


def _size(entry: Input) -> int:
    texts = [entry.get("Source", ""), entry.get("DetailType", ""), entry.get("Detail", ""), *entry.get("Resources", ())]
    return (_TIME if "Time" in entry else 0) + sum(len(text.encode("utf-8", "replace")) for text in texts)


def _refusal(entry: Input) -> Output | None:
    for name in ("Source", "DetailType", "Detail"):
        if not entry.get(name):
            message = f"Parameter {name} is not valid. Reason: {name} is a required argument."
            return {"ErrorCode": "InvalidArgument", "ErrorMessage": message}
    if entry["Source"].lower().startswith("aws."):
        message = "Not authorized for the source. Sources that begin with aws. are those of services."
        return {"ErrorCode": "NotAuthorizedForSourceException", "ErrorMessage": message}
    if not has_a_date(entry.get("Time", 0)):
        message = "Parameter Time is not valid. Reason: it lies outside of the years 1 to 9999."
        return {"ErrorCode": "InvalidArgument", "ErrorMessage": message}
    try:
        detail: Any = orjson.loads(entry["Detail"])
    except orjson.JSONDecodeError:
        detail = None
    if not isinstance(detail, dict) or is_deeper(detail, MAX_DEPTH - 1):
        return {"ErrorCode": "MalformedDetail", "ErrorMessage": "Detail is malformed."}
    return None


def _event(call: Call, entry: Input) -> dict[str, Any]:
    # A trace header is for X-Ray, which there is none of.
    entry.get("TraceHeader")
    return envelope(
        id=call.app.ids.uuid(),
        detail_type=entry["DetailType"],
        source=entry["Source"],
        account=call.account,
        region=call.region,
        at=entry.get("Time", call.now),
        resources=list(entry.get("Resources", ())),
        detail=orjson.loads(entry["Detail"]),
    )
