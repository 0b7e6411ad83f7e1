"""The operations of EventBridge, by what they are about; what they share."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from penstock.application import Call
from penstock.component import operations_of
from penstock.events import records
from penstock.events.errors import BusNotFound, LimitExceededException, RuleNotFound, ValidationException
from penstock.events.records import DEFAULT, Place
from penstock.wire.arns import parse_arn
from penstock.wire.call import Input
from penstock.wire.pages import Pages
from penstock.wire.tags import TagRules, pairs_of

events = operations_of("events")
PAGES = Pages(lambda _token: ValidationException("Parameter NextToken is not valid."), member="NextToken")
TAGS = TagRules(  # AWS: TagResource of EventBridge
    too_many=lambda: LimitExceededException("A resource can have at most 50 tags."),
    reserved=lambda key: ValidationException(f"Tag keys that begin with aws: are reserved: {key}"),
    duplicate=lambda key: ValidationException(f"The tag key {key} is given twice."),
    malformed=lambda key, _value: ValidationException(f"The tag {key} is not valid."),
)
PAGE = 100  # rows of a page that says no limit


def place(call: Call) -> Place:
    """Where the call's buses lie."""
    return call.account, call.region


def bus_name(call: Call, text: str | None) -> str:
    """The name of a bus of the caller's, given by name or ARN. Raises BusNotFound for the ARN of another account or region."""
    if not text or not text.startswith("arn:"):
        return text or DEFAULT
    arn = parse_arn(text, "events")
    name = "" if arn is None else arn.resource.removeprefix("event-bus/")
    if arn is None or not arn.is_here(call) or name == arn.resource:
        raise BusNotFound(name=name or text)
    return name


def bus_arn(call: Call, name: str) -> str:
    """The ARN of a bus of the caller's."""
    return call.arn("events", f"event-bus/{name}")


def rule_tail(bus: str, name: str) -> str:
    """How the ARN of a rule ends."""
    return f"rule/{name}" if bus == DEFAULT else f"rule/{bus}/{name}"


def rule_arn(call: Call, bus: str, name: str) -> str:
    """The ARN of a rule of the caller's."""
    return call.arn("events", rule_tail(bus, name))


def of_bus(call: Call, input: Input) -> str:
    """The resource of an operation on a bus that is named by `Name`."""
    return bus_arn(call, bus_name(call, input.get("Name")))


def of_bus_of(call: Call, input: Input) -> str:
    """The resource of an operation on a bus that is named by `EventBusName`."""
    return bus_arn(call, bus_name(call, input.get("EventBusName")))


def of_rule(call: Call, input: Input) -> str:
    """The resource of an operation on a rule that is named by `Name`."""
    return rule_arn(call, bus_name(call, input.get("EventBusName")), input["Name"])


def of_targets(call: Call, input: Input) -> str:
    """The resource of an operation on the targets of a rule."""
    return rule_arn(call, bus_name(call, input.get("EventBusName")), input["Rule"])


def checked_tags(given: Any) -> dict[str, str]:
    """Tags of an input. Raises the service's errors."""
    return TAGS.check(pairs_of(given))


def need_bus(conn: sa.Connection, where: Place, name: str, *, lock: bool = False) -> Any:
    """The row of a bus; None for the default one when nothing was said of it. Raises BusNotFound."""
    row = records.bus(conn, where, name, lock=lock)
    if row is None and name != DEFAULT:
        raise BusNotFound(name=name)
    return row


def need_rule(conn: sa.Connection, where: Place, bus: str, name: str, *, lock: bool = False) -> Any:
    """The row of a rule. Raises BusNotFound or RuleNotFound."""
    need_bus(conn, where, bus)
    row = records.rule(conn, where, bus, name, lock=lock)
    if row is None:
        raise RuleNotFound(name=name, bus=bus)
    return row


async def read_rule(call: Call, bus: str, name: str) -> Any:
    """The row of a rule. Raises BusNotFound or RuleNotFound."""
    return await call.app.store.read(need_rule, place(call), bus, name)
