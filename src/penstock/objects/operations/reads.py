"""GetObject, HeadObject and GetObjectAttributes."""

from __future__ import annotations

from typing import Any

from penstock.application import Call
from penstock.objects import contents
from penstock.objects.blobs import Blobs
from penstock.objects.checksums import ChecksumType
from penstock.objects.conditions import Conditions, parse_range
from penstock.objects.data_keys import data_key, opened
from penstock.objects.errors import InvalidArgument, InvalidPartNumber, InvalidRequest, NotModified
from penstock.objects.lookup import Found, cut, version_of, with_headers
from penstock.objects.model import Version, time_to_api
from penstock.objects.names import object_arn
from penstock.objects.operations import s3
from penstock.objects.operations.writes import checksum_of, encryption_of
from penstock.wire.call import Input, Output, Reply
from penstock.wire.registry import Recorded
from penstock.wire.scalars import format_timestamp

_AS_A_GUEST = {"content-security-policy": "sandbox", "x-content-type-options": "nosniff"}
_OVERRIDES = {
    "ResponseCacheControl": "CacheControl",
    "ResponseContentDisposition": "ContentDisposition",
    "ResponseContentEncoding": "ContentEncoding",
    "ResponseContentLanguage": "ContentLanguage",
    "ResponseContentType": "ContentType",
}


def _action(_call: Call, input: Input) -> str:
    return "s3:GetObjectVersion" if input.get("VersionId") else "s3:GetObject"


@s3("GetObject", action=_action, resource=object_arn, recorded=Recorded.DATA)
async def get_object(blobs: Blobs, call: Call, input: Input) -> Reply:
    """Read an object or a range of it. `Body` is a stream with `length`, `read()` and `aclose()`: iterate or close it."""
    found = await version_of(call, input)
    output, start, stop, partial = _described(input, found, call.now)
    root = await _data_key(call, found)
    output |= _checksum_of_range(input, found, root, (start, stop))
    output["Body"] = await blobs.open(cut(found.pieces, start, stop), root=root)
    # At the console's own address an object is somebody else's page: it may be shown there, but not act as its reader. An address
    # with the bucket in its host serves nothing but the bucket.
    return Reply(output, status=206 if partial else 200, headers={} if call.virtual_host else dict(_AS_A_GUEST))


@s3("HeadObject", action=_action, resource=object_arn, recorded=Recorded.DATA)
async def head_object(blobs: Blobs, call: Call, input: Input) -> Reply:
    """What GetObject would answer, without the bytes."""
    found = await version_of(call, input, located=input.get("PartNumber") is not None)
    output, start, stop, partial = _described(input, found, call.now)
    if _wants_checksum(input):
        # A checksum says what the bytes may be (AWS: HeadObject, "Permissions").
        output |= _checksum_of_range(input, found, await _data_key(call, found), (start, stop))
    return Reply(output, status=206 if partial else 200)


async def _data_key(call: Call, found: Found) -> bytes:
    version = found.version
    return await data_key(call, version.about, version.bucket, version.key, region=found.bucket.region)


def _described(input: Input, found: Found, now: int) -> tuple[Output, int, int, bool]:
    """(members, first byte, behind the last, whether that is a part of it) of what is to be answered."""
    version = found.version
    if Conditions.of(input).unchanged(version, now):
        headers = {"etag": version.quoted_etag, "last-modified": format_timestamp(version.modified, "rfc822")}
        if found.version_id is not None:
            headers["x-amz-version-id"] = found.version_id
        raise with_headers(NotModified(), headers)
    output = _members(input, found)
    start, stop, partial = 0, version.size, False
    number, header = input.get("PartNumber"), input.get("Range")
    if number is not None:
        if header:
            raise InvalidRequest("Cannot specify both Range header and partNumber query parameter")
        start, stop = _part(found, number)
        partial = True
        if version.part_count is not None:
            output["PartsCount"] = version.part_count
    elif header and (asked := parse_range(header, version.size)) is not None:
        (start, stop), partial = asked, True
    if partial and stop > start:
        output["ContentRange"] = f"bytes {start}-{stop - 1}/{version.size}"
    output["ContentLength"] = stop - start
    return output, start, stop, partial


def _wants_checksum(input: Input) -> bool:
    return (input.get("ChecksumMode") or "").upper() == "ENABLED"


def _checksum_of_range(input: Input, found: Found, root: bytes, span: tuple[int, int]) -> Output:
    """The checksum of what is answered, if it is asked for: the object's if that is all of it, or its part's own where parts have their own."""
    if not _wants_checksum(input):
        return {}
    checksum, number = found.version.about.checksum, input.get("PartNumber")
    if number is not None and checksum is not None and checksum.type is ChecksumType.COMPOSITE:
        value = opened(root, found.pieces[number - 1].checksum)
        return {checksum.spec.member: value, "ChecksumType": checksum.type.value}
    return checksum_of(found.version.about, root) if span == (0, found.version.size) else {}


def _members(input: Input, found: Found) -> Output:
    version = found.version
    said = version.about
    output: Output = {
        "AcceptRanges": "bytes",
        "LastModified": time_to_api(version.modified),
        "ETag": version.quoted_etag,
        "VersionId": found.version_id,
        "Metadata": said.metadata,
        **said.headers,
        **encryption_of(said),
    }
    if said.storage_class != "STANDARD":
        output["StorageClass"] = said.storage_class
    if said.tags:
        output["TagCount"] = len(said.tags)
    for asked, member in _OVERRIDES.items():
        if (value := input.get(asked)) is not None:
            output[member] = value
    if (expires := input.get("ResponseExpires")) is not None:
        output["Expires"] = format_timestamp(expires, "rfc822")
    return output


def _part(found: Found, number: int) -> tuple[int, int]:
    version = found.version
    if number < 1 or number > 10_000:
        raise InvalidArgument(
            "Part number must be an integer between 1 and 10000, inclusive",
            ArgumentName="partNumber",
            ArgumentValue=str(number),
        )
    if version.part_count is None:
        if number != 1:
            raise InvalidPartNumber(PartNumberRequested=str(number), ActualPartCount="1")
        return 0, version.size
    if number > len(found.pieces):
        raise InvalidPartNumber(PartNumberRequested=str(number), ActualPartCount=str(version.part_count))
    # Counted from 1 in the order of the object, whatever numbers the parts were uploaded under.
    start = sum(piece.length for piece in found.pieces[: number - 1])
    return start, start + found.pieces[number - 1].length


@s3("GetObjectAttributes", action=_action, resource=object_arn, recorded=Recorded.DATA)
async def get_object_attributes(blobs: Blobs, call: Call, input: Input) -> Output:
    """The members that `ObjectAttributes` names: ETag, Checksum, ObjectParts, StorageClass, ObjectSize."""
    action = "s3:GetObjectVersionAttributes" if input.get("VersionId") else "s3:GetObjectAttributes"
    await call.app.identity.authorize(call, action, (await object_arn(call, input),))
    found = await version_of(call, input)
    version = found.version
    output: Output = {"LastModified": time_to_api(version.modified), "VersionId": found.version_id}
    wanted = {name.strip() for item in input["ObjectAttributes"] for name in item.split(",")}
    unknown = wanted - {"ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"}
    if unknown:
        raise InvalidArgument("Invalid attribute name specified.", ArgumentName="x-amz-object-attributes")
    if "ETag" in wanted:
        output["ETag"] = version.etag
    if "ObjectSize" in wanted:
        output["ObjectSize"] = version.size
    if "StorageClass" in wanted:
        output["StorageClass"] = version.about.storage_class
    root = await _data_key(call, found) if {"Checksum", "ObjectParts"} & wanted else b""
    if "Checksum" in wanted:
        # Here, and only here, S3 leaves the number of parts away.
        output["Checksum"] = {
            member: value.partition("-")[0] for member, value in checksum_of(version.about, root).items()
        } or None
    if "ObjectParts" in wanted and version.part_count is not None:
        output["ObjectParts"] = await _parts(call, input, version, root)
    return output


async def _parts(call: Call, input: Input, version: Version, root: bytes) -> dict[str, Any]:
    limit, marker = part_page(input)
    answer: dict[str, Any] = {"TotalPartsCount": version.part_count}
    checksum = version.about.checksum
    if checksum is None or checksum.type != "COMPOSITE":
        return answer  # AWS lists the parts only of objects with composite checksums
    rows = await call.app.store.scan(contents.list_parts, version.content, after=marker, limit=limit + 1)
    page = rows[:limit]
    return answer | {
        "PartNumberMarker": marker,
        "NextPartNumberMarker": page[-1].number if page else 0,
        "MaxParts": limit,
        "IsTruncated": bool(page) and len(rows) > limit,
        "Parts": [
            {"PartNumber": part.number, "Size": part.size, checksum.spec.member: opened(root, part.checksum)}
            for part in page
        ],
    }


def part_page(input: Input) -> tuple[int, int]:
    """(parts that a page shows at most, number of the part behind which it begins). Raises InvalidArgument."""
    for member, name in (("MaxParts", "max-parts"), ("PartNumberMarker", "part-number-marker")):
        if (value := input.get(member) or 0) < 0:
            raise InvalidArgument(
                f"Argument {name} must be an integer between 0 and 2147483647",
                ArgumentName=name,
                ArgumentValue=str(value),
            )
    asked = input.get("MaxParts")
    return 1000 if asked is None else min(asked, 1000), input.get("PartNumberMarker") or 0
