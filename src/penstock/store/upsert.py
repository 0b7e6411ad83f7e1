"""Inserting a row that may be there already, or come at the same moment from another process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import sqlalchemy as sa

if TYPE_CHECKING:
    from sqlalchemy.dialects import sqlite


def insert(dialect: str, table: sa.Table) -> sqlite.Insert:
    """An INSERT that can say ON CONFLICT, for the database of this name: both take the same words, by classes of their own."""
    if dialect == "sqlite":
        from sqlalchemy.dialects.sqlite import insert  # noqa: PLC0415
    else:
        from sqlalchemy.dialects.postgresql import insert  # noqa: PLC0415
    return cast("sqlite.Insert", insert(table))


def upsert(
    conn: sa.Connection, table: sa.Table, row: Mapping[str, Any], update: Mapping[str, Any] | None = None
) -> bool:
    """Insert a row; one with its primary key that is there takes `update`, else stays as it is. False when it stayed."""
    inserted, key = insert(conn.dialect.name, table).values(**row), list(table.primary_key)
    if update is None:
        statement = inserted.on_conflict_do_nothing(index_elements=key)
    else:
        statement = inserted.on_conflict_do_update(index_elements=key, set_=update)
    return conn.execute(statement.returning(key[0])).first() is not None
