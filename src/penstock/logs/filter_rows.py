"""Metric filters of log groups, and to where their streams have been measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from penstock.logs.records import metric_filters, streams
from penstock.store.jobs import enqueue
from penstock.store.keysets import rows_behind
from penstock.store.upsert import upsert

_f = metric_filters.c

MEASURE = "logs.measure"
"""The job of a group with metric filters: see `measured`."""

Group = tuple[str, str, str]
"""Account, region and name."""


def _of(group: Group) -> sa.ColumnElement[bool]:
    return (_f.account == group[0]) & (_f.region == group[1]) & (_f.group == group[2])


def find(conn: sa.Connection, group: Group, name: str) -> sa.Row[Any] | None:
    """A filter."""
    return conn.execute(sa.select(metric_filters).where(_of(group), _f.name == name)).first()


def of_group(conn: sa.Connection, group: Group) -> list[sa.Row[Any]]:
    """The filters of a group by name."""
    return list(conn.execute(sa.select(metric_filters).where(_of(group)).order_by(_f.name)))


def put(conn: sa.Connection, row: Mapping[str, Any]) -> None:
    """Keep a filter, in place of the one of its name."""
    upsert(
        conn,
        metric_filters,
        row,
        {name: row[name] for name in ("pattern", "transformation", "namespace", "metric", "created")},
    )


def delete(conn: sa.Connection, group: Group, name: str) -> bool:
    """Forget a filter; False when it is not there."""
    return bool(conn.execute(metric_filters.delete().where(_of(group), _f.name == name)).rowcount)


def page(
    conn: sa.Connection,
    account: str,
    region: str,
    *,
    group: str,
    prefix: str,
    metric: tuple[str, str] | None,
    after: Sequence[Any] | None,
    limit: int,
) -> list[sa.Row[Any]]:
    """Filters by name and group; `metric` is a namespace and a name."""
    query = sa.select(metric_filters).where(_f.account == account, _f.region == region)
    if group:
        query = query.where(_f.group == group)
    if prefix:
        query = query.where(_f.name.startswith(prefix, autoescape=True))
    if metric is not None:
        query = query.where(_f.namespace == metric[0], _f.metric == metric[1])
    return list(conn.execute(rows_behind(query, [_f.name, _f.group], after, limit=limit)))


def filtered(conn: sa.Connection, files: Sequence[str] | None = None) -> list[Group]:
    """The groups that have filters, or those of them that have a stream among some (by file)."""
    query = sa.select(_f.account, _f.region, _f.group).distinct()
    if files is not None:
        same = (streams.c.account == _f.account) & (streams.c.region == _f.region) & (streams.c.group == _f.group)
        query = query.join(streams, same).where(streams.c.file.in_(list(files)))
    return [(row.account, row.region, row.group) for row in conn.execute(query)]


def _streams(group: Group) -> sa.ColumnElement[bool]:
    return (streams.c.account == group[0]) & (streams.c.region == group[1]) & (streams.c.group == group[2])


def measured(conn: sa.Connection, group: Group) -> dict[str, int]:
    """To where each stream of a group has been measured, by file."""
    query = sa.select(streams.c.file, streams.c.measured).where(_streams(group))
    return {row.file: row.measured or 0 for row in conn.execute(query)}


def note_measured(conn: sa.Connection, ends: Mapping[str, int]) -> None:
    """Note to where streams (by file) have been measured."""
    for file, end in ends.items():
        conn.execute(streams.update().where(streams.c.file == file).values(measured=end))


def is_behind(conn: sa.Connection, group: Group) -> bool:
    """Whether a stream of a group is longer than it has been measured, as far as its row says."""
    longer = streams.c.size > sa.func.coalesce(streams.c.measured, 0)
    return conn.execute(sa.select(sa.literal(1)).where(_streams(group), longer).limit(1)).first() is not None


def ask(conn: sa.Connection, groups: Iterable[Group]) -> None:
    """Have groups measured."""
    for account, region, group in groups:
        payload = {"group": group}
        enqueue(
            conn, kind=MEASURE, payload=payload, account=account, region=region, dedup=f"{account}/{region}/{group}"
        )
