"""How operations find what they work on, and what a caller may learn of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from penstock.application import Call
from penstock.objects import contents, records
from penstock.objects.blobs import Piece
from penstock.objects.errors import AccessDenied, MethodNotAllowed, NoSuchBucket, NoSuchKey, NoSuchVersion
from penstock.objects.model import Bucket, Version, Versioning
from penstock.objects.names import arn_of_bucket, check_key, check_version_id
from penstock.objects.request import refuse_unserved
from penstock.store.statement import ask
from penstock.wire.call import LET_INTO, Input


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A version and where its bytes are."""

    bucket: Bucket
    version: Version
    pieces: list[Piece]

    @property
    def version_id(self) -> str | None:
        """As answers show it."""
        return None if self.bucket.versioning is Versioning.NEVER else self.version.version


async def bucket_of(call: Call, input: Input) -> Bucket:
    """The bucket that an input names. Raises NoSuchBucket, or AccessDenied for another account's."""
    return mine(call, input, await call.app.store.read(records.find_bucket, input["Bucket"]))


def mine(call: Call, input: Input, bucket: Bucket | None, expected: str = "ExpectedBucketOwner") -> Bucket:
    """The bucket, if it exists in the caller's account, or its policy has let the caller in."""
    found = expected_one(input, bucket, expected)
    let_in = call.memo.get(LET_INTO, {}).get(arn_of_bucket(call, found.name))
    if found.account not in (call.account, let_in):
        raise AccessDenied
    return found


def expected_one(input: Input, bucket: Bucket | None, expected: str = "ExpectedBucketOwner") -> Bucket:
    """The bucket, if it exists and is that of the account which the input expects; whoever calls may not be let in.

    Every operation on a bucket comes by here, so this is where members are refused that none of them serves.
    """
    refuse_unserved(input)
    if bucket is None:
        raise NoSuchBucket(BucketName=input["Bucket"])
    if input.get(expected) not in (None, "", bucket.account):
        raise AccessDenied
    return bucket


async def version_of(
    call: Call, input: Input, *, method: str = "GET", marker_is_missing: bool = True, located: bool = True
) -> Found:
    """The version that `Bucket`, `Key` and `VersionId` name; `method` is the one that a refusal repeats.

    `located` says whether the pieces are wanted, which cost a question of their own. A key whose latest version is a delete marker is missing, or (`marker_is_missing` False) the marker is what it holds.

    Raises NoSuchBucket, InvalidArgument (not a version id), NoSuchKey, NoSuchVersion, MethodNotAllowed (a delete marker by its id), or AccessDenied instead of
    NoSuchKey when the caller may not list the bucket (AWS: GetObject, "Permissions").
    """
    key, wanted = check_key(input["Key"]), input.get("VersionId")
    bucket, version, pieces = await call.app.store.read(_lookup, input["Bucket"], key, wanted, located=located)
    found = mine(call, input, bucket)
    check_version_id(found, wanted)
    if version is None:
        await call.app.identity.authorize(call, "s3:ListBucket", (arn_of_bucket(call, found.name),))
        if wanted is not None:
            raise NoSuchVersion(Key=key, VersionId=wanted)
        raise NoSuchKey(Key=key)
    if version.marker:
        headers = {"x-amz-delete-marker": "true", "x-amz-version-id": version.version}
        if wanted is None and marker_is_missing:
            raise with_headers(NoSuchKey(Key=key), headers)
        raise with_headers(MethodNotAllowed(Method=method, ResourceType="DeleteMarker"), {**headers, "allow": "DELETE"})
    return Found(bucket=found, version=version, pieces=pieces)


def _lookup(
    conn: sa.Connection, bucket: str, key: str, wanted: str | None, *, located: bool
) -> tuple[Bucket | None, Version | None, list[Piece]]:
    where = (contents.finding_pieces(bucket, key, wanted),) if located else ()
    questions = (records.finding_bucket(bucket), records.finding_version(bucket, key, wanted))
    buckets, versions, *pieces = ask(conn, *questions, *where)
    found, version = records.bucket_in(buckets), records.version_in(versions)
    if found is None or version is None:
        return found, None, []
    if not located or not version.content:
        return found, version, []
    if pieces[0] and pieces[0][0].content == version.content:
        return found, version, contents.pieces_in(pieces[0])
    # PostgreSQL answers each question as of its own moment: the key was written in between.
    return found, version, contents.pieces(conn, version.content)


def with_headers(error: Any, headers: dict[str, str]) -> Any:
    """The error, with headers for its answer."""
    error.headers = headers
    return error


def cut(pieces: list[Piece], start: int, stop: int) -> list[Piece]:
    """The pieces that make up a range of what all of them are."""
    kept: list[Piece] = []
    at = 0
    for piece in pieces:
        first, last = max(start, at), min(stop, at + piece.length)
        if first < last:
            kept.append(Piece(blob=piece.blob, start=piece.start + first - at, length=last - first))
        at += piece.length
        if at >= stop:
            break
    return kept
