"""Events: in the transaction, delivered at least once, in order per subscription and aggregate; on both databases."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from enum import StrEnum
from types import SimpleNamespace

import psycopg
import pytest
import sqlalchemy as sa

from penstock.store import events as events_module
from penstock.store import records
from penstock.store.clock import ManualClock, SystemClock
from penstock.store.database import Store
from penstock.store.events import Event, Events, after, emit
from penstock.store.fanout import matches
from penstock.store.ids import Ids
from penstock.store.packing import pack
from penstock.store.retention import Retention, Sweeper
from penstock.store.statement import flush
from penstock.store.transaction import transaction_of
from penstock.store.work import Work


def event(n: int, aggregate: str = "thing/1", type: str = "thing.changed") -> Event:
    return Event(type=type, account="111111111111", region="us-east-1", aggregate=aggregate, payload={"n": n})


async def emit_one(store: Store, event: Event) -> Event:
    id = Ids().uuid()
    await store.write(emit, event, now=store.clock.now(), id=id)
    return await store.read(kept, id)


def id_of(n: int) -> str:
    """An id to be known again."""
    return str(uuid.UUID(int=n))


def kept(conn: sa.Connection, id: str) -> Event:
    return events_module.event_of(conn.execute(sa.select(records.events).where(records.events.c.id == id)).one())


class Harness:
    def __init__(self, store: Store) -> None:
        self.work = Work(store)
        self.events = Events(store, self.work, poll_ms=200)

    async def start(self) -> None:
        await self.events.start()
        await self.work.start("app")

    async def stop(self) -> None:
        await self.events.stop()
        await self.work.stop(1)


@pytest.fixture
async def harness(any_store: Store) -> AsyncIterator[Harness]:
    harness = Harness(any_store)
    yield harness
    await harness.stop()


class Seen:
    """Collects events, and can be waited for."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._more = asyncio.Event()

    async def __call__(self, app: str, event: Event) -> None:
        self.events.append(event)
        self._more.set()

    async def have(self, count: int) -> list[Event]:
        async with asyncio.timeout(60):
            while len(self.events) < count:
                self._more.clear()
                await self._more.wait()
        return self.events


async def rest(store: Store) -> None:
    """Return once nothing is left to deliver."""
    async with asyncio.timeout(60):
        while await store.scan(
            lambda conn: conn.execute(records.jobs.select().where(records.jobs.c.state.in_(records.LIVE))).first()
        ):
            await asyncio.sleep(0.005)


async def test_sequence_counts_within_the_aggregate(any_store: Store, clock: ManualClock):
    made = [await emit_one(any_store, event(n, aggregate)) for n, aggregate in enumerate(["a", "b", "a", "a"])]
    assert [m.sequence for m in made] == [1, 1, 2, 3]
    assert {m.at for m in made} == {clock.now()}
    assert await any_store.read(events_module.after, made[0].position) == made[1:]


async def test_a_transactions_events_are_numbered_in_the_order_they_were_reported(any_store: Store):
    def tx(conn: sa.Connection) -> None:
        for n, aggregate in enumerate(["a", "b", "a", "b", "a"]):
            emit(conn, event(n, aggregate), now=1, id=id_of(n))

    await emit_one(any_store, event(9, "a"))
    await any_store.write(tx)
    found = [await any_store.read(kept, id_of(n)) for n in range(5)]
    assert [(one.aggregate, one.sequence) for one in found] == [("a", 2), ("b", 1), ("a", 3), ("b", 2), ("a", 4)]
    assert [one.id for one in sorted(found, key=lambda one: one.position)] == [id_of(n) for n in range(5)]


async def test_each_subscription_gets_what_it_asked_for(any_store: Store, harness: Harness):
    exact, prefix, other = Seen(), Seen(), Seen()
    harness.events.subscribe("exact", ("thing.changed",), exact)
    harness.events.subscribe("prefix", ("thing.*",), prefix)
    harness.events.subscribe("other", ("another.*",), other)
    await harness.start()
    await emit_one(any_store, event(1))
    await emit_one(any_store, event(2, type="thing.gone"))
    assert [e.payload["n"] for e in await prefix.have(2)] == [1, 2]
    assert [e.payload["n"] for e in await exact.have(1)] == [1]
    await rest(any_store)
    assert (len(exact.events), len(other.events)) == (1, 0)


async def test_order_holds_per_aggregate_under_concurrency(any_store: Store, harness: Harness):
    seen = Seen()
    harness.events.subscribe("all", ("thing.*",), seen)
    await harness.start()
    await asyncio.gather(*(emit_one(any_store, event(n, f"thing/{n % 4}")) for n in range(80)))
    await seen.have(80)
    for aggregate in {e.aggregate for e in seen.events}:
        sequences = [e.sequence for e in seen.events if e.aggregate == aggregate]
        assert sequences == sorted(set(sequences))
    await rest(any_store)
    assert len(seen.events) == 80


async def test_what_was_emitted_while_nobody_was_up_is_delivered_later(any_store: Store):
    first = Harness(any_store)
    first.events.subscribe("late", ("thing.*",), Seen())
    await first.start()
    await first.stop()

    unaware = Harness(any_store)  # an older release, which lacks the subscription, emits meanwhile
    await unaware.start()
    await emit_one(any_store, event(1))
    await unaware.stop()

    seen = Seen()
    second = Harness(any_store)
    second.events.subscribe("late", ("thing.*",), seen)
    any_store.clock.advance(60_000)  # type: ignore[attr-defined]
    await second.start()
    assert [e.payload["n"] for e in await seen.have(1)] == [1]
    await second.stop()


async def test_a_failing_handler_holds_up_its_own_ordering_key_only_until_it_is_set_aside(
    any_store: Store, harness: Harness, clock: ManualClock
):
    seen, tries = Seen(), []

    async def picky(app: str, event: Event) -> None:
        if event.payload["n"] == 1:
            tries.append(len(seen.events))
            raise LookupError("not this one")
        await seen(app, event)

    harness.events.subscribe("picky", ("thing.*",), picky)
    await harness.start()
    await emit_one(any_store, event(1))
    await emit_one(any_store, event(2))
    await emit_one(any_store, event(3, "thing/2"))
    assert [e.payload["n"] for e in await seen.have(1)] == [3]
    async with asyncio.timeout(60):
        while len(seen.events) < 2:
            clock.advance(400_000)
            await asyncio.sleep(0.005)
    assert [e.payload["n"] for e in seen.events] == [3, 2]
    assert len(tries) == 20
    await rest(any_store)
    (dead,) = await any_store.scan(lambda conn: conn.execute(records.deliveries.select()).all())
    assert (dead.state, dead.sequence, dead.error) == ("dead", 1, "LookupError: not this one")


async def test_each_delivery_of_a_transaction_is_of_its_own_event(any_store: Store, harness: Harness):
    """A subscription that asks the database in between sends what was written so far."""

    def even(conn: sa.Connection, one: Event) -> bool:
        return conn.execute(sa.select(sa.literal(one.payload["n"]) % 2)).scalar() == 0

    def tx(conn: sa.Connection) -> None:
        for n, aggregate in enumerate(["thing/1", "thing/2", "thing/1", "thing/3", "thing/2", "thing/1"]):
            emit(conn, event(n, aggregate), now=1, id=id_of(n))

    every, chosen, others = Seen(), Seen(), Seen()
    harness.events.subscribe("chosen", ("thing.*",), chosen, concerns=even)
    harness.events.subscribe("every", ("thing.changed",), every)
    harness.events.subscribe("others", ("other.*",), others)
    await harness.start()
    await any_store.write(tx)
    assert {(one.id, one.payload["n"]) for one in await every.have(6)} == {(id_of(n), n) for n in range(6)}
    assert sorted(one.payload["n"] for one in await chosen.have(3)) == [0, 2, 4]
    for aggregate, order in (("thing/1", [0, 2, 5]), ("thing/2", [1, 4])):
        assert [one.payload["n"] for one in every.events if one.aggregate == aggregate] == order
    await rest(any_store)
    assert (len(every.events), len(chosen.events), others.events) == (6, 3, [])


async def test_subscribers_of_this_process_see_the_json_that_is_kept(any_store: Store, harness: Harness):
    """A member of an enumeration equals its text, and is of another type: rules that compare types would not match it."""

    class Colour(StrEnum):
        RED = "red"

    asked: list[Event] = []

    def noting(_conn: sa.Connection, one: Event) -> bool:
        asked.append(one)
        return True

    seen = Seen()
    harness.events.subscribe("noting", ("thing.*",), seen, concerns=noting)
    await harness.start()
    payload = {"colour": Colour.RED, "all": [Colour.RED], "pair": (1, 2)}
    async with harness.events.tap() as queue:
        await emit_one(any_store, replace(event(1), payload=payload))
        tapped = await asyncio.wait_for(queue.get(), 10)
    for one in (asked[0], tapped, (await seen.have(1))[0]):
        assert one.payload == {"colour": "red", "all": ["red"], "pair": [1, 2]}
        assert {type(one.payload["colour"]), type(one.payload["all"][0])} == {str}


async def test_a_subscription_emits_nothing_while_it_is_asked_whether_an_event_concerns_it(
    any_store: Store, harness: Harness
):
    """It would be written in the middle of the others, whose deliveries would be of this one."""

    def emits(conn: sa.Connection, _one: Event) -> bool:
        emit(conn, event(2), now=1, id=id_of(2))
        return True

    harness.events.subscribe("emitting", ("thing.*",), Seen(), concerns=emits)
    await harness.start()
    with pytest.raises(RuntimeError, match="it only reads"):
        await emit_one(any_store, event(1))
    assert await any_store.scan(lambda conn: after(conn, 0)) == []


async def test_a_tap_sees_events_of_this_process_and_a_rolled_back_one_never(any_store: Store, harness: Harness):
    await harness.start()
    async with harness.events.tap() as queue:

        def fail(conn) -> None:
            emit(conn, event(0), now=1, id=id_of(0))
            raise LookupError

        with pytest.raises(LookupError):
            await any_store.write(fail)
        for n in range(1, 4):
            await emit_one(any_store, event(n))
        async with asyncio.timeout(60):
            assert [(await queue.get()).payload["n"] for _ in range(3)] == [1, 2, 3]
        await rest(any_store)
        assert queue.empty()


@pytest.mark.parametrize(("sizes", "reads"), [([0], 1), ([1], 1), ([2, 0], 2), ([2, 2, 1], 3)])
async def test_a_tap_reads_on_while_its_pages_are_full(
    store: Store, monkeypatch: pytest.MonkeyPatch, sizes: list[int], reads: int
):
    pages, asked, tapped = list(sizes), [], Events(store, Work(store), poll_ms=200)

    def fresh(_conn: sa.Connection, last: int, _gaps: list[int]) -> list[SimpleNamespace]:
        asked.append(last)
        return [SimpleNamespace(position=last + 1 + n, id=f"{last}-{n}") for n in range(pages.pop(0))]

    monkeypatch.setattr(events_module, "_TAP_SIZE", 2)
    monkeypatch.setattr(events_module, "_fresh", fresh)
    queue: asyncio.Queue[Event] = asyncio.Queue(2)
    tapped._taps.add(queue)
    await tapped._follow()
    assert asked == [asked[0] + at for at in (0, 2, 4)][:reads]
    assert tapped._last == asked[0] + sum(sizes)
    assert queue.qsize() == min(2, sum(sizes))
    tapped._taps.clear()
    await tapped._follow()  # nobody looks
    assert len(asked) == reads


async def test_a_tap_sees_events_of_other_processes(postgresql_url: str, clock: ManualClock):
    here, there = await Store.open(postgresql_url, clock=clock), await Store.open(postgresql_url, clock=clock)
    harness = Harness(here)
    await harness.start()
    async with harness.events.tap() as queue:
        for n in range(3):
            await emit_one(there, event(n))
        async with asyncio.timeout(60):
            assert [(await queue.get()).payload["n"] for _ in range(3)] == [0, 1, 2]
    await harness.stop()
    await here.close()
    await there.close()


async def test_a_tap_sees_what_was_under_way_when_it_began(postgresql_url: str, clock: ManualClock):
    """An event has its position before its COMMIT: a later one may be there first."""
    store = await Store.open(postgresql_url, clock=clock)
    harness = Harness(store)
    await harness.start()
    with psycopg.connect(postgresql_url) as slow, psycopg.connect(postgresql_url) as fast:
        for n, conn in ((1, slow), (2, fast)):
            conn.execute(
                "INSERT INTO events (id, sequence, at, content) VALUES (%s, %s, 1, %s)",
                (id_of(n), n, pack(events_module._content(event(n)))),
            )
        fast.commit()
        async with harness.events.tap() as queue, asyncio.timeout(60):
            slow.commit()
            assert (await queue.get()).payload["n"] == 1
    await harness.stop()
    await store.close()


async def test_retention_keeps_what_is_owed(any_store: Store, harness: Harness, clock: ManualClock):
    async def never(app: str, event: Event) -> None:
        raise LookupError

    seen = Seen()
    harness.events.subscribe("never", ("owed.*",), never)
    harness.events.subscribe("seen", ("thing.*",), seen)
    await harness.start()
    for n in range(5):
        await emit_one(any_store, event(n))
    await emit_one(any_store, event(9, "thing/9", "owed.thing"))
    await seen.have(5)
    async with asyncio.timeout(60):
        while len(await any_store.scan(lambda conn: conn.execute(records.deliveries.select()).all())) != 1:
            await asyncio.sleep(0.005)
    await harness.stop()
    sweeper = Sweeper(any_store, Retention(batch=2))
    assert sum((await sweeper.sweep()).values()) == 0
    clock.advance(8 * 86_400_000)
    swept = await sweeper.sweep()
    assert swept["events"] == 5
    assert swept["jobs"] >= 1
    assert swept["event_sequences"] == 1
    assert (await emit_one(any_store, event(10, "thing/1"))).sequence == 1
    assert (await emit_one(any_store, event(10, "thing/9"))).sequence == 2
    assert "owed.thing" in [one.type for one in await any_store.read(events_module.after, 0)]


async def test_a_counter_in_use_is_not_swept(postgresql_url: str, clock: ManualClock):
    store = await Store.open(postgresql_url, clock=clock)
    loop, counted = asyncio.get_running_loop(), asyncio.Event()

    def emitting(conn: sa.Connection) -> None:
        events_module.emit(conn, event(2), now=clock.now(), id=id_of(2))
        transaction_of(conn).finish(conn)
        flush(conn)
        transaction_of(conn).finishing = None
        loop.call_soon_threadsafe(counted.set)
        conn.execute(sa.select(sa.func.pg_advisory_xact_lock(1)))

    try:
        await emit_one(store, event(1))
        clock.advance(8 * 86_400_000)
        async with await psycopg.AsyncConnection.connect(postgresql_url) as holder:
            await holder.execute("SELECT pg_advisory_lock(1)")
            under_way = asyncio.ensure_future(store.write(emitting))
            await asyncio.wait_for(counted.wait(), 60)
            assert (await Sweeper(store).sweep())["event_sequences"] == 0
            assert not under_way.done()
        await under_way
        assert (await emit_one(store, event(3))).sequence == 3
    finally:
        await store.close()


async def test_every_delivery_has_a_job_while_many_emit_and_ordering_keys_run_dry(any_url: str):
    """Two processes emit to few ordering keys and hand over at once; a key's job ends again and again while another delivery is added."""
    stores = [await Store.open(any_url, clock=SystemClock())]
    if stores[0].dialect == "postgresql":
        stores.append(await Store.open(any_url, clock=SystemClock()))
    seen = Seen()
    harnesses = [Harness(store) for store in stores]
    for each in harnesses:
        each.events.subscribe("all", ("thing.*",), seen)
        await each.start()
    try:
        for turn in range(40):
            emitters = [
                emit_one(store, event(turn, f"thing/{ordering_key}"))
                for store in stores
                for ordering_key in (0, 0, 1)
                for _ in range(2)
            ]
            await asyncio.gather(*emitters)
        await seen.have(40 * 6 * len(stores))
        await rest(stores[0])
        assert not await stores[0].scan(lambda conn: conn.execute(records.deliveries.select()).all())
        for ordering_key in (0, 1):
            sequences = [one.sequence for one in seen.events if one.aggregate == f"thing/{ordering_key}"]
            assert sequences == list(range(1, len(sequences) + 1))
    finally:
        for each in harnesses:
            await each.stop()
        for store in stores:
            await store.close()


@pytest.mark.parametrize(
    ("types", "type", "expected"),
    [
        (("a.b",), "a.b", True),
        (("a.b",), "a.b.c", False),
        (("a.*",), "a.b.c", True),
        (("a.*",), "ab.c", False),
        ((), "a", False),
    ],
)
def test_types_match_exactly_or_by_prefix(types: tuple[str, ...], type: str, expected: bool):
    assert matches(types, type) is expected
