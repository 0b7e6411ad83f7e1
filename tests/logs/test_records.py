"""Log groups that several processes make at the same time, and metric filters, on both databases."""

from __future__ import annotations

import asyncio
import functools

import sqlalchemy as sa

from penstock.logs import filter_rows, query_records, querying, subscription_rows
from penstock.logs.records import delete_group, delete_stream, insert_group, insert_stream, list_groups, sent
from penstock.store.database import Store
from penstock.store.retention import Sweeper


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


async def test_subscription_filters_and_to_where_streams_were_sent(any_store: Store):
    group = ("1" * 12, "us-east-1", "/g")
    where = {"account": group[0], "region": group[1]}
    row = where | {
        "group": "/g", "name": "f", "id": "id-1", "pattern": "x", "destination": "d", "role": None, "distribution": "ByLogStream",
        "created": 5, "failures": 0,
    }  # fmt: skip

    def stream(conn: sa.Connection, name: str, size: int) -> None:
        insert_stream(conn, where | {"group": "/g", "name": name, "file": f"{name}-file", "created": 5, "size": size})

    def fill(conn: sa.Connection) -> None:
        kept = {"created": 5, "group_class": "STANDARD", "protected": False, "tags": {}}
        insert_group(conn, where | kept | {"name": "/g"})
        stream(conn, "old", 10)
        subscription_rows.put(conn, row)
        stream(conn, "new", 20)
        subscription_rows.put(conn, row | {"id": "id-2", "pattern": "y"})

    await any_store.write(fill)
    (found,) = await any_store.read(subscription_rows.of_group, group)
    assert (found.id, found.pattern, found.behind, found.failing) == ("id-1", "y", None, None)
    assert await any_store.read(subscription_rows.ends, "id-1", group) == {
        "old-file": ("old", 10), "new-file": ("new", 0),
    }  # fmt: skip
    assert await any_store.read(subscription_rows.is_behind, "id-1", group)
    assert [one.id for one in await any_store.read(subscription_rows.subscribed, ["new-file"])] == ["id-1"]
    assert await any_store.read(subscription_rows.subscribed, ["other"]) == []
    assert await any_store.read(subscription_rows.oldest) is None
    for now in (7, 8):
        await any_store.write(lambda conn, at: subscription_rows.ask(conn, subscription_rows.subscribed(conn), at), now)
    assert await any_store.read(subscription_rows.oldest) == 7
    await any_store.write(subscription_rows.note_sent, "id-1", {"new-file": 20})
    assert not await any_store.read(subscription_rows.is_behind, "id-1", group)
    await any_store.write(subscription_rows.note_sent, "another", {"new-file": 20})
    await any_store.write(delete_stream, *group, "old")
    count = sa.select(sa.func.count()).select_from(sent)
    assert await any_store.read(lambda conn: conn.execute(count).scalar()) == 1
    await any_store.write(delete_group, *group)
    assert await any_store.read(lambda conn: conn.execute(count).scalar()) == 0
    assert await any_store.write(subscription_rows.delete, group, "f") is None


async def test_queries_their_results_and_definitions(any_store: Store):
    place = ("1" * 12, "us-east-1")
    row = {
        "account": place[0], "region": place[1], "query": "fields @message", "groups": ["/g"], "begin": 1, "end": 2, "limit": 3,
        "caller": "arn", "status": "Scheduled", "statistics": {}, "parts": 0,
    }  # fmt: skip

    def fill(conn: sa.Connection) -> None:
        for number in range(3):
            query_records.insert_query(conn, row | {"id": f"q{number}", "created": number})
        for part, first in enumerate((0, 10)):
            kept = {"query": "q0", "part": part, "first": first, "rows": 10, "content": b"x"}
            query_records.put_results(conn, kept)
            query_records.put_results(conn, kept | {"content": b"y"})

    await any_store.write(fill)
    assert await any_store.read(query_records.count_open, *place) == 3
    assert await any_store.write(functools.partial(query_records.update_query, status="Complete", parts=2), "q0")
    assert not await any_store.write(functools.partial(query_records.update_query, status="Cancelled"), "q0")
    assert await any_store.read(query_records.count_open, *place) == 2
    listed = functools.partial(query_records.list_queries, status="", after=[2, "q2"], limit=5)
    assert [one.id for one in await any_store.read(listed, *place)] == ["q1", "q0"]
    listed = functools.partial(query_records.list_queries, status="Complete", after=None, limit=5)
    assert [one.id for one in await any_store.read(listed, *place)] == ["q0"]
    part = await any_store.read(query_records.results_from, "q0", 12, 2)
    assert part is not None
    assert (part.part, part.content) == (1, b"y")
    part = await any_store.read(query_records.results_from, "q0", 12, 1)
    assert part is not None
    assert part.part == 0
    made = {
        "account": place[0], "region": place[1], "id": "d", "name": "n", "query": "q", "language": "CWLI", "groups": [], "parameters": [],
        "modified": 1, "token": "t" * 36,
    }  # fmt: skip
    await any_store.write(query_records.put_definition, made)
    await any_store.write(query_records.put_definition, made | {"name": "m"})
    assert await any_store.read(query_records.count_definitions, *place) == 1
    found = await any_store.read(query_records.find_definition_made, *place, "t" * 36)
    assert found is not None
    assert found.name == "m"
    listed = functools.partial(query_records.list_definitions, prefix="m", language="CWLI", after=None, limit=5)
    assert [one.id for one in await any_store.read(listed, *place)] == ["d"]
    assert await any_store.write(query_records.delete_definition, *place, "d")
    assert await any_store.read(query_records.find_definition, *place, "d") is None


async def test_queries_go_with_their_results_after_a_week(any_store: Store):
    week = 7 * 86_400_000
    row = {
        "account": "1" * 12, "region": "us-east-1", "query": "q", "groups": ["/g"], "begin": 1, "end": 2, "limit": 3, "caller": "arn",
        "status": "Complete", "statistics": {}, "parts": 1,
    }  # fmt: skip
    now = any_store.clock.now()

    def fill(conn: sa.Connection) -> None:
        for id, created in (("old", now - week - 1), ("new", now - week + 60_000)):
            query_records.insert_query(conn, row | {"id": id, "created": created})
            kept = {"query": id, "part": 0, "first": 0, "rows": 1, "content": b"x"}
            query_records.put_results(conn, kept)

    await any_store.write(fill)
    await Sweeper(any_store, expiring=querying.EXPIRING).sweep()
    assert await any_store.read(query_records.find_query, "old") is None
    assert await any_store.read(query_records.results_from, "old", 0, 1) is None
    assert await any_store.read(query_records.find_query, "new") is not None
    assert await any_store.read(query_records.results_from, "new", 0, 1) is not None
