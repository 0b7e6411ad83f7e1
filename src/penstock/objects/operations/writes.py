"""PutObject."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterable, AsyncIterator
from typing import Any

from penstock.application import Call
from penstock.objects import commits, records
from penstock.objects.blobs import Blobs, Written
from penstock.objects.conditions import check_write
from penstock.objects.data_keys import closed_about, etag_of, new_data_key, opened
from penstock.objects.errors import EntityTooLarge
from penstock.objects.lookup import mine
from penstock.objects.model import MAX_PUT, About, Bucket, Version
from penstock.objects.names import arn_of_object, check_key, object_arn
from penstock.objects.operations import s3
from penstock.objects.request import ChecksumRequirements, about
from penstock.store.failpoints import failpoint
from penstock.wire.call import Input, Output
from penstock.wire.errors import ServiceError
from penstock.wire.registry import Recorded

_CONDITION_KEYS = {
    "ACL": "s3:x-amz-acl",
    "ServerSideEncryption": "s3:x-amz-server-side-encryption",
    "SSEKMSKeyId": "s3:x-amz-server-side-encryption-aws-kms-key-id",
    "StorageClass": "s3:x-amz-storage-class",
}


def _keys(_call: Call, input: Input) -> dict[str, str]:
    """S3's condition keys of what a writer says of an object. (AWS: Service Authorization Reference, Amazon S3.)"""
    return {key: input[member] for member, key in _CONDITION_KEYS.items() if input.get(member)}


@s3("PutObject", resource=object_arn, keys=_keys, recorded=Recorded.DATA)
async def put_object(blobs: Blobs, call: Call, input: Input) -> Output:
    """Write an object. `Body` may be bytes or a stream; a body that is not what was announced leaves nothing.

    Answers `ETag`, the checksum and, in a bucket with versions, `VersionId`.
    """
    key = check_key(input["Key"])
    bucket, current = await call.app.store.read(_lookup, input["Bucket"], key)
    bucket = mine(call, input, bucket)
    said = about(input, bucket)
    if said.tags:
        await call.app.identity.authorize(call, "s3:PutObjectTagging", (arn_of_object(call, bucket.name, key),))
    check_write(input, current)  # again in the transaction; here it spares an upload in vain
    requirements = ChecksumRequirements(call, input)
    said, root = await new_data_key(call, said, bucket, key)
    body = input.get("Body", b"")
    written = await write_body(blobs, body, requirements, root)
    async with pending_blob(blobs, written):
        checksum = requirements.check(written.digests, body)
        said = said.with_digests(requirements.kept(checksum), written.digests.sha256.hex())
        pending = commits.PendingVersion(
            bucket=bucket.name,
            key=key,
            etag=etag_of(call, said, written.digests.md5.hex()),
            size=written.blob.size,
            content=written.blob.id,
            about=closed_about(root, said),
            reason="PutObject",
        )
        failpoint("objects.bytes_durable")
        bucket, version = await call.app.store.write(commits.put_object, call, pending, written, input)
        failpoint("objects.object_committed")
    output: Output = {"ETag": version.quoted_etag, "VersionId": commits.version_to_api(bucket, version)}
    return output | checksum_of(said) | encryption_of(said)


def _lookup(conn: Any, bucket: str, key: str) -> tuple[Bucket | None, Version | None]:
    return records.find_bucket(conn, bucket), records.find_version(conn, bucket, key)


async def write_body(blobs: Blobs, body: Any, requirements: ChecksumRequirements, root: bytes) -> Written:
    """Make a body durable, under a data key if there is one. Raises EntityTooLarge and what its iteration raises."""
    if isinstance(body, bytes | bytearray | memoryview):
        stream: AsyncIterable[bytes] | bytes = bytes(body)
    else:
        announced = getattr(body, "length", None)
        if announced is not None and announced > MAX_PUT:
            raise EntityTooLarge(ProposedSize=str(announced), MaxSizeAllowed=str(MAX_PUT))
        stream = _bounded(body)
    md5 = requirements.states_md5 or not root  # nobody is shown that of what is under a data key
    return await blobs.write(stream, algorithms=requirements.algorithms, root=root, md5=md5)


@contextlib.asynccontextmanager
async def pending_blob(blobs: Blobs, written: Written) -> AsyncIterator[None]:
    """What commits a blob, or is refused: then the blob goes at once."""
    try:
        yield
    except ServiceError:
        await blobs.discard(written.blob)
        raise
    finally:
        blobs.settled(written.blob)


async def _bounded(body: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    size = 0
    async for chunk in body:
        size += len(chunk)
        if size > MAX_PUT:
            raise EntityTooLarge(MaxSizeAllowed=str(MAX_PUT))
        yield chunk


def checksum_of(said: About, root: bytes = b"") -> Output:
    """The members with an object's checksum; under its data key (`root`) where that is how it is kept."""
    if said.checksum is None:
        return {}
    return {said.checksum.spec.member: opened(root, said.checksum.value), "ChecksumType": said.checksum.type.value}


def encryption_of(said: About) -> Output:
    """The members that describe an object's encryption.

    Every blob is encrypted with a key of its own, sealed by the installation's master key; under `aws:kms` it is wrapped under a data
    key before that.
    """
    output: Output = {}
    if said.encryption:
        output["ServerSideEncryption"] = said.encryption
    if said.kms_key:
        output["SSEKMSKeyId"] = said.kms_key
    if said.bucket_key:
        output["BucketKeyEnabled"] = True
    return output
