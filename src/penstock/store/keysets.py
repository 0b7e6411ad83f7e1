"""The next rows of a list: those behind a keyset, so that a page costs the same however far it lies from the first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa


def rows_behind(
    query: sa.Select[*tuple[Any, ...]],
    keys: Sequence[sa.ColumnElement[Any]],
    keyset: Sequence[Any] | None,
    *,
    limit: int,
    descending: bool = False,
) -> sa.Select[*tuple[Any, ...]]:
    """`query` in the order of `keys`, which tell all rows apart: up to `limit` rows behind `keyset`, or the first ones."""
    if keyset is not None:
        # One column is compared as itself: SQLite reads no index for a row value of one.
        left: Any = keys[0] if len(keys) == 1 else sa.tuple_(*keys)
        right: Any = (
            keyset[0]
            if len(keys) == 1
            else sa.tuple_(*(sa.literal(value, key.type) for key, value in zip(keys, keyset, strict=True)))
        )
        query = query.where(left < right if descending else left > right)
    return query.order_by(*(key.desc() if descending else key.asc() for key in keys)).limit(limit)
