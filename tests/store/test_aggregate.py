"""The shell around engines: state, journal and effects are kept together or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest
import sqlalchemy as sa

from penstock.store import jobs, journal
from penstock.store.aggregate import Aggregate
from penstock.store.codec import Codec
from penstock.store.database import Store
from penstock.store.records import jobs as job_table
from penstock.store.schema import Json

WHERE = {"account": "1" * 12, "region": "us-east-1"}
_metadata = sa.MetaData()
_counters = sa.Table(
    "test_counters",
    _metadata,
    sa.Column("id", sa.String(16), primary_key=True),
    sa.Column("state", Json, nullable=False),
    sa.Column("sequence", sa.Integer, nullable=False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    value: int = 0


@dataclass(frozen=True, slots=True)
class Add:
    amount: int


@dataclass(frozen=True, slots=True)
class Crossed:
    hundred: int


STATE = Codec("a counter", Count)


class Counter(Aggregate[Count, Add, Crossed]):
    inputs = Codec("an input of a counter", Add)
    effects = Codec("an effect of a counter", Crossed)

    @classmethod
    def find(cls, conn: sa.Connection, id: str) -> Counter:
        row = conn.execute(sa.select(_counters).where(_counters.c.id == id).with_for_update()).first()
        state = Count() if row is None else STATE.load(row.state)
        return cls(conn, name=f"counter/{id}", **WHERE, state=state, sequence=row.sequence if row else 0)

    def decide(self, input: Add, *, now: int, seed: int) -> tuple[Count, Sequence[Crossed]]:
        if not input.amount:
            return self.state, ()
        after = replace(self.state, value=self.state.value + input.amount)
        crossed = range(self.state.value // 100 + 1, after.value // 100 + 1)
        return after, [Crossed(hundred) for hundred in crossed]

    def perform(self, effect: Crossed) -> None:
        jobs.enqueue(
            self.conn, kind="test.crossed", payload={"hundred": effect.hundred, "at": self.state.value}, **WHERE
        )

    def save(self) -> None:
        values = {"state": STATE.dump(self.state), "sequence": self.sequence}
        where = _counters.c.id == self.name.partition("/")[2]
        if not self.conn.execute(_counters.update().where(where).values(**values)).rowcount:
            self.conn.execute(_counters.insert().values(id=self.name.partition("/")[2], **values))


@pytest.fixture
async def store(any_store: Store) -> Store:
    await any_store.write(_metadata.create_all)
    return any_store


def add(conn: sa.Connection, *amounts: int, fail: bool = False) -> None:
    with Counter.find(conn, "c") as counter:
        for amount in amounts:
            counter.apply(Add(amount), now=5, seed=7, actor="arn:me", cause="request-1")
        if fail:
            raise RuntimeError("in the middle")


def found(conn: sa.Connection) -> tuple[dict[str, int], list[tuple[int, dict, list]], list[dict]]:
    row = conn.execute(sa.select(_counters.c.state)).scalar()
    entries = [(e.sequence, dict(e.input), list(e.effects)) for e in journal.read(conn, "counter/c")]
    payloads = conn.execute(sa.select(job_table.c.payload).where(job_table.c.kind == "test.crossed")).scalars()
    return row, entries, sorted(payloads, key=lambda payload: payload["hundred"])


async def test_state_journal_and_effects_are_kept_together(store):
    await store.write(add, 60, 0, 150)
    assert await store.read(found) == (
        {"v": 1, "value": 210},
        [
            (1, {"v": 1, "amount": 60}, []),
            (2, {"v": 1, "amount": 150}, [{"v": 1, "hundred": 1}, {"v": 1, "hundred": 2}]),
        ],
        [{"hundred": 1, "at": 210}, {"hundred": 2, "at": 210}],
    )
    entry = (await store.read(journal.read, "counter/c", after=1))[0]
    assert (entry.seed, entry.actor, entry.cause) == (7, "arn:me", "request-1")


async def test_an_error_keeps_nothing(store):
    with pytest.raises(RuntimeError, match="in the middle"):
        await store.write(add, 150, fail=True)
    assert await store.read(found) == (None, [], [])


async def test_times_never_run_backwards(store):
    await store.write(add, 1)
    (entry,) = await store.read(journal.read, "counter/c")
    assert entry.at == store.clock.now() > 5  # asked for at 5, decided later


async def test_decisions_of_many_callers_are_counted_one_by_one(store):
    await store.write(add, 1)
    await asyncio.gather(*(store.write(add, 1, 1) for _ in range(10)))
    state, entries, _ = await store.read(found)
    assert state == {"v": 1, "value": 21}
    assert [sequence for sequence, _, _ in entries] == list(range(1, 22))


async def test_what_is_replayed_from_the_journal_is_what_is_stored(store):
    await store.write(add, 60, 150, 7)
    state, _, _ = await store.read(found)
    again = await store.read(lambda conn: Counter(conn, name="counter/c", **WHERE, state=Count(), sequence=0))
    for entry in await store.read(journal.read, "counter/c"):
        again.state, effects = again.decide(Counter.inputs.load(entry.input), now=entry.at, seed=entry.seed)
        assert [Counter.effects.dump(effect) for effect in effects] == entry.effects
    assert STATE.dump(again.state) == state
