"""Tags of notification rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import sqlalchemy as sa

from penstock.application import App, Call
from penstock.notifications import rule_rows
from penstock.notifications.operations import TAGS, existing, notifications, rule_arn
from penstock.wire.call import Input, Output


@notifications("TagResource", resource=rule_arn)
async def tag_resource(app: App, call: Call, input: Input) -> Output:
    """Add or replace tags; all that the rule has then."""
    new = TAGS.check(input["Tags"].items())
    return {"Tags": await _retag(app, call, input, lambda old: TAGS.add(old, new.items()))}


@notifications("UntagResource", resource=rule_arn)
async def untag_resource(app: App, call: Call, input: Input) -> Output:
    """Remove tags by key."""
    await _retag(app, call, input, lambda old: TAGS.remove(old, input["TagKeys"]))
    return {}


@notifications("ListTagsForResource", resource=rule_arn)
async def list_tags_for_resource(app: App, call: Call, input: Input) -> Output:
    """A rule's tags."""
    row = await app.store.read(lambda conn: existing(conn, call, input["Arn"]))
    return {"Tags": row.tags}


async def _retag(
    app: App, call: Call, input: Input, retag: Callable[[Mapping[str, str]], dict[str, str]]
) -> dict[str, str]:
    def tx(conn: sa.Connection) -> dict[str, str]:
        row = existing(conn, call, input["Arn"], locked=True)
        tags = retag(row.tags)
        rule_rows.change(conn, row.id, tags=tags)
        return tags

    return await app.store.write(tx)
