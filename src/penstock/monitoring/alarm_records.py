"""Tables of alarms: each is an aggregate; what its state depends on; and what has happened to it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from penstock.monitoring.records import Place
from penstock.store.aggregate import aggregate_table
from penstock.store.keysets import rows_behind
from penstock.store.retention import Expiring
from penstock.store.rows import Rows
from penstock.store.schema import Json, metadata
from penstock.store.statement import Statement, among
from penstock.store.transaction import wake
from penstock.store.upsert import upsert

HISTORY_MS = 30 * 86_400_000  # AWS: alarm history is kept for 30 days

alarms = aggregate_table(
    "cloudwatch_alarms",
    sa.Column("kind", sa.String(16), nullable=False),  # MetricAlarm CompositeAlarm
    sa.Column("value", sa.String(20), nullable=False),  # OK ALARM INSUFFICIENT_DATA
    sa.Column("due", sa.BigInteger, nullable=False),  # ms; when it is evaluated next
    sa.Column("watch", Json, nullable=False),  # what an evaluation needs of its configuration
    sa.Column("tags", Json, nullable=False),  # {key: value}
)
sa.Index("ix_cloudwatch_alarms_due", alarms.c.due)

sources = sa.Table(  # what alarms look at: metrics by their ids, other alarms by their names
    "cloudwatch_alarm_sources",
    metadata,
    sa.Column("account", sa.String(12), primary_key=True),
    sa.Column("region", sa.String(32), primary_key=True),
    sa.Column("source", sa.String(300), primary_key=True),  # metric/ID, alarm/NAME, suppressor/NAME
    sa.Column("alarm", sa.String(255), primary_key=True),
)
sa.Index("ix_cloudwatch_alarm_sources_alarm", sources.c.account, sources.c.region, sources.c.alarm)

history = sa.Table(
    "cloudwatch_alarm_history",
    metadata,
    sa.Column("account", sa.String(12), primary_key=True),
    sa.Column("region", sa.String(32), primary_key=True),
    sa.Column("alarm", sa.String(255), primary_key=True),
    sa.Column("at", sa.BigInteger, primary_key=True),  # ms
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("kind", sa.String(16), nullable=False),  # of the alarm
    sa.Column("item", sa.String(32), nullable=False),  # ConfigurationUpdate StateUpdate Action
    sa.Column("summary", sa.Text, nullable=False),
    sa.Column("data", sa.Text, nullable=False),  # JSON
)
sa.Index("ix_cloudwatch_alarm_history_at", history.c.at)

EXPIRING = (Expiring(table=history, over=lambda now: history.c.at < now - HISTORY_MS),)

DUE = "monitoring.due"
"""The topic that is woken when an alarm is due before its time."""

_a, _s, _h = alarms.c, sources.c, history.c


def _looking_at(dialect: str) -> sa.Executable:
    watching = sa.select(_s.alarm).where(
        _s.account == sa.bindparam("account"),
        _s.region == sa.bindparam("region"),
        among(dialect, _s.source, "sources"),
    )
    return (
        alarms.update()
        .where(
            _a.account == sa.bindparam("account"),
            _a.region == sa.bindparam("region"),
            _a.id.in_(watching),
            _a.due > sa.bindparam("now"),
        )
        .values(due=sa.bindparam("now"))
    )


_LOOKING_AT = Statement(_looking_at)
_SET_DUE = Rows(alarms, "due", by=("account", "region", "id"))


def hasten(conn: sa.Connection, place: Place, metrics: Iterable[str], now: int) -> None:
    """Let the alarms be evaluated that look at metrics (their ids) with new data."""

    def check(count: int) -> None:
        if count:
            wake(conn, DUE)

    given = {"account": place[0], "region": place[1], "now": now, "sources": [f"metric/{id}" for id in metrics]}
    _LOOKING_AT.later(conn, given, check=check)


def hasten_parents(conn: sa.Connection, place: Place, name: str, now: int) -> None:
    """Let the composite alarms be evaluated that an alarm is in the rule of, or whose actions it suppresses."""

    def check(count: int) -> None:
        if count:
            wake(conn, DUE)

    given = {"account": place[0], "region": place[1], "now": now, "sources": [f"alarm/{name}", f"suppressor/{name}"]}
    _LOOKING_AT.later(conn, given, check=check)


def states(conn: sa.Connection, place: Place, names: Sequence[str]) -> list[Any]:
    """The rows of alarms, unlocked."""
    here = (_a.account == place[0]) & (_a.region == place[1]) & _a.id.in_(names)
    return list(conn.execute(sa.select(alarms).where(here).order_by(_a.id)).all())


def sources_of(conn: sa.Connection, place: Place, names: Sequence[str]) -> list[str]:
    """What alarms look at."""
    here = (_s.account == place[0]) & (_s.region == place[1]) & _s.alarm.in_(names)
    return list(conn.execute(sa.select(_s.source).where(here).distinct()).scalars())


def looking_at(conn: sa.Connection, place: Place, sources_: Sequence[str]) -> list[tuple[str, str]]:
    """Sources out of these, each with the name of an alarm that looks at it."""
    here = (_s.account == place[0]) & (_s.region == place[1]) & _s.source.in_(sources_)
    return [
        (row.source, row.alarm)
        for row in conn.execute(sa.select(_s.source, _s.alarm).where(here).order_by(_s.source, _s.alarm))
    ]


_ANY_DUE = Statement(sa.select(_a.id).where(_a.due <= sa.bindparam("now")).limit(1))


def any_due(conn: sa.Connection, now: int) -> bool:
    """Whether an alarm is due."""
    return _ANY_DUE.first(conn, {"now": now}) is not None


def due(conn: sa.Connection, now: int, limit: int) -> list[Any]:
    """Alarms that are due, locked. Another process gets others."""
    columns = (_a.account, _a.region, _a.id, _a.value, _a.watch, _a.kind)
    found = sa.select(*columns).where(_a.due <= now).order_by(_a.due).limit(limit)
    return list(conn.execute(found.with_for_update(skip_locked=True)).all())


def set_due(conn: sa.Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Say when alarms are evaluated next: `account`, `region`, `id` and `due` (ms)."""
    _SET_DUE.write(conn, rows)


def set_sources(conn: sa.Connection, place: Place, alarm: str, names: Iterable[str]) -> None:
    """Say what an alarm looks at."""
    here = (_s.account == place[0]) & (_s.region == place[1]) & (_s.alarm == alarm)
    conn.execute(sources.delete().where(here))
    for name in names:
        conn.execute(sources.insert().values(account=place[0], region=place[1], source=name, alarm=alarm))


def note(conn: sa.Connection, place: Place, alarm: str, at: int, id: str, **values: str) -> None:
    """Add an item to an alarm's history, once."""
    upsert(conn, history, {"account": place[0], "region": place[1], "alarm": alarm, "at": at, "id": id, **values})


def page(
    conn: sa.Connection,
    place: Place,
    *,
    after: Sequence[Any] | None,
    limit: int,
    prefix: str = "",
    names: Sequence[str] | None = None,
    value: str = "",
    kinds: Sequence[str],
) -> list[Any]:
    """Alarms of a place by name: with a beginning of it, or of certain names, in a state, of some kinds."""
    query = sa.select(alarms).where(_a.account == place[0], _a.region == place[1], _a.kind.in_(kinds))
    if prefix:
        query = query.where(sa.func.substr(_a.id, 1, len(prefix)) == prefix, _a.id >= prefix)
    if names is not None:
        query = query.where(_a.id.in_(names))
    if value:
        query = query.where(_a.value == value)
    return list(conn.execute(rows_behind(query, (_a.id,), after, limit=limit)).all())


def of_metric(conn: sa.Connection, place: Place, metric: str, limit: int) -> list[Any]:
    """The alarms that look at a metric (its id), by name."""
    watching = sa.select(_s.alarm).where(_s.account == place[0], _s.region == place[1], _s.source == f"metric/{metric}")
    here = (_a.account == place[0]) & (_a.region == place[1]) & _a.id.in_(watching)
    return list(conn.execute(sa.select(alarms).where(here).order_by(_a.id).limit(limit)).all())


def alarm(conn: sa.Connection, place: Place, name: str) -> Any:
    """The row of an alarm, or None."""
    here = (_a.account == place[0]) & (_a.region == place[1]) & (_a.id == name)
    return conn.execute(sa.select(alarms).where(here)).first()


def set_tags(conn: sa.Connection, place: Place, name: str, tags: dict[str, str]) -> None:
    """Give an alarm other tags."""
    here = (_a.account == place[0]) & (_a.region == place[1]) & (_a.id == name)
    conn.execute(alarms.update().where(here).values(tags=tags))


def delete(conn: sa.Connection, place: Place, name: str) -> None:
    """Forget an alarm. Its history stays for its time."""
    set_sources(conn, place, name, ())
    here = (_a.account == place[0]) & (_a.region == place[1]) & (_a.id == name)
    conn.execute(alarms.delete().where(here))


def history_page(
    conn: sa.Connection,
    place: Place,
    *,
    after: Sequence[Any] | None,
    limit: int,
    descending: bool,
    since: int | None,
    until: int | None,
    kinds: Sequence[str],
    **equal: str,
) -> list[Any]:
    """Items of the history of an `alarm`, or of all of a place, of an `item` type, within times (ms)."""
    query = sa.select(history).where(_h.account == place[0], _h.region == place[1], _h.kind.in_(kinds))
    for column, wanted in equal.items():
        query = query.where(_h[column] == wanted)
    if since is not None:
        query = query.where(_h.at >= since)
    if until is not None:
        query = query.where(_h.at <= until)
    keys = (_h.at, _h.alarm, _h.id)
    return list(conn.execute(rows_behind(query, keys, after, limit=limit, descending=descending)).all())
