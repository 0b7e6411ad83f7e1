"""Tags of keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from penstock.application import Call
from penstock.keys import engine, records
from penstock.keys.engine import Need
from penstock.keys.errors import TagException
from penstock.keys.lookup import locked, own_key
from penstock.keys.operations import key_arn, keys_of, kms
from penstock.keys.vault import Vault
from penstock.wire.call import Input, Output
from penstock.wire.tags import TagRules

_TAGS = TagRules(  # AWS: TagResource of KMS
    too_many=lambda: TagException("Too many tags"),
    reserved=lambda _key: TagException("Tags beginning with aws: are reserved"),
    duplicate=lambda _key: TagException("Duplicate tag keys"),
    malformed=lambda _key, _value: TagException("A tag is not valid"),
)


def checked_tags(given: list[Mapping[str, str]] | None) -> dict[str, str]:
    """Tags of an input. Raises TagException."""
    return _TAGS.check((tag["TagKey"], tag["TagValue"]) for tag in given or ())


@kms("TagResource", resource=key_arn(), keys=keys_of)
async def tag_resource(vault: Vault, call: Call, input: Input) -> None:
    """Add or replace tags."""
    new = checked_tags(input["Tags"])
    await _retag(call, input, lambda old: _TAGS.add(old, new.items()))


@kms("UntagResource", resource=key_arn(), keys=keys_of)
async def untag_resource(vault: Vault, call: Call, input: Input) -> None:
    """Remove tags by key."""
    await _retag(call, input, lambda old: _TAGS.remove(old, input["TagKeys"]))


@kms("ListResourceTags", resource=key_arn(), keys=keys_of)
async def list_resource_tags(vault: Vault, call: Call, input: Input) -> Output:
    """A key's tags; at most 50, so always one page."""
    row = await own_key(call, input)
    return {"Tags": [{"TagKey": key, "TagValue": value} for key, value in row.tags.items()], "Truncated": False}


async def _retag(call: Call, input: Input, retag: Any) -> None:
    row = await own_key(call, input)

    def tx(conn: sa.Connection) -> None:
        key = locked(conn, row)
        engine.check(key, Need.KEPT)
        records.change(conn, key.id, tags=retag(key.tags))

    await call.app.store.write(tx)
