"""Statements have to work, and find their index, when PostgreSQL plans them for any value of their parameters."""

from __future__ import annotations

import re

import sqlalchemy as sa
import sqlalchemy.dialects.postgresql
from sqlalchemy.schema import CreateIndex

from penstock.store import jobs, leases, migrate, outside
from penstock.store.clock import SystemClock
from penstock.store.database import Store
from penstock.store.schema import metadata, narrow_for_postgresql
from penstock.store.statement import Statement

SERVED = {
    "ix_jobs_ready": leases._LEASE[False],
    "ix_jobs_held": leases._LAPSED,
    "uq_jobs_live_dedup": jobs._CANCEL,
    "ix_jobs_topic": outside._NEXT,
    "ix_jobs_ended": sa.select(jobs.jobs.c.id).where(
        jobs.jobs.c.state == "done", jobs.jobs.c.ended < sa.bindparam("now")
    ),
}
"""A statement that each partial index of the store was made for."""


def partial() -> dict[str, sa.Index]:
    migrate.import_records()
    narrow_for_postgresql()
    return {
        str(index.name): index
        for table in metadata.tables.values()
        for index in table.indexes
        if index.dialect_options["postgresql"]["where"] is not None
    }


def test_every_partial_index_of_the_store_has_its_statement():
    of_the_store = {name for name, index in partial().items() if index.table.name in ("jobs", "events")}
    assert of_the_store == set(SERVED)


def test_both_databases_have_the_same_partial_indexes():
    for name, index in partial().items():
        where = str(index.dialect_options["sqlite"]["where"]).replace(" IS 1", " IS true")  # how SQLite writes it
        assert where == str(index.dialect_options["postgresql"]["where"]), name


async def test_a_partial_index_serves_a_statement_planned_for_any_value(postgresql_url: str):
    store = await Store.open(postgresql_url, clock=SystemClock())
    try:
        plans = await store.scan(_plans)
    finally:
        await store.close()
    assert {name: plan for name, plan in plans.items() if name not in plan} == {}


def _plans(conn: sa.Connection) -> dict[str, str]:
    assert conn.exec_driver_sql("SHOW plan_cache_mode").scalar() == "force_generic_plan"
    conn.exec_driver_sql("SET LOCAL enable_seqscan = off")
    # An index of its own for each: otherwise another one, of the same columns, might be the cheaper.
    conn.exec_driver_sql("SET LOCAL enable_sort = off")
    plans = {}
    for number, (name, statement) in enumerate(SERVED.items()):
        if isinstance(statement, Statement):
            statement = statement.executable("postgresql")
        dialect = sqlalchemy.dialects.postgresql.dialect(paramstyle="numeric_dollar")
        compiled = str(statement.compile(dialect=dialect))
        marks = len(set(re.findall(r"\$\d+", compiled)))
        given = f"({', '.join(['NULL'] * marks)})" if marks else ""
        conn.exec_driver_sql(f"PREPARE plan_{number} AS {compiled}")
        rows = conn.exec_driver_sql(f"EXPLAIN EXECUTE plan_{number}{given}")
        plans[name] = "\n".join(row[0] for row in rows)
    return plans


def test_the_target_of_an_upsert_holds_no_parameter():
    """PostgreSQL finds the index of an ON CONFLICT by its predicate's text."""
    dialect = sqlalchemy.dialects.postgresql.dialect(paramstyle="numeric_dollar")
    text = str(jobs._INSERT_UNLESS_LIVE.executable("postgresql").compile(dialect=dialect))
    target = text.partition(" ON CONFLICT ")[2].partition(" DO UPDATE ")[0]
    declared = str(CreateIndex(partial()["uq_jobs_live_dedup"]).compile(dialect=dialect)).partition(" WHERE ")[2]
    assert "$" not in target
    assert target.partition(" WHERE ")[2] == declared
