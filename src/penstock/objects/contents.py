"""Statements on what versions are made of: parts, uploads and blobs.

A blob that no part refers to any more waits for the collector. The collector first gives a blob up in a transaction
(`removed`), then unlinks it; who lets new parts refer to a blob that is there asks `keep_blobs` in the same transaction.

A blob's key is its parts': each opens it for the content that it belongs to, under that content's data key if it has one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from penstock.objects.blobs import Blob, Piece
from penstock.objects.model import About, Part, Upload
from penstock.objects.records import LATEST, OF_ID, blobs, naming_version, parts, uploads, versions
from penstock.store.statement import Question, Statement, ask

_INSERT_BLOB = Statement(sa.insert(blobs))


def insert_blob(conn: sa.Connection, blob: Blob, *, account: str, region: str, now: int) -> None:
    """Take a durable blob over into the books."""
    _INSERT_BLOB.later(
        conn,
        {
            "id": blob.id,
            "account": account,
            "region": region,
            "size": blob.size,
            "created": now,
        },
    )


_KEEP = Statement(
    sa.update(blobs)
    .where(blobs.c.id == sa.bindparam("i"), blobs.c.unreferenced.is_not(None), blobs.c.removed.is_(None))
    .values(unreferenced=None)
)
_KEPT = Statement(
    sa.select(blobs.c.id).where(blobs.c.id == sa.bindparam("i"), blobs.c.removed.is_(None)).with_for_update(read=True)
)
_INSERT_PART = Statement(sa.insert(parts))
_PARTS = Statement(
    sa.select(parts)
    .where(parts.c.content == sa.bindparam("c"), parts.c.number > sa.bindparam("after"))
    .order_by(parts.c.number)
    .limit(sa.bindparam("n"))
)
_ANY_PIECES = (
    sa.select(parts.c.content, parts.c.start, parts.c.size, parts.c.checksum, parts.c.key)
    .add_columns(blobs.c.id, blobs.c.size.label("blob_size"))
    .join(blobs, blobs.c.id == parts.c.blob)
    .order_by(parts.c.number)
)
_PIECES = Statement(_ANY_PIECES.where(parts.c.content == sa.bindparam("c")))
_PIECES_OF_LATEST, _PIECES_OF_VERSION = (
    Statement(_ANY_PIECES.where(parts.c.content == found.with_only_columns(versions.c.content).scalar_subquery()))
    for found in (LATEST, OF_ID)
)
_ALL = 2**31 - 1  # more than a content has parts


def keep_blobs(conn: sa.Connection, ids: Sequence[str]) -> bool:
    """Before new parts refer to blobs that are there: False when one of them is given up already.

    Each is locked against the collector only: many copies of one object may be made at once.
    """
    return kept(ask(conn, *keeping(ids)))


def keeping(ids: Iterable[str]) -> list[Question]:
    """The questions that `kept` knows the answers of. See `keep_blobs`."""
    return [(statement, {"i": blob}) for blob in sorted(set(ids)) for statement in (_KEEP, _KEPT)]


def kept(answers: Sequence[list[Any]]) -> bool:
    """Whether new parts may refer to the blobs."""
    return all(answers[1::2])


def insert_parts(conn: sa.Connection, content: str, found: Iterable[Part], *, account: str, region: str) -> None:
    """Add parts to a content."""
    for part in found:
        _INSERT_PART.later(
            conn,
            {
                "content": content,
                "number": part.number,
                "account": account,
                "region": region,
                "blob": part.blob,
                "start": part.start,
                "size": part.size,
                "etag": part.etag,
                "modified": part.modified,
                "checksum": part.checksum,
                "key": part.key,
            },
        )


def finding_parts(content: str, *, after: int = 0, limit: int | None = None) -> Question:
    """The question that `parts_in` knows the answer of. See `list_parts`."""
    return _PARTS, {"c": content, "after": after, "n": _ALL if limit is None else limit}


def list_parts(conn: sa.Connection, content: str, *, after: int = 0, limit: int | None = None) -> list[Part]:
    """Parts by number."""
    return parts_in(ask(conn, finding_parts(content, after=after, limit=limit))[0])


def parts_in(rows: Sequence[Any]) -> list[Part]:
    """The parts that were found."""
    return [
        Part(
            number=row.number,
            blob=row.blob,
            start=row.start,
            size=row.size,
            etag=row.etag,
            modified=row.modified,
            checksum=row.checksum,
            key=row.key,
        )
        for row in rows
    ]


def pieces(conn: sa.Connection, content: str) -> list[Piece]:
    """Where the bytes of a content are, in order."""
    return pieces_in(_PIECES.all(conn, {"c": content}))


def finding_pieces(bucket: str, key: str, version: str | None) -> Question:
    """The question where the bytes of a version are, or of the latest, before it is known what content that has."""
    return _PIECES_OF_LATEST if version is None else _PIECES_OF_VERSION, naming_version(bucket, key, version)


def pieces_in(rows: Sequence[Any]) -> list[Piece]:
    """The pieces that were found."""
    return [
        Piece(
            blob=Blob(id=row.id, size=row.blob_size, key=row.key),
            start=row.start,
            length=row.size,
            checksum=row.checksum,
        )
        for row in rows
    ]


def release_content(conn: sa.Connection, content: str, now: int, *, numbers: Sequence[int] | None = None) -> None:
    """Remove the parts of a content (or those with `numbers`); blobs that nothing refers to any more wait for the collector."""
    mine = [parts.c.content == content]
    if numbers is not None:
        for chunk in _chunks(numbers):
            _release(conn, [*mine, parts.c.number.in_(chunk)], now)
    else:
        _release(conn, mine, now)


def _release(conn: sa.Connection, where: list[sa.ColumnElement[bool]], now: int) -> None:
    ids = sorted({row.blob for row in conn.execute(sa.select(parts.c.blob).where(*where))})
    conn.execute(sa.delete(parts).where(*where))
    for chunk in _chunks(ids):
        conn.execute(
            sa.update(blobs)
            .where(blobs.c.id.in_(chunk), ~sa.exists().where(parts.c.blob == blobs.c.id))
            .values(unreferenced=now)
        )


def find_upload(conn: sa.Connection, upload: str, *, lock: bool = False) -> Upload | None:
    """A multipart upload, under way or completed."""
    statement = sa.select(uploads).where(uploads.c.id == upload)
    row = conn.execute(statement.with_for_update() if lock else statement).one_or_none()
    return None if row is None else upload_of(row)


def upload_of(row: Any) -> Upload:
    """The upload in a row."""
    return Upload(
        id=row.id,
        bucket=row.bucket,
        key=row.key.decode(),
        account=row.account,
        initiated=row.initiated,
        initiator=row.initiator,
        about=About.of(row.about),
        outcome=row.outcome,
    )


def insert_upload(conn: sa.Connection, upload: Upload, region: str) -> None:
    """Begin an upload."""
    conn.execute(
        sa.insert(uploads).values(
            id=upload.id,
            bucket=upload.bucket,
            key=upload.key.encode(),
            account=upload.account,
            region=region,
            initiated=upload.initiated,
            initiator=upload.initiator,
            about=upload.about.document(),
            open=True,
        )
    )


def complete_upload(conn: sa.Connection, upload: str, outcome: dict[str, Any], now: int) -> None:
    """Keep an upload's outcome for repeated calls; its parts belong to the object now."""
    conn.execute(sa.update(uploads).where(uploads.c.id == upload).values(open=False, outcome=outcome, completed=now))


def delete_upload(conn: sa.Connection, upload: str) -> None:
    """Forget an upload; its parts are released by the caller."""
    conn.execute(sa.delete(uploads).where(uploads.c.id == upload))


def forget_uploads(conn: sa.Connection, before: int) -> None:
    """Forget uploads that were completed before a time (ms)."""
    conn.execute(sa.delete(uploads).where(uploads.c.completed < before))


def uploads_of_bucket(conn: sa.Connection, bucket: str) -> list[tuple[str, bool]]:
    """(id, open) of every upload of a bucket."""
    rows = conn.execute(sa.select(uploads.c.id, uploads.c.open).where(uploads.c.bucket == bucket))
    return [(row.id, row.open) for row in rows]


def unreferenced_blobs(conn: sa.Connection, before: int, limit: int) -> list[str]:
    """Blobs that nothing has referred to since before a time (ms)."""
    rows = conn.execute(
        sa.select(blobs.c.id).where(blobs.c.unreferenced < before).order_by(blobs.c.unreferenced).limit(limit)
    )
    return [row.id for row in rows]


def give_up_blobs(conn: sa.Connection, ids: Sequence[str], now: int) -> list[str]:
    """Mark those that still nothing refers to as removed: from here on nothing can. The ids that may be unlinked."""
    rows = conn.execute(
        sa.select(blobs.c.id)
        .where(blobs.c.id.in_(ids), blobs.c.unreferenced.is_not(None))
        .order_by(blobs.c.id)
        .with_for_update()
    )
    locked = [row.id for row in rows]
    used = {row.blob for row in conn.execute(sa.select(parts.c.blob).where(parts.c.blob.in_(locked)))}
    free = [blob for blob in locked if blob not in used]
    conn.execute(sa.update(blobs).where(blobs.c.id.in_(free)).values(removed=now))
    if used:
        conn.execute(sa.update(blobs).where(blobs.c.id.in_(sorted(used))).values(unreferenced=None))
    return free


def give_up_strays(conn: sa.Connection, ids: Sequence[str], now: int) -> list[str]:
    """Claim the ids of stored bytes without a row, so that a late writer's row cannot come. The ids that may be unlinked."""
    rows = conn.execute(sa.select(blobs.c.id, blobs.c.removed).where(blobs.c.id.in_(ids))).all()
    known = {row.id for row in rows if row.removed is None}
    claimed = {row.id for row in rows if row.removed is not None}
    strays = [blob for blob in ids if blob not in known and blob not in claimed]
    if strays:
        conn.execute(
            sa.insert(blobs),
            [
                {
                    "id": blob,
                    "account": "",
                    "region": "",
                    "size": 0,
                    "created": now,
                    "removed": now,
                }
                for blob in strays
            ],
        )
    return [blob for blob in ids if blob not in known]


def forget_blobs(conn: sa.Connection, ids: Sequence[str]) -> None:
    """Remove the rows of blobs that are unlinked. A stray's stays as a claim."""
    conn.execute(
        sa.delete(blobs).where(blobs.c.id.in_(ids), blobs.c.removed.is_not(None), blobs.c.unreferenced.is_not(None))
    )


def forget_claims(conn: sa.Connection, before: int) -> None:
    """Remove claims on strays from before a time (ms), by when their writers are long gone."""
    conn.execute(sa.delete(blobs).where(blobs.c.removed < before, blobs.c.unreferenced.is_(None)))


def _chunks(ids: Sequence[Any]) -> Iterable[Sequence[Any]]:
    """In lists that a statement's parameters can hold."""
    for start in range(0, len(ids), 500):
        yield ids[start : start + 500]
