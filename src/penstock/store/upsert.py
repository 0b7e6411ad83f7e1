"""Inserting a row that may be there already, or come at the same moment from another process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite


def upsert(
    conn: sa.Connection, table: sa.Table, row: Mapping[str, Any], update: Mapping[str, Any] | None = None
) -> bool:
    """Insert a row; one with its primary key that is there takes `update`, else stays as it is. False when it stayed."""
    dialect = sqlite if conn.dialect.name == "sqlite" else postgresql
    insert, key = dialect.insert(table).values(**row), list(table.primary_key)
    if update is None:
        statement = insert.on_conflict_do_nothing(index_elements=key)
    else:
        statement = insert.on_conflict_do_update(index_elements=key, set_=update)
    return conn.execute(statement.returning(key[0])).first() is not None
