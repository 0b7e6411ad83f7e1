"""Log groups, whose account lets EventBridge write by a resource policy of Logs: one message for each event.

Both services of AWS that take part need the permission: events.amazonaws.com writes, delivery.logs.amazonaws.com makes the streams. There is
one stream a day for each target, so that a group that keeps its events for some days forgets them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import orjson

from penstock.events.destinations.destination import PRINCIPAL, Destination, Failed, Sending
from penstock.events.errors import ValidationException
from penstock.wire.call import service_session
from penstock.wire.errors import ServiceError

_BEGINNING = "log-group:"
_MAKES_STREAMS = "delivery.logs.amazonaws.com"
# AWS: "Amazon EventBridge targets", CloudWatch Logs.
_TEMPLATE = re.compile(r'\s*\{\s*"timestamp"\s*:\s*[^,{}]+,\s*"message"\s*:\s*[^\x00]+\}\s*')


def _check(target: Mapping[str, Any]) -> None:
    if "Input" in target or "InputPath" in target:
        raise ValidationException(
            f"Input and InputPath are not supported for target {target['Id']}, a log group. Leave them out, or give an InputTransformer."
        )
    if "InputTransformer" in target and not _TEMPLATE.fullmatch(target["InputTransformer"]["InputTemplate"]):
        raise ValidationException(
            f"InputTemplate for target {target['Id']} must be in following format "
            '{"timestamp":<timestamp>,"message":<message>}.'
        )


async def _write(sending: Sending) -> str:
    at, message = _line(sending)
    group = sending.arn.resource.removeprefix(_BEGINNING).removesuffix(":*")
    # A rule's name and a target's id have no character that the name of a stream may not have.
    stream = f"{sending.event['time'][:10]}/{sending.rule}/{sending.target['Id']}"
    named = {"logGroupName": group, "logStreamName": stream}
    # The token makes the batch known: a second attempt writes nothing.
    asked = {**named, "logEvents": [{"timestamp": at, "message": message}], "sequenceToken": sending.id}
    invoke, region = sending.app.invoke, sending.region
    session = service_session(PRINCIPAL, sending.account, sending.rule_arn)
    try:
        answer = await invoke(session, "logs", "PutLogEvents", asked, region=region)
    except ServiceError as error:
        if error.wire_code != "ResourceNotFoundException":
            raise
        await _make_stream(sending, named)
        answer = await invoke(session, "logs", "PutLogEvents", asked, region=region)
    if answer.get("rejectedLogEventsInfo"):
        raise Failed("INVALID_PARAMETER", "The log group takes no event of this time: it is too old, or too far ahead.")
    return ""


async def _make_stream(sending: Sending, named: dict[str, str]) -> None:
    session = service_session(_MAKES_STREAMS, sending.account, sending.rule_arn)
    try:
        await sending.app.invoke(session, "logs", "CreateLogStream", named, region=sending.region)
    except ServiceError as error:
        if error.wire_code != "ResourceAlreadyExistsException":
            raise


def _line(sending: Sending) -> tuple[int, str]:
    """Time (ms) and message of the log event. Raises Failed or NotDelivered."""
    text = sending.text
    if "InputTransformer" not in sending.target:
        return _milliseconds(sending.event["time"]), text
    made = orjson.loads(text)
    at, message = made["timestamp"], made["message"]
    if isinstance(at, str):
        at = _milliseconds(at)
    if not isinstance(at, int) or at < 0:
        raise Failed("INVALID_JSON", "The timestamp that the input template makes is not a time.")
    return at, message if isinstance(message, str) else orjson.dumps(message).decode()


def _milliseconds(text: str) -> int:
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1000)
    except (ValueError, OverflowError):
        raise Failed("INVALID_JSON", "The timestamp that the input template makes is not a time.") from None


DESTINATION = Destination(service="logs", beginning=_BEGINNING, name="log groups", send=_write, check=_check)
