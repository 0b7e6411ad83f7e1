"""ListObjects, ListObjectsV2, ListObjectVersions and ListMultipartUploads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa

from penstock.application import Call
from penstock.objects import listing, records
from penstock.objects.blobs import Blobs
from penstock.objects.checksums import ChecksumType
from penstock.objects.contents import find_upload, upload_of
from penstock.objects.errors import InvalidArgument
from penstock.objects.listing import Keyset, Page, Selection, after_prefix, common_prefix
from penstock.objects.lookup import bucket_of
from penstock.objects.model import Version, time_to_api
from penstock.objects.names import bucket_arn, check_version_id, owner
from penstock.objects.operations import pages_by, s3
from penstock.wire.call import Input, Output
from penstock.wire.registry import Recorded

MAX_ENTRIES = 1000
_PAGES = pages_by("Bucket", "Prefix", "Delimiter")


@s3("ListObjects", action="s3:ListBucket", resource=bucket_arn, recorded=Recorded.DATA)
async def list_objects(blobs: Blobs, call: Call, input: Input) -> Output:
    """Version 1: continues after `Marker`."""
    bucket = await bucket_of(call, input)
    selection = _selection(input, "MaxKeys")
    marker = input.get("Marker") or ""
    start, inclusive = _behind(marker.encode(), selection)
    page = await call.app.store.scan(_objects, bucket.name, start, inclusive, selection)
    show = _key_encoder(input)
    output = _common(input, page, "MaxKeys", show)
    output |= {
        "Marker": show(marker),
        "Contents": [_object(row, show) | {"Owner": owner(bucket.account)} for row in _rows(page)] or None,
    }
    if page.truncated and selection.delimiter:
        output["NextMarker"] = show(_key(page.entries[-1]).decode())
    return output


@s3("ListObjectsV2", action="s3:ListBucket", resource=bucket_arn, recorded=Recorded.DATA)
async def list_objects_v2(blobs: Blobs, call: Call, input: Input) -> Output:
    """Version 2: continues by a token that is bound to the bucket, prefix and delimiter."""
    bucket = await bucket_of(call, input)
    selection = _selection(input, "MaxKeys")
    token = input.get("ContinuationToken")
    key, inclusive = _PAGES.after(call, input) or (input.get("StartAfter") or "", False)
    page = await call.app.store.scan(_objects, bucket.name, (key.encode(),), inclusive, selection)
    show = _key_encoder(input)
    output = _common(input, page, "MaxKeys", show)
    contents = [_object(row, show) for row in _rows(page)]
    if input.get("FetchOwner"):
        contents = [entry | {"Owner": owner(bucket.account)} for entry in contents]
    output |= {
        "Contents": contents or None,
        "KeyCount": len(page.entries),
        "ContinuationToken": token,
        "StartAfter": show(input["StartAfter"]) if input.get("StartAfter") and not token else None,
    }
    if page.truncated:
        last = page.entries[-1]
        # Behind a common prefix the list continues at a key that need not be text; the prefix itself says as much.
        behind = [last.decode(), True] if isinstance(last, bytes) else [last.key.decode(), False]
        output["NextContinuationToken"] = _PAGES.token(call, input, behind)
    return output


@s3("ListObjectVersions", action="s3:ListBucketVersions", resource=bucket_arn, recorded=Recorded.DATA)
async def list_object_versions(blobs: Blobs, call: Call, input: Input) -> Output:
    """Every version and delete marker, by key and the newest first; continues after `KeyMarker` and `VersionIdMarker`."""
    bucket = await bucket_of(call, input)
    selection = _selection(input, "MaxKeys")
    key, version = input.get("KeyMarker") or "", input.get("VersionIdMarker") or ""
    if version:
        check_version_id(bucket, version, "version-id-marker")
    if version and not key:
        raise InvalidArgument(
            "A version-id marker cannot be specified without a key marker.",
            ArgumentName="version-id-marker",
            ArgumentValue=version,
        )
    page = await call.app.store.scan(_versions, bucket.name, key, version, selection)
    show = _key_encoder(input)
    output = _common(input, page, "MaxKeys", show)
    found = [records.version_of(row) for row in _rows(page)]
    who = owner(bucket.account)
    output |= {
        "KeyMarker": show(key),
        "VersionIdMarker": version,
        "Versions": [_version(item, show) | {"Owner": who} for item in found if not item.marker] or None,
        "DeleteMarkers": [_marker(item, show) | {"Owner": who} for item in found if item.marker] or None,
    }
    if page.truncated:
        last = page.entries[-1]
        output["NextKeyMarker"] = show(_key(last).decode())
        if not isinstance(last, bytes):
            output["NextVersionIdMarker"] = last.version
    return output


@s3("ListMultipartUploads", action="s3:ListBucketMultipartUploads", resource=bucket_arn, recorded=Recorded.DATA)
async def list_multipart_uploads(blobs: Blobs, call: Call, input: Input) -> Output:
    """The uploads under way, by key and id; continues after `KeyMarker` and `UploadIdMarker`."""
    bucket = await bucket_of(call, input)
    selection = _selection(input, "MaxUploads")
    key, upload = input.get("KeyMarker") or "", input.get("UploadIdMarker") or ""
    if key and upload:
        marked = await call.app.store.read(find_upload, upload)
        if marked is None or (marked.bucket, marked.key) != (bucket.name, key):
            raise InvalidArgument("Invalid uploadId marker", ArgumentName="upload-id-marker", ArgumentValue=upload)
    page = await call.app.store.scan(_uploads, bucket.name, key, upload if key else "", selection)
    show = _key_encoder(input)
    output = _common(input, page, "MaxUploads", show)
    output["Bucket"] = output.pop("Name")
    output |= {"NextKeyMarker": "", "NextUploadIdMarker": ""}
    who = owner(bucket.account)
    output |= {
        "KeyMarker": show(key),
        "UploadIdMarker": upload,
        "Uploads": [
            {
                "UploadId": item.id,
                "Key": show(item.key),
                "Initiated": item.initiated,
                "StorageClass": item.about.storage_class,
                "Owner": who,
                "Initiator": {"ID": item.initiator or who["ID"]},
                "ChecksumAlgorithm": item.about.checksum_algorithm or None,
                "ChecksumType": item.about.checksum_type or None,
            }
            for item in map(upload_of, _rows(page))
        ]
        or None,
    }
    if page.entries:
        last = page.entries[-1]
        output["NextKeyMarker"] = show(_key(last).decode())
        output["NextUploadIdMarker"] = "" if isinstance(last, bytes) else last.id
    return output


def _objects(conn: sa.Connection, bucket: str, start: Keyset, inclusive: bool, selection: Selection) -> Page:  # noqa: FBT001
    if inclusive and common_prefix(start[0], selection) == start[0]:
        start, inclusive = _behind(start[0], selection)
    question = listing.objects_from(conn, bucket)
    return listing.page(question, lambda row: (row.key,), start, inclusive=inclusive, selection=selection)


def _versions(conn: sa.Connection, bucket: str, key: str, version: str, selection: Selection) -> Page:
    start, inclusive = _behind(key.encode(), selection)
    if version and start == (key.encode(),):
        # A marker that was deleted meanwhile (a client that empties the bucket page by page) begins its key again.
        found = records.find_version(conn, bucket, key, version)
        start, inclusive = ((key.encode(),), True) if found is None else ((key.encode(), found.rank), False)
    question = listing.versions_from(conn, bucket)
    return listing.page(question, lambda row: (row.key, row.rank), start, inclusive=inclusive, selection=selection)


def _uploads(conn: sa.Connection, bucket: str, key: str, upload: str, selection: Selection) -> Page:
    start, inclusive = _behind(key.encode(), selection)
    if upload and start == (key.encode(),):
        start, inclusive = (key.encode(), upload), False
    question = listing.uploads_from(conn, bucket)
    return listing.page(question, lambda row: (row.key, row.id), start, inclusive=inclusive, selection=selection)


def _behind(marker: bytes, selection: Selection) -> tuple[Keyset, bool]:
    """Where a list continues after a marker: one within a common prefix stands for its whole group, which was listed."""
    group = common_prefix(marker, selection) if marker.startswith(selection.prefix) else None
    if group is not None:
        behind = after_prefix(group)
        if behind is not None:
            return (behind,), True
    return (marker,), False


def _selection(input: Input, limit: str) -> Selection:
    asked = input.get(limit)
    if asked is not None and asked < 0:
        raise InvalidArgument(
            f"Argument {limit} must be an integer between 0 and 2147483647",
            ArgumentName=limit,
            ArgumentValue=str(asked),
        )
    return Selection(
        prefix=(input.get("Prefix") or "").encode(),
        delimiter=(input.get("Delimiter") or "").encode(),
        limit=MAX_ENTRIES if asked is None else min(asked, MAX_ENTRIES),
    )


def _common(input: Input, page: Page, limit: str, show: Callable[[str], str]) -> Output:
    groups = [{"Prefix": show(entry.decode())} for entry in page.entries if isinstance(entry, bytes)]
    return {
        "Name": input["Bucket"],
        "Prefix": show(input.get("Prefix") or ""),
        "Delimiter": show(input["Delimiter"]) if input.get("Delimiter") else None,
        limit: MAX_ENTRIES if input.get(limit) is None else min(input[limit], MAX_ENTRIES),
        "EncodingType": input.get("EncodingType"),
        "IsTruncated": page.truncated,
        "CommonPrefixes": groups or None,
    }


def _key_encoder(input: Input) -> Callable[[str], str]:
    """How keys are written: percent-encoded when the client asked for it, since XML cannot carry every character."""
    asked = input.get("EncodingType")
    if asked is None:
        return lambda key: key
    if asked != "url":
        raise InvalidArgument(
            "Invalid Encoding Method specified in Request", ArgumentName="encoding-type", ArgumentValue=asked
        )
    return lambda key: quote(key, safe="/")


def _rows(page: Page) -> list[Any]:
    return [entry for entry in page.entries if not isinstance(entry, bytes)]


def _key(entry: Any) -> bytes:
    return entry if isinstance(entry, bytes) else entry.key


def _object(row: Any, show: Callable[[str], str]) -> dict[str, Any]:
    return _entry(records.version_of(row), show)


def _entry(version: Version, show: Callable[[str], str]) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "Key": show(version.key),
        "LastModified": time_to_api(version.modified),
        "ETag": version.quoted_etag,
        "Size": version.size,
        "StorageClass": version.about.storage_class,
    }
    if (checksum := version.about.checksum) is not None:
        entry |= {"ChecksumAlgorithm": [checksum.algorithm], "ChecksumType": ChecksumType(checksum.type).value}
    return entry


def _version(version: Version, show: Callable[[str], str]) -> dict[str, Any]:
    return _entry(version, show) | {"VersionId": version.version, "IsLatest": version.latest}


def _marker(version: Version, show: Callable[[str], str]) -> dict[str, Any]:
    return {
        "Key": show(version.key),
        "VersionId": version.version,
        "IsLatest": version.latest,
        "LastModified": time_to_api(version.modified),
    }
