"""One SELECT of few rows by key, compiled once: for the reads that every request makes.

A `Store.read` builds, begins and rolls back around its statements what costs more than a key's look-up itself; a `Lookup` is
one statement, which both databases read consistently without a transaction around it.
"""

from __future__ import annotations

import sqlite3
from collections import namedtuple
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

_DIALECT = sqlite.dialect(paramstyle="qmark")


class Lookup:
    """A SELECT with named `sa.bindparam`s, made at module level.

    Parameters are strings, integers or None, as the columns store them. IN lists are written as OR.
    """

    def __init__(self, statement: sa.Select[*tuple[Any, ...]]) -> None:
        self.statement = statement
        self._text = ""
        self._order: tuple[str, ...] = ()
        self._given: dict[str, Any] = {}  # what the statement itself states, such as its LIMIT
        self._converters: tuple[tuple[int, Callable[[Any], Any]], ...] = ()
        self._row: Callable[[Any], Any] = tuple

    def first(self, conn: sa.Connection, parameters: dict[str, Any]) -> sa.Row[Any] | None:
        """The first row, within somebody's transaction."""
        return conn.execute(self.statement, parameters).first()

    def first_of_sqlite(self, raw: sqlite3.Connection, parameters: dict[str, Any]) -> Any:
        """The first row as a named tuple, read by the driver alone; None when there is none. Raises sqlite3.Error."""
        if not self._text:
            self._compile()
        if self._given:
            parameters = self._given | parameters
        rows = raw.execute(self._text, [parameters[name] for name in self._order]).fetchall()
        if not rows:
            return None
        if not self._converters:
            return self._row(rows[0])
        values = list(rows[0])
        for index, convert in self._converters:
            values[index] = convert(values[index])
        return self._row(values)

    def _compile(self) -> None:
        compiled = self.statement.compile(dialect=_DIALECT)
        columns = list(self.statement.selected_columns)
        names = [column.key or "" for column in columns]
        found = ((index, column.type.result_processor(_DIALECT, None)) for index, column in enumerate(columns))
        self._converters = tuple((index, convert) for index, convert in found if convert is not None)
        self._order = tuple(compiled.positiontup or ())
        binds = compiled.binds
        if any(binds[name].expanding for name in self._order):
            raise TypeError(f"an IN list has no fixed text; write it as OR: {compiled}")
        self._given = {name: binds[name].value for name in self._order if not binds[name].required}
        self._row = namedtuple("Row", names, rename=True)._make  # noqa: PYI024 - its fields are the statement's columns
        self._text = str(compiled)
