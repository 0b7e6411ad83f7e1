"""Tags of topics."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import sqlalchemy as sa

from penstock.application import App, Call
from penstock.topics import topic_rows
from penstock.topics.errors import NotFoundException, ResourceNotFoundException
from penstock.topics.operations import TAGS, find_topic, found, locked, sns
from penstock.wire.call import Input, Output
from penstock.wire.tags import listed, pairs_of


async def _resource(call: Call, input: Input) -> str:
    return await find_topic(call, input["ResourceArn"], "ResourceArn")


@sns("TagResource", resource=_resource)
async def tag_resource(app: App, call: Call, input: Input) -> None:
    """Add or replace tags."""
    new = TAGS.check(pairs_of(input["Tags"]))
    await _retag(app, call, lambda old: TAGS.add(old, new.items()))


@sns("UntagResource", resource=_resource)
async def untag_resource(app: App, call: Call, input: Input) -> None:
    """Remove tags by key."""
    await _retag(app, call, lambda old: TAGS.remove(old, input["TagKeys"]))


@sns("ListTagsForResource", resource=_resource)
async def list_tags_for_resource(app: App, call: Call, input: Input) -> Output:
    """A topic's tags."""
    try:
        return {"Tags": listed(found(call).tags)}
    except NotFoundException:
        raise ResourceNotFoundException from None


async def _retag(app: App, call: Call, retag: Callable[[Mapping[str, str]], dict[str, str]]) -> None:
    def tx(conn: sa.Connection) -> None:
        try:
            row = locked(conn, call)
        except NotFoundException:
            raise ResourceNotFoundException from None
        topic_rows.change(conn, row.id, tags=retag(row.tags))

    await app.store.write(tx)
