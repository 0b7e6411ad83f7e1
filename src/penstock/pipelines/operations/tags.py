"""TagResource, UntagResource, ListTagsForResource: tags of pipelines, webhooks and custom action types."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from penstock.application import Call
from penstock.pipelines import records, webhook_records, worker_records
from penstock.pipelines.custom_types import CUSTOM, check_lease
from penstock.pipelines.errors import (
    InvalidArnException,
    InvalidTagsException,
    ResourceNotFoundException,
    TooManyTagsException,
)
from penstock.pipelines.model import ActionTypeId
from penstock.pipelines.operations import operation
from penstock.pipelines.operations.addressing import type_arn
from penstock.pipelines.service import PipelineService
from penstock.wire.arns import authorised_arn, parse_arn, resource_here
from penstock.wire.call import Input, Output
from penstock.wire.tags import TagRules

_NAME = re.compile(r"(?:webhook:)?[A-Za-z0-9.@_-]+")
_WEBHOOK = "webhook:"


_TYPE = re.compile(r"action[Tt]ype:Custom/([A-Za-z]+)/([0-9A-Za-z_-]{1,35})/([0-9A-Za-z_-]{1,9})")


def _type_named(resource: str) -> ActionTypeId | None:
    """The custom action type that the resource of an ARN names; None for anything else. AWS writes both actionType and actiontype."""
    match = _TYPE.fullmatch(resource)
    if match is None:
        return None
    return ActionTypeId(category=match[1], owner=CUSTOM, provider=match[2], version=match[3])


def _resource(call: Call, input: Input) -> str:
    arn = input["resourceArn"]
    resource = resource_here(call, arn, "codepipeline")
    type_id = None if resource is None else _type_named(resource)
    return authorised_arn(call, arn, "codepipeline") if type_id is None else type_arn(call, type_id)


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
    if named is None or not (_NAME.fullmatch(named.resource) or _TYPE.fullmatch(named.resource)):
        raise InvalidArnException(arn=arn)
    if not named.is_here(call):
        raise ResourceNotFoundException(account=call.account, name=named.resource)
    return named.resource


def tagged(conn: sa.Connection, account: str, region: str, resource: str, *, lock: bool = False) -> Any:
    """The row of what has tags of its own, by the resource of its ARN; None without it.

    That is a pipeline, for what is in it too, a webhook or a custom action type.
    """
    type_id = _type_named(resource)
    if type_id is not None:
        row = worker_records.find_own(conn, account, region, type_id, lock=lock)
        return None if row is None or row.deleted is not None else row
    if resource.startswith(_WEBHOOK):
        return webhook_records.find(conn, account, region, resource.removeprefix(_WEBHOOK), lock=lock)
    return records.pipeline(conn, account, region, resource.partition("/")[0], lock=lock)


def _found(conn: sa.Connection, call: Call, resource: str, *, lock: bool = False) -> Any:
    row = tagged(conn, call.account, call.region, resource, lock=lock)
    if row is None:
        raise ResourceNotFoundException(account=call.account, name=resource)
    return row


def _save(conn: sa.Connection, call: Call, resource: str, row: Any, tags: dict[str, str]) -> None:
    type_id = _type_named(resource)
    if type_id is not None:
        check_lease(tags)
        worker_records.set_tags(conn, call.account, call.region, type_id, tags)
        return
    table = webhook_records.webhooks if resource.startswith(_WEBHOOK) else records.pipelines
    conn.execute(table.update().where(table.c.id == row.id).values(tags=tags))


@operation("TagResource", resource=_resource)
async def tag_resource(service: PipelineService, call: Call, input: Input) -> Output:
    """Add tags; values of known keys are replaced."""
    arn = input["resourceArn"]
    name = _named(call, arn)
    rules, given = tag_rules(arn), pairs_of(input["tags"])
    rules.check(given)

    def tag(conn: sa.Connection) -> None:
        row = _found(conn, call, name, lock=True)
        _save(conn, call, name, row, rules.add(row.tags, given))

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
        row = _found(conn, call, name, lock=True)
        _save(conn, call, name, row, rules.remove(row.tags, input["tagKeys"]))

    await call.app.store.write(untag)
    return {}


@operation("ListTagsForResource", resource=_resource)
async def list_tags_for_resource(service: PipelineService, call: Call, input: Input) -> Output:
    """Every tag, in one page, by key."""
    name = _named(call, input["resourceArn"])
    row = await call.app.store.read(_found, call, name)
    return {"tags": [{"key": key, "value": value} for key, value in sorted(row.tags.items())]}
