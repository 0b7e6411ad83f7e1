"""Tables of queries, their results, and the definitions of queries that are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from penstock.store.keysets import rows_behind
from penstock.store.schema import Json, metadata, sealed
from penstock.store.upsert import upsert

SCHEDULED, RUNNING, COMPLETE, FAILED, CANCELLED, TIMEOUT = (
    "Scheduled",
    "Running",
    "Complete",
    "Failed",
    "Cancelled",
    "Timeout",
)
OPEN = (SCHEDULED, RUNNING)

queries = sa.Table(
    "log_queries",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("account", sa.String(12), nullable=False),
    sa.Column("region", sa.String(32), nullable=False),
    sa.Column("query", sa.Text, nullable=False),
    sa.Column("groups", Json, nullable=False),  # names
    sa.Column("begin", sa.BigInteger, nullable=False),  # ms
    sa.Column("end", sa.BigInteger, nullable=False),  # ms, within the range
    sa.Column("limit", sa.Integer, nullable=False),
    sa.Column("caller", sa.String(2048), nullable=False),  # ARN
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.Column("started", sa.BigInteger),
    sa.Column("ended", sa.BigInteger),
    sa.Column("statistics", Json, nullable=False),
    sa.Column("parts", sa.Integer, nullable=False),  # of its results
    sa.Column("reason", sa.Text),  # why it failed
    sa.Index("ix_log_queries_account", "account", "region", "created", "id"),
    sa.Index("ix_log_queries_created", "created"),
)


def context_of(query: str, part: int) -> str:
    """For what a part of the results of a query is sealed."""
    return f"log query {query} {part}"


results = sa.Table(
    "log_query_results",
    metadata,
    sa.Column("query", sa.String(36), primary_key=True),
    sa.Column("part", sa.Integer, primary_key=True),
    sa.Column("first", sa.Integer, nullable=False),  # number of its first row
    sa.Column("rows", sa.Integer, nullable=False),
    sa.Column(
        "content", sa.LargeBinary, nullable=False, info=sealed(lambda row: context_of(row.query, row.part))
    ),  # JSON
)

definitions = sa.Table(
    "log_query_definitions",
    metadata,
    sa.Column("account", sa.String(12), primary_key=True),
    sa.Column("region", sa.String(32), primary_key=True),
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("query", sa.Text, nullable=False),
    sa.Column("language", sa.String(8), nullable=False),
    sa.Column("groups", Json, nullable=False),  # names
    sa.Column("parameters", Json, nullable=False),
    sa.Column("modified", sa.BigInteger, nullable=False),
    sa.Column("token", sa.String(128)),  # of the client that made it
)


def insert_query(conn: sa.Connection, row: Mapping[str, Any]) -> None:
    """Keep a new query."""
    conn.execute(queries.insert(), dict(row))


def find_query(conn: sa.Connection, id: str, *, lock: bool = False) -> sa.Row[Any] | None:
    """A query."""
    query = sa.select(queries).where(queries.c.id == id)
    return conn.execute(query.with_for_update() if lock else query).first()


def count_open(conn: sa.Connection, account: str, region: str) -> int:
    """How many queries of an account wait or run."""
    found = sa.select(sa.func.count()).where(
        queries.c.account == account, queries.c.region == region, queries.c.status.in_(OPEN)
    )
    return conn.execute(found).scalar_one()


def update_query(conn: sa.Connection, id: str, **values: Any) -> bool:
    """Change columns of a query that waits or runs; False of one that does not."""
    changed = queries.update().where(queries.c.id == id, queries.c.status.in_(OPEN)).values(**values)
    return bool(conn.execute(changed).rowcount)


def list_queries(
    conn: sa.Connection, account: str, region: str, *, status: str, after: Sequence[Any] | None, limit: int
) -> list[sa.Row[Any]]:
    """Queries of an account, the newest first."""
    query = sa.select(queries).where(queries.c.account == account, queries.c.region == region)
    if status:
        query = query.where(queries.c.status == status)
    return list(
        conn.execute(rows_behind(query, [queries.c.created, queries.c.id], after, limit=limit, descending=True))
    )


def put_results(conn: sa.Connection, row: Mapping[str, Any]) -> None:
    """Keep a part of the results of a query, in place of one that a run before has left."""
    upsert(conn, results, row, {name: row[name] for name in ("first", "rows", "content")})


def results_from(conn: sa.Connection, id: str, row: int, parts: int) -> sa.Row[Any] | None:
    """The part of the results of a query, of so many parts, that has a row."""
    query = sa.select(results).where(results.c.query == id, results.c.part < parts, results.c.first <= row)
    return conn.execute(query.order_by(results.c.first.desc()).limit(1)).first()


def find_definition(conn: sa.Connection, account: str, region: str, id: str) -> sa.Row[Any] | None:
    """A definition."""
    return conn.execute(sa.select(definitions).where(*_definition(account, region, id))).first()


def find_definition_made(conn: sa.Connection, account: str, region: str, token: str) -> sa.Row[Any] | None:
    """The definition that a client made with a token."""
    return conn.execute(
        sa.select(definitions).where(
            definitions.c.account == account, definitions.c.region == region, definitions.c.token == token
        )
    ).first()


def count_definitions(conn: sa.Connection, account: str, region: str) -> int:
    """How many definitions an account has."""
    where = (definitions.c.account == account, definitions.c.region == region)
    return conn.execute(sa.select(sa.func.count()).select_from(definitions).where(*where)).scalar_one()


def put_definition(conn: sa.Connection, row: Mapping[str, Any]) -> None:
    """Keep a definition, in place of the one of its id."""
    kept = ("name", "query", "language", "groups", "parameters", "modified")
    upsert(conn, definitions, row, {name: row[name] for name in kept})


def delete_definition(conn: sa.Connection, account: str, region: str, id: str) -> bool:
    """Forget a definition; False when it is not there."""
    return bool(conn.execute(definitions.delete().where(*_definition(account, region, id))).rowcount)


def list_definitions(
    conn: sa.Connection,
    account: str,
    region: str,
    *,
    prefix: str,
    language: str,
    after: Sequence[Any] | None,
    limit: int,
) -> list[sa.Row[Any]]:
    """Definitions by name."""
    query = sa.select(definitions).where(definitions.c.account == account, definitions.c.region == region)
    if prefix:
        query = query.where(definitions.c.name.startswith(prefix, autoescape=True))
    if language:
        query = query.where(definitions.c.language == language)
    return list(conn.execute(rows_behind(query, [definitions.c.name, definitions.c.id], after, limit=limit)))


def _definition(account: str, region: str, id: str) -> tuple[sa.ColumnElement[bool], ...]:
    return definitions.c.account == account, definitions.c.region == region, definitions.c.id == id
