"""PutParameter and the deletion of parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from penstock.application import App, Call
from penstock.parameters import records, values
from penstock.parameters.engine import MAX_PARAMETERS, MAX_VERSIONS, SECURE, written
from penstock.parameters.errors import (
    ParameterAlreadyExists,
    ParameterLimitExceeded,
    ParameterMaxVersionLimitExceeded,
    ParameterNotFound,
    TooManyUpdates,
    ValidationException,
)
from penstock.parameters.names import check_new, path_of
from penstock.parameters.operations import arn_of, of_name, of_names, own, place, ssm
from penstock.parameters.operations.tags import checked_tags
from penstock.store.deciding import decide_alone
from penstock.wire.call import Input, Output

_TAGS_AND_OVERWRITE = (
    "Invalid request: tags and overwrite can't be used together. To create a parameter with tags, please remove overwrite flag. To "
    "update tags for an existing parameter, please use AddTagsToResource or RemoveTagsFromResource."
)


def _keys(_call: Call, input: Input) -> Mapping[str, str]:
    return {"ssm:overwrite": "true" if input.get("Overwrite") else "false"}


def _new(call: Call, input: Input) -> str:
    return arn_of(call, input["Name"])


@ssm("PutParameter", resource=_new, keys=_keys)
async def put_parameter(app: App, call: Call, input: Input) -> Output:
    """A new parameter, or the next version of one."""
    name, overwrite, arn = input["Name"], input.get("Overwrite", False), arn_of(call, input["Name"])
    tags = checked_tags(input.get("Tags"))
    if tags and overwrite:
        raise ValidationException(_TAGS_AND_OVERWRITE)
    check_new(name, arn)
    if tags:
        await call.app.identity.authorize(call, "ssm:AddTagsToResource", (arn,))
    path = path_of(name)
    before = await app.store.read(records.parameter, place(call), path)
    _check_taken(before, name, overwrite=overwrite)
    new = written(input, before)
    value = input["Value"]
    if new.type == SECURE:
        value = await values.encrypted(call, value, arn=arn, key=new.key, tier=new.tier)
    row = {**asdict(new), "modified": call.now, "by": call.session.arn}

    def tx(conn: sa.Connection) -> int:
        old = records.locked(conn, place(call), path)
        if old is None and before is None:
            decide_alone(conn, "parameters", *place(call))
            if records.count(conn, place(call), new.tier) >= MAX_PARAMETERS[new.tier]:
                raise ParameterLimitExceeded
            if records.insert(conn, place(call), path, name=name, version=1, tags=tags, **row):
                records.insert_version(conn, place(call), path, version=1, value=value, **row)
                return 1
            old = records.locked(conn, place(call), path)
        _check_taken(old, name, overwrite=overwrite)
        if old is None or before is None or old.version != before.version or old.modified != before.modified:
            raise TooManyUpdates  # what stays as it was, and the key of the value, were taken from another version
        return add_version(conn, place(call), old, value, row)

    return {"Version": await app.store.write(tx), "Tier": new.tier}


def add_version(conn: sa.Connection, place: records.Place, old: Any, value: str, row: Mapping[str, Any]) -> int:
    """Make the next version of a parameter that is locked; its number. Raises ParameterMaxVersionLimitExceeded."""
    number = old.version + 1
    _make_room(conn, place, old.path, old.name)
    records.change(conn, place, old.path, version=number, **row)
    records.insert_version(conn, place, old.path, version=number, value=value, **row)
    return number


def _check_taken(old: Any, name: str, *, overwrite: bool) -> None:
    if old is None:
        return
    if old.name != name:
        raise ParameterAlreadyExists(
            f"The parameter {old.name} has the same ARN as {name} would have. Use that name, or delete the parameter first."
        )
    if not overwrite:
        raise ParameterAlreadyExists


def _make_room(conn: sa.Connection, place: records.Place, path: str, name: str) -> None:
    """Drop the oldest version of a parameter that has as many as it may. Raises ParameterMaxVersionLimitExceeded."""
    kept = records.labels(conn, place, path)
    if len(kept) < MAX_VERSIONS:
        return
    oldest = next(iter(kept))
    if kept[oldest]:
        raise ParameterMaxVersionLimitExceeded(name=name, version=oldest)
    records.delete_version(conn, place, path, oldest)


@ssm("DeleteParameter", resource=of_name)
async def delete_parameter(app: App, call: Call, input: Input) -> None:
    """Forget a parameter with all its versions."""
    if not await _delete(app, call, input["Name"]):
        raise ParameterNotFound


@ssm("DeleteParameters", resource=of_names)
async def delete_parameters(app: App, call: Call, input: Input) -> Output:
    """Forget up to ten; which ones there were is answered."""
    answer: Output = {"DeletedParameters": [], "InvalidParameters": []}
    for name in dict.fromkeys(input["Names"]):
        try:
            deleted = await _delete(app, call, name)
        except ParameterNotFound:
            deleted = False
        answer["DeletedParameters" if deleted else "InvalidParameters"].append(name)
    return answer


async def _delete(app: App, call: Call, text: str) -> bool:
    asked = own(call, text)

    def tx(conn: sa.Connection) -> bool:
        row = records.locked(conn, place(call), asked.path)
        if row is None or not asked.stands_for(row.name):
            return False
        return records.delete(conn, place(call), asked.path)

    return await app.store.write(tx)
