"""The table of metric sources: what is read, and how the last read went. When one is read next is its job's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from penstock.metrics import Values
from penstock.monitoring.records import Place
from penstock.store.keysets import rows_behind
from penstock.store.schema import Json, metadata, sealed
from penstock.store.statement import Statement
from penstock.store.upsert import upsert


def credentials_context(account: str, region: str, name: str) -> str:
    """For what the credentials of a source are sealed."""
    return f"credentials of metric source {account}/{region}/{name}"


sources = sa.Table(
    "metric_sources",
    metadata,
    sa.Column("account", sa.String(12), primary_key=True),
    sa.Column("region", sa.String(32), primary_key=True),
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("settings", Json, nullable=False),  # as they were put, without credentials
    sa.Column(
        "credentials",
        sa.LargeBinary,
        nullable=False,  # of a source without any, an empty document
        info=sealed(lambda row: credentials_context(row.account, row.region, row.name)),
    ),
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.Column("updated", sa.BigInteger, nullable=False),
    sa.Column("progress", Json, nullable=False),  # counters of the last read, from which the next one takes differences
    sa.Column("read_at", sa.BigInteger, nullable=True),  # ms; when the last read ended
    sa.Column("good_at", sa.BigInteger, nullable=True),  # ms; when the last one ended that succeeded
    sa.Column("failures", sa.Integer, nullable=False),  # reads that failed since then
    sa.Column("error", sa.Text, nullable=False),  # why the last read failed; "" when it did not
)

_c = sources.c
_AT = (
    (_c.account == sa.bindparam("account")) & (_c.region == sa.bindparam("region")) & (_c.name == sa.bindparam("name"))
)
_ONE = Statement(sa.select(sources).where(_AT))
_LOCKED = Statement(sa.select(sources).where(_AT).with_for_update())


def _key(place: Place, name: str) -> dict[str, str]:
    return {"account": place[0], "region": place[1], "name": name}


def find(conn: sa.Connection, place: Place, name: str, *, locked: bool = False) -> Any:
    """The row of a source, or None."""
    return (_LOCKED if locked else _ONE).first(conn, _key(place, name))


def page(conn: sa.Connection, place: Place, *, after: Sequence[Any] | None, limit: int) -> list[Any]:
    """Sources of a place by name."""
    query = sa.select(sources).where(_c.account == place[0], _c.region == place[1])
    return list(conn.execute(rows_behind(query, (_c.name,), after, limit=limit)).all())


def count(conn: sa.Connection, place: Place) -> int:
    """How many sources a place has."""
    counted = sa.select(sa.func.count()).select_from(sources)
    return conn.execute(counted.where(_c.account == place[0], _c.region == place[1])).scalar_one()


_FRESH = {"progress": {}, "read_at": None, "good_at": None, "failures": 0, "error": ""}


def put(conn: sa.Connection, place: Place, name: str, *, now: int, fresh: bool, **values: Any) -> None:
    """Make a source, or give the one of this name other values; `fresh` forgets how it was read."""
    changed = {**values, "updated": now, **(_FRESH if fresh else {})}
    upsert(conn, sources, {**_key(place, name), **_FRESH, **values, "created": now, "updated": now}, changed)


def delete(conn: sa.Connection, place: Place, name: str) -> None:
    """Forget a source. Its metrics stay for their time."""
    conn.execute(sources.delete().where(_AT), _key(place, name))


def note_read(conn: sa.Connection, place: Place, name: str, **values: Any) -> None:
    """Say how a read went."""
    here = (_c.account == place[0]) & (_c.region == place[1]) & (_c.name == name)
    conn.execute(sources.update().where(here).values(**values))


def failing(conn: sa.Connection, _now: int) -> list[Values]:
    """How many sources of all accounts fail."""
    counted = sa.select(sa.func.count()).select_from(sources).where(_c.error != "")
    return [{(): conn.execute(counted).scalar_one()}]
