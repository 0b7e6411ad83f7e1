"""Migrations up and down, on both databases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.script import ScriptDirectory

from penstock.store import migrate
from penstock.store.clock import SystemClock
from penstock.store.database import SchemaMismatch, Store
from penstock.store.schema import metadata


@pytest.fixture(params=["sqlite", "postgresql"])
async def empty(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """A store without any table."""
    if request.param == "sqlite":
        store = await Store.open(f"sqlite:///{tmp_path}/empty.db", clock=SystemClock())
        yield store
        await store.close()
        return
    server = request.getfixturevalue("postgresql")
    name = server.create()
    store = await Store.open(server.url(name), clock=SystemClock())
    yield store
    await store.close()
    server.drop(name)


def tables(conn: sa.Connection) -> set[str]:
    return set(sa.inspect(conn).get_table_names()) - {"alembic_version"}


async def test_up_and_down_and_up_again(empty: Store):
    migrate.import_records()
    with pytest.raises(SchemaMismatch, match="no Penstock schema yet"):
        await migrate.check_schema(empty)
    for _ in range(2):
        await asyncio.gather(*(migrate.migrate(empty) for _ in range(3)))
        await migrate.check_schema(empty)
        assert await empty.write(tables) == set(metadata.tables)
        assert await empty.write(migrate.differences) == []
        await empty.write(migrate.downgrade)
        assert await empty.write(tables) == set()


async def test_a_newer_schema_is_refused_in_words(empty: Store):
    await migrate.migrate(empty)
    await empty.write(lambda conn: conn.exec_driver_sql("UPDATE alembic_version SET version_num = '9999_future'"))
    with pytest.raises(SchemaMismatch, match="newer release"):
        await migrate.check_schema(empty)
    with pytest.raises(SchemaMismatch, match="newer release"):
        await migrate.migrate(empty)


def test_the_first_revision_is_what_the_rooms_declare():
    assert migrate.main(["check"]) == 0, "run: make migration"


def described(conn: sa.Connection) -> dict[str, object]:
    """Everything that the database says of its tables."""
    inspector = sa.inspect(conn)
    return {
        table: {
            "columns": [{**column, "type": str(column["type"])} for column in inspector.get_columns(table)],
            "key": inspector.get_pk_constraint(table),
            "foreign": inspector.get_foreign_keys(table),
            "unique": sorted(map(str, inspector.get_unique_constraints(table))),
            "indexes": sorted(
                (
                    str(index["name"]),
                    str(index["column_names"]),
                    bool(index["unique"]),
                    str(index.get("dialect_options", {}).get(f"{conn.dialect.name}_where", "")),
                )
                for index in inspector.get_indexes(table)
            ),
        }
        for table in inspector.get_table_names()
    }


async def test_a_new_database_is_made_as_the_revisions_would_make_it(empty: Store):
    def by_revisions(conn: sa.Connection) -> None:
        assert migrate.installed(conn) is None
        command.upgrade(migrate._config(conn), "head")

    await empty.write(migrate.upgrade)
    at_once = await empty.write(described)
    await empty.write(migrate.downgrade)
    await empty.write(by_revisions)
    assert await empty.write(described) == at_once
    assert at_once.keys() >= {"jobs", "alembic_version"}


def test_the_newest_file_is_the_newest_revision():
    script = ScriptDirectory.from_config(migrate._config())
    assert script.get_current_head() == migrate.head()
    assert {one.revision for one in script.walk_revisions()} == set(migrate._revisions())
