"""Tables and statements of metrics.

Names of metrics are rows, so that they can be listed; data are found by the id that follows from the name. See `series` for what lies in a row
of data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from penstock.monitoring import series
from penstock.monitoring.series import LAST, Metric, RowKey, Tier
from penstock.monitoring.statistics import Summary
from penstock.store.keysets import rows_behind
from penstock.store.packing import Packed
from penstock.store.retention import Expiring
from penstock.store.schema import Json, Uuid, metadata
from penstock.store.statement import Statement, ask
from penstock.store.upsert import insert

Place = tuple[str, str]
"""Account and region."""

Rows = Sequence[tuple[RowKey, list[Any]]]
"""Rows of data of a metric."""

LISTED_MS = 14 * 86_400_000  # AWS: ListMetrics lists what has had data in the past two weeks
_SEEN_EVERY = 300_000  # ms between two notes that a metric has data

metrics = sa.Table(
    "cloudwatch_metrics",
    metadata,
    sa.Column("id", Uuid, primary_key=True),  # see `Metric.id`
    sa.Column("account", sa.String(12), nullable=False),
    sa.Column("region", sa.String(32), nullable=False),
    sa.Column("namespace", sa.String(255), nullable=False),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("dimensions", Json, nullable=False),  # [[name, value]] in the order of names
    sa.Column("seen", sa.BigInteger, nullable=False),  # ms; about when the last data came
)
_c = metrics.c
sa.Index("ix_cloudwatch_metrics_name", _c.account, _c.region, _c.namespace, _c.name, _c.id)
sa.Index("ix_cloudwatch_metrics_seen", _c.seen)

data = sa.Table(
    "cloudwatch_data",
    metadata,
    sa.Column("metric", Uuid, primary_key=True),
    sa.Column("tier", sa.Integer, primary_key=True, autoincrement=False),  # seconds of a point
    sa.Column("start", sa.BigInteger, primary_key=True),  # seconds
    sa.Column("unit", sa.String(16), primary_key=True),
    sa.Column("points", Packed, nullable=False),  # see `series.stored`
)
_d = data.c
sa.Index("ix_cloudwatch_data_start", _d.tier, _d.start)

EXPIRING = (
    Expiring(
        table=data,
        over=lambda now: sa.and_(_d.tier == LAST.period, _d.start < now // 1000 - LAST.keep - LAST.span),
    ),
    Expiring(table=metrics, over=lambda now: _c.seen < now - LAST.keep * 1000),
)


def _note(dialect: str) -> sa.Executable:
    noted = insert(dialect, metrics).values(
        {column.name: sa.bindparam(column.name, type_=column.type) for column in metrics.c}
    )
    return noted.on_conflict_do_update(
        index_elements=[_c.id],
        set_={"seen": noted.excluded.seen},
        where=_c.seen < noted.excluded.seen - sa.literal_column(str(_SEEN_EVERY)),
    )


def _write(dialect: str) -> sa.Executable:
    written = insert(dialect, data).values(
        {column.name: sa.bindparam(column.name, type_=column.type) for column in data.c}
    )
    return written.on_conflict_do_update(
        index_elements=list(data.primary_key), set_={"points": written.excluded.points}
    )


_NOTE = Statement(_note)
_WRITE = Statement(_write)
_THIS = sa.and_(*(column == sa.bindparam(column.name) for column in data.primary_key))
_ROW = Statement(sa.select(_d.points).where(_THIS).with_for_update())
_REMOVE = Statement(data.delete().where(_THIS))
_LOCK = Statement(sa.select(_c.id).where(_c.id == sa.bindparam("id")).with_for_update())
_RANGE = Statement(
    sa.select(_d.start, _d.unit, _d.points)
    .where(
        _d.metric == sa.bindparam("metric"),
        _d.tier == sa.bindparam("tier"),
        _d.start > sa.bindparam("after"),
        _d.start < sa.bindparam("end"),
    )
    .order_by(_d.start, _d.unit)
)


def note(conn: sa.Connection, place: Place, named: Mapping[str, Metric], now: int) -> None:
    """Let metrics be listed, and lock them: their data are read, added to and written. By id, the same order for everybody.

    PostgreSQL locks a row that conflicts even when it does not update it.
    """
    for id in sorted(named):
        metric = named[id]
        _NOTE.later(
            conn,
            {
                "id": id,
                "account": place[0],
                "region": place[1],
                "namespace": metric.namespace,
                "name": metric.name,
                "dimensions": [list(pair) for pair in metric.dimensions],
                "seen": now,
            },
        )


def add(conn: sa.Connection, keys: Mapping[RowKey, Sequence[tuple[int, Summary]]]) -> None:
    """Count summaries, each with its moment in seconds, in the rows to which they belong. Their metrics are locked."""
    ordered = sorted(keys)
    found = ask(conn, *((_ROW, key._asdict()) for key in ordered)) if ordered else []
    for key, rows in zip(ordered, found, strict=True):
        points = series.load(key, rows[0].points) if rows else {}
        for at, summary in keys[key]:
            series.add(points, at, key.tier, summary)
        _WRITE.later(conn, {**key._asdict(), "points": series.stored(key, points)})


def rows(
    conn: sa.Connection, metric: str, *, start: int, end: int, period: int, unit: str | None = None
) -> list[tuple[RowKey, list[Any]]]:
    """The rows that make up a series by periods between two moments, by tiers and time; of one unit, or of all. All in seconds."""
    found: list[tuple[RowKey, list[Any]]] = []
    for tier in series.tiers_of(period):
        asked = {"metric": metric, "tier": tier.period, "after": start - tier.span, "end": end}
        found += [
            (RowKey(metric, tier.period, row.start, row.unit), row.points)
            for row in _RANGE.all(conn, asked)
            if unit is None or row.unit == unit
        ]
    return found


def page(
    conn: sa.Connection, place: Place, *, after: Sequence[Any] | None, limit: int, since: int, **names: str
) -> list[Any]:
    """Metrics of a place with data since a moment (ms) by namespace, name and id, of a `namespace` or `name` or of all."""
    query = sa.select(metrics).where(_c.account == place[0], _c.region == place[1], _c.seen >= since)
    for column, value in names.items():
        query = query.where(_c[column] == value)
    keyset = rows_behind(query, (_c.namespace, _c.name, _c.id), after, limit=limit)
    return list(conn.execute(keyset).all())


def move_on(conn: sa.Connection, tier: Tier, before: int, limit: int) -> int:
    """Move rows of a tier that end before a moment (seconds) to the next one; how many there were."""
    over = sa.select(_d.metric, _d.tier, _d.start, _d.unit).where(
        _d.tier == tier.period, _d.start <= before - tier.span
    )
    found = [RowKey(*row) for row in conn.execute(over.order_by(_d.start, _d.metric).limit(limit))]
    for metric in sorted({key.metric for key in found}):
        _LOCK.all(conn, {"id": metric})
    onward, moved = series.NEXT[tier], dict[RowKey, list[tuple[int, Summary]]]()
    for key in sorted(found):
        row = _ROW.first(conn, key._asdict())
        if row is None:  # another process has moved it
            continue
        for at, summary in series.load(key, row.points).items():
            moved.setdefault(series.key_of(key.metric, onward, at, key.unit), []).append((at, summary))
        _REMOVE.later(conn, key._asdict())
    add(conn, moved)
    return len(found)
