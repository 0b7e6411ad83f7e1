"""GetObjectDigest, an addition to S3: which version a key holds, and the SHA-256 of its bytes."""

from __future__ import annotations

from dataclasses import replace

import sqlalchemy as sa

from penstock.application import Call
from penstock.objects import records
from penstock.objects.blobs import Blobs
from penstock.objects.data_keys import closed, data_key, opened_about
from penstock.objects.lookup import Found, version_of
from penstock.objects.names import object_arn
from penstock.objects.operations import ours
from penstock.wire.call import Input, Output

_LARGEST = (
    64 << 20
)  # bytes that a request from outside can have read to be hashed; its sender can read and hash more itself


def _action(_call: Call, input: Input) -> str:
    return "s3:GetObjectVersion" if input.get("versionId") else "s3:GetObject"


async def _arn(call: Call, input: Input) -> str:
    return await object_arn(call, {"Bucket": input["bucketName"], "Key": input["objectKey"]})


@ours("GetObjectDigest", action=_action, resource=_arn)
async def get_object_digest(blobs: Blobs, call: Call, input: Input) -> Output:
    """What an object is, for whoever may read it: version id, ETag, size, time (s) and SHA-256 (hexadecimal).

    A digest that is not known, such as that of an object that was uploaded in parts, is computed when it is first asked for, and kept. `maximumSize` (bytes)
    bounds what is read for that: a larger object is answered without `sha256`, and so is one above 64 MiB to a caller
    from outside.
    """
    wanted = {"Bucket": input["bucketName"], "Key": input["objectKey"]}
    if input.get("versionId"):
        wanted["VersionId"] = input["versionId"]
    found = await version_of(call, wanted)
    version = found.version
    output: Output = {"eTag": version.etag, "size": version.size, "lastModified": version.modified}
    if found.version_id is not None:
        output["versionId"] = found.version_id
    # A digest says what the bytes may be, so it is for whoever may have them.
    root = await data_key(call, version.about, version.bucket, version.key, region=found.bucket.region)
    known = opened_about(root, version.about).digest
    bounds = (input.get("maximumSize"), None if call.via == "invoke" else _LARGEST)
    if not known and all(bound is None or version.size <= bound for bound in bounds):
        known = await blobs.sha256(version.content, found.pieces, root=root)
        await call.app.store.write(_keep, found, closed(root, known))
    if known:
        output["sha256"] = known
    return output


def _keep(conn: sa.Connection, found: Found, sha256: str) -> None:
    records.lock_key(conn, found.bucket.name, found.version.key)
    now = records.find_version(conn, found.bucket.name, found.version.key, found.version.version)
    if now is not None and now.content == found.version.content:
        records.set_about(conn, now, replace(now.about, sha256=sha256))
