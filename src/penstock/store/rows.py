"""Many rows in one statement: what a transaction decided about a fleet goes to the database at once.

At every row of an `executemany`, SQLite's driver lets go of the interpreter, and then waits until the event loop does. PostgreSQL
answers every statement, and its driver builds each.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import sqlalchemy as sa

from penstock.store.statement import dialect_named, wrapping
from penstock.store.transaction import Later, transaction_of

_AT_ONCE = 64  # rows of a statement for SQLite, which has a text for each number of rows that is a power of two
_ANY = 0

_Columns = list[tuple[str, Callable[[Any], Any] | None]]


class Rows:
    """A write of many rows, made at module level."""

    def __init__(self, table: sa.Table, *columns: str, by: Sequence[str] = ()) -> None:
        """Insert rows of `columns`; with `by`, change these columns of the rows that those of `by` find."""
        self._table = table
        self._changed = len(columns)
        self._columns = [table.c[name] for name in (*columns, *by)]
        self._bound: dict[str, _Columns] = {}
        self._text = lru_cache(self._compiled)

    def write(self, conn: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write rows that give all of the columns; on PostgreSQL with the transaction's next statement, or with its COMMIT.

        Its error is raised there.
        """
        name = conn.dialect.name
        columns = self._bound.get(name)
        if columns is None:
            columns = self._bound[name] = self._bind(dialect_named(name))
        if name == "postgresql":
            self._later(conn, columns, rows)
            return
        raw = conn.connection.driver_connection
        assert isinstance(raw, sqlite3.Connection)
        start = 0
        with wrapping(conn):
            while left := len(rows) - start:
                size = min(_AT_ONCE, 1 << left.bit_length() - 1)
                values = [
                    row[column] if bind is None else bind(row[column])
                    for row in rows[start : start + size]
                    for column, bind in columns
                ]
                raw.execute(self._text(name, size), values)
                start += size

    def _later(self, conn: sa.Connection, columns: _Columns, rows: Sequence[Mapping[str, Any]]) -> None:
        if not rows:
            return
        values: list[Any] = [
            [row[column] if bind is None else bind(row[column]) for row in rows] for column, bind in columns
        ]
        size = _ANY
        if len(rows) == 1:
            values, size = [value[0] for value in values], 1
        transaction_of(conn).waiting.append(Later(self._text("postgresql", size).encode(), values, None, None))

    def _bind(self, dialect: sa.Dialect) -> _Columns:
        kinds = ((column.name, column.type.dialect_impl(dialect)) for column in self._columns)
        return [(name, kind.bind_processor(dialect)) for name, kind in kinds]

    def _compiled(self, name: str, size: int) -> str:
        dialect = dialect_named(name)
        quote = dialect.identifier_preparer.quote
        table, columns = quote(self._table.name), [quote(column.name) for column in self._columns]
        if name == "sqlite":
            marks = ["?"] * len(columns)
        else:
            # Types are without their length: a cast to it would cut what is too long, where the column refuses it.
            types = (column.type.compile(dialect).partition("(")[0] for column in self._columns)
            many = "[]" if size == _ANY else ""
            marks = [f"${place}::{type}{many}" for place, type in enumerate(types, 1)]
        row = ", ".join(marks)
        # The names are those of our own tables.
        given = f"VALUES {', '.join([f'({row})'] * size)}" if size else f"SELECT * FROM unnest({row})"  # noqa: S608
        if self._changed == len(columns):
            return f"INSERT INTO {table} ({', '.join(columns)}) {given}"
        named = columns if size == _ANY else [f"column{place}" for place in range(1, len(columns) + 1)]
        new = f"({given}) AS new" + (f"({', '.join(columns)})" if size == _ANY else "")
        pairs = list(zip(columns, named, strict=True))
        changes = ", ".join(f"{column} = new.{source}" for column, source in pairs[: self._changed])
        found = " AND ".join(f"{table}.{column} = new.{source}" for column, source in pairs[self._changed :])
        return f"UPDATE {table} SET {changes} FROM {new} WHERE {found}"  # noqa: S608
