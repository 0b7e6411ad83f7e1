"""Statements of archives, of the events in them, and of replays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from penstock.events.records import Place, archived, archives, replays
from penstock.store.upsert import upsert

LIVE = ("STARTING", "RUNNING", "CANCELLING")  # states of replays that have not ended
SMALL = 128  # blocks with fewer events are packed together
_DAY_MS = 86_400_000


def _named(table: sa.Table, place: Place, name: str) -> sa.ColumnElement[bool]:
    return sa.and_(table.c.account == place[0], table.c.region == place[1], table.c.name == name)


def find(conn: sa.Connection, table: sa.Table, place: Place, name: str, *, lock: bool = False) -> Any:
    """An archive or a replay, or None."""
    found = sa.select(table).where(_named(table, place, name))
    return conn.execute(found.with_for_update() if lock else found).first()


def by_id(conn: sa.Connection, id: str, *, lock: bool = False) -> Any:
    """An archive, or None."""
    found = sa.select(archives).where(archives.c.id == id)
    return conn.execute(found.with_for_update() if lock else found).first()


def add(conn: sa.Connection, table: sa.Table, place: Place, name: str, **values: Any) -> bool:
    """Write a row. False when there is one of its name, which stays."""
    return upsert(conn, table, {"account": place[0], "region": place[1], "name": name, **values})


def change(conn: sa.Connection, table: sa.Table, place: Place, name: str, **values: Any) -> None:
    """Change a row."""
    conn.execute(table.update().where(_named(table, place, name)).values(values))


def remove(conn: sa.Connection, place: Place, name: str) -> None:
    """Forget an archive. Its events are removed by the sweeper, some at a time."""
    conn.execute(archives.delete().where(_named(archives, place, name)))


def after(
    conn: sa.Connection, table: sa.Table, place: Place, *, name: str, prefix: str, limit: int, equal: Mapping[str, Any]
) -> list[Any]:
    """Rows of a place by name, from behind one on, whose columns have these values."""
    c = table.c
    found = sa.select(table).where(c.account == place[0], c.region == place[1], c.name > name)
    if prefix:  # names are ASCII and have none of the last character
        found = found.where(c.name >= prefix, c.name < prefix + "\x7f")
    for column, value in equal.items():
        found = found.where(c[column] == value)
    return list(conn.execute(found.order_by(c.name).limit(limit)).all())


def count(conn: sa.Connection, table: sa.Table, place: Place) -> int:
    """How many archives or live replays a place has."""
    found = sa.select(sa.func.count()).where(table.c.account == place[0], table.c.region == place[1])
    if table is replays:
        found = found.where(replays.c.state.in_(LIVE))
    return conn.execute(found).scalar_one()


def of_bus(conn: sa.Connection, place: Place, bus: str) -> list[Any]:
    """Ids and patterns of the archives of a bus."""
    c = archives.c
    these = sa.select(c.id, c.pattern).where(c.account == place[0], c.region == place[1], c.bus == bus)
    return list(conn.execute(these.order_by(c.id)).all())


def sizes(conn: sa.Connection, ids: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Events and bytes of archives that have some, by id."""
    c = archived.c
    found = sa.select(c.archive, sa.func.sum(c.events), sa.func.sum(c.size)).where(c.archive.in_(ids))
    return {archive: (int(events), int(size)) for archive, events, size in conn.execute(found.group_by(c.archive))}


# --- blocks -----------------------------------------------------------------------------------------------------------


def keep(conn: sa.Connection, block: Mapping[str, Any]) -> bool:
    """Write a block. False when there is one of its id, which stays: an event that comes twice is kept once."""
    return upsert(conn, archived, block)


def small_blocks(conn: sa.Connection, archive: str, limit: int) -> list[Any]:
    """Blocks of few events, the earliest first."""
    c = archived.c
    found = sa.select(archived).where(c.archive == archive, c.events < SMALL).order_by(c.first, c.id)
    return list(conn.execute(found.limit(limit)).all())


def drop(conn: sa.Connection, archive: str, ids: Sequence[str]) -> int:
    """Remove blocks; how many there were."""
    return conn.execute(archived.delete().where(archived.c.archive == archive, archived.c.id.in_(ids))).rowcount


def next_block(conn: sa.Connection, replay: Any, kept_since: int) -> Any:
    """The block behind the one that a replay has read last, with events of its time; None when there are no more."""
    c = archived.c
    found = sa.select(archived).where(
        c.archive == replay.archive, c.first <= replay.until, c.last >= replay.since, c.came >= kept_since
    )
    if replay.seen_id is not None:
        found = found.where(
            sa.tuple_(c.first, c.id) > sa.tuple_(sa.literal(replay.seen_first), sa.literal(replay.seen_id))
        )
    return conn.execute(found.order_by(c.first, c.id).limit(1)).first()


def is_replayed(conn: sa.Connection, archive: str) -> bool:
    """Whether a replay of an archive is under way."""
    c = replays.c
    return conn.execute(sa.select(sa.exists().where(c.archive == archive, c.state.in_(LIVE)))).scalar_one()


def over(now: int) -> sa.ColumnElement[bool]:
    """Which blocks nobody keeps any more: their archive is gone, or keeps events for a shorter time."""
    c = archives.c
    forever = c.retention == 0
    recent = archived.c.came >= now - sa.cast(c.retention, sa.BigInteger) * sa.literal(_DAY_MS, sa.BigInteger)
    return ~sa.exists().where(c.id == archived.c.archive, sa.or_(forever, recent))


def kept_since(archive: Any, now: int) -> int:
    """From when on (ms) an archive keeps what came."""
    return now - archive.retention * _DAY_MS if archive.retention else 0
