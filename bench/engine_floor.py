"""The engine's floor: nine no-op actions in a row (3 stages of 3), each transition one durable transaction.

A handler completes its job, updates the aggregate's row, appends to the journal, emits an event and enqueues the next job in
one transaction; the event's router and one durable subscription run beside it. Printed per transition, in an idle system.

    python bench/engine_floor.py [postgresql://…]
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from dataclasses import dataclass

import sqlalchemy as sa
import uvloop

from penstock.store import jobs, journal, metrics, records
from penstock.store.clock import SystemClock
from penstock.store.database import Store
from penstock.store.events import Event, Events, emit
from penstock.store.ids import Ids
from penstock.store.jobs import Job
from penstock.store.schema import create_all
from penstock.store.work import Work

ACTIONS = 9
WHERE = {"account": "111111111111", "region": "us-east-1"}
_bench = sa.MetaData()
_executions = sa.Table(
    "bench_executions",
    _bench,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """What was measured, in milliseconds."""

    dialect: str
    transition_p50: float
    transition_p99: float
    chain_p50: float
    commits_per_transition: float
    throughput: float  # transitions per second with many chains at once


class Chains:
    """Chains of nine jobs."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.ids = Ids()
        self.stamps: dict[str, list[float]] = {}
        self.ended: dict[str, asyncio.Future[None]] = {}

    async def step(self, _app: object, job: Job) -> None:
        execution, n = job.payload["execution"], job.payload["n"]
        await self.store.write(self.advance, job, execution, n)
        self.stamps[execution].append(time.perf_counter())
        if n == ACTIONS:
            self.ended[execution].set_result(None)

    def advance(self, conn: sa.Connection, job: Job, execution: str, n: int) -> None:
        now = self.store.clock.now()
        jobs.complete(conn, job)
        row = conn.execute(sa.select(_executions).where(_executions.c.id == execution).with_for_update()).one()
        conn.execute(_executions.update().where(_executions.c.id == execution).values(version=row.version + 1))
        entry = journal.Entry(
            aggregate=execution, sequence=n, at=now, seed=n, input={"type": "succeeded", "n": n}, **WHERE
        )
        journal.append(conn, [entry])
        emit(
            conn,
            Event(
                type="bench.action.state_changed", aggregate=execution, payload={"n": n, "state": "SUCCEEDED"}, **WHERE
            ),
            now=now,
            id=self.ids.uuid(),
        )
        if n < ACTIONS:
            self.enqueue(conn, execution, n + 1)

    def enqueue(self, conn: sa.Connection, execution: str, n: int) -> None:
        jobs.enqueue(conn, kind="bench.step", payload={"execution": execution, "n": n}, **WHERE)

    def begin(self, conn: sa.Connection, execution: str) -> None:
        conn.execute(_executions.insert(), {"id": execution, "version": 0})
        self.enqueue(conn, execution, 1)

    async def run(self) -> list[float]:
        """One chain; when each of its transitions was durable."""
        execution = self.ids.uuid()
        self.stamps[execution] = []
        self.ended[execution] = asyncio.get_running_loop().create_future()
        await self.store.write(self.begin, execution)
        await self.ended[execution]
        del self.ended[execution]
        return self.stamps.pop(execution)


async def measure(url: str, *, runs: int = 60, many: int = 200) -> Floor:
    """Run chains one after another in an idle system, then `many` at once."""
    store = await Store.open(url, clock=SystemClock())
    await store.write(create_all)
    await store.write(_bench.create_all)
    await store.write(lambda conn: conn.execute(records.jobs.delete()))  # what an interrupted run left would run too
    work = Work(store)
    events = Events(store, work)
    chains = Chains(store)
    work.handler("bench.step")(chains.step)

    async def receive(_app: object, _event: Event) -> None: ...

    events.subscribe("bench", ("bench.*",), receive)
    await events.start()
    await work.start(None)
    try:
        for _ in range(5):
            await chains.run()
        gaps: list[float] = []
        durations: list[float] = []
        commits = metrics.COMMITS._value.get()  # noqa: SLF001
        for _ in range(runs):
            started = time.perf_counter()
            stamps = await chains.run()
            durations.append(stamps[-1] - started)
            gaps += [after - before for before, after in zip([started, *stamps], stamps, strict=False)][1:]
            await asyncio.sleep(0.02)
        commits = (metrics.COMMITS._value.get() - commits) / (runs * ACTIONS)  # noqa: SLF001
        started = time.perf_counter()
        await asyncio.gather(*(chains.run() for _ in range(many)))
        throughput = many * ACTIONS / (time.perf_counter() - started)
    finally:
        await events.stop()
        await work.stop()
        await store.close()
    return Floor(
        dialect=store.dialect,
        transition_p50=quantile(gaps, 0.5),
        transition_p99=quantile(gaps, 0.99),
        chain_p50=quantile(durations, 0.5),
        commits_per_transition=commits,
        throughput=throughput,
    )


def quantile(seconds: list[float], share: float) -> float:
    """A quantile, in milliseconds."""
    ordered = sorted(seconds)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000


def main(urls: list[str]) -> None:
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder:
        for url in [f"sqlite:///{folder}/bench.db", *urls]:
            floor = uvloop.run(measure(url))
            bar = 2 if floor.dialect == "sqlite" else 5
            print(
                f"{floor.dialect:10}  action → next action p50 {floor.transition_p50:.2f} ms (bar {bar}), "
                f"p99 {floor.transition_p99:.2f}; 9 actions p50 {floor.chain_p50:.1f} ms; "
                f"{floor.commits_per_transition:.1f} COMMITs per transition; {floor.throughput:.0f} transitions/s at once"
            )


if __name__ == "__main__":
    main(sys.argv[1:])
