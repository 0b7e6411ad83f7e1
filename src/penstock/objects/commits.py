"""The transactions that change what a key holds. Each commits rows, released bytes and the event together."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from penstock.application import Call
from penstock.objects import contents, records
from penstock.objects.blobs import Written
from penstock.objects.conditions import check_match, check_write
from penstock.objects.errors import NoSuchBucket, NoSuchKey, NoSuchVersion, PreconditionFailed
from penstock.objects.events import OBJECT_CREATED, OBJECT_DELETED, UNANNOUNCED
from penstock.objects.lookup import Found
from penstock.objects.model import NULL, About, Bucket, Part, Version, Versioning
from penstock.store.catalogue import EventType
from penstock.store.events import Event, emit
from penstock.store.ids import ordered_uuid
from penstock.store.statement import Question, ask
from penstock.wire.errors import ServiceError

_ORDERING_KEYS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingVersion:
    """A new version before it has its place."""

    bucket: str
    key: str
    etag: str
    size: int
    content: str
    about: About
    part_count: int | None = None
    reason: str  # PutObject, CopyObject, CompleteMultipartUpload, as EventBridge names it


@dataclass(frozen=True, slots=True, kw_only=True)
class Deleted:
    """What a delete did."""

    version: str | None = None  # of the marker that was made, or of what was removed
    marker: bool = False  # it made or removed a delete marker


def version_to_api(bucket: Bucket, version: Version) -> str | None:
    """The version id that the answer of a write shows: none unless the write made a version of its own."""
    return version.version if bucket.versioning is Versioning.ENABLED else None


def put_object(
    conn: sa.Connection,
    call: Call,
    pending: PendingVersion,
    written: Written,
    conditions: Mapping[str, Any],
) -> tuple[Bucket, Version]:
    """Make freshly written bytes the latest version of a key."""
    bucket, current, _ = begin(conn, pending.bucket, pending.key)
    check_write(conditions, current)
    contents.insert_blob(
        conn,
        written.blob,
        account=bucket.account,
        region=bucket.region,
        now=call.now,
    )
    part = Part(
        number=1,
        blob=written.blob.id,
        start=0,
        size=written.blob.size,
        etag=pending.etag,
        modified=call.now,
        checksum=pending.about.checksum.value if pending.about.checksum else "",
        key=written.blob.key,
    )
    contents.insert_parts(conn, pending.content, [part], account=bucket.account, region=bucket.region)
    return bucket, insert_latest(conn, call, bucket, current, pending)


def copy_object(  # noqa: PLR0917
    conn: sa.Connection,
    call: Call,
    pending: PendingVersion,
    source: Found,
    kept: Sequence[tuple[bytes, str]],
    conditions: Mapping[str, Any],
) -> tuple[Bucket, Version]:
    """Make the bytes of another version the latest version of a key; they are shared, not moved.

    `kept` are the keys and checksums of the copy's parts, in order: those of the source's, under the copy's data key.
    """
    sources = records.finding_version(source.version.bucket, source.version.key, source.version.version)
    keeping = contents.keeping(piece.blob.id for piece in source.pieces)
    bucket, current, (versions, parts, *answers) = begin(
        conn, pending.bucket, pending.key, sources, contents.finding_parts(source.version.content), *keeping
    )
    check_write(conditions, current)
    there, found = records.version_in(versions), contents.parts_in(parts)
    # The null version is overwritten under the same id: what is copied must be what was authorised and hashed.
    if there is None or there.content != source.version.content or not contents.kept(answers):
        raise NoSuchVersion(Key=source.version.key, VersionId=source.version.version)
    copied = [replace(part, key=key, checksum=checksum) for part, (key, checksum) in zip(found, kept, strict=True)]
    contents.insert_parts(conn, pending.content, copied, account=bucket.account, region=bucket.region)
    return bucket, insert_latest(conn, call, bucket, current, pending)


def begin(
    conn: sa.Connection, bucket: str, key: str, *more: Question
) -> tuple[Bucket, Version | None, list[list[Any]]]:
    """Lock a key: its bucket and latest version, and the rows of each of `more` questions. Raises NoSuchBucket."""
    own = (
        records.finding_bucket(bucket, lock="share"),
        *records.locking_key(conn, bucket, key),
        records.finding_version(bucket, key),
    )
    answers = ask(conn, *own, *more)
    found = records.bucket_in(answers[0])
    if found is None:
        raise NoSuchBucket(BucketName=bucket)
    return found, records.version_in(answers[len(own) - 1]), answers[len(own) :]


def insert_latest(
    conn: sa.Connection, call: Call, bucket: Bucket, current: Version | None, pending: PendingVersion
) -> Version:
    """Insert the pending version as the latest one, by the bucket's versioning state, and emit its event."""
    version = _on_top(
        conn,
        call,
        bucket,
        current,
        Version(
            bucket=bucket.name,
            key=pending.key,
            rank=0,
            version=NULL,
            account=bucket.account,
            latest=True,
            marker=False,
            modified=call.now,
            etag=pending.etag,
            size=pending.size,
            content=pending.content,
            part_count=pending.part_count,
            about=pending.about,
        ),
    )
    _emit(
        conn,
        call,
        bucket,
        OBJECT_CREATED,
        version,
        {"size": pending.size, "etag": pending.etag},
        {"reason": pending.reason},
    )
    return version


def delete_latest(conn: sa.Connection, call: Call, name: str, key: str, match: str | None) -> Deleted:
    """Delete a key without naming a version: for good, or by a marker where there are versions."""
    bucket, current, _ = begin(conn, name, key)
    check_match(match, current, key)
    if bucket.versioning is Versioning.NEVER:
        if current is not None:
            _remove(conn, call, bucket, current)
        return Deleted()
    marker = _on_top(
        conn,
        call,
        bucket,
        current,
        Version(
            bucket=name,
            key=key,
            rank=0,
            version=NULL,
            account=bucket.account,
            latest=True,
            marker=True,
            modified=call.now,
            etag="",
            size=0,
            content="",
            part_count=None,
            about=About(),
        ),
    )
    _emit_deleted(conn, call, bucket, marker, "Delete Marker Created")
    return Deleted(version=marker.version, marker=True)


def delete_version(  # noqa: PLR0917
    conn: sa.Connection, call: Call, name: str, key: str, version: str, match: str | None
) -> Deleted:
    """Delete one version or marker for good; one that is not there is no error, unless a condition asks for it."""
    bucket, current, _ = begin(conn, name, key)
    found = records.find_version(conn, name, key, version)
    check_match(match, found, key)
    if found is None:
        return Deleted(version=version)
    _remove(conn, call, bucket, found)
    if current is not None and current.version == version:
        below = records.find_version(conn, name, key)
        if below is not None:
            records.set_latest(conn, below, latest=True)
    return Deleted(version=version, marker=found.marker)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteTarget:
    """What is to be deleted: a key or a version of it, if it still is what the caller knows."""

    key: str
    version: str | None = None
    match: str | None = None  # ETag that it must have; "*" for any


def delete(conn: sa.Connection, call: Call, bucket: str, wanted: DeleteTarget) -> Deleted:
    """Delete a key or a version."""
    if wanted.version is None:
        return delete_latest(conn, call, bucket, wanted.key, wanted.match)
    return delete_version(conn, call, bucket, wanted.key, wanted.version, wanted.match)


def delete_many(
    conn: sa.Connection, call: Call, bucket: str, wanted: Sequence[DeleteTarget]
) -> list[Deleted | ServiceError]:
    """Delete several, in one transaction; those whose condition does not hold stay, and are answered by their error.

    Keys are locked in order, so that two of these never wait for each other.
    """
    done: dict[int, Deleted | ServiceError] = {}
    for index, one in sorted(enumerate(wanted), key=lambda item: (item[1].key, item[0])):
        try:
            done[index] = delete(conn, call, bucket, one)
        except (NoSuchKey, PreconditionFailed) as refused:  # raised before anything of this key was written
            done[index] = refused
    return [done[index] for index in range(len(wanted))]


def _on_top(conn: sa.Connection, call: Call, bucket: Bucket, current: Version | None, version: Version) -> Version:
    if bucket.versioning is Versioning.ENABLED:
        version = replace(version, version=call.app.ids.token(24))
    elif (null := records.find_version(conn, bucket.name, version.key, NULL)) is not None:
        records.delete_version(conn, null)
        contents.release_content(conn, null.content, call.now)
    if current is not None:
        version = replace(version, rank=current.rank - 1)
        records.set_latest(conn, current, latest=False)
    records.insert_version(conn, version, bucket.region)
    return version


def _remove(conn: sa.Connection, call: Call, bucket: Bucket, version: Version) -> None:
    records.delete_version(conn, version)
    if version.content:
        contents.release_content(conn, version.content, call.now)
    _emit_deleted(conn, call, bucket, version, "Permanently Deleted")


def _emit_deleted(conn: sa.Connection, call: Call, bucket: Bucket, version: Version, kind: str) -> None:
    _emit(conn, call, bucket, OBJECT_DELETED, version, {}, {"reason": "DeleteObject", "deletion-type": kind})


def ordering_key(key: str) -> int:
    """Which of a bucket's ordering keys a key's events share.

    Events keep their order within an aggregate, whose counter is locked until the COMMIT. Order matters for one key only; were a bucket one
    aggregate, all its writers would queue for each other's sync to disk.
    """
    return zlib.crc32(key.encode()) % _ORDERING_KEYS


def _emit(  # noqa: PLR0917
    conn: sa.Connection,
    call: Call,
    bucket: Bucket,
    type: EventType,
    version: Version,
    about: dict[str, Any],
    how: dict[str, Any],
) -> None:
    """Emit what EventBridge's detail says: of the object (`about`) and of the request (`how`)."""
    if bucket.versioning is not Versioning.NEVER:
        about = about | {"version-id": version.version}
    payload: dict[str, Any] = {
        "version": "0",
        "bucket": {"name": bucket.name},
        "object": {"key": version.key, **about, "sequencer": f"{call.now:012X}"},
        "request-id": call.request_id,
        "requester": call.account,
        "source-ip-address": call.source_ip,  # "" of a call in process
        **how,
    }
    if not bucket.settings.get("eventbridge", True):
        payload[UNANNOUNCED] = True
    event = Event(
        type=type.name,
        version=type.version,
        account=bucket.account,
        region=bucket.region,
        aggregate=f"{type.aggregate}/{bucket.name}/{ordering_key(version.key)}",
        payload=payload,
        actor=call.session.arn,
        cause=call.request_id,
    )
    emit(conn, event, now=call.now, id=ordered_uuid())
