"""Statements of connections and API destinations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from penstock.events.records import Place, api_destinations, connections
from penstock.store.upsert import upsert


def _named(table: sa.Table, place: Place, name: str) -> sa.ColumnElement[bool]:
    c = table.c
    return sa.and_(c.account == place[0], c.region == place[1], c.name == name)


def find(conn: sa.Connection, table: sa.Table, place: Place, name: str, *, lock: bool = False) -> Any:
    """A connection or an API destination, or None."""
    found = sa.select(table).where(_named(table, place, name))
    return conn.execute(found.with_for_update() if lock else found).first()


def add(conn: sa.Connection, table: sa.Table, place: Place, name: str, **values: Any) -> bool:
    """Write a row. False when there is one of its name, which stays."""
    return upsert(conn, table, {"account": place[0], "region": place[1], "name": name, **values})


def change(conn: sa.Connection, table: sa.Table, place: Place, name: str, **values: Any) -> None:
    """Change a row."""
    conn.execute(table.update().where(_named(table, place, name)).values(values))


def remove(conn: sa.Connection, table: sa.Table, place: Place, name: str) -> None:
    """Forget a row."""
    conn.execute(table.delete().where(_named(table, place, name)))


def count(conn: sa.Connection, table: sa.Table, place: Place) -> int:
    """How many rows a place has."""
    found = sa.select(sa.func.count()).where(table.c.account == place[0], table.c.region == place[1])
    return conn.execute(found).scalar_one()


def after(
    conn: sa.Connection, table: sa.Table, place: Place, *, name: str, prefix: str, limit: int, **equal: Any
) -> list[Any]:
    """Rows of a place by name, from behind one on, whose columns have these values."""
    c = table.c
    found = sa.select(table).where(c.account == place[0], c.region == place[1], c.name > name)
    if prefix:  # names are ASCII and have none of the last character
        found = found.where(c.name >= prefix, c.name < prefix + "\x7f")
    for column, value in equal.items():
        found = found.where(c[column] == value)
    return list(conn.execute(found.order_by(c.name).limit(limit)).all())


def states(conn: sa.Connection, place: Place, names: Sequence[str]) -> dict[str, str]:
    """The states of connections by their ARNs' last part, name/id."""
    c = connections.c
    found = sa.select(c.name, c.id, c.state).where(c.account == place[0], c.region == place[1], c.name.in_(names))
    return {f"{row.name}/{row.id}": row.state for row in conn.execute(found)}


def keep_token(conn: sa.Connection, place: Place, name: str, stamp: str, **values: Any) -> bool:
    """Keep what a request for a token brought; False when the connection has changed since it was made."""
    this = connections.update().where(_named(connections, place, name), connections.c.stamp == stamp).values(values)
    return conn.execute(this).rowcount > 0


def take_requests(conn: sa.Connection, row: Any, second: int, most: int) -> int:
    """Take up to so many requests of an API destination in a second for this process; how many there were."""
    place = (row.account, row.region)
    now = find(conn, api_destinations, place, row.name, lock=True)
    if now is None or now.second > second:
        return 0
    taken = now.taken if now.second == second else 0
    granted = max(0, min(most, now.rate - taken))
    if granted:
        change(conn, api_destinations, place, row.name, second=second, taken=taken + granted)
    return granted
