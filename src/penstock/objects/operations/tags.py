"""Tags of objects."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from penstock.application import Call
from penstock.objects import records
from penstock.objects.blobs import Blobs
from penstock.objects.errors import NoSuchKey
from penstock.objects.lookup import Found, version_of
from penstock.objects.model import Version
from penstock.objects.names import object_arn
from penstock.objects.operations import s3
from penstock.objects.request import OBJECT_TAGS
from penstock.wire.call import Input, Output
from penstock.wire.registry import Recorded
from penstock.wire.tags import listed, pairs_of


def _action(name: str) -> Any:
    def action(_call: Call, input: Input) -> str:
        return f"s3:{name.replace('Object', 'ObjectVersion')}" if input.get("VersionId") else f"s3:{name}"

    return action


@s3("GetObjectTagging", action=_action("GetObjectTagging"), resource=object_arn, recorded=Recorded.DATA)
async def get_object_tagging(blobs: Blobs, call: Call, input: Input) -> Output:
    """`TagSet`, or empty."""
    found = await _tagged(call, input, "GET")
    tags = found.version.about.tags
    return {"VersionId": found.version_id, "TagSet": listed(tags)}


@s3("PutObjectTagging", action=_action("PutObjectTagging"), resource=object_arn, recorded=Recorded.DATA)
async def put_object_tagging(blobs: Blobs, call: Call, input: Input) -> Output:
    """Replace all tags of a version."""
    tags = OBJECT_TAGS.check(pairs_of(input["Tagging"].get("TagSet")))
    return await _replace(call, input, tags, "PUT")


@s3("DeleteObjectTagging", action=_action("DeleteObjectTagging"), resource=object_arn, recorded=Recorded.DATA)
async def delete_object_tagging(blobs: Blobs, call: Call, input: Input) -> Output:
    """Remove all tags of a version."""
    return await _replace(call, input, {}, "DELETE")


async def _tagged(call: Call, input: Input, method: str) -> Found:
    """The version that an input names. A delete marker has no tags, and for them it is none the less what the key holds."""
    return await version_of(call, input, method=method, marker_is_missing=False)


async def _replace(call: Call, input: Input, tags: dict[str, str], method: str) -> Output:
    found = await _tagged(call, input, method)
    await call.app.store.write(_set_tags, found.version, tags)
    return {"VersionId": found.version_id}


def _set_tags(conn: sa.Connection, version: Version, tags: dict[str, str]) -> None:
    records.lock_key(conn, version.bucket, version.key)
    now = records.find_version(conn, version.bucket, version.key, version.version)
    if now is None or now.content != version.content:
        raise NoSuchKey(Key=version.key)  # overwritten or deleted between the two looks
    records.set_about(conn, now, replace(now.about, tags=tags))
