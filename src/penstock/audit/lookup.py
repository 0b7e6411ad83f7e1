"""Finding events: the newest first, across the chains of all processes.

The marks of a block say whether it holds what is looked for, so that only those blocks are unpacked whose records are answered.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import sqlalchemy as sa

from penstock.audit.attributes import attributes, has, mark, read
from penstock.audit.packing import holding
from penstock.audit.records import blocks
from penstock.trail import Unreadable, take_apart

log = logging.getLogger("penstock.audit")

# Blocks whose marks are read with one statement: few at first, since the newest ones have most pages.
_AT_FIRST = 8
_AT_ONCE = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is looked for."""

    account: str
    region: str
    name: str = ""  # an attribute; "" for every event
    value: str = ""
    begin: int  # ms; the earliest
    end: int  # ms; the latest
    before: tuple[int, str] | None = None  # time and id of the event that ended the page before

    @property
    def mark(self) -> int:
        """What the marks of a block must hold."""
        return mark(self.account, self.region, self.name, self.value)


@dataclass(frozen=True, slots=True)
class Found:
    """An event."""

    at: int  # ms
    id: str
    record: dict[str, Any]
    text: bytes  # the record as it is written

    @property
    def place(self) -> tuple[int, str]:
        """Its place in the order of events."""
        return self.at, self.id


def newest(conn: sa.Connection, wanted: Wanted, tail: Sequence[bytes], limit: int) -> list[Found]:
    """Up to `limit` events, the newest first. `tail` are lines that may be in no block yet."""
    text = _text(wanted)
    found = {event.id: event for event in _matching(wanted, _holding(tail, text))}
    for last_at, chain, first in _candidates(conn, wanted):
        if len(found) >= limit and sum(event.at > last_at for event in found.values()) >= limit:
            break
        try:
            for event in _matching(wanted, holding(_content(conn, chain, first), text)):
                found[event.id] = event
        except Unreadable:  # somebody has damaged it
            log.warning("audit.unreadable", extra={"chain": chain, "line": first + 1})
    return sorted(found.values(), key=lambda event: event.place, reverse=True)[:limit]


def _candidates(conn: sa.Connection, wanted: Wanted) -> Iterator[tuple[int, str, int]]:
    """Blocks that have the mark, by their latest record, the latest first."""
    table = blocks
    where = [table.c.last_at >= wanted.begin, table.c.first_at <= (wanted.before or (wanted.end,))[0]]
    query = sa.select(table.c.last_at, table.c.chain, table.c.first, table.c.marks).where(*where)
    place = sa.tuple_(table.c.last_at, table.c.chain, table.c.first)
    query = query.order_by(table.c.last_at.desc(), table.c.chain.desc(), table.c.first.desc())
    wanted_mark, behind, many = wanted.mark, query, _AT_FIRST
    while True:
        rows = conn.execute(behind.limit(many)).all()
        for last_at, chain, first, marks in rows:
            if has(marks, wanted_mark):
                yield last_at, chain, first
        if len(rows) < many:
            return
        behind = query.where(place < sa.tuple_(*(sa.literal(value) for value in rows[-1][:3])))
        many = min(many * 4, _AT_ONCE)


def _content(conn: sa.Connection, chain: str, first: int) -> bytes:
    return conn.execute(
        sa.select(blocks.c.content).where(blocks.c.chain == chain, blocks.c.first == first)
    ).scalar_one()


def _holding(lines: Sequence[bytes], text: bytes) -> Iterator[tuple[int, bytes]]:
    """Time and JSON of the records in lines that hold a text."""
    for line in lines:
        if text in line:
            with contextlib.suppress(Unreadable):
                found = take_apart(line)
                yield found.at, found.record


def _matching(wanted: Wanted, records: Iterable[tuple[int, bytes]]) -> Iterator[Found]:
    for at, text in records:
        if not wanted.begin <= at <= wanted.end or (wanted.before is not None and at > wanted.before[0]):
            continue
        record = read(text)
        if record is None or record["recipientAccountId"] != wanted.account or record["awsRegion"] != wanted.region:
            continue
        place = (at, record["eventID"])
        if wanted.before is not None and place >= wanted.before:
            continue
        if not wanted.name or (wanted.name, wanted.value) in attributes(record):
            yield Found(*place, record, text)


def _text(wanted: Wanted) -> bytes:
    """What stands in every record that is looked for: most others need not be parsed."""
    if wanted.name == "ReadOnly":
        return b'"readOnly":' + wanted.value.encode()
    if wanted.name in ("", "ResourceType") or wanted.value == "root":
        return wanted.account.encode()
    return orjson.dumps(wanted.value)[1:-1]
