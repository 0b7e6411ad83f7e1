"""Rules of event buses."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from penstock.application import Call
from penstock.events import records, scheduled_rules
from penstock.events.errors import InvalidEventPatternException, LimitExceededException, ValidationException
from penstock.events.interest import RuleBook
from penstock.events.operations import (
    PAGE,
    PAGES,
    bus_name,
    checked_tags,
    events,
    need_bus,
    need_rule,
    of_bus_of,
    of_rule,
    place,
    read_rule,
    rule_arn,
)
from penstock.events.patterns import parse
from penstock.events.reading import PatternError
from penstock.events.records import DEFAULT, Place
from penstock.store.deciding import decide_alone
from penstock.timetables import ExpressionError, parsed
from penstock.wire.call import Input, Output

MAX_RULES = 300  # of a bus (AWS: EventBridge quotas)
# Of all patterns with $or of an account and region, which may all be of one bus. Those of a bus are compiled when one of them changes,
# which takes 100 us and 5 KB for each.
MAX_BRANCHES = 20_000
MAX_WITH_OR = 500  # rules with $or of an account and region


@events("PutRule", resource=of_rule)
async def put_rule(book: RuleBook, call: Call, input: Input) -> Output:
    """A new rule, or one in the place of another of its name: what is not given is gone, but for its targets and tags."""
    name, bus = input["Name"], bus_name(call, input.get("EventBusName"))
    pattern, arn = input.get("EventPattern"), rule_arn(call, bus, name)
    schedule = input.get("ScheduleExpression") or None
    if not pattern and not schedule:
        raise ValidationException("Parameter(s) EventPattern or ScheduleExpression must be specified.")
    if schedule:
        _check_schedule(bus, schedule)
    branches = _branches(pattern) if pattern else 0
    tags = checked_tags(input.get("Tags"))
    if tags:
        await call.app.identity.authorize(call, "events:TagResource", (arn,))
    if "RoleArn" in input:
        await call.app.identity.pass_role(call, input["RoleArn"], source_arn=arn)
    kept = {
        "description": input.get("Description"),
        "pattern": pattern or None,
        "schedule": schedule,
        "state": input.get("State", "ENABLED"),
        "role": input.get("RoleArn"),
    }

    def tx(conn: sa.Connection) -> None:
        # The default bus may have no row, and combinations by $or are counted over all buses.
        decide_alone(conn, "events-rules", *place(call))
        need_bus(conn, place(call), bus, lock=True)
        before = records.rule(conn, place(call), bus, name, lock=True)
        if before is None and records.count_rules(conn, place(call), bus) >= MAX_RULES:
            raise LimitExceededException
        if branches > 1 and branches + _others(conn, place(call), bus, name) > MAX_BRANCHES:
            raise LimitExceededException(
                f"The patterns with $or of this account and region make more than {MAX_BRANCHES} combinations together."
            )
        kept.update(
            scheduled_rules.plan(conn, place(call), name, before, schedule=schedule, state=kept["state"], now=call.now)
        )
        records.put_rule(
            conn, place(call), bus, name, new={**kept, "created_by": call.account, "tags": tags}, kept=kept
        )

    await book.change(place(call), tx)
    return {"RuleArn": arn}


def _check_schedule(bus: str, schedule: str) -> None:
    if bus != DEFAULT:
        raise ValidationException("ScheduleExpression is supported only on the default event bus.")
    try:
        parsed(schedule)
    except ExpressionError:
        raise ValidationException("Parameter ScheduleExpression is not valid.") from None


def _branches(pattern: str) -> int:
    try:
        return len(parse(pattern))
    except PatternError as error:
        raise InvalidEventPatternException(reason=error) from None


def _others(conn: sa.Connection, where: Place, bus: str, name: str) -> int:
    """How many combinations the patterns with $or of other rules make."""
    rows = records.patterns_with_or(conn, where, MAX_WITH_OR)
    if len(rows) == MAX_WITH_OR:
        raise LimitExceededException(f"This account and region have {MAX_WITH_OR} rules with $or already.")
    return sum(len(parse(row.pattern)) for row in rows if (row.bus, row.name) != (bus, name))


@events("DescribeRule", resource=of_rule)
async def describe_rule(book: RuleBook, call: Call, input: Input) -> Output:
    """A rule."""
    row = await read_rule(call, bus_name(call, input.get("EventBusName")), input["Name"])
    return _to_api(call, row) | {"CreatedBy": row.created_by}


@events("ListRules", resource=of_bus_of)
async def list_rules(book: RuleBook, call: Call, input: Input) -> Output:
    """The rules of a bus by name, a page at a time."""
    (after,) = PAGES.after(call, input) or ("",)
    bus, prefix, limit = (
        bus_name(call, input.get("EventBusName")),
        input.get("NamePrefix", ""),
        input.get("Limit", PAGE),
    )

    def read(conn: sa.Connection) -> list[Any]:
        need_bus(conn, place(call), bus)
        return records.rules_after(conn, place(call), bus, after=after, prefix=prefix, limit=limit + 1)

    page = PAGES.page(call, input, await call.app.store.read(read), limit=limit, keyset=lambda row: (row.name,))
    return {"Rules": [_to_api(call, row) for row in page.rows], **page.more}


@events("DeleteRule", resource=of_rule)
async def delete_rule(book: RuleBook, call: Call, input: Input) -> None:
    """Forget a rule without targets; one that is not there is no error. `Force` is for rules of services, which there are none of."""
    name, bus = input["Name"], bus_name(call, input.get("EventBusName"))
    input.get("Force")

    def tx(conn: sa.Connection) -> None:
        need_bus(conn, place(call), bus)
        if records.rule(conn, place(call), bus, name, lock=True) is None:
            return
        if records.targets_after(conn, place(call), bus, name, limit=1):
            raise ValidationException("Rule can't be deleted since it has targets.")
        if bus == DEFAULT:
            scheduled_rules.forget(conn, place(call), name)
        records.delete_rule(conn, place(call), bus, name)

    await book.change(place(call), tx)


@events("EnableRule", resource=of_rule)
async def enable_rule(book: RuleBook, call: Call, input: Input) -> None:
    """Let a rule act again."""
    await _switch(book, call, input, "ENABLED")


@events("DisableRule", resource=of_rule)
async def disable_rule(book: RuleBook, call: Call, input: Input) -> None:
    """Let a rule act no more."""
    await _switch(book, call, input, "DISABLED")


async def _switch(book: RuleBook, call: Call, input: Input, state: str) -> None:
    name, bus = input["Name"], bus_name(call, input.get("EventBusName"))

    def tx(conn: sa.Connection) -> None:
        row = need_rule(conn, place(call), bus, name, lock=True)
        timer = scheduled_rules.plan(conn, place(call), name, row, schedule=row.schedule, state=state, now=call.now)
        records.change_rule(conn, place(call), bus, name, state=state, **timer)

    await book.change(place(call), tx)


def _to_api(call: Call, row: Any) -> Output:
    answer = {"Name": row.name, "Arn": rule_arn(call, row.bus, row.name), "State": row.state, "EventBusName": row.bus}
    more = {
        "EventPattern": row.pattern,
        "ScheduleExpression": row.schedule,
        "Description": row.description,
        "RoleArn": row.role,
    }
    return answer | {name: value for name, value in more.items() if value is not None}
