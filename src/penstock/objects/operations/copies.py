"""CopyObject."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

from penstock.application import Call
from penstock.objects import commits, records
from penstock.objects.blobs import Blobs, Piece
from penstock.objects.checksums import ALGORITHMS, DEFAULT, Algorithm, ChecksumType, Digests
from penstock.objects.conditions import Conditions, check_write
from penstock.objects.data_keys import closed, closed_about, data_key, etag_of, new_data_key, opened, opened_about
from penstock.objects.errors import InvalidArgument, InvalidRequest, MethodNotAllowed, NoSuchKey
from penstock.objects.lookup import Found, bucket_of, cut, version_of
from penstock.objects.model import MAX_PUT, About, Bucket, Checksum, time_to_api
from penstock.objects.names import arn_of_object, check_key, note_region, object_arn
from penstock.objects.operations import s3
from penstock.objects.operations.writes import checksum_of, encryption_of
from penstock.objects.request import about, tags_of_header
from penstock.store.failpoints import failpoint
from penstock.wire.call import Input, Output
from penstock.wire.registry import Recorded


@s3("CopyObject", action="s3:PutObject", resource=object_arn, recorded=Recorded.DATA)
async def copy_object(blobs: Blobs, call: Call, input: Input) -> Output:
    """Copy a version up to 5 GiB. The bytes are shared, also where only their keys are wrapped anew; they are read only to hash what has no
    plain MD5 or other checksum.
    """
    key = check_key(input["Key"])
    bucket = await bucket_of(call, input)
    source = await source_of(call, input)
    Conditions.of(input, "CopySource").check_source(source.version, call.now)
    if source.version.size > MAX_PUT:
        raise InvalidRequest(
            f"The specified copy source is larger than the maximum allowable size for a copy source: {MAX_PUT}"
        )
    said = _about(input, bucket, source)
    if said.tags:
        if input.get("TaggingDirective", "COPY") == "COPY":
            await _may_read_tags(call, input, source)
        await call.app.identity.authorize(call, "s3:PutObjectTagging", (arn_of_object(call, bucket.name, key),))
    asked = {name: input[name] for name in ("IfMatch", "IfNoneMatch") if input.get(name)}
    conditions = asked | {"Key": key}
    if (
        asked
    ):  # again in the transaction; here it spares the hashing, and answers before what else may be wrong with the copy
        check_write(conditions, await call.app.store.read(records.find_version, bucket.name, key))
    if (bucket.name, key) == (source.bucket.name, source.version.key):
        _refuse_idle(input, bucket)
    algorithm = _algorithm(input, source)
    opens = await data_key_of(call, source)
    said, seals = await new_data_key(call, said, bucket, key)
    md5, checksum, digest = await _hashes(blobs, source, algorithm, opens, md5=not said.data_key)
    keys = await blobs.keys_for(source.pieces, opens=opens, seals=seals)
    checksums = await blobs.run(_checksums_for, source.pieces, opens, seals)
    said = said.with_digests(checksum, digest)
    pending = commits.PendingVersion(
        bucket=bucket.name,
        key=key,
        etag=etag_of(call, said, md5),
        size=source.version.size,
        content=call.app.ids.hex(32),
        about=closed_about(seals, said),
        reason="CopyObject",
    )
    kept = list(zip(keys, checksums, strict=True))
    bucket, version = await call.app.store.write(commits.copy_object, call, pending, source, kept, conditions)
    failpoint("objects.copy_committed")
    result = {"ETag": version.quoted_etag, "LastModified": time_to_api(version.modified)}
    return {
        "CopyObjectResult": result | checksum_of(said),
        "VersionId": commits.version_to_api(bucket, version),
        "CopySourceVersionId": source.version_id,
    } | encryption_of(said)


async def source_of(call: Call, input: Input) -> Found:
    """The version that `CopySource` names (`bucket/key?versionId=id`, percent-encoded), read with the caller's rights."""
    raw, _, version = input["CopySource"].partition("?versionId=")
    try:
        bucket, slash, key = unquote(raw, errors="strict").removeprefix("/").partition("/")
    except UnicodeDecodeError:  # another key must not be copied in place of one that is no text
        bucket = slash = key = ""
    if not slash or not bucket or not key or "\0" in bucket + key:
        raise InvalidArgument(
            "Copy Source must mention the source bucket and key: sourcebucket/sourcekey",
            ArgumentName="x-amz-copy-source",
            ArgumentValue=input["CopySource"],
        )
    action = "s3:GetObjectVersion" if version else "s3:GetObject"
    await note_region(call, bucket)
    await call.app.identity.authorize(call, action, (arn_of_object(call, bucket, key),))
    wanted: dict[str, Any] = {"Bucket": bucket, "Key": key}
    if version:
        wanted["VersionId"] = version
    if owner := input.get("ExpectedSourceBucketOwner"):
        wanted["ExpectedBucketOwner"] = owner
    try:
        found = await version_of(call, wanted)
    except MethodNotAllowed:
        raise InvalidRequest(
            "The source of a copy request may not specifically refer to a delete marker by version id."
        ) from None
    except NoSuchKey as missing:
        raise NoSuchKey(Key=key) from missing
    await note_region(call, input["Bucket"])
    return found


async def _may_read_tags(call: Call, input: Input, source: Found) -> None:
    action = "s3:GetObjectVersionTagging" if "?versionId=" in input["CopySource"] else "s3:GetObjectTagging"
    await note_region(call, source.bucket.name)
    await call.app.identity.authorize(call, action, (arn_of_object(call, source.bucket.name, source.version.key),))
    await note_region(call, input["Bucket"])


def _about(input: Input, bucket: Bucket, source: Found) -> About:
    # about() checks the whole input, even when the metadata are the source's.
    said = about(input, bucket)
    if input.get("MetadataDirective", "COPY") not in ("COPY", "REPLACE"):
        raise InvalidArgument("Unknown metadata directive.", ArgumentName="x-amz-metadata-directive")
    if input.get("MetadataDirective", "COPY") == "COPY":
        kept = source.version.about
        headers = {name: value for name, value in kept.headers.items() if name != "WebsiteRedirectLocation"}
        said = replace(said, headers=headers, metadata=kept.metadata)
    if input.get("TaggingDirective", "COPY") == "COPY":
        return replace(said, tags=source.version.about.tags)
    return replace(said, tags=tags_of_header(input.get("Tagging") or ""))


def _refuse_idle(input: Input, bucket: Bucket) -> None:
    """AWS refuses a copy onto itself that changes nothing. To name a storage class is a change, also the one it has."""
    changed = (
        input.get("MetadataDirective") == "REPLACE"
        or input.get("TaggingDirective") == "REPLACE"
        or "?versionId=" in input["CopySource"]
        or input.get("ServerSideEncryption")
        or input.get("ChecksumAlgorithm")
        or input.get("WebsiteRedirectLocation")
        or input.get("StorageClass")
        or bucket.settings.get("encryption")
    )
    if not changed:
        raise InvalidRequest(
            "This copy request is illegal because it is trying to copy an object to itself without changing the object's "
            "metadata, storage class, website redirect location or encryption attributes."
        )


def _algorithm(input: Input, source: Found) -> Algorithm:
    """Of the copy's checksum. Raises InvalidRequest."""
    kept = source.version.about.checksum
    asked = input.get("ChecksumAlgorithm") or (kept.algorithm if kept else DEFAULT.name)
    if asked not in ALGORITHMS:
        raise InvalidRequest(
            "Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]"
        )
    return ALGORITHMS[asked]


async def _hashes(
    blobs: Blobs, source: Found, algorithm: Algorithm, root: bytes, *, md5: bool
) -> tuple[str, Checksum, str]:
    """(MD5 in hexadecimal, checksum, SHA-256 in hexadecimal if it is known) of the copy, which is a plain object; what is not known of the
    source is computed. `md5` is whether that is wanted: otherwise it may be something else.
    """
    version = source.version
    about = opened_about(root, version.about)
    kept = about.checksum
    if not md5 or (version.part_count is None and not about.data_key):
        if kept and kept.algorithm == algorithm.name and kept.type is ChecksumType.FULL_OBJECT:
            return version.etag, kept, about.digest
        if algorithm.name == "SHA256" and about.digest:
            return version.etag, _full(algorithm, b64encode(bytes.fromhex(about.digest)).decode()), about.digest
    digests = await digests_of(blobs, source, 0, version.size, algorithm, root, md5=md5)
    return digests.md5.hex(), _full(algorithm, digests.value(algorithm)), digests.sha256.hex()


def _checksums_for(pieces: Sequence[Piece], opens: bytes, seals: bytes) -> list[str]:
    """The checksums of the copy's parts, as they are kept."""
    return [closed(seals, opened(opens, piece.checksum)) for piece in pieces]


def _full(algorithm: Algorithm, value: str) -> Checksum:
    return Checksum(algorithm=algorithm.name, type=ChecksumType.FULL_OBJECT, value=value)


async def data_key_of(call: Call, source: Found) -> bytes:
    """The data key of a version that is read; none but for SSE-KMS."""
    version = source.version
    return await data_key(call, version.about, version.bucket, version.key, region=source.bucket.region)


async def digests_of(  # noqa: PLR0917
    blobs: Blobs, source: Found, start: int, stop: int, algorithm: Algorithm, root: bytes, *, md5: bool
) -> Digests:
    """The digests of a range of a version, whose data key is `root`."""
    digests = Digests((algorithm,), md5=md5)
    async for chunk in await blobs.open(cut(source.pieces, start, stop), root=root):
        await blobs.run(digests.update, chunk)
    return digests
