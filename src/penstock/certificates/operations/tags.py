"""Tags of trust anchors, profiles, revocation lists and subjects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa

from penstock.application import App, Call
from penstock.certificates import records
from penstock.certificates.errors import ResourceNotFoundException
from penstock.certificates.operations import TAGS, Kind, anywhere
from penstock.certificates.operations.anchors import ANCHORS
from penstock.certificates.operations.lists import LISTS
from penstock.certificates.operations.profiles import PROFILES
from penstock.certificates.operations.subjects import SUBJECTS
from penstock.wire.call import Input, Output


def _resource(_call: Call, input: Input) -> str:
    return input["resourceArn"]


@anywhere("TagResource", resource=_resource)
async def tag_resource(app: App, call: Call, input: Input) -> None:
    """Add or replace tags."""
    new = TAGS.check((tag["key"], tag["value"]) for tag in input["tags"])
    await _retag(app, call, input, lambda old: TAGS.add(old, new.items()))


@anywhere("UntagResource", resource=_resource)
async def untag_resource(app: App, call: Call, input: Input) -> None:
    """Remove tags by key."""
    await _retag(app, call, input, lambda old: TAGS.remove(old, input["tagKeys"]))


@anywhere("ListTagsForResource", resource=_resource)
async def list_tags_for_resource(app: App, call: Call, input: Input) -> Output:
    """A resource's tags."""
    row = await app.store.read(_kind(call, input).found, call, input["resourceArn"])
    return {"tags": [{"key": key, "value": value} for key, value in row.tags.items()]}


def _kind(call: Call, input: Input) -> Kind:
    """The kind of what an ARN names. Raises ResourceNotFoundException."""
    arn: str = input["resourceArn"]
    for kind in (ANCHORS, PROFILES, LISTS, SUBJECTS):
        if arn.startswith(kind.arn(call, "")):
            return kind
    raise ResourceNotFoundException(kind="resource", id=arn)


async def _retag(app: App, call: Call, input: Input, retag: Callable[[Mapping[str, str]], dict[str, str]]) -> None:
    kind, arn = _kind(call, input), input["resourceArn"]

    def tx(conn: sa.Connection) -> None:
        row: Any = kind.found(conn, call, arn, locked=True)
        records.change(conn, kind.table, row.id, tags=retag(row.tags))

    await app.store.write(tx)
