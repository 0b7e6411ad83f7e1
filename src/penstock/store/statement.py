"""Statements compiled once and run by the driver: for what every request and every decision does.

`conn.execute` builds, compiles or looks up, and wraps at each call what costs more than a key's look-up itself, and on PostgreSQL each
call waits for its answer. A `Statement` is one text for good; a write whose outcome nobody needs is put off with `later` and sent
together with what comes next, at the latest with the COMMIT.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections import namedtuple
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, cast

import sqlalchemy as sa
from sqlalchemy import exc

from penstock.store.schema import Json
from penstock.store.transaction import Later, transaction_of, waiting_on

if TYPE_CHECKING:
    # With its driver: a tenth of a server's start, and with SQLite nothing needs it.
    from penstock.store.connections import Connection

IDLE, INERROR = 0, 3  # of psycopg.pq.TransactionStatus
_MESSAGE = 500  # statements: who sends many more lets others have their turn between them
_ROWS = 64  # made into named tuples, after which others may have their turn
_Convert = Callable[[Any], Any]


@dataclass(slots=True)
class _Form:
    """A statement for one database."""

    text: Any  # str for SQLite, bytes for PostgreSQL
    names: tuple[str, ...]  # of its parameters, in the order of the text's marks
    asked: int  # how many of them the caller gives
    given: dict[str, Any]  # the others: what the statement itself states, such as its LIMIT
    binders: tuple[tuple[str, _Convert], ...]  # of parameters that are not stored as they are
    row: Callable[[Any], Any]
    converters: tuple[tuple[int, _Convert], ...]  # of columns that are not read as they are stored

    def values(self, parameters: dict[str, Any]) -> dict[str, Any]:
        if len(parameters) != self.asked:
            raise TypeError(f"{sorted(parameters)} are not the parameters of: {self.text}")
        values = self.given | parameters
        for name, convert in self.binders:
            values[name] = convert(values[name])
        return values

    def positional(self, values: dict[str, Any]) -> list[Any]:
        return [values[name] for name in self.names]

    def rows(self, found: list[Any], rest: Callable[[], None] | None = None) -> list[Any]:
        if rest is not None and len(found) > _ROWS:
            rows = []
            for start in range(0, len(found), _ROWS):
                rows += self.rows(found[start : start + _ROWS])
                rest()
            return rows
        if not self.converters:
            return [self.row(values) for values in found]
        rows = []
        for values in map(list, found):
            for index, convert in self.converters:
                values[index] = convert(values[index])
            rows.append(self.row(values))
        return rows


@cache
def dialect_named(name: str) -> sa.Dialect:
    """`sqlite` or `postgresql`, with the parameters that a `Statement` has there."""
    # Imported by whoever asks: PostgreSQL's is a thirtieth of a server's start, and with SQLite nothing needs it.
    if name == "sqlite":
        from sqlalchemy.dialects import sqlite  # noqa: PLC0415

        return sqlite.dialect(paramstyle="qmark")
    from sqlalchemy.dialects.postgresql import psycopg  # noqa: PLC0415

    return psycopg.dialect(paramstyle="numeric_dollar")


class Statement:
    """A statement with named `sa.bindparam`s (of an INSERT: its columns), made at module level.

    One that the two databases take in different words is a function, which is given the name of a database and is called when the
    statement is first used there. Every call gives the same names. IN lists are written as OR. Rows are named tuples of the
    statement's columns.
    """

    def __init__(self, statement: sa.Executable | Callable[[str], sa.Executable]) -> None:
        self._statement = statement
        self._forms: dict[str, _Form] = {}

    def all(self, conn: sa.Connection, parameters: dict[str, Any]) -> list[Any]:
        """Every row, within somebody's transaction."""
        return ask(conn, (self, parameters))[0]

    def first(self, conn: sa.Connection, parameters: dict[str, Any]) -> Any:
        """The first row, or None."""
        rows = self.all(conn, parameters)
        return rows[0] if rows else None

    def later(
        self,
        conn: sa.Connection,
        parameters: dict[str, Any],
        *,
        check: Callable[[int], None] | None = None,
        on_rows: Callable[[list[Any]], None] | None = None,
    ) -> None:
        """Do a write before the transaction's next statement, or with its COMMIT. Its error is raised there.

        `check` gets the number of rows it touched, before the COMMIT; what it raises rolls back. `on_rows` gets the rows that it
        gives back, at the latest after the COMMIT and before the transaction is answered.
        """
        form = self.form(conn.dialect.name, parameters)
        values = form.values(parameters)
        if conn.dialect.name == "postgresql":
            rows = None if on_rows is None else lambda found: on_rows(form.rows(found))
            transaction_of(conn).waiting.append(Later(form.text, form.positional(values), check, rows))
            return
        cursor = _of_sqlite(conn, form, values)
        if on_rows is not None:
            on_rows(form.rows(cursor.fetchall()))
        if check is not None:
            check(cursor.rowcount)

    def first_of_sqlite(self, raw: sqlite3.Connection, parameters: dict[str, Any]) -> Any:
        """The first row, without a transaction, or None. Raises sqlite3.Error."""
        form = self.form("sqlite", parameters)
        values = form.values(parameters) if form.given or form.binders else parameters
        rows = raw.execute(form.text, form.positional(values)).fetchall()
        return form.rows(rows[:1])[0] if rows else None

    def form(self, name: str, parameters: dict[str, Any]) -> _Form:
        """The statement as one database takes it."""
        form = self._forms.get(name)
        if form is None:
            form = self._forms[name] = _compiled(self.executable(name), dialect_named(name), list(parameters))
        return form

    def executable(self, name: str) -> sa.Executable:
        """The statement for the database of this name, as SQLAlchemy has it."""
        return self._statement if isinstance(self._statement, sa.Executable) else self._statement(name)


Question = tuple[Statement, dict[str, Any]]
"""A statement and its parameters, for `ask`."""


def among(dialect: str, column: sa.ColumnElement[Any], name: str) -> sa.ColumnElement[bool]:
    """Whether a column is one of the list that the parameter `name` holds: one text for lists of any length."""
    if dialect == "sqlite":
        return column.in_(sa.select(listed(dialect, column, name)))
    return column == sa.any_(_array(column, name))


def listed(dialect: str, column: sa.ColumnElement[Any], name: str) -> sa.ColumnElement[Any]:
    """The values of the list, of a column's type, that the parameter `name` holds, to select from."""
    if dialect == "sqlite":
        return sa.func.json_each(sa.bindparam(name, type_=Json())).table_valued("value").c.value
    given = sa.func.unnest(_array(column, name)).table_valued(sa.column("value", column.type))
    return given.render_derived().c.value


def _array(column: sa.ColumnElement[Any], name: str) -> sa.BindParameter[Any]:
    # Without a column's length: a cast to it cuts what is longer, which would then be found as something else.
    kind = sa.Text() if column.type.python_type is str else column.type
    return sa.bindparam(name, type_=sa.ARRAY(kind))


def _of_sqlite(conn: sa.Connection, form: _Form, values: dict[str, Any]) -> sqlite3.Cursor:
    raw = conn.connection.driver_connection
    assert isinstance(raw, sqlite3.Connection)
    try:
        return raw.execute(form.text, form.positional(values))
    except sqlite3.Error:  # what goes well, a dozen times in a transaction, enters no context manager
        with wrapping(conn):
            raise


def _compiled(statement: Any, dialect: sa.Dialect, names: list[str]) -> _Form:
    insert = isinstance(statement, sa.Insert)
    compiled = statement.compile(dialect=dialect, column_keys=names if insert else None)
    binds = compiled.binds
    if any(bind.expanding for bind in binds.values()):
        raise TypeError(f"an IN list has no fixed text; write it as OR: {compiled}")
    processors = {name: bind.type.dialect_impl(dialect).bind_processor(dialect) for name, bind in binds.items()}
    given = {name: bind.value for name, bind in binds.items() if not bind.required and name not in names}
    columns = list(getattr(statement, "exported_columns", ()))
    found = (
        (index, column.type.dialect_impl(dialect).result_processor(dialect, None))
        for index, column in enumerate(columns)
    )
    return _Form(
        text=str(compiled) if dialect.name == "sqlite" else str(compiled).encode(),
        names=tuple(compiled.positiontup or binds),
        asked=len(binds) - len(given),
        given=given,
        binders=tuple((name, process) for name, process in processors.items() if process is not None),
        row=namedtuple("Row", [column.key or "" for column in columns], rename=True)._make,  # noqa: PYI024 - its fields are the columns
        converters=tuple((index, convert) for index, convert in found if convert is not None),
    )


def flush(conn: sa.Connection) -> None:
    """Send what waits. Cheap when nothing does."""
    waiting = waiting_on(conn)
    while waiting:
        sent, waiting[:_MESSAGE] = waiting[:_MESSAGE], ()
        with wrapping(conn):
            found = raw_of(conn).exchange([(each.text, each.values) for each in sent])
        _notify(sent, found)


def settle(conn: sa.Connection) -> None:
    """Send what has to be known before the COMMIT: what begins the transaction, and what is to be checked."""
    if _idle(raw_of(conn)) or any(each.check for each in waiting_on(conn)):
        flush(conn)


def commit(conn: sa.Connection) -> None:
    """Send what waits and COMMIT, in one message. PostgreSQL only, after `settle`."""
    if raw_of(conn).pgconn.transaction_status == INERROR:
        # PostgreSQL would answer COMMIT with a rollback, which is no error to its drivers.
        raise RuntimeError("a transaction went on after an error of its database, without a savepoint to return to")
    waiting = waiting_on(conn)
    if waiting:
        with wrapping(conn):
            found = raw_of(conn).exchange([(each.text, each.values) for each in waiting], commit=True)
        _notify(waiting, found)
    conn.commit()


def rollback(conn: sa.Connection) -> None:
    """Take the transaction back, also one whose COMMIT failed, which SQLAlchemy holds to be over. PostgreSQL only."""
    conn.rollback()
    raw = raw_of(conn)
    if not _idle(raw):
        with wrapping(conn):
            raw.rollback()


def ask(conn: sa.Connection, *questions: Question) -> list[list[Any]]:
    """The rows of each of several questions, none of which needs another's answer. They are asked in this order.

    PostgreSQL is sent all of them in one message, with what waits, and BEGIN.
    """
    forms = [statement.form(conn.dialect.name, parameters) for statement, parameters in questions]
    if conn.dialect.name == "sqlite":
        pairs = zip(forms, questions, strict=True)
        return [form.rows(_of_sqlite(conn, form, form.values(given)).fetchall()) for form, (_, given) in pairs]
    if not conn.in_transaction():
        conn.begin()  # SQLAlchemy's notion of it, by which what the driver begins is ended
    asked = [
        (form.text, form.positional(form.values(given))) for form, (_, given) in zip(forms, questions, strict=True)
    ]
    waiting = waiting_on(conn)
    if len(waiting) > _MESSAGE:
        flush(conn)
    sent, waiting[:] = tuple(waiting), ()
    with wrapping(conn):
        found = raw_of(conn).exchange([*((each.text, each.values) for each in sent), *asked])
    _notify(sent, found[: len(sent)])
    rest = raw_of(conn).rest
    return [form.rows(rows, rest) for form, (_, rows) in zip(forms, found[len(sent) :], strict=True)]


def _notify(sent: Sequence[Later], found: Sequence[tuple[int, list[Any]]]) -> None:
    for each, (count, rows) in zip(sent, found, strict=True):
        if each.on_rows is not None:
            each.on_rows(rows)
        if each.check is not None:
            each.check(count)


def raw_of(conn: sa.Connection) -> Connection:
    """The driver's connection."""
    assert conn.dialect.name == "postgresql"
    return cast("Connection", conn.connection.driver_connection)


def _idle(raw: Connection) -> bool:
    """Whether the next statement begins a transaction."""
    return not raw.autocommit and raw.pgconn.transaction_status == IDLE


@contextlib.contextmanager
def wrapping(conn: sa.Connection) -> Iterator[None]:
    """The driver's errors as SQLAlchemy raises them."""
    driver: Any = conn.dialect.loaded_dbapi
    try:
        yield
    except driver.Error as error:
        closed = conn.dialect.name == "postgresql" and raw_of(conn).closed
        if closed:
            conn.invalidate(error)
        raise exc.DBAPIError.instance(
            None, None, error, driver.Error, connection_invalidated=closed, dialect=conn.dialect
        ) from error
