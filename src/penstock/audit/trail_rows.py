"""Statements about trails, and how far each has come in the chains of records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from penstock.audit.records import blocks, chains, positions, trails
from penstock.store.keysets import rows_behind
from penstock.store.upsert import upsert

_BLOCKS = 16  # of one file, and a megabyte of lines in each at most


@dataclass(frozen=True, slots=True)
class Part:
    """Lines of a chain that go to a trail's bucket together."""

    chain: str
    first: int
    until: int

    @property
    def lines(self) -> str:
        """Which they are, as text."""
        return f"{self.chain}/{self.first}/{self.until}"


def by_id(conn: sa.Connection, id: str, *, lock: bool = False) -> Any:
    """A trail, or None."""
    query = sa.select(trails).where(trails.c.id == id)
    return conn.execute(query.with_for_update() if lock else query).first()


def named(conn: sa.Connection, account: str, region: str, name: str) -> Any:
    """A trail of a region, or one of all regions that is seen from it; None when there is none."""
    query = sa.select(trails).where(
        trails.c.account == account,
        trails.c.name == name,
        sa.or_(trails.c.region == region, trails.c.everywhere),
    )
    query = query.order_by(sa.case((trails.c.region == region, 0), else_=1), trails.c.region).limit(1)
    return conn.execute(query).first()


def of_account(conn: sa.Connection, account: str, after: Sequence[str] | None, limit: int) -> list[Any]:
    """The trails of an account by name and region, a page at a time."""
    query = sa.select(trails).where(trails.c.account == account)
    return list(conn.execute(rows_behind(query, (trails.c.name, trails.c.region), after, limit=limit)))


def with_periods(conn: sa.Connection) -> list[Any]:
    """The trails of all accounts that take records, or have done so."""
    return [trail for trail in conn.execute(sa.select(trails)) if trail.periods]


def count(conn: sa.Connection, account: str, region: str) -> int:
    """How many trails an account has in a region."""
    where = (trails.c.account == account, trails.c.region == region)
    return conn.execute(sa.select(sa.func.count()).select_from(trails).where(*where)).scalar_one()


def insert(conn: sa.Connection, row: dict[str, Any]) -> None:
    """A new trail, which begins behind all that is in blocks by now."""
    conn.execute(trails.insert().values(row))
    now = sa.select(sa.literal(row["id"]), chains.c.id, chains.c.lines, sa.null())
    conn.execute(positions.insert().from_select(["trail", "chain", "lines", "until"], now))


def change(conn: sa.Connection, id: str, **values: Any) -> None:
    """Other values of a trail."""
    conn.execute(trails.update().where(trails.c.id == id).values(**values))


def delete(conn: sa.Connection, id: str) -> None:
    """Forget a trail. Its files stay."""
    conn.execute(positions.delete().where(positions.c.trail == id))
    conn.execute(trails.delete().where(trails.c.id == id))


def next_part(conn: sa.Connection, trail: str, before: int) -> Part | None:
    """The next lines for a trail, all recorded before a time (ms); those of an earlier try again. None when it has everything.

    The part is kept, so that a try that nobody has seen the end of is repeated with the same lines.
    """
    if by_id(conn, trail, lock=True) is None:
        return None
    done = sa.func.coalesce(positions.c.lines, 0)
    joined = chains.outerjoin(positions, (positions.c.chain == chains.c.id) & (positions.c.trail == trail))
    behind = sa.select(chains.c.id, done.label("done"), positions.c.until).select_from(joined)
    for chain, first, until in conn.execute(behind.where(chains.c.lines > done).order_by(chains.c.number)).all():
        if until is not None:
            return Part(chain, first, until)
        where = (blocks.c.chain == chain, blocks.c.first >= first)
        query = sa.select(blocks.c.first, blocks.c.lines, blocks.c.last_at).where(*where).order_by(blocks.c.first)
        end = first
        for block in conn.execute(query.limit(_BLOCKS)).all():
            if block.last_at >= before:
                break
            end = block.first + block.lines
        if end > first:
            row = {"trail": trail, "chain": chain, "lines": first, "until": end}
            upsert(conn, positions, row, {"until": end})
            return Part(chain, first, end)
    return None


def blocks_of(conn: sa.Connection, part: Part) -> list[Any]:
    """The blocks of a part that are kept still, in their order."""
    where = (blocks.c.chain == part.chain, blocks.c.first >= part.first, blocks.c.first < part.until)
    columns = (blocks.c.first_at, blocks.c.last_at, blocks.c.content)
    return list(conn.execute(sa.select(*columns).where(*where).order_by(blocks.c.first)))


def deliver(conn: sa.Connection, trail: str, part: Part, now: int, *, written: bool) -> None:
    """A part is in its bucket. It may be said twice, and by whom another has overtaken."""
    where = (positions.c.trail == trail, positions.c.chain == part.chain, positions.c.lines == part.first)
    done = conn.execute(positions.update().where(*where).values(lines=part.until, until=None)).rowcount
    if done and written:
        change(conn, trail, delivered=now, attempted=now, error="")
