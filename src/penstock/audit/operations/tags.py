"""Tags of trails."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa

from penstock.application import Call
from penstock.audit import trail_rows
from penstock.audit.errors import InvalidTokenException, ResourceNotFoundException, TrailNotFoundException
from penstock.audit.operations import operation
from penstock.audit.operations.trails import own
from penstock.audit.shipping import Shipping
from penstock.audit.trail_names import asked_tags, tag_rules, trail_arn, trail_arns
from penstock.wire.call import Input, Output
from penstock.wire.tags import listed, pairs_of

_MAX = 20  # trails of one request (AWS: ListTags)


@operation("AddTags", resource=trail_arn("ResourceId"), keys=asked_tags)
async def add_tags(shipping: Shipping, call: Call, input: Input) -> None:
    """Add or replace tags."""
    await _retag(call, input, lambda old: tag_rules.add(old, pairs_of(input["TagsList"])))


@operation("RemoveTags", resource=trail_arn("ResourceId"), keys=asked_tags)
async def remove_tags(shipping: Shipping, call: Call, input: Input) -> None:
    """Remove tags by key."""
    keys = [key for key, _ in pairs_of(input["TagsList"])]
    await _retag(call, input, lambda old: tag_rules.remove(old, keys))


@operation("ListTags", resource=trail_arns)
async def list_tags(shipping: Shipping, call: Call, input: Input) -> Output:
    """The tags of up to 20 trails."""
    if input.get("NextToken"):
        raise InvalidTokenException
    if len(input["ResourceIdList"]) > _MAX:
        raise ResourceNotFoundException(f"The tags of {_MAX} trails at most are listed at once.")
    found = []
    for arn in input["ResourceIdList"]:
        row = await _row(call, arn)
        found.append({"ResourceId": row.arn, "TagsList": listed(row.tags)})
    return {"ResourceTagList": found}


async def _row(call: Call, arn: str) -> Any:
    try:
        return await own(call, arn)
    except TrailNotFoundException:
        raise ResourceNotFoundException(f"There is no trail {arn}.") from None


async def _retag(call: Call, input: Input, tagged: Callable[[Mapping[str, str]], dict[str, str]]) -> None:
    row = await _row(call, input["ResourceId"])

    def tx(conn: sa.Connection) -> None:
        now = trail_rows.by_id(conn, row.id, lock=True)
        if now is None:
            raise ResourceNotFoundException(f"There is no trail {row.arn}.")
        trail_rows.change(conn, now.id, tags=tagged(now.tags))

    await call.app.store.write(tx)
