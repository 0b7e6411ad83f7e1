"""TagResource, UntagResource, ListTagsForResource: tags of pipelines."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import sqlalchemy as sa

from penstock.application import Call
from penstock.pipelines import records
from penstock.pipelines.errors import (
    InvalidArnException,
    InvalidTagsException,
    ResourceNotFoundException,
    TooManyTagsException,
)
from penstock.pipelines.operations import operation
from penstock.pipelines.service import PipelineService
from penstock.wire.arns import authorised_arn, parse_arn
from penstock.wire.call import Input, Output

TAGS = 50  # of one resource. AWS: limits

_NAME = re.compile(r"[A-Za-z0-9.@_-]+")


def _resource(call: Call, input: Input) -> str:
    return authorised_arn(call, input["resourceArn"], "codepipeline")


def checked_tags(tags: Iterable[Mapping[str, str]], arn: str) -> dict[str, str]:
    """Tags by key. Raises InvalidTagsException or TooManyTagsException."""
    checked: dict[str, str] = {}
    for tag in tags:
        if tag["key"].lower().startswith("aws:"):
            raise InvalidTagsException
        if tag["key"] in checked:
            raise InvalidTagsException(f"The tag key '{tag['key']}' is given more than once.")
        checked[tag["key"]] = tag["value"]
    if len(checked) > TAGS:
        raise TooManyTagsException(arn=arn)
    return checked


def _named(call: Call, arn: str) -> str:
    named = parse_arn(arn, "codepipeline")
    if named is None or not _NAME.fullmatch(named.resource):
        raise InvalidArnException(arn=arn)
    if not named.is_here(call):
        raise ResourceNotFoundException(account=call.account, name=named.resource)
    return named.resource


def _tags(conn: sa.Connection, call: Call, name: str, *, lock: bool = False) -> tuple[str, dict[str, str]]:
    row = records.pipeline(conn, call.account, call.region, name, lock=lock)
    if row is None:
        raise ResourceNotFoundException(account=call.account, name=name)
    return row.id, row.tags


def _save(conn: sa.Connection, pipeline_id: str, tags: dict[str, str]) -> None:
    conn.execute(records.pipelines.update().where(records.pipelines.c.id == pipeline_id).values(tags=tags))


@operation("TagResource", resource=_resource)
async def tag_resource(service: PipelineService, call: Call, input: Input) -> Output:
    """Add tags; values of known keys are replaced."""
    arn = input["resourceArn"]
    name = _named(call, arn)
    given = checked_tags(input["tags"], arn)

    def tag(conn: sa.Connection) -> None:
        pipeline_id, tags = _tags(conn, call, name, lock=True)
        tags = tags | given
        if len(tags) > TAGS:
            raise TooManyTagsException(arn=arn)
        _save(conn, pipeline_id, tags)

    await call.app.store.write(tag)
    return {}


@operation("UntagResource", resource=_resource)
async def untag_resource(service: PipelineService, call: Call, input: Input) -> Output:
    """Remove tags by key; unknown keys do not matter."""
    name = _named(call, input["resourceArn"])
    if any(key.lower().startswith("aws:") for key in input["tagKeys"]):
        raise InvalidTagsException

    def untag(conn: sa.Connection) -> None:
        pipeline_id, tags = _tags(conn, call, name, lock=True)
        _save(conn, pipeline_id, {key: value for key, value in tags.items() if key not in input["tagKeys"]})

    await call.app.store.write(untag)
    return {}


@operation("ListTagsForResource", resource=_resource)
async def list_tags_for_resource(service: PipelineService, call: Call, input: Input) -> Output:
    """Every tag, in one page, by key."""
    name = _named(call, input["resourceArn"])
    _, tags = await call.app.store.read(_tags, call, name)
    return {"tags": [{"key": key, "value": value} for key, value in sorted(tags.items())]}
