"""TestEventPattern."""

from __future__ import annotations

from typing import Any

import orjson

from penstock.application import Call
from penstock.events.errors import InvalidEventPatternException, ValidationException
from penstock.events.interest import RuleBook
from penstock.events.matching import MAX_DEPTH, is_deeper, takes
from penstock.events.operations import events
from penstock.events.reading import PatternError
from penstock.wire.call import Input, Output

# AWS: TestEventPattern, "The event, in JSON format, to test against the event pattern". An event without one of them is not valid.
_NEEDED = ("id", "account", "source", "time", "region", "detail-type")


@events("TestEventPattern")
async def test_event_pattern(book: RuleBook, call: Call, input: Input) -> Output:
    """Whether a pattern takes an event."""
    event = _event(input["Event"])
    try:
        return {"Result": takes(input["EventPattern"], event)}
    except PatternError as error:
        raise InvalidEventPatternException(reason=error) from None


def _event(text: str) -> dict[str, Any]:
    try:
        event = orjson.loads(text)
    except orjson.JSONDecodeError:
        event = None
    if not isinstance(event, dict) or is_deeper(event, MAX_DEPTH) or not all(name in event for name in _NEEDED):
        raise ValidationException("Parameter Event is not valid.")
    return event
