"""Groups of schedules, and their tags."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa

from penstock.application import Call
from penstock.events import schedule_rows, scheduling
from penstock.events.interest import RuleBook
from penstock.events.operations import place
from penstock.events.operations.schedules import PAGE, PAGES, need_group, scheduler, write_once
from penstock.events.records import DEFAULT
from penstock.events.scheduler_errors import (
    GroupExists,
    ResourceNotFoundException,
    ServiceQuotaExceededException,
    ValidationException,
)
from penstock.store import jobs
from penstock.store.deciding import decide_alone
from penstock.wire.arns import authorised_arn, resource_here
from penstock.wire.call import Input, Output
from penstock.wire.tags import TagRules, listed, pairs_of

MAX_GROUPS = 500  # of an account in a region (AWS: EventBridge Scheduler quotas)
_TAGS = TagRules(
    too_many=lambda: ValidationException("A resource can have at most 50 tags."),
    reserved=lambda key: ValidationException(f"Tag keys that begin with aws: are reserved: {key}"),
    duplicate=lambda key: ValidationException(f"The tag key {key} is given twice."),
    malformed=lambda key, _value: ValidationException(f"The tag {key} is not valid."),
)


def _group(call: Call, input: Input) -> str:
    return scheduling.group_arn(place(call), input["Name"])


@scheduler("CreateScheduleGroup", resource=_group)
async def create_schedule_group(book: RuleBook, call: Call, input: Input) -> Output:
    """A group beside the default one."""
    name, where = input["Name"], place(call)
    tags = _TAGS.check(pairs_of(input.get("Tags")))
    if tags:
        await book.app.identity.authorize(call, "scheduler:TagResource", (_group(call, input),))

    def create(conn: sa.Connection) -> None:
        decide_alone(conn, "schedule-groups", *where)
        if name != DEFAULT and schedule_rows.count_groups(conn, where) >= MAX_GROUPS:
            raise ServiceQuotaExceededException(limit=MAX_GROUPS)
        if name == DEFAULT or not schedule_rows.add_group(conn, where, name, call.now, tags=tags):
            raise GroupExists(name=name)

    await write_once(call, input, create)
    return {"ScheduleGroupArn": _group(call, input)}


@scheduler("GetScheduleGroup", resource=_group)
async def get_schedule_group(book: RuleBook, call: Call, input: Input) -> Output:
    """A group."""
    name = input["Name"]
    return _to_api(call, name, await book.app.store.read(need_group, place(call), name))


@scheduler("ListScheduleGroups")
async def list_schedule_groups(book: RuleBook, call: Call, input: Input) -> Output:
    """The groups of the caller's account and region by name, a page at a time."""
    (after,) = PAGES.after(call, input) or ("",)
    prefix, limit = input.get("NamePrefix", ""), input.get("MaxResults", PAGE)
    found = await book.app.store.read(
        lambda conn: schedule_rows.groups_after(conn, place(call), after=after, prefix=prefix, limit=limit + 1)
    )
    rows = {row.name: row for row in found}
    names = {*rows, *([DEFAULT] if after < DEFAULT and DEFAULT.startswith(prefix) else [])}
    groups = [_to_api(call, name, rows.get(name)) for name in sorted(names)[: limit + 1]]
    page = PAGES.page(call, input, groups, limit=limit, keyset=lambda group: (group["Name"],))
    return {"ScheduleGroups": page.rows, **page.more}


@scheduler("DeleteScheduleGroup", resource=_group)
async def delete_schedule_group(book: RuleBook, call: Call, input: Input) -> Output:
    """Delete a group and its schedules. It is DELETING until they are gone."""
    name, where = input["Name"], place(call)
    if name == DEFAULT:
        raise ValidationException("The default schedule group can't be deleted.")
    await book.app.identity.authorize(call, "scheduler:DeleteSchedule", (scheduling.schedule_arn(where, name, "*"),))

    def delete(conn: sa.Connection) -> None:
        need_group(conn, where, name, lock=True)
        schedule_rows.change_group(conn, where, name, state="DELETING", changed=call.now)
        dedup = scheduling.group_arn(where, name)
        jobs.enqueue(
            conn,
            kind=scheduling.EMPTY_GROUP,
            payload={"group": name},
            account=call.account,
            region=call.region,
            dedup=dedup,
        )

    await write_once(call, input, delete)
    return {}


def _to_api(call: Call, name: str, row: Any) -> Output:
    answer: Output = {"Arn": scheduling.group_arn(place(call), name), "Name": name, "State": "ACTIVE"}
    if row is not None:
        answer |= {"State": row.state, "CreationDate": row.created, "LastModificationDate": row.changed}
    return answer


# --- tags ---------------------------------------------------------------------------------------------------------------


def _resource(call: Call, input: Input) -> str:
    return authorised_arn(call, input["ResourceArn"], "scheduler")


@scheduler("TagResource", resource=_resource)
async def tag_resource(book: RuleBook, call: Call, input: Input) -> Output:
    """Add or replace tags of a group."""
    new = _TAGS.check(pairs_of(input["Tags"]))
    return await _retag(book, call, input, lambda old: _TAGS.add(old, new.items()))


@scheduler("UntagResource", resource=_resource)
async def untag_resource(book: RuleBook, call: Call, input: Input) -> Output:
    """Remove tags of a group by key."""
    return await _retag(book, call, input, lambda old: _TAGS.remove(old, input["TagKeys"]))


@scheduler("ListTagsForResource", resource=_resource)
async def list_tags_for_resource(book: RuleBook, call: Call, input: Input) -> Output:
    """The tags of a group."""
    row = await book.app.store.read(need_group, place(call), _named(call, input))
    return {"Tags": listed({} if row is None else row.tags)}


def _named(call: Call, input: Input) -> str:
    kind, _, name = (resource_here(call, input["ResourceArn"], "scheduler") or "").partition("/")
    if kind != "schedule-group":
        raise ResourceNotFoundException(
            f"There is no schedule group with the ARN {input['ResourceArn']} in this account and region."
        )
    return name


async def _retag(
    book: RuleBook, call: Call, input: Input, retag: Callable[[Mapping[str, str]], dict[str, str]]
) -> Output:
    name, where = _named(call, input), place(call)

    def tx(conn: sa.Connection) -> None:
        if name == DEFAULT:
            schedule_rows.add_group(conn, where, name, call.now)
        row = need_group(conn, where, name, lock=True)
        schedule_rows.change_group(conn, where, name, tags=retag(row.tags), changed=call.now)

    await book.app.store.write(tx)
    return {}
