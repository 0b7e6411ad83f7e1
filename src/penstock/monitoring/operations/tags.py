"""Tags of alarms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa

from penstock.application import App, Call
from penstock.monitoring import alarm_records
from penstock.monitoring.alarms import Alarm
from penstock.monitoring.errors import InvalidParameterValue, ResourceNotFound, TooManyTags
from penstock.monitoring.operations import cloudwatch, place
from penstock.wire.arns import authorised_arn, resource_here
from penstock.wire.call import Input, Output
from penstock.wire.tags import TagRules, listed, pairs_of

_TAGS = TagRules(  # AWS: TagResource of CloudWatch
    too_many=TooManyTags,
    reserved=lambda key: InvalidParameterValue(f"Tag keys that begin with aws: are reserved: {key}"),
    duplicate=lambda key: InvalidParameterValue(f"The tag key {key} is given twice."),
    malformed=lambda key, _value: InvalidParameterValue(f"The tag {key} is not valid."),
)


def checked_tags(given: Any) -> dict[str, str]:
    """Tags of an input. Raises InvalidParameterValue."""
    return _TAGS.check(pairs_of(given))


def _resource(call: Call, input: Input) -> str:
    return authorised_arn(call, input["ResourceARN"], "cloudwatch")


def _name(call: Call, input: Input) -> str:
    """The alarm that an ARN names. Raises ResourceNotFound."""
    kind, _, name = (resource_here(call, input["ResourceARN"], "cloudwatch") or "").partition(":")
    if kind != "alarm" or not name:
        raise ResourceNotFound
    return name


@cloudwatch("TagResource", resource=_resource)
async def tag_resource(app: App, call: Call, input: Input) -> Output:
    """Add or replace tags."""
    new = checked_tags(input["Tags"])
    return await _retag(app, call, input, lambda old: _TAGS.add(old, new.items()))


@cloudwatch("UntagResource", resource=_resource)
async def untag_resource(app: App, call: Call, input: Input) -> Output:
    """Remove tags by key."""
    return await _retag(app, call, input, lambda old: _TAGS.remove(old, input["TagKeys"]))


async def _retag(app: App, call: Call, input: Input, retag: Callable[[Mapping[str, str]], dict[str, str]]) -> Output:
    name = _name(call, input)

    def tx(conn: sa.Connection) -> None:
        alarm = Alarm.find(conn, *place(call), name)
        if alarm is None:
            raise ResourceNotFound
        alarm_records.set_tags(conn, place(call), name, retag(alarm.row.tags))

    await app.store.write(tx)
    return {}


@cloudwatch("ListTagsForResource", resource=_resource)
async def list_tags_for_resource(app: App, call: Call, input: Input) -> Output:
    """An alarm's tags."""
    row = await app.store.read(alarm_records.alarm, place(call), _name(call, input))
    if row is None:
        raise ResourceNotFound
    return {"Tags": listed(row.tags)}
