"""TagResource, UntagResource, ListTagsForResource: tags of pipelines and webhooks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from penstock.application import Call
from penstock.pipelines import records, webhook_records
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
from penstock.wire.tags import TagRules

_NAME = re.compile(r"(?:webhook:)?[A-Za-z0-9.@_-]+")
_WEBHOOK = "webhook:"


def _resource(call: Call, input: Input) -> str:
    return authorised_arn(call, input["resourceArn"], "codepipeline")


def tag_rules(arn: str) -> TagRules:
    """The rules for the tags of a resource. AWS: CodePipeline quotas."""
    return TagRules(
        too_many=lambda: TooManyTagsException(arn=arn),
        reserved=lambda _key: InvalidTagsException(),
        duplicate=lambda key: InvalidTagsException(f"The tag key '{key}' is given more than once."),
        malformed=lambda key, _value: InvalidTagsException(f"The tag '{key}' is not valid."),
    )


def pairs_of(tags: Iterable[Mapping[str, str]]) -> list[tuple[str, str]]:
    """Keys and values, of which CodePipeline writes the names small."""
    return [(tag["key"], tag["value"]) for tag in tags]


def _named(call: Call, arn: str) -> str:
    named = parse_arn(arn, "codepipeline")
    if named is None or not _NAME.fullmatch(named.resource):
        raise InvalidArnException(arn=arn)
    if not named.is_here(call):
        raise ResourceNotFoundException(account=call.account, name=named.resource)
    return named.resource


def tagged(conn: sa.Connection, account: str, region: str, resource: str, *, lock: bool = False) -> Any:
    """The row of what has tags of its own: a pipeline by its name, a webhook by `webhook:` and its name; None without it."""
    if resource.startswith(_WEBHOOK):
        return webhook_records.find(conn, account, region, resource.removeprefix(_WEBHOOK), lock=lock)
    return records.pipeline(conn, account, region, resource, lock=lock)


def _tags(conn: sa.Connection, call: Call, resource: str, *, lock: bool = False) -> tuple[str, dict[str, str]]:
    row = tagged(conn, call.account, call.region, resource, lock=lock)
    if row is None:
        raise ResourceNotFoundException(account=call.account, name=resource)
    return row.id, row.tags


def _save(conn: sa.Connection, resource: str, id: str, tags: dict[str, str]) -> None:
    table = webhook_records.webhooks if resource.startswith(_WEBHOOK) else records.pipelines
    conn.execute(table.update().where(table.c.id == id).values(tags=tags))


@operation("TagResource", resource=_resource)
async def tag_resource(service: PipelineService, call: Call, input: Input) -> Output:
    """Add tags; values of known keys are replaced."""
    arn = input["resourceArn"]
    name = _named(call, arn)
    rules, given = tag_rules(arn), pairs_of(input["tags"])
    rules.check(given)

    def tag(conn: sa.Connection) -> None:
        id, tags = _tags(conn, call, name, lock=True)
        _save(conn, name, id, rules.add(tags, given))

    await call.app.store.write(tag)
    return {}


@operation("UntagResource", resource=_resource)
async def untag_resource(service: PipelineService, call: Call, input: Input) -> Output:
    """Remove tags by key; unknown keys do not matter."""
    name = _named(call, input["resourceArn"])
    rules = tag_rules(input["resourceArn"])
    for key in input["tagKeys"]:
        rules.check_key(key)

    def untag(conn: sa.Connection) -> None:
        id, tags = _tags(conn, call, name, lock=True)
        _save(conn, name, id, rules.remove(tags, input["tagKeys"]))

    await call.app.store.write(untag)
    return {}


@operation("ListTagsForResource", resource=_resource)
async def list_tags_for_resource(service: PipelineService, call: Call, input: Input) -> Output:
    """Every tag, in one page, by key."""
    name = _named(call, input["resourceArn"])
    _, tags = await call.app.store.read(_tags, call, name)
    return {"tags": [{"key": key, "value": value} for key, value in sorted(tags.items())]}
