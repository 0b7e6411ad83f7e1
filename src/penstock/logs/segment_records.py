"""Segments: parts of log streams that lie compressed where the bytes of objects lie, and not in the streams' files any more.

Those of a stream follow each other without a gap from the place 0 on, or from where retention has left off.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from penstock.blobs.blob_keys import context_of
from penstock.logs.records import DAY, groups, streams
from penstock.store.jobs import enqueue
from penstock.store.records import LIVE
from penstock.store.records import jobs as job_table
from penstock.store.schema import metadata, sealed
from penstock.store.statement import Statement
from penstock.store.upsert import upsert

PACK = "logs.pack"
"""The job of a stream that has grown by a segment: see `packing`."""

IDLE_MS = 3_600_000  # after which nothing more is expected to be written to a stream
_LEAST = 16_384  # bytes that are worth a segment

_AT_ONCE = 500  # parameters of a statement

segments = sa.Table(
    "log_segments",
    metadata,
    sa.Column("file", sa.String(36), primary_key=True),  # of the stream
    sa.Column("offset", sa.BigInteger, primary_key=True),  # bytes of the stream before it
    sa.Column("end", sa.BigInteger, nullable=False),
    sa.Column("highest", sa.BigInteger, nullable=False),  # time stamp of its latest event
    sa.Column("blob", sa.String(32), nullable=False),
    sa.Column("key", sa.LargeBinary, nullable=False, info=sealed(lambda row: context_of(row.blob))),
    sa.Column("size", sa.BigInteger, nullable=False),  # bytes of the blob before it is sealed
    sa.Column("kept", sa.BigInteger),  # ms; when it was durable. NULL: it is being written, or the writer died
    sa.Column("dropped", sa.BigInteger),  # ms; since when it is not read any more. NULL: it is
)

_s = segments.c
_HOLDING = Statement(
    sa.select(segments)
    .where(_s.file == sa.bindparam("f"), _s.offset <= sa.bindparam("o"), _s.kept.is_not(None))
    .order_by(_s.offset.desc())
    .limit(1)
)


def holding(conn: sa.Connection, file: str, offset: int) -> Any:
    """The segment that has a place of a stream, dropped or not; None without one."""
    found = _HOLDING.first(conn, {"f": file, "o": offset})
    return found if found is not None and offset < found.end else None


def following(conn: sa.Connection, file: str, offset: int) -> int | None:
    """Where the first segment behind a place begins that can be read."""
    behind = (_s.file == file) & (_s.offset > offset) & _s.kept.is_not(None) & _s.dropped.is_(None)
    return conn.execute(sa.select(sa.func.min(_s.offset)).where(behind)).scalar()


def of_stream(conn: sa.Connection, file: str) -> list[Any]:
    """The segments of a stream that are kept, in its order."""
    return list(conn.execute(sa.select(segments).where(_s.file == file, _s.kept.is_not(None)).order_by(_s.offset)))


def packed(conn: sa.Connection, files: Sequence[str]) -> dict[str, int]:
    """Those of some streams that have segments, and where these end."""
    c = streams.c
    query = sa.select(c.file, c.packed).where(c.packed > 0)
    return {
        row.file: row.packed
        for at in range(0, len(files), _AT_ONCE)
        for row in conn.execute(query.where(c.file.in_(files[at : at + _AT_ONCE])))
    }


def begin(conn: sa.Connection, row: dict[str, Any]) -> str | None:
    """Note a segment before its blob is written. The blob of an attempt before, which is not wanted any more, or "".

    None when the stream is gone, or another has packed this part of it.
    """
    stream = conn.execute(sa.select(streams.c.packed).where(streams.c.file == row["file"]).with_for_update()).first()
    if stream is None or (stream.packed or 0) != row["offset"]:
        return None
    before = conn.execute(sa.select(_s.blob, _s.kept).where(_s.file == row["file"], _s.offset == row["offset"])).first()
    upsert(conn, segments, row, {name: row[name] for name in ("end", "highest", "blob", "key", "size")})
    return "" if before is None else before.blob


def keep(conn: sa.Connection, row: dict[str, Any], *, now: int) -> bool:
    """Note that the blob of a segment is durable. False when the stream is gone, and the segment with it, or when another is at it."""
    this = (_s.file == row["file"]) & (_s.offset == row["offset"]) & (_s.blob == row["blob"]) & _s.kept.is_(None)
    before = sa.func.coalesce(streams.c.packed, 0) == row["offset"]
    packed = streams.update().where(streams.c.file == row["file"], before).values(packed=row["end"])
    if not conn.execute(packed).rowcount:
        return False
    if not conn.execute(segments.update().where(this).values(kept=now)).rowcount:
        conn.execute(streams.update().where(streams.c.file == row["file"]).values(packed=row["offset"]))
        return False
    return True


def ask(conn: sa.Connection, files: Sequence[str], least: int) -> None:
    """Have those of some streams packed that have at least so many bytes which are not."""
    c = streams.c
    longer = c.size - sa.func.coalesce(c.packed, 0) >= least
    query = sa.select(c.file, c.account, c.region).where(c.file.in_(list(files)), longer)
    for row in conn.execute(query):
        enqueue(conn, kind=PACK, payload={"file": row.file}, account=row.account, region=row.region, dedup=row.file)


def idle(conn: sa.Connection, now: int, after: str, limit: int) -> list[str]:
    """Some streams (files) behind one that nobody has written to for long, and of which much is not packed and is not asked to be; in their order."""
    c, jobs = streams.c, job_table.c
    asked = sa.exists().where(jobs.kind == PACK, jobs.dedup == c.file, jobs.state.in_(LIVE))
    longer = c.size - sa.func.coalesce(c.packed, 0) >= _LEAST
    found = (c.file > after) & (c.last_ingestion < now - IDLE_MS) & longer & ~asked
    return list(conn.execute(sa.select(c.file).where(found).order_by(c.file).limit(limit)).scalars())


def drop(conn: sa.Connection, now: int, limit: int) -> list[Any]:
    """Give up some segments that are over the time of their group, or of streams that are gone; those, and what was given up before."""
    stream = streams.c.file == _s.file
    group = (
        (groups.c.account == streams.c.account)
        & (groups.c.region == streams.c.region)
        & (groups.c.name == streams.c.group)
    )
    kept = sa.cast(groups.c.retention, sa.BigInteger) * sa.literal(DAY, sa.BigInteger)
    over = sa.exists().where(stream, group, _s.highest < now - kept)
    given_up = sa.or_(_s.dropped.is_not(None), ~sa.exists().where(stream), _s.kept.is_not(None) & over)
    rows = list(conn.execute(sa.select(segments).where(given_up).limit(limit)))
    for row in rows:
        conn.execute(
            segments.update()
            .where(_s.file == row.file, _s.offset == row.offset, _s.dropped.is_(None))
            .values(dropped=now)
        )
    return rows


def forget(conn: sa.Connection, rows: Sequence[Any]) -> None:
    """Delete segments whose blobs are gone."""
    for row in rows:
        conn.execute(segments.delete().where(_s.file == row.file, _s.offset == row.offset, _s.blob == row.blob))
