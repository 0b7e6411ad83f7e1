"""Tags of applications, groups and configurations. AWS: TagResource and its family."""

from __future__ import annotations

import sqlalchemy as sa

from penstock.application import Call
from penstock.deployments import errors, profile, records
from penstock.deployments.operations import operation, resources
from penstock.deployments.records import Row
from penstock.deployments.service import Deployments
from penstock.wire.arns import parse_arn
from penstock.wire.call import Input, Output
from penstock.wire.tags import listed, pairs_of

_MISSING = {
    records.applications: errors.ApplicationDoesNotExistException,
    records.groups: errors.DeploymentGroupDoesNotExistException,
    records.configs: errors.DeploymentConfigDoesNotExistException,
}


def _find(call: Call, conn: sa.Connection, arn: str) -> tuple[sa.Table, Row]:
    """The table and the row that an ARN names."""
    named = parse_arn(arn, "codedeploy")
    name = named.resource.partition(":")[2] if named is not None else ""
    if named is None or not name:
        raise errors.InvalidArnException
    found = records.tagged(conn, call.account, call.region, named.resource)
    if found is None:
        raise errors.ArnNotSupportedException
    table, row = found
    if row is None or not named.is_here(call):
        raise _MISSING[table](name=name.partition("/")[2] if table is records.groups else name)
    return table, row


def _arn(input: Input) -> str:
    arn = input.get("ResourceArn")
    if not arn:
        raise errors.ResourceArnRequiredException
    return arn


def _write(conn: sa.Connection, table: sa.Table, row: Row, tags: dict[str, str]) -> None:
    where = [column == getattr(row, column.name) for column in table.primary_key]
    conn.execute(sa.update(table).where(*where).values(tags=tags))


@operation("TagResource", resource=resources.tagged)
async def tag_resource(deployments: Deployments, call: Call, input: Input) -> Output:
    """Adds tags or changes their values; at most 50 in all."""
    arn, added = _arn(input), pairs_of(input.get("Tags"))
    if not added:
        raise errors.TagRequiredException
    profile.TAGS.check(added)

    def tag(conn: sa.Connection) -> None:
        table, row = _find(call, conn, arn)
        _write(conn, table, row, profile.TAGS.add(row.tags, added))

    await call.app.store.write(tag)
    return {}


@operation("UntagResource", resource=resources.tagged)
async def untag_resource(deployments: Deployments, call: Call, input: Input) -> Output:
    """Removes tags by key; one that is not there is no error."""
    arn, keys = _arn(input), set(input.get("TagKeys") or ())
    if not keys:
        raise errors.TagRequiredException

    def untag(conn: sa.Connection) -> None:
        table, row = _find(call, conn, arn)
        _write(conn, table, row, profile.TAGS.remove(row.tags, keys))

    await call.app.store.write(untag)
    return {}


@operation("ListTagsForResource", resource=resources.tagged)
async def list_tags_for_resource(deployments: Deployments, call: Call, input: Input) -> Output:
    """All of a resource's tags: they fit one page."""
    arn = _arn(input)
    _, row = await call.app.store.read(lambda conn: _find(call, conn, arn))
    return {"Tags": listed(dict(sorted(row.tags.items())))}
