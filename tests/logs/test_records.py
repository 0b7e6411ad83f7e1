"""Log groups that several processes make at the same time, and metric filters, on both databases."""

from __future__ import annotations

import asyncio
import functools

import sqlalchemy as sa

from penstock.logs import filter_rows
from penstock.logs.records import delete_group, insert_group, insert_stream, list_groups
from penstock.store.database import Store


async def test_of_many_who_make_a_group_at_once_one_does(any_store: Store):
    row = {
        "account": "1" * 12, "region": "us-east-1", "name": "/aws/codebuild/new", "created": 5,
        "group_class": "STANDARD", "protected": False, "tags": {},
    }  # fmt: skip
    makes = (any_store.write(insert_group, row) for _ in range(8))
    assert sorted(await asyncio.gather(*makes)) == [False] * 7 + [True]


async def test_metric_filters_and_to_where_streams_were_measured(any_store: Store):
    group, other = ("1" * 12, "us-east-1", "/g"), ("1" * 12, "us-east-1", "/h")
    made = {"created": 5, "pattern": "x", "transformation": {"a": 1}, "namespace": "N", "metric": "M"}

    def fill(conn: sa.Connection) -> None:
        for account, region, name in (group, other):
            where = {"account": account, "region": region}
            kept = {"created": 5, "group_class": "STANDARD", "protected": False, "tags": {}}
            insert_group(conn, where | kept | {"name": name})
            for file, size in ((f"{name}-1", 10), (f"{name}-2", 0)):
                insert_stream(conn, where | {"group": name, "name": file, "file": file, "created": 5, "size": size})
        filter_rows.put(conn, {"account": group[0], "region": group[1], "group": group[2], "name": "f"} | made)
        filter_rows.put(
            conn, {"account": group[0], "region": group[1], "group": group[2], "name": "f"} | made | {"metric": "O"}
        )

    await any_store.write(fill)
    (row,) = await any_store.read(filter_rows.of_group, group)
    assert (row.name, row.transformation, row.metric) == ("f", {"a": 1}, "O")
    assert await any_store.read(filter_rows.filtered) == [group]
    assert await any_store.read(filter_rows.filtered, ["/g-2", "/h-1"]) == [group]
    assert await any_store.read(filter_rows.filtered, ["/h-1"]) == []
    assert await any_store.read(filter_rows.is_behind, group)
    await any_store.write(filter_rows.note_measured, {"/g-1": 10})
    assert await any_store.read(filter_rows.measured, group) == {"/g-1": 10, "/g-2": 0}
    assert not await any_store.read(filter_rows.is_behind, group)
    chosen = {"group": "", "prefix": "f", "metric": ("N", "O"), "after": None, "limit": 9}
    assert [one.name for one in await any_store.read(functools.partial(filter_rows.page, **chosen), *group[:2])] == [
        "f"
    ]
    listed = functools.partial(list_groups, prefix="/", part="", names=[], group_class="", after=None, limit=9)
    assert [one.filters for one in await any_store.read(listed, *group[:2])] == [1, 0]
    for _ in range(2):
        await any_store.write(filter_rows.ask, [group])  # the job that is there is kept
    await any_store.write(delete_group, *group)
    assert await any_store.read(filter_rows.filtered) == []
    assert await any_store.write(filter_rows.delete, group, "f") is False
