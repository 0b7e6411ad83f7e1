"""Tags of buses and rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import sqlalchemy as sa

from penstock.application import Call
from penstock.events import records
from penstock.events.errors import BusNotFound, ResourceNotFoundException, RuleNotFound
from penstock.events.interest import RuleBook
from penstock.events.operations import TAGS, checked_tags, events, place
from penstock.events.records import DEFAULT, Place
from penstock.wire.arns import authorised_arn, resource_here
from penstock.wire.call import Input, Output
from penstock.wire.tags import listed


class Tagged(NamedTuple):
    """A bus, or a rule of it."""

    bus: str
    rule: str  # "" for the bus


def tagged(resource: str) -> Tagged | None:
    """What the last part of an ARN names; None for neither bus nor rule."""
    kind, _, name = resource.partition("/")
    if kind == "event-bus" and name:
        return Tagged(name, "")
    if kind == "rule" and name:
        bus, slash, rule = name.rpartition("/")
        # Each rule has one ARN, so that a policy that denies it is not got round by another.
        return None if bus == DEFAULT else Tagged(bus if slash else DEFAULT, rule)
    return None


def tags_of(conn: sa.Connection, where: Place, found: Tagged) -> Mapping[str, str] | None:
    """The tags of a bus or rule; None when there is none."""
    if found.rule:
        row = records.rule(conn, where, found.bus, found.rule)
    else:
        row = records.bus(conn, where, found.bus)
        if row is None and found.bus == DEFAULT:
            return {}
    return None if row is None else row.tags


def _resource(call: Call, input: Input) -> str:
    return authorised_arn(call, input["ResourceARN"], "events")


@events("TagResource", resource=_resource)
async def tag_resource(book: RuleBook, call: Call, input: Input) -> None:
    """Add or replace tags."""
    new = checked_tags(input["Tags"])
    await _retag(call, input, lambda old: TAGS.add(old, new.items()))


@events("UntagResource", resource=_resource)
async def untag_resource(book: RuleBook, call: Call, input: Input) -> None:
    """Remove tags by key."""
    await _retag(call, input, lambda old: TAGS.remove(old, input["TagKeys"]))


@events("ListTagsForResource", resource=_resource)
async def list_tags_for_resource(book: RuleBook, call: Call, input: Input) -> Output:
    """The tags of a bus or rule."""
    found = _asked(call, input)
    tags = await call.app.store.read(tags_of, place(call), found)
    if tags is None:
        raise _missing(found)
    return {"Tags": listed(tags)}


def _asked(call: Call, input: Input) -> Tagged:
    resource = resource_here(call, input["ResourceARN"], "events")
    found = None if resource is None else tagged(resource)
    if found is None:
        raise ResourceNotFoundException(
            f"There is no event bus or rule with the ARN {input['ResourceARN']} in this account and region."
        )
    return found


def _missing(found: Tagged) -> ResourceNotFoundException:
    return RuleNotFound(name=found.rule, bus=found.bus) if found.rule else BusNotFound(name=found.bus)


async def _retag(call: Call, input: Input, retag: Callable[[Mapping[str, str]], dict[str, str]]) -> None:
    found = _asked(call, input)

    def tx(conn: sa.Connection) -> Any:
        if found.bus == DEFAULT and not found.rule:
            records.add_bus(conn, place(call), DEFAULT, call.now)
        old = tags_of(conn, place(call), found)
        if old is None:
            raise _missing(found)
        if found.rule:
            records.change_rule(conn, place(call), found.bus, found.rule, tags=retag(old))
        else:
            records.change_bus(conn, place(call), found.bus, tags=retag(old))

    await call.app.store.write(tx)
