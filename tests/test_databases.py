"""Databases that tests use one after another: each finds one that is as new."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

if TYPE_CHECKING:
    from conftest import PostgresqlServer

pytestmark = pytest.mark.needs("postgresql")


def _after(server: PostgresqlServer, statement: str) -> tuple[str, str]:
    """The database in which a statement ran, and the one after it."""
    with server.with_tables() as name, psycopg.connect(server.url(name), autocommit=True) as conn:
        conn.execute(statement)  # type: ignore[arg-type]
    with server.with_tables() as following, psycopg.connect(server.url(following)) as conn:
        assert conn.execute("SELECT count(*) FROM event_sequences").fetchone() == (0,)
    return name, following


def test_rows_are_removed(postgresql) -> None:
    name, following = _after(postgresql, "INSERT INTO event_sequences VALUES ('a', 'b', 'c', 1, 1)")
    assert following == name


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE event_sequences ADD COLUMN more integer",
        "ALTER TABLE event_sequences ALTER COLUMN sequence DROP NOT NULL",
        "CREATE INDEX another ON event_sequences (sequence)",
        "DROP TABLE event_sequences",
        "ALTER TABLE event_sequences ADD CONSTRAINT short CHECK (sequence < 9)",
        "DO $$ BEGIN EXECUTE 'ALTER DATABASE ' || current_database() || ' SET work_mem = ''1MB'''; END $$",
        "CREATE FUNCTION one() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
    ],
)
def test_a_changed_schema_is_not_handed_on(postgresql, statement: str) -> None:
    name, following = _after(postgresql, statement)
    assert following != name


def test_a_connection_that_the_test_broke_is_made_again(postgresql) -> None:
    insert = "INSERT INTO event_sequences VALUES ('a', 'b', 'c', 1, 1)"
    first = _after(postgresql, insert)
    ended = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()"
    assert _after(postgresql, f"{insert}; {ended}") == first
