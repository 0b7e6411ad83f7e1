"""The rows behind a keyset, on both databases."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from penstock.store.database import Store
from penstock.store.keysets import rows_behind
from penstock.store.records import jobs

ROWS = [(due, id_) for due in (1, 2, 2, 3, 3, 3) for id_ in ("a", "b", "Z")]


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("width", [1, 2])
@pytest.mark.parametrize("limit", [1, 2, 7, 99])
async def test_pages_are_the_list(any_store: Store, width: int, limit: int, descending: bool) -> None:
    ids = [f"{due}{id_}{number:02}" for number, (due, id_) in enumerate(ROWS)]
    values = [sa.literal(due).label("due") for due, _ in ROWS]
    query = sa.union_all(
        *(sa.select(value, sa.literal(id_).label("id")) for value, id_ in zip(values, ids, strict=True))
    )
    table = query.subquery()
    keys = [table.c.due, table.c.id][-width:]

    def read(conn: sa.Connection, keyset: list | None, size: int) -> list[tuple]:
        chosen = rows_behind(sa.select(*keys), keys, keyset, limit=size, descending=descending)
        return [tuple(row) for row in conn.execute(chosen)]

    everything = await any_store.read(read, None, 1000)
    assert sorted(row[-1] for row in everything) == sorted(ids)
    pages, keyset = [], None
    while page := await any_store.read(read, keyset, limit):
        assert len(page) <= limit
        pages += page
        keyset = list(page[-1])
    assert pages == everything


async def test_a_page_far_in_is_found_by_the_index(store: Store) -> None:
    """A row value of one column is not looked up in SQLite's indexes, and each page would read all pages before it."""
    plan = rows_behind(sa.select(jobs.c.id), [jobs.c.id], ["x"], limit=10)

    def explain(conn: sa.Connection) -> str:
        text = str(plan.compile(conn, compile_kwargs={"literal_binds": True}))
        return " ".join(row[-1] for row in conn.execute(sa.text(f"EXPLAIN QUERY PLAN {text}")))

    assert "SEARCH jobs" in await store.read(explain)
