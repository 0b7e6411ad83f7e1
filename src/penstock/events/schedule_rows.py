"""Statements of schedules, their groups and their invocations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from penstock.events.records import Place
from penstock.events.schedule_records import groups, invocations, schedules, tokens
from penstock.store.upsert import upsert

# --- groups -----------------------------------------------------------------------------------------------------------


def _group(place: Place, name: str) -> sa.ColumnElement[bool]:
    c = groups.c
    return sa.and_(c.account == place[0], c.region == place[1], c.name == name)


def group(conn: sa.Connection, place: Place, name: str, *, lock: bool = False) -> Any:
    """A group, or None. The default one may have no row."""
    found = sa.select(groups).where(_group(place, name))
    return conn.execute(found.with_for_update() if lock else found).first()


def add_group(conn: sa.Connection, place: Place, name: str, now: int, **values: Any) -> bool:
    """Write a group. False when there is one of its name, which stays."""
    row = {"state": "ACTIVE", "tags": {}, "created": now, "changed": now, **values}
    return upsert(conn, groups, {"account": place[0], "region": place[1], "name": name, **row})


def change_group(conn: sa.Connection, place: Place, name: str, **values: Any) -> None:
    """Change a group that has a row."""
    conn.execute(groups.update().where(_group(place, name)).values(values))


def delete_group(conn: sa.Connection, place: Place, name: str) -> None:
    """Forget a group that has no schedules."""
    conn.execute(groups.delete().where(_group(place, name)))


def count_groups(conn: sa.Connection, place: Place) -> int:
    """How many groups of a place have a row."""
    c = groups.c
    return conn.execute(sa.select(sa.func.count()).where(c.account == place[0], c.region == place[1])).scalar_one()


def groups_after(conn: sa.Connection, place: Place, *, after: str, prefix: str, limit: int) -> list[Any]:
    """Groups of a place by name."""
    c = groups.c
    found = sa.select(groups).where(c.account == place[0], c.region == place[1], c.name > after)
    if prefix:  # names are ASCII and have none of the last character
        found = found.where(c.name >= prefix, c.name < prefix + "\x7f")
    return list(conn.execute(found.order_by(c.name).limit(limit)).all())


# --- schedules --------------------------------------------------------------------------------------------------------


def _schedule(place: Place, group: str, name: str) -> sa.ColumnElement[bool]:
    c = schedules.c
    return sa.and_(c.account == place[0], c.region == place[1], c.group == group, c.name == name)


def schedule(conn: sa.Connection, place: Place, group: str, name: str, *, lock: bool = False) -> Any:
    """A schedule, or None."""
    found = sa.select(schedules).where(_schedule(place, group, name))
    return conn.execute(found.with_for_update() if lock else found).first()


def add_schedule(conn: sa.Connection, place: Place, group: str, name: str, values: dict[str, Any]) -> bool:
    """Write a schedule. False when there is one of its name, which stays."""
    return upsert(conn, schedules, {"account": place[0], "region": place[1], "group": group, "name": name, **values})


def change_schedule(conn: sa.Connection, place: Place, group: str, name: str, **values: Any) -> None:
    """Change a schedule."""
    conn.execute(schedules.update().where(_schedule(place, group, name)).values(values))


def delete_schedule(conn: sa.Connection, place: Place, group: str, name: str) -> None:
    """Forget a schedule."""
    conn.execute(schedules.delete().where(_schedule(place, group, name)))


def schedules_after(
    conn: sa.Connection,
    place: Place,
    *,
    after: tuple[str, str],
    group: str | None = None,
    prefix: str = "",
    state: str | None = None,
    limit: int,
) -> list[Any]:
    """Schedules of a place, or of one of its groups, by group and name."""
    c = schedules.c
    found = sa.select(schedules).where(c.account == place[0], c.region == place[1])
    if group is None:
        found = found.where(sa.tuple_(c.group, c.name) > sa.tuple_(*map(sa.literal, after)))
    else:
        found = found.where(c.group == group, c.name > after[1])
    if prefix:
        found = found.where(c.name >= prefix, c.name < prefix + "\x7f")
    if state is not None:
        found = found.where(c.state == state)
    return list(conn.execute(found.order_by(c.group, c.name).limit(limit)).all())


# --- invocations ------------------------------------------------------------------------------------------------------


def add_invocation(conn: sa.Connection, row: dict[str, Any]) -> None:
    """Write what a schedule asks of its target."""
    conn.execute(invocations.insert(), [row])


def invocation(conn: sa.Connection, id: str, *, lock: bool = False) -> Any:
    """An invocation, or None."""
    found = sa.select(invocations).where(invocations.c.id == id)
    return conn.execute(found.with_for_update() if lock else found).first()


def change_invocation(conn: sa.Connection, id: str, **values: Any) -> None:
    """Change an invocation."""
    conn.execute(invocations.update().where(invocations.c.id == id).values(values))


def remove_invocation(conn: sa.Connection, id: str) -> None:
    """Forget an invocation."""
    conn.execute(invocations.delete().where(invocations.c.id == id))


# --- tokens -----------------------------------------------------------------------------------------------------------


def digest_of_token(conn: sa.Connection, place: Place, token: str, *, since: int) -> str | None:
    """The digest of the request that was done with a token since a moment."""
    c = tokens.c
    found = sa.select(c.digest).where(c.account == place[0], c.region == place[1], c.token == token, c.at >= since)
    return conn.execute(found).scalar_one_or_none()


def note_token(conn: sa.Connection, place: Place, token: str, digest: str, now: int) -> None:
    """Note that a request was done."""
    row = {"account": place[0], "region": place[1], "token": token, "digest": digest, "at": now}
    upsert(conn, tokens, row, {"digest": digest, "at": now})


def names_of(conn: sa.Connection, place: Place, group: str, limit: int) -> Sequence[str]:
    """The first names of a group's schedules."""
    c = schedules.c
    here = (c.account == place[0], c.region == place[1], c.group == group)
    return conn.execute(sa.select(c.name).where(*here).order_by(c.name).limit(limit)).scalars().all()
