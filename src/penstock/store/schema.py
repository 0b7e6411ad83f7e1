"""The one schema: the metadata that every component's `records.py` declares its tables against."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy import event as sa_event

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def partial_index(name: str, *columns: sa.Column[Any], where: sa.ColumnElement[bool], unique: bool = False) -> sa.Index:
    """An index of those rows of a table for which `where` holds."""
    return sa.Index(name, *columns, unique=unique, sqlite_where=where)


@sa_event.listens_for(metadata, "before_create")
def _before_create(_metadata: sa.MetaData, conn: sa.Connection, **_: Any) -> None:
    if conn.dialect.name == "postgresql":
        narrow_for_postgresql()


def narrow_for_postgresql() -> None:
    """Let the partial indexes be such for PostgreSQL too.

    Where an index is declared this would load SQLAlchemy's part for PostgreSQL, at every start. So it is done before tables are made or
    compared.
    """
    for index in (index for table in metadata.tables.values() for index in table.indexes):
        where = index.dialect_options["sqlite"]["where"]
        if where is not None:
            index.dialect_kwargs["postgresql_where"] = where


Position = sa.BigInteger().with_variant(sa.Integer, "sqlite")
"""A counting primary key; SQLite counts only in a column declared INTEGER."""


def sealed(context: Callable[[Any], str]) -> dict[str, Any]:
    """The `info` of a column with values that are sealed under the master key; `context` says of a row for what it is.

    A change of the master key goes by it: every such column says it, and no other way of keeping something sealed outlives the change.
    """
    return {"sealed": context}


class State(sa.types.TypeDecorator[str]):
    """A column with few fixed values, such as a job's state. A comparison with one of them writes it into the statement.

    As a parameter it would hide from the planner which partial index serves: PostgreSQL plans a statement that one connection
    repeats for any value (from about the tenth time on), cannot use such an index then, and refuses an ON CONFLICT that names it.
    """

    impl = sa.String
    cache_ok = True

    class Comparator(sa.types.TypeDecorator.Comparator[str]):
        def operate(self, op: Any, *other: Any, **kwargs: Any) -> Any:
            return super().operate(op, *(_literal(value) for value in other), **kwargs)

    comparator_factory = Comparator  # pyright: ignore[reportAssignmentType] - as SQLAlchemy documents it


def _literal(value: Any) -> Any:
    if isinstance(value, str):
        if value and not value.isalpha():
            raise ValueError(f"{value!r} is not a state")
        return sa.literal_column(f"'{value}'", sa.String)
    if isinstance(value, list | tuple | set | frozenset):
        return [_literal(one) for one in value]
    return value


class Json(sa.types.TypeDecorator[Any]):
    """A JSON document kept as text on both databases. None is SQL NULL."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> str | None:  # noqa: ARG002
        return None if value is None else orjson.dumps(value).decode()

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> Any:  # noqa: ARG002
        return None if value is None else orjson.loads(value)


class Uuid(sa.types.TypeDecorator[str]):
    """A column of UUIDs: 16 bytes on both databases, and for programs the 36 characters. Raises ValueError for another text."""

    impl = sa.Uuid(as_uuid=False)
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> Any:
        if dialect.name == "sqlite":
            return dialect.type_descriptor(sa.LargeBinary(16))
        return dialect.type_descriptor(sa.Uuid(as_uuid=False))

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> Any:
        if value is None:
            return None
        known = bytes.fromhex(value.replace("-", ""))
        if len(known) != 16:
            raise ValueError(f"{value!r} is no UUID")
        return known if dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> str | None:
        return str(uuid.UUID(bytes=value)) if value is not None and dialect.name == "sqlite" else value


def create_all(bind: sa.Engine | sa.Connection) -> None:
    """Create every declared table that is not there. For tests; an installation migrates."""
    metadata.create_all(bind)
