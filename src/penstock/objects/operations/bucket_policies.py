"""Policies of buckets. Identity evaluates them; here they are kept and checked to speak of their bucket."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from penstock.application import Call
from penstock.objects import records
from penstock.objects.blobs import Blobs
from penstock.objects.errors import AccessDenied, MalformedPolicy, MethodNotAllowed, NoSuchBucket, NoSuchBucketPolicy
from penstock.objects.lookup import bucket_of
from penstock.objects.model import Bucket
from penstock.objects.names import bucket_arn
from penstock.objects.operations import s3
from penstock.public_policies import is_public, listed, statements
from penstock.wire.call import Input, Output, Reply
from penstock.wire.identity import PolicyRefused

MAX_POLICY = 20_480  # bytes (AWS: bucket policies are limited to 20 KB)


@s3("PutBucketPolicy", resource=bucket_arn)
async def put_bucket_policy(blobs: Blobs, call: Call, input: Input) -> Reply:
    """Replace the policy; it counts from the next request on."""
    bucket = await _own_bucket(call, input, "PUT")
    document: str = input["Policy"]
    if len(document.encode()) > MAX_POLICY:
        raise MalformedPolicy(f"Policy exceeds the maximum allowed document size of {MAX_POLICY} bytes.")
    if not document.lstrip().startswith("{"):
        raise MalformedPolicy("Policies must be valid JSON and the first byte must be '{'")

    def tx(conn: sa.Connection) -> None:
        found = records.find_bucket(conn, bucket.name, lock="update")
        if found is None:
            raise NoSuchBucket(BucketName=bucket.name)
        try:
            ids = call.app.identity.check_policy(conn, document)
        except PolicyRefused as refused:
            # S3 does not say which principal, nor what else of the syntax it is.
            raise MalformedPolicy("Invalid principal in policy" if refused.principal else refused.message) from None
        for statement in statements(document):
            _check(statement, bucket.name)
        block = found.settings.get("public_access_block", {"BlockPublicPolicy": True}) or {}
        if block.get("BlockPublicPolicy") and is_public(document):
            raise AccessDenied(
                "The bucket policy allows public access, which the BlockPublicPolicy setting of the bucket prevents."
            )
        settings = found.settings | {"policy": {"document": document, "ids": ids}}
        records.update_bucket(conn, bucket.name, settings=settings)

    await call.app.identity.change(tx)
    return Reply({}, status=204)


@s3("GetBucketPolicy", resource=bucket_arn)
async def get_bucket_policy(blobs: Blobs, call: Call, input: Input) -> Output:
    """The policy as it was put; users and roles that are gone are shown by their ids."""
    bucket = await _own_bucket(call, input, "GET")
    kept = bucket.settings.get("policy")
    if not kept:
        raise NoSuchBucketPolicy(BucketName=bucket.name)
    shown = call.app.identity.policy_to_api
    return {"Policy": await call.app.store.read(shown, kept["document"], kept["ids"])}


@s3("GetBucketPolicyStatus", resource=bucket_arn)
async def get_bucket_policy_status(blobs: Blobs, call: Call, input: Input) -> Output:
    """Whether the policy lets everybody in."""
    bucket = await bucket_of(call, input)
    kept = bucket.settings.get("policy")
    if not kept:
        raise NoSuchBucketPolicy(BucketName=bucket.name)
    return {"PolicyStatus": {"IsPublic": is_public(kept["document"])}}


@s3("DeleteBucketPolicy", resource=bucket_arn)
async def delete_bucket_policy(blobs: Blobs, call: Call, input: Input) -> Reply:
    """Forget the policy; deleting none is no error."""
    bucket = await _own_bucket(call, input, "DELETE")

    def tx(conn: sa.Connection) -> None:
        found = records.find_bucket(conn, bucket.name, lock="update")
        if found is None:
            raise NoSuchBucket(BucketName=bucket.name)
        records.update_bucket(conn, bucket.name, settings={**found.settings, "policy": None})

    await call.app.identity.change(tx)
    return Reply({}, status=204)


async def _own_bucket(call: Call, input: Input, method: str) -> Bucket:
    """The bucket, whose policy is nobody's but its own account's, whatever that policy says.

    Raises MethodNotAllowed (AWS: PutBucketPolicy, GetBucketPolicy and DeleteBucketPolicy, "Permissions").
    """
    bucket = await bucket_of(call, input)
    if bucket.account != call.account:
        raise MethodNotAllowed(Method=method, ResourceType="BUCKETPOLICY")
    return bucket


def _check(statement: dict[str, Any], bucket: str) -> None:
    for action in listed(statement.get("Action", statement.get("NotAction"))):
        if action != "*" and not action.lower().startswith("s3:"):
            raise MalformedPolicy("Policy has invalid action")
    for resource in listed(statement.get("Resource", statement.get("NotResource"))):
        segments = resource.split(":", 5)
        if len(segments) != 6 or segments[2] != "s3" or segments[5].partition("/")[0] != bucket:
            raise MalformedPolicy("Policy has invalid resource")
