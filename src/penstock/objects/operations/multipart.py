"""Multipart uploads.

A part is a blob of its own. Completing puts nothing together: the parts become the object's, in one transaction with its row.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa

from penstock.application import Call
from penstock.objects import assembly, commits, contents, records
from penstock.objects.assembly import Wanted
from penstock.objects.blobs import Blobs, Piece, Written
from penstock.objects.checksums import ALGORITHMS, DEFAULT, Digests
from penstock.objects.conditions import Conditions, check_completion, parse_copied_range
from penstock.objects.data_keys import closed, closed_about, data_key, etag_of, new_data_key, opened
from penstock.objects.errors import (
    InvalidArgument,
    InvalidRequest,
    NoSuchBucket,
    NoSuchUpload,
    NoSuchVersion,
)
from penstock.objects.lookup import Found, bucket_of, cut, mine
from penstock.objects.model import MAX_PARTS, MAX_PUT, Bucket, Part, Upload, Version, time_to_api
from penstock.objects.names import arn_of_object, check_key, object_arn, owner
from penstock.objects.operations import s3
from penstock.objects.operations.copies import data_key_of, digests_of, source_of
from penstock.objects.operations.reads import part_page
from penstock.objects.operations.writes import checksum_of, encryption_of, pending_blob, write_body
from penstock.objects.request import ChecksumRequirements, about, refuse_unserved
from penstock.store.failpoints import failpoint
from penstock.wire.call import Input, Output
from penstock.wire.errors import ServiceError
from penstock.wire.registry import Recorded

_CHECKSUMS = frozenset(algorithm.member for algorithm in ALGORITHMS.values())


@s3("CreateMultipartUpload", action="s3:PutObject", resource=object_arn, recorded=Recorded.DATA)
async def create_multipart_upload(blobs: Blobs, call: Call, input: Input) -> Output:
    """Begin an upload; what is said about the object is said here."""
    key = check_key(input["Key"])
    bucket = await bucket_of(call, input)
    said = about(input, bucket)
    if said.tags:
        await call.app.identity.authorize(call, "s3:PutObjectTagging", (arn_of_object(call, bucket.name, key),))
    algorithm, kind = (input.get("ChecksumAlgorithm") or "").upper(), input.get("ChecksumType") or ""
    if algorithm:
        if algorithm not in ALGORITHMS:
            raise InvalidRequest(
                "Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]"
            )
        types = ALGORITHMS[algorithm].types
        kind = kind or types[0].value
        if kind not in types:
            raise InvalidRequest(
                f"The {kind} checksum type cannot be used with the {algorithm.lower()} checksum algorithm."
            )
    elif kind:
        raise InvalidRequest(
            "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header."
        )
    said, _ = await new_data_key(call, said, bucket, key)
    current = await call.app.store.read(records.find_version, bucket.name, key)
    replaces = "" if current is None else current.content
    said = replace(said, checksum_algorithm=algorithm, checksum_type=kind, replaces=replaces)
    upload = Upload(
        id=call.app.ids.token(48),
        bucket=bucket.name,
        key=key,
        account=bucket.account,
        initiated=call.now,
        initiator=call.session.arn,
        about=said,
        outcome=None,
    )
    await call.app.store.write(_begin, upload)
    return {
        "Bucket": bucket.name,
        "Key": key,
        "UploadId": upload.id,
        "ChecksumAlgorithm": algorithm or None,
        "ChecksumType": kind or None,
    } | encryption_of(said)


def _begin(conn: sa.Connection, upload: Upload) -> None:
    bucket = records.find_bucket(conn, upload.bucket, lock="share")
    if bucket is None:
        raise NoSuchBucket(BucketName=upload.bucket)
    contents.insert_upload(conn, upload, bucket.region)


@s3("UploadPart", action="s3:PutObject", resource=object_arn, recorded=Recorded.DATA)
async def upload_part(blobs: Blobs, call: Call, input: Input) -> Output:
    """Write a part; a second one of the same number replaces the first."""
    upload = await _upload(call, input)
    number = _number(input)
    requirements = ChecksumRequirements(call, input, upload=upload.about)
    body = input.get("Body", b"")
    root = await _data_key(call, upload)
    written = await write_body(blobs, body, requirements, root)
    async with pending_blob(blobs, written):
        checksum = requirements.check(written.digests, body)
        part = Part(
            number=number,
            blob=written.blob.id,
            start=0,
            size=written.blob.size,
            etag=etag_of(call, upload.about, written.digests.md5.hex()),
            modified=call.now,
            checksum=closed(root, checksum),
            key=written.blob.key,
        )
        failpoint("objects.part_durable")
        await call.app.store.write(_add_part, call, upload, part, written)
    output: Output = {"ETag": f'"{part.etag}"'} | _encryption(upload)
    if requirements.algorithm is not None:
        output[requirements.algorithm.member] = written.digests.value(requirements.algorithm)
    return output


def _add_part(conn: sa.Connection, call: Call, upload: Upload, part: Part, written: Written | None) -> None:
    bucket = records.find_bucket(conn, upload.bucket, lock="share")
    now = contents.find_upload(conn, upload.id, lock=True)
    if bucket is None or now is None or now.outcome is not None:
        raise NoSuchUpload(UploadId=upload.id)
    if written is not None:
        contents.insert_blob(
            conn,
            written.blob,
            account=bucket.account,
            region=bucket.region,
            now=call.now,
        )
    contents.release_content(conn, upload.id, call.now, numbers=(part.number,))
    contents.insert_parts(conn, upload.id, (part,), account=bucket.account, region=bucket.region)


@s3("UploadPartCopy", action="s3:PutObject", resource=object_arn, recorded=Recorded.DATA)
async def upload_part_copy(blobs: Blobs, call: Call, input: Input) -> Output:
    """Make a range of a version a part. It shares the source's blob, unless the range spans several."""
    upload = await _upload(call, input)
    number = _number(input)
    source = await source_of(call, input)
    Conditions.of(input, "CopySource").check_source(source.version, call.now)
    start, stop = _copied_range(input, source)
    pieces = cut(source.pieces, start, stop)
    asked = ALGORITHMS.get(upload.about.checksum_algorithm)
    algorithm = asked or DEFAULT
    opens, seals = await data_key_of(call, source), await _data_key(call, upload)
    written: Written | None = None
    try:
        if len(pieces) == 1:
            digests: Digests = await digests_of(blobs, source, start, stop, algorithm, opens, md5=not seals)
            piece, (key,) = pieces[0], await blobs.keys_for(pieces, opens=opens, seals=seals)
        else:
            opened = await blobs.open(pieces, root=opens)
            written = await blobs.write(opened, algorithms=(algorithm,), root=seals, md5=not seals)
            digests = written.digests
            piece, key = Piece(blob=written.blob, start=0, length=written.blob.size), written.blob.key
        checksum = digests.value(algorithm)
        part = Part(
            number=number,
            blob=piece.blob.id,
            start=piece.start,
            size=piece.length,
            etag=etag_of(call, upload.about, digests.md5.hex()),
            modified=call.now,
            checksum=closed(seals, checksum),
            key=key,
        )
        await call.app.store.write(_add_copied_part, call, upload, part, written, source.version)
    except ServiceError:
        if written is not None:
            await blobs.discard(written.blob)
        raise
    finally:
        if written is not None:
            blobs.settled(written.blob)
    result: dict[str, Any] = {"ETag": f'"{part.etag}"', "LastModified": time_to_api(call.now)}
    if asked is not None:
        result[asked.member] = checksum
    return {"CopyPartResult": result, "CopySourceVersionId": source.version_id} | _encryption(upload)


def _add_copied_part(  # noqa: PLR0917
    conn: sa.Connection, call: Call, upload: Upload, part: Part, written: Written | None, source: Version
) -> None:
    if written is None:
        there = records.find_version(conn, source.bucket, source.key, source.version)
        if there is None or there.content != source.content or not contents.keep_blobs(conn, [part.blob]):
            raise NoSuchVersion(Key=source.key, VersionId=source.version)
    _add_part(conn, call, upload, part, written)


@s3("CompleteMultipartUpload", action="s3:PutObject", resource=object_arn, own_digests=True, recorded=Recorded.DATA)
async def complete_multipart_upload(blobs: Blobs, call: Call, input: Input) -> Output:
    """Make the named parts an object. The same call again is answered as the first was."""
    key = check_key(input["Key"])
    bucket, upload = await call.app.store.read(_lookup, input["Bucket"], input["UploadId"])
    bucket = mine(call, input, bucket)
    listed = (input.get("MultipartUpload") or {}).get("Parts") or []
    for item in listed:
        refuse_unserved(item)
    wanted = [Wanted.of(item) for item in listed]
    root = b""
    if upload is not None and (upload.bucket, upload.key) == (bucket.name, key):
        root = await _data_key(call, upload)  # the answer has the checksum of the whole
    output = await call.app.store.write(_complete, call, input, bucket.name, key, wanted, root)
    failpoint("objects.upload_completed")
    output = {name: opened(root, value) if name in _CHECKSUMS else value for name, value in output.items()}
    location = f"{call.app.public_url}/{bucket.name}/{quote(key, safe='/')}"
    return {"Bucket": bucket.name, "Key": key, "Location": location, **output}


def _complete(  # noqa: PLR0917
    conn: sa.Connection, call: Call, input: Input, bucket_name: str, key: str, wanted: list[Wanted], root: bytes
) -> Output:
    """The answer, its checksum as it is kept."""
    bucket, current, _ = commits.begin(conn, bucket_name, key)
    upload = contents.find_upload(conn, input["UploadId"], lock=True)
    if upload is None or (upload.bucket, upload.key) != (bucket_name, key):
        raise NoSuchUpload(UploadId=input["UploadId"])
    asked = [[item.number, item.etag] for item in wanted]
    if upload.outcome is not None:
        if upload.outcome["parts"] != asked:
            raise NoSuchUpload(UploadId=upload.id)
        return upload.outcome["output"]
    check_completion(input, current, upload.about.replaces)
    parts = [replace(part, checksum=opened(root, part.checksum)) for part in contents.list_parts(conn, upload.id)]
    assembled = assembly.assemble(upload, parts, wanted, input)
    said = replace(upload.about, checksum=assembled.checksum, checksum_algorithm="", checksum_type="", replaces="")
    if assembled.unused:
        contents.release_content(conn, upload.id, call.now, numbers=assembled.unused)
    pending = commits.PendingVersion(
        bucket=bucket_name,
        key=key,
        etag=assembled.etag,
        size=assembled.size,
        content=upload.id,
        about=closed_about(root, said),
        part_count=len(wanted),
        reason="CompleteMultipartUpload",
    )
    version = commits.insert_latest(conn, call, bucket, current, pending)
    output: Output = {"ETag": version.quoted_etag, **checksum_of(pending.about), **encryption_of(pending.about)}
    if (page := commits.version_to_api(bucket, version)) is not None:
        output["VersionId"] = page
    contents.complete_upload(conn, upload.id, {"parts": asked, "output": output}, call.now)
    return output


@s3("AbortMultipartUpload", resource=object_arn, recorded=Recorded.DATA)
async def abort_multipart_upload(blobs: Blobs, call: Call, input: Input) -> Output:
    """Forget an upload and its parts."""
    upload = await _upload(call, input)
    await call.app.store.write(_abort, upload.id, call.now)
    return {}


def _abort(conn: sa.Connection, upload: str, now: int) -> None:
    found = contents.find_upload(conn, upload, lock=True)
    if found is None or found.outcome is not None:
        raise NoSuchUpload(UploadId=upload)
    contents.release_content(conn, upload, now)
    contents.delete_upload(conn, upload)


@s3("ListParts", action="s3:ListMultipartUploadParts", resource=object_arn, recorded=Recorded.DATA)
async def list_parts(blobs: Blobs, call: Call, input: Input) -> Output:
    """The parts of an upload under way."""
    upload = await _upload(call, input)
    root = await _data_key(call, upload)  # whoever may not decrypt learns no checksum (AWS: ListParts, "Permissions")
    limit, marker = part_page(input)
    rows = await call.app.store.scan(contents.list_parts, upload.id, after=marker, limit=limit + 1)
    page = rows[:limit]
    algorithm = ALGORITHMS.get(upload.about.checksum_algorithm)
    entries: list[dict[str, Any]] = []
    for part in page:
        entry: dict[str, Any] = {
            "PartNumber": part.number,
            "LastModified": time_to_api(part.modified),
            "ETag": f'"{part.etag}"',
            "Size": part.size,
        }
        if algorithm is not None:
            entry[algorithm.member] = opened(root, part.checksum)
        entries.append(entry)
    who = owner(upload.account)
    return {
        "Bucket": upload.bucket,
        "Key": upload.key,
        "UploadId": upload.id,
        "PartNumberMarker": marker,
        "NextPartNumberMarker": page[-1].number if page else 0,
        "MaxParts": limit,
        "IsTruncated": bool(page) and len(rows) > limit,
        "Parts": entries or None,
        "Initiator": {"ID": upload.initiator or who["ID"]},
        "Owner": who,
        "StorageClass": upload.about.storage_class,
        "ChecksumAlgorithm": upload.about.checksum_algorithm or None,
        "ChecksumType": upload.about.checksum_type or None,
    }


async def _upload(call: Call, input: Input) -> Upload:
    """The upload under way that an input names."""
    key = check_key(input["Key"])
    bucket, upload = await call.app.store.read(_lookup, input["Bucket"], input["UploadId"])
    mine(call, input, bucket)
    if upload is None or upload.outcome is not None or (upload.bucket, upload.key) != (input["Bucket"], key):
        raise NoSuchUpload(UploadId=input["UploadId"])
    return upload


async def _data_key(call: Call, upload: Upload) -> bytes:
    """Under which an upload's parts are written; none but for SSE-KMS."""
    region = call.memo.get("region", call.region)
    return await data_key(call, upload.about, upload.bucket, upload.key, region=region)


def _lookup(conn: sa.Connection, bucket: str, upload: str) -> tuple[Bucket | None, Upload | None]:
    return records.find_bucket(conn, bucket), contents.find_upload(conn, upload)


def _number(input: Input) -> int:
    number: int = input["PartNumber"]
    if not 1 <= number <= MAX_PARTS:
        raise InvalidArgument(
            f"Part number must be an integer between 1 and {MAX_PARTS}, inclusive",
            ArgumentName="partNumber",
            ArgumentValue=str(number),
        )
    return number


def _copied_range(input: Input, source: Found) -> tuple[int, int]:
    size = source.version.size
    header = input.get("CopySourceRange")
    start, stop = 0, size
    if header:
        start, stop = parse_copied_range(header, size)
    if stop - start > MAX_PUT:
        raise InvalidRequest(
            f"The specified copy source is larger than the maximum allowable size for a copy source: {MAX_PUT}"
        )
    return start, stop


def _encryption(upload: Upload) -> Output:
    return encryption_of(upload.about)
