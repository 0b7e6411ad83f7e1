"""Tags of parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa

from penstock.application import App, Call
from penstock.parameters import records
from penstock.parameters.errors import (
    InvalidResourceId,
    InvalidResourceType,
    ParameterNotFound,
    TooManyTagsError,
    ValidationException,
)
from penstock.parameters.names import Named
from penstock.parameters.operations import arn_asked, found, own, place, ssm
from penstock.wire.call import Input, Output
from penstock.wire.tags import TagRules, listed, pairs_of

_TAGS = TagRules(  # AWS: AddTagsToResource of Systems Manager
    too_many=TooManyTagsError,
    reserved=lambda key: ValidationException(f"Tag keys that begin with aws: are reserved: {key}"),
    duplicate=lambda key: ValidationException(f"The tag key {key} is given twice."),
    malformed=lambda key, _value: ValidationException(f"The tag {key} is not valid."),
)


def checked_tags(given: Any) -> dict[str, str]:
    """Tags of an input. Raises ValidationException or TooManyTagsError."""
    return _TAGS.check(pairs_of(given))


def _resource(call: Call, input: Input) -> str:
    return arn_asked(call, input["ResourceId"])


@ssm("AddTagsToResource", resource=_resource)
async def add_tags_to_resource(app: App, call: Call, input: Input) -> None:
    """Add or replace tags."""
    new = checked_tags(input["Tags"])
    await _retag(app, call, input, lambda old: _TAGS.add(old, new.items()))


@ssm("RemoveTagsFromResource", resource=_resource)
async def remove_tags_from_resource(app: App, call: Call, input: Input) -> None:
    """Remove tags by key."""
    await _retag(app, call, input, lambda old: _TAGS.remove(old, input["TagKeys"]))


@ssm("ListTagsForResource", resource=_resource)
async def list_tags_for_resource(app: App, call: Call, input: Input) -> Output:
    """A parameter's tags."""
    try:
        row = await found(app, _asked(call, input))
    except ParameterNotFound:
        raise InvalidResourceId from None
    return {"TagList": listed(row.tags)}


def _asked(call: Call, input: Input) -> Named:
    """The parameter that an input means. Raises InvalidResourceType or InvalidResourceId."""
    if input["ResourceType"] != "Parameter":
        raise InvalidResourceType(type=input["ResourceType"])
    try:
        return own(call, input["ResourceId"])
    except ParameterNotFound:
        raise InvalidResourceId from None


async def _retag(app: App, call: Call, input: Input, retag: Callable[[Mapping[str, str]], dict[str, str]]) -> None:
    asked = _asked(call, input)

    def tx(conn: sa.Connection) -> None:
        row = records.locked(conn, place(call), asked.path)
        if row is None or not asked.stands_for(row.name):
            raise InvalidResourceId
        records.change(conn, place(call), asked.path, tags=retag(row.tags))

    await app.store.write(tx)
