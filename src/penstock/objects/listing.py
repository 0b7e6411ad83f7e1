"""Lists in S3's order, with prefixes and delimiters, by range skips in an index.

A delimiter groups all keys that continue with it after the prefix into one common prefix. Once one key of a group is seen, the
next question to the index begins behind the whole group, so a list costs as many small range reads as it has entries,
however many keys the groups hold.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from penstock.objects.records import uploads, versions

_PROBE = 16  # rows that a question asks for while groups are being skipped

Keyset = tuple[Any, ...]
"""Where a list continues: (key,) for objects, (key, rank) for versions, (key, id) for uploads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of a list, in order."""

    entries: list[Any | bytes]  # a row, or the bytes of a common prefix
    truncated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What a list shows."""

    prefix: bytes = b""
    delimiter: bytes = b""
    limit: int = 1000


def after_prefix(prefix: bytes) -> bytes | None:
    """The first key behind all that begin with `prefix`, or None."""
    stripped = prefix.rstrip(b"\xff")
    return stripped[:-1] + bytes((stripped[-1] + 1,)) if stripped else None


def common_prefix(key: bytes, selection: Selection) -> bytes | None:
    """The group that a key belongs to, or None when it stands for itself."""
    if not selection.delimiter:
        return None
    at = key.find(selection.delimiter, len(selection.prefix))
    return None if at < 0 else key[: at + len(selection.delimiter)]


Question = Callable[[Keyset, bool, int], Sequence[Any]]
"""Rows from a keyset on (`inclusive` or behind it), at most so many, in order; each has `.key`."""


def page(
    question: Question, keyset_of: Callable[[Any], Keyset], start: Keyset, *, inclusive: bool, selection: Selection
) -> Page:
    """The first `selection.limit` entries from `start`."""
    if selection.limit == 0:
        return Page(entries=[], truncated=False)
    end = after_prefix(selection.prefix)
    if selection.prefix and start[0] < selection.prefix:
        start, inclusive = (selection.prefix,), True
    entries: list[Any | bytes] = []
    for entry in _entries(question, keyset_of, start, inclusive, end, selection):
        if len(entries) == selection.limit:
            return Page(entries=entries, truncated=True)
        entries.append(entry)
    return Page(entries=entries, truncated=False)


def _entries(  # noqa: PLR0917
    question: Question,
    keyset_of: Callable[[Any], Keyset],
    start: Keyset,
    inclusive: bool,  # noqa: FBT001
    end: bytes | None,
    selection: Selection,
) -> Iterator[Any | bytes]:
    size = selection.limit + 1
    while True:
        rows = question(start, inclusive, size)
        keys = [row.key for row in rows]
        at = 0
        while at < len(rows):
            row = rows[at]
            if end is not None and row.key >= end:
                return
            group = common_prefix(row.key, selection)
            if group is None:
                yield row
                at += 1
                continue
            yield group
            behind = after_prefix(group)
            if behind is None:
                return
            at = bisect_left(keys, behind, at)
            if at == len(rows):
                start, inclusive, size = (behind,), True, _PROBE
                break
        else:
            if len(rows) < size:
                return
            start, inclusive, size = keyset_of(rows[-1]), False, min(2 * size, selection.limit + 1)
            continue
        if len(rows) == 0:
            return


def objects_from(conn: sa.Connection, bucket: str) -> Question:
    """The latest versions of keys that are there."""

    def question(start: Keyset, inclusive: bool, size: int) -> Sequence[Any]:  # noqa: FBT001
        key = versions.c.key
        return conn.execute(
            sa.select(versions)
            .where(
                versions.c.bucket == bucket,
                versions.c.live == sa.true(),
                key >= start[0] if inclusive else key > start[0],
            )
            .order_by(key)
            .limit(size)
        ).all()

    return question


def versions_from(conn: sa.Connection, bucket: str) -> Question:
    """Every version and marker."""
    return _pairs(conn, versions, (versions.c.bucket == bucket,), versions.c.rank)


def uploads_from(conn: sa.Connection, bucket: str) -> Question:
    """The uploads that are under way."""
    return _pairs(conn, uploads, (uploads.c.bucket == bucket, uploads.c.open == sa.true()), uploads.c.id)


def _pairs(
    conn: sa.Connection, table: sa.Table, where: tuple[sa.ColumnElement[bool], ...], second: sa.ColumnElement[Any]
) -> Question:
    def question(start: Keyset, inclusive: bool, size: int) -> Sequence[Any]:  # noqa: FBT001
        key = table.c.key
        if len(start) == 1:
            bound = key >= start[0] if inclusive else key > start[0]
        else:
            pair = sa.tuple_(key, second)
            bound = sa.and_(
                key >= start[0], pair > sa.tuple_(sa.literal(start[0], key.type), sa.literal(start[1], second.type))
            )
        return conn.execute(sa.select(table).where(*where, bound).order_by(key, second).limit(size)).all()

    return question
