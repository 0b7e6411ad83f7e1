"""The hints for other processes: after the COMMIT, a few messages for many commits."""

from __future__ import annotations

import asyncio

import psycopg
import pytest
import sqlalchemy as sa

from penstock.store import jobs, records
from penstock.store.clock import SystemClock
from penstock.store.database import Store, wake
from penstock.store.events import Event, Events, emit
from penstock.store.ids import Ids
from penstock.store.work import Work


def owed(conn: sa.Connection) -> list[str]:
    """The ids of the events that are to be delivered."""
    found = sa.select(records.events.c.id).join(
        records.deliveries, records.deliveries.c.position == records.events.c.position
    )
    return list(conn.execute(found).scalars())


async def test_many_commits_share_few_messages(postgresql_url: str):
    store = await Store.open(postgresql_url, clock=SystemClock())
    received: set[str] = set()
    messages = 0
    try:
        async with await psycopg.AsyncConnection.connect(postgresql_url, autocommit=True) as conn:
            await conn.execute("LISTEN penstock")
            await asyncio.gather(*(store.write(wake, f"topic-{n}") for n in range(200)))
            async with asyncio.timeout(60):
                async for notice in conn.notifies():
                    messages += 1
                    received.update(notice.payload.split("\n")[1:])
                    if {f"topic-{n}" for n in range(200)} <= received:
                        break
    finally:
        await store.close()
    assert messages <= 60


async def test_what_is_woken_last_is_reported_before_the_store_closes(postgresql_url: str):
    store = await Store.open(postgresql_url, clock=SystemClock())
    async with await psycopg.AsyncConnection.connect(postgresql_url, autocommit=True) as conn:
        await conn.execute("LISTEN penstock")
        await store.write(wake, "the first")
        async for notice in conn.notifies(timeout=60):
            if "the first" in notice.payload:
                break
        await store.write(wake, "the last")  # while more is gathered after the first
        await store.close()
        async for notice in conn.notifies(timeout=60):
            if "the last" in notice.payload:
                break
        else:
            pytest.fail("the last was not reported")


async def test_a_topic_too_long_for_a_message_wakes_everybody(postgresql_url: str):
    here, there = [await Store.open(postgresql_url, clock=SystemClock()) for _ in range(2)]
    try:
        wakeup = there.wakeup("another")
        while await wakeup.wait(0.5):  # the hints of the two starts
            pass
        await here.write(wake, "x" * 9_000)
        assert await wakeup.wait(10)
    finally:
        await here.close()
        await there.close()


async def test_an_event_and_its_delivery_are_committed_together(any_store: Store):
    async def handler(_app: object, _event: Event) -> None:
        return None

    await _subscribed(any_store, handler)
    id = Ids().uuid()
    await any_store.write(emit, _event(), now=1, id=id)
    found = await any_store.scan(owed)
    made = await any_store.scan(lambda conn: conn.execute(sa.select(records.jobs.c.kind)).scalars().all())
    assert (found, made) == ([id], ["events.deliver"])


async def test_an_event_that_a_subscription_is_not_concerned_with_costs_no_delivery(any_store: Store):
    seen: list[str] = []

    async def handler(_app: object, _event: Event) -> None:
        return None

    def concerns(_conn: sa.Connection, event: Event) -> bool:
        seen.append(event.id)
        return event.payload["n"] == 2

    await _subscribed(any_store, handler, concerns)
    ids = [Ids().uuid() for _ in range(2)]
    for n, id in enumerate(ids, 1):
        await any_store.write(emit, _event(n), now=1, id=id)
    assert (seen, await any_store.scan(owed)) == (ids, ids[1:])


async def test_a_second_job_of_one_key_leaves_the_first_as_it_is(any_store: Store):
    def job(conn: sa.Connection, n: int) -> str:
        return jobs.enqueue(conn, kind="k", payload={"n": n}, account="", region="", dedup="one")

    first = await any_store.write(job, 1)
    assert await any_store.write(job, 2) == first
    kept = await any_store.read(jobs.get, first)
    assert kept is not None
    assert kept.payload == {"n": 1}


def _event(n: int = 1) -> Event:
    return Event(type="thing.changed", account="1", region="r", aggregate="thing/1", payload={"n": n})


async def _subscribed(store: Store, handler: object, concerns: object = None) -> None:
    events = Events(store, Work(store))
    events.subscribe("s", ("thing.*",), handler, concerns=concerns)  # type: ignore[arg-type]
    await events.start()
    await events.stop()


async def test_a_store_that_is_closed_has_nothing_left_running(any_url: str):
    before = asyncio.all_tasks()
    store = await Store.open(any_url, clock=SystemClock())
    await store.write(wake, "a topic")
    await store.read(lambda conn: conn.execute(sa.select(records.events.c.id)).all())
    await store.close()
    assert {str(task.get_coro()) for task in asyncio.all_tasks() - before} == set()
    await store.close()  # once more is nothing
