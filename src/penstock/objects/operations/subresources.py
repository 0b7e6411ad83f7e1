"""Subresources of buckets: default encryption, tags, public access block, notifications."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from penstock.application import Call
from penstock.objects import records
from penstock.objects.blobs import Blobs
from penstock.objects.errors import (
    MalformedXML,
    NoSuchBucket,
    NoSuchPublicAccessBlockConfiguration,
    NoSuchTagSet,
    NotServed,
)
from penstock.objects.lookup import bucket_of
from penstock.objects.names import bucket_arn
from penstock.objects.operations import s3
from penstock.objects.request import BUCKET_TAGS, ENCRYPTIONS
from penstock.wire.call import Input, Output, Reply
from penstock.wire.tags import listed, pairs_of

_BLOCKS = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")


@s3("GetBucketEncryption", action="s3:GetEncryptionConfiguration", resource=bucket_arn)
async def get_bucket_encryption(blobs: Blobs, call: Call, input: Input) -> Output:
    """What objects without an encryption header of their own are encrypted with."""
    bucket = await bucket_of(call, input)
    default = bucket.settings.get("encryption") or {}
    rule: dict[str, Any] = {
        "ApplyServerSideEncryptionByDefault": {
            "SSEAlgorithm": default.get("algorithm", "AES256"),
            "KMSMasterKeyID": default.get("key") or None,
        },
        "BucketKeyEnabled": bool(default.get("bucket_key")),
    }
    if blocked := default.get("blocked"):
        rule["BlockedEncryptionTypes"] = {"EncryptionType": blocked}
    return {"ServerSideEncryptionConfiguration": {"Rules": [rule]}}


@s3("PutBucketEncryption", action="s3:PutEncryptionConfiguration", resource=bucket_arn)
async def put_bucket_encryption(blobs: Blobs, call: Call, input: Input) -> Output:
    """Set it."""
    rules = input["ServerSideEncryptionConfiguration"].get("Rules") or []
    if len(rules) != 1:
        raise MalformedXML
    default = rules[0].get("ApplyServerSideEncryptionByDefault") or {}
    algorithm, key = default.get("SSEAlgorithm", "AES256"), default.get("KMSMasterKeyID") or ""
    if algorithm not in ENCRYPTIONS or (key and algorithm == "AES256"):
        raise MalformedXML
    setting = {
        "algorithm": algorithm,
        "key": key,
        "bucket_key": bool(rules[0].get("BucketKeyEnabled")),
        # What can be blocked are keys that the customer provides, and those are refused everywhere.
        "blocked": (rules[0].get("BlockedEncryptionTypes") or {}).get("EncryptionType"),
    }
    return await _set(call, input, "encryption", setting)


@s3("DeleteBucketEncryption", action="s3:PutEncryptionConfiguration", resource=bucket_arn)
async def delete_bucket_encryption(blobs: Blobs, call: Call, input: Input) -> Output:
    """Back to AES256."""
    return await _set(call, input, "encryption", None)


@s3("GetBucketTagging", resource=bucket_arn)
async def get_bucket_tagging(blobs: Blobs, call: Call, input: Input) -> Output:
    """`TagSet`. Raises NoSuchTagSet when it is missing."""
    bucket = await bucket_of(call, input)
    tags = bucket.settings.get("tags")
    if not tags:
        raise NoSuchTagSet(BucketName=bucket.name)
    return {"TagSet": listed(tags)}


@s3("PutBucketTagging", resource=bucket_arn)
async def put_bucket_tagging(blobs: Blobs, call: Call, input: Input) -> Reply:
    """Replace all tags."""
    tags = BUCKET_TAGS.check(pairs_of(input["Tagging"].get("TagSet")))
    return Reply(await _set(call, input, "tags", tags), status=204)


@s3("DeleteBucketTagging", action="s3:PutBucketTagging", resource=bucket_arn)
async def delete_bucket_tagging(blobs: Blobs, call: Call, input: Input) -> Output:
    """Remove all tags."""
    return await _set(call, input, "tags", None)


@s3("GetPublicAccessBlock", action="s3:GetBucketPublicAccessBlock", resource=bucket_arn)
async def get_public_access_block(blobs: Blobs, call: Call, input: Input) -> Output:
    """What was put. Nothing here is ever public, whatever it says: unsigned requests are not served."""
    bucket = await bucket_of(call, input)
    setting = bucket.settings.get("public_access_block", dict.fromkeys(_BLOCKS, True))
    if setting is None:
        raise NoSuchPublicAccessBlockConfiguration(BucketName=bucket.name)
    return {"PublicAccessBlockConfiguration": setting}


@s3("PutPublicAccessBlock", action="s3:PutBucketPublicAccessBlock", resource=bucket_arn)
async def put_public_access_block(blobs: Blobs, call: Call, input: Input) -> Output:
    """Keep it for GetPublicAccessBlock."""
    asked = input["PublicAccessBlockConfiguration"]
    return await _set(call, input, "public_access_block", {name: bool(asked.get(name)) for name in _BLOCKS})


@s3("DeletePublicAccessBlock", action="s3:PutBucketPublicAccessBlock", resource=bucket_arn)
async def delete_public_access_block(blobs: Blobs, call: Call, input: Input) -> Output:
    """Forget it."""
    return await _set(call, input, "public_access_block", None)


@s3("GetBucketNotificationConfiguration", action="s3:GetBucketNotification", resource=bucket_arn)
async def get_bucket_notification_configuration(blobs: Blobs, call: Call, input: Input) -> Output:
    """Whether EventBridge gets the bucket's events, as it was put last; a bucket of which nobody has said anything shows nothing."""
    bucket = await bucket_of(call, input)
    return {"EventBridgeConfiguration": {}} if bucket.settings.get("eventbridge") else {}


@s3("PutBucketNotificationConfiguration", action="s3:PutBucketNotification", resource=bucket_arn)
async def put_bucket_notification_configuration(blobs: Blobs, call: Call, input: Input) -> Output:
    """Let EventBridge have the bucket's events, or not. Topics, queues and functions are refused: a rule reaches them."""
    asked = input["NotificationConfiguration"]
    for member in ("TopicConfigurations", "QueueConfigurations", "LambdaFunctionConfigurations"):
        if asked.get(member):
            raise NotServed(
                f"{member} is not served: put EventBridgeConfiguration, and a rule of EventBridge with the destination as its target."
            )
    return await _set(call, input, "eventbridge", "EventBridgeConfiguration" in asked)


async def _set(call: Call, input: Input, name: str, value: Any) -> Output:
    bucket = await bucket_of(call, input)
    await call.app.store.write(_write, bucket.name, name, value)
    return {}


def _write(conn: sa.Connection, bucket: str, name: str, value: Any) -> None:
    found = records.find_bucket(conn, bucket, lock="update")
    if found is None:
        raise NoSuchBucket(BucketName=bucket)
    records.update_bucket(conn, bucket, settings=found.settings | {name: value})
