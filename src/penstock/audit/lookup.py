"""Finding events: the newest first, across the chains of all processes.

The marks of a block say whether it holds what is looked for, so that only those blocks are unpacked whose records are answered.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import sqlalchemy as sa

from penstock.audit.attributes import attributes, has, mark, record_of
from penstock.audit.records import blocks
from penstock.trail import take_apart

_AT_ONCE = 500  # blocks whose marks are read with one statement


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
    found = {event.id: event for event in _matching(wanted, tail)}
    for last_at, chain, first in _candidates(conn, wanted):
        if sum(event.at > last_at for event in found.values()) >= limit:
            break
        for event in _matching(wanted, _lines(conn, chain, first)):
            found[event.id] = event
    return sorted(found.values(), key=lambda event: event.place, reverse=True)[:limit]


def _candidates(conn: sa.Connection, wanted: Wanted) -> Iterator[tuple[int, str, int]]:
    """Blocks that have the mark, by their latest record, the latest first."""
    table = blocks
    where = [table.c.last_at >= wanted.begin, table.c.first_at <= (wanted.before or (wanted.end,))[0]]
    query = sa.select(table.c.last_at, table.c.chain, table.c.first, table.c.marks).where(*where)
    place = sa.tuple_(table.c.last_at, table.c.chain, table.c.first)
    query = query.order_by(table.c.last_at.desc(), table.c.chain.desc(), table.c.first.desc()).limit(_AT_ONCE)
    wanted_mark, behind = wanted.mark, query
    while True:
        rows = conn.execute(behind).all()
        for last_at, chain, first, marks in rows:
            if has(marks, wanted_mark):
                yield last_at, chain, first
        if len(rows) < _AT_ONCE:
            return
        behind = query.where(place < sa.tuple_(*(sa.literal(value) for value in rows[-1][:3])))


def _lines(conn: sa.Connection, chain: str, first: int) -> list[bytes]:
    content = conn.execute(
        sa.select(blocks.c.content).where(blocks.c.chain == chain, blocks.c.first == first)
    ).scalar_one()
    return zlib.decompress(content).split(b"\n")


def _matching(wanted: Wanted, lines: Sequence[bytes]) -> Iterator[Found]:
    text = _text(wanted)
    for line in lines:
        if text not in line:
            continue
        record = record_of(line)
        if record is None or record["recipientAccountId"] != wanted.account or record["awsRegion"] != wanted.region:
            continue
        apart = take_apart(line)
        place = (apart.at, record["eventID"])
        if not wanted.begin <= apart.at <= wanted.end or (wanted.before is not None and place >= wanted.before):
            continue
        if not wanted.name or (wanted.name, wanted.value) in attributes(record):
            yield Found(*place, record, apart.record)


def _text(wanted: Wanted) -> bytes:
    """What stands in the line of every record that is looked for: most others need not be parsed."""
    if wanted.name in ("", "ReadOnly", "ResourceType") or wanted.value == "root":
        return wanted.account.encode()
    return orjson.dumps(wanted.value)[1:-1]
