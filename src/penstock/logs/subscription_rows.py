"""Subscription filters of log groups, and to where their streams have been sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from penstock.logs.filter_rows import Group
from penstock.logs.records import sent, streams, subscription_filters
from penstock.store.jobs import enqueue
from penstock.store.keysets import rows_behind
from penstock.store.upsert import upsert

_f = subscription_filters.c

SEND = "logs.send"
"""The job of a subscription filter: see `sending`."""


def _of(group: Group) -> sa.ColumnElement[bool]:
    return (_f.account == group[0]) & (_f.region == group[1]) & (_f.group == group[2])


def _streams(group: Group) -> sa.ColumnElement[bool]:
    return (streams.c.account == group[0]) & (streams.c.region == group[1]) & (streams.c.group == group[2])


def find(conn: sa.Connection, id: str) -> sa.Row[Any] | None:
    """A filter by its id."""
    return conn.execute(sa.select(subscription_filters).where(_f.id == id)).first()


def of_group(conn: sa.Connection, group: Group) -> list[sa.Row[Any]]:
    """The filters of a group by name."""
    return list(conn.execute(sa.select(subscription_filters).where(_of(group)).order_by(_f.name)))


def page(
    conn: sa.Connection, group: Group, *, prefix: str, after: Sequence[Any] | None, limit: int
) -> list[sa.Row[Any]]:
    """Filters of a group by name."""
    query = sa.select(subscription_filters).where(_of(group))
    if prefix:
        query = query.where(_f.name.startswith(prefix, autoescape=True))
    return list(conn.execute(rows_behind(query, [_f.name], after, limit=limit)))


def put(conn: sa.Connection, row: Mapping[str, Any]) -> None:
    """Keep a filter. One of its name gets the pattern and destination, and continues where it is."""
    kept = ("pattern", "destination", "role", "distribution")
    if upsert(conn, subscription_filters, row, {name: row[name] for name in kept} | {"failing": None, "failures": 0}):
        begun = sa.select(_f.id, streams.c.file, streams.c.size).join(
            streams,
            (streams.c.account == _f.account) & (streams.c.region == _f.region) & (streams.c.group == _f.group),
        )
        # What there is already is never read.
        known = sa.select(sent.c.filter).where(sent.c.filter == _f.id)
        new = begun.where(_f.id == row["id"], ~known.exists())
        conn.execute(sent.insert().from_select(["filter", "file", "end"], new))


def delete(conn: sa.Connection, group: Group, name: str) -> sa.Row[Any] | None:
    """Forget a filter; what it was, or None when it is not there."""
    gone = subscription_filters.delete().where(_of(group), _f.name == name).returning(subscription_filters)
    row = conn.execute(gone).first()
    if row is not None:
        conn.execute(sent.delete().where(sent.c.filter == row.id))
    return row


def subscribed(conn: sa.Connection, files: Sequence[str] | None = None) -> Sequence[sa.Row[*tuple[Any, ...]]]:
    """All filters (id, account, region, behind), or those of groups that have a stream among some (by file)."""
    query = sa.select(_f.id, _f.account, _f.region, _f.behind).distinct()
    if files is not None:
        same = (streams.c.account == _f.account) & (streams.c.region == _f.region) & (streams.c.group == _f.group)
        query = query.join(streams, same).where(streams.c.file.in_(list(files)))
    return conn.execute(query).all()


def ends(conn: sa.Connection, id: str, group: Group) -> dict[str, tuple[str, int]]:
    """The streams of a group by file: their names, and to where a filter has sent them."""
    here = sa.and_(sent.c.file == streams.c.file, sent.c.filter == id)
    query = sa.select(streams.c.file, streams.c.name, sent.c.end).outerjoin(sent, here).where(_streams(group))
    return {row.file: (row.name, row.end or 0) for row in conn.execute(query)}


def note_sent(conn: sa.Connection, id: str, ends: Mapping[str, int]) -> None:
    """Note to where a filter has sent streams (by file), as far as it is there."""
    if find(conn, id) is None:
        return
    for file, end in ends.items():
        upsert(conn, sent, {"filter": id, "file": file, "end": end}, {"end": end})


def update(conn: sa.Connection, id: str, **values: Any) -> None:
    """Change columns of a filter."""
    conn.execute(subscription_filters.update().where(_f.id == id).values(**values))


def is_behind(conn: sa.Connection, id: str, group: Group) -> bool:
    """Whether a stream of a group is longer than a filter has sent, as far as its row says."""
    here = sa.and_(sent.c.file == streams.c.file, sent.c.filter == id)
    longer = streams.c.size > sa.func.coalesce(sent.c.end, 0)
    query = sa.select(sa.literal(1)).select_from(streams.outerjoin(sent, here)).where(_streams(group), longer)
    return conn.execute(query.limit(1)).first() is not None


def ask(conn: sa.Connection, filters: Sequence[sa.Row[*tuple[Any, ...]]], now: int) -> None:
    """Have what filters find sent."""
    for one in filters:
        if one.behind is None:
            update(conn, one.id, behind=now)
        enqueue(conn, kind=SEND, payload={"filter": one.id}, account=one.account, region=one.region, dedup=one.id)


def oldest(conn: sa.Connection) -> int | None:
    """The time (ms) from which on something of some filter waits to be sent; None where nothing waits."""
    return conn.execute(sa.select(sa.func.min(_f.behind))).scalar()
