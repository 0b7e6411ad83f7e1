"""The worker, on both databases."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import psycopg
import pytest

from penstock.store import jobs, leases, metrics
from penstock.store.clock import ManualClock
from penstock.store.database import Store
from penstock.store.jobs import Job, JobState
from penstock.store.transaction import transaction_of
from penstock.store.work import Retry, Work, backoff_ms

WHERE = {"account": "111111111111", "region": "us-east-1"}


async def enqueue(store: Store, kind: str = "k", **values) -> str:
    payload = values.pop("payload", {})
    return await store.write(lambda conn: jobs.enqueue(conn, kind=kind, payload=payload, **WHERE, **values))


async def until(store: Store, id: str, *states: JobState) -> Job:
    """The job, once it is in one of the states."""
    async with asyncio.timeout(60):
        while True:
            job = await store.read(jobs.get, id)
            assert job is not None
            if job.state in states:
                return job
            await asyncio.sleep(0.002)


@pytest.fixture
async def work(any_store: Store) -> AsyncIterator[Work]:
    work = Work(any_store, slots=4, lease_ms=3_000, poll_ms=1_000)
    yield work
    await work.stop(0)


async def test_a_handler_that_returns_has_completed_its_job(any_store: Store, work: Work):
    seen: list[tuple[str, dict]] = []

    @work.handler("k")
    async def handle(app: str, job: Job) -> None:
        seen.append((app, job.payload))

    before = await enqueue(any_store, payload={"n": 1})
    await work.start("app")
    await until(any_store, before, JobState.DONE)
    after = await enqueue(any_store, payload={"n": 2})
    await until(any_store, after, JobState.DONE)
    assert seen == [("app", {"n": 1}), ("app", {"n": 2})]


@pytest.mark.parametrize("ending", ["commit", "rollback"])
async def test_a_job_that_somebody_holds_locked_is_taken_when_they_end(
    postgresql_url: str, clock: ManualClock, ending: str
):
    """Without a wake-up and without the clock moving on: a holder that rolls back notifies nobody."""
    store = await Store.open(postgresql_url, clock=clock)
    work = Work(store)

    @work.handler("k")
    async def handle(app: None, job: Job) -> None: ...

    held, free = await enqueue(store), await enqueue(store)
    with psycopg.connect(postgresql_url) as holder:
        holder.execute("SELECT id FROM jobs WHERE id = %s FOR UPDATE", (held,))
        await work.start(None)
        await until(store, free, JobState.DONE)  # so the worker has looked, and passed over the other
        await work.tend_once()
        getattr(holder, ending)()
        await until(store, held, JobState.DONE)
    await work.stop(0)
    await store.close()


async def test_completing_with_the_effect_is_one_transaction(any_store: Store, work: Work):
    @work.handler("k")
    async def handle(app: None, job: Job) -> None:
        def tx(conn) -> None:
            jobs.complete(conn, job)
            jobs.enqueue(conn, kind="next", payload=job.payload, **WHERE, id="next-1")

        await any_store.write(tx)
        raise RuntimeError("too late to matter")

    @work.handler("next")
    async def follow(app: None, job: Job) -> None: ...

    await work.start(None)
    id = await enqueue(any_store)
    await until(any_store, id, JobState.DONE)
    await until(any_store, "next-1", JobState.DONE)


async def test_a_job_of_a_rolled_back_transaction_never_runs_and_frees_its_slot(any_store: Store, work: Work):
    ran: list[str] = []

    @work.handler("k")
    async def handle(app: None, job: Job) -> None:
        ran.append(job.id)

    await work.start(None)
    await until(any_store, await enqueue(any_store), JobState.DONE)
    taken = 0

    def fail(conn) -> None:
        nonlocal taken
        jobs.enqueue(conn, kind="k", payload={}, **WHERE, id="phantom")
        taken += len(transaction_of(conn).dispatched)
        raise LookupError

    def nested(conn) -> None:
        with pytest.raises(LookupError), conn.begin_nested():
            jobs.enqueue(conn, kind="k", payload={}, **WHERE, id="ghost")
            raise LookupError

    async with asyncio.timeout(60):
        while taken < 10:  # more than there are slots: each takes one, and gives it back
            await at_rest(work)
            with pytest.raises(LookupError):
                await any_store.write(fail)
            await any_store.write(nested)
    await at_rest(work)
    await until(any_store, await enqueue(any_store), JobState.DONE)
    assert len(ran) == 2


async def test_a_twin_of_a_job_that_is_not_due_is_not_run_and_frees_its_slot(any_store: Store, work: Work):
    ran: list[str] = []

    @work.handler("k")
    async def handle(app: None, job: Job) -> None:
        ran.append(job.id)

    await work.start(None)
    done = [await enqueue(any_store, dedup="first")]
    await until(any_store, done[0], JobState.DONE)
    kept = await enqueue(any_store, dedup="later", due=any_store.clock.now() + 60_000)
    for _ in range(5):  # more than there are slots
        await at_rest(work)
        assert await enqueue(any_store, dedup="later") == kept
    await at_rest(work)
    done.append(await enqueue(any_store, dedup="last"))
    await until(any_store, done[1], JobState.DONE)
    assert ran == done


async def test_a_job_that_is_taken_where_it_is_made_is_handed_what_its_maker_left(any_store: Store, work: Work):
    """At its first run only: what it finds later, its handler has to read."""
    seen: dict[str, list[str | None]] = {}

    @work.handler("k")
    async def handle(app: None, job: Job) -> None:
        found = seen.setdefault(job.payload["n"], [])
        found.append(job.hold.handed)
        if job.payload["n"] == "again" and len(found) == 1:
            raise Retry(0)

    def make(conn, *names: str, kind: str = "k", withdrawn: tuple[str, ...] = ()) -> list[str]:
        made = [jobs.enqueue(conn, kind="k", payload={"n": n, "m": 1}, handed=f"left of {n}", **WHERE) for n in names]
        for n in withdrawn:
            jobs.withdraw(conn, kind=kind, n=n)
        if len(transaction_of(conn).dispatched) < len(names):
            raise BlockingIOError  # the worker was just looking for jobs, and would find these by itself
        return made

    async def made(*names: str, **how) -> None:
        async with asyncio.timeout(10):
            ids: list[str] = []
            while not ids:
                await at_rest(work)
                with contextlib.suppress(BlockingIOError):
                    ids = await any_store.write(make, *names, **how)
        for id in ids:
            await until(any_store, id, JobState.DONE)

    def fail(conn, n: str) -> None:
        jobs.withdraw(conn, kind="k", n=n)
        raise LookupError

    early = await enqueue(any_store, payload={"n": "early"})
    await work.start(None)
    await until(any_store, early, JobState.DONE)
    await made("again", "kept", "old", withdrawn=("old", "nobody's"))
    await made("other kind", kind="l", withdrawn=("other kind",))
    _, failed = await asyncio.gather(made("kept too"), any_store.write(fail, "kept too"), return_exceptions=True)
    assert isinstance(failed, LookupError)
    assert seen == {
        "early": [None],
        "again": ["left of again", None],
        "kept": ["left of kept"],
        "old": [None],
        "other kind": ["left of other kind"],
        "kept too": ["left of kept too"],
    }


async def at_rest(work: Work) -> None:
    """Until no slot is taken and nothing more is thought to be due, so that the next job is leased where it is made."""
    async with asyncio.timeout(60):
        while work._hungry or any(pool.busy for pool in work._pools):
            await asyncio.sleep(0.002)


async def test_failures_back_off_and_end_in_death(any_store: Store, work: Work, clock: ManualClock):
    errors: list[str] = []

    async def on_dead(app: None, job: Job, error: str) -> None:
        errors.append(error)

    @work.handler("k", max_attempts=3, on_dead=on_dead)
    async def handle(app: None, job: Job) -> None:
        raise LookupError(f"attempt {job.attempt}")

    await work.start(None)
    id = await enqueue(any_store)
    for failures in (1, 2):
        job = await until(any_store, id, JobState.READY)
        while job.failures < failures:
            await asyncio.sleep(0.002)
            job = await until(any_store, id, JobState.READY)
        assert job.due == clock.now() + backoff_ms(failures, id)
        assert job.error == f"LookupError: attempt {failures}"
        clock.advance(job.due - clock.now())
    job = await until(any_store, id, JobState.DEAD)
    assert (job.failures, job.error) == (3, "LookupError: attempt 3")
    assert errors == ["LookupError: attempt 3"]


async def test_looking_again_later_is_no_failure(any_store: Store, work: Work, clock: ManualClock):
    inspected = asyncio.Event()

    @work.handler("k", max_attempts=2)
    async def handle(app: None, job: Job) -> None:
        if job.attempt < 5:
            inspected.set()
            raise Retry(700, counts=False)

    await work.start(None)
    id = await enqueue(any_store)
    for attempt in range(1, 5):
        job = await until(any_store, id, JobState.READY)
        while job.attempt < attempt:
            await asyncio.sleep(0.002)
            job = await until(any_store, id, JobState.READY)
        assert job.due == clock.now() + 700
        clock.advance(700)
    assert (await until(any_store, id, JobState.DONE)).failures == 0


async def test_slots_bound_concurrency_and_own_slots_are_apart(any_store: Store, work: Work):
    running = {"k": 0, "long": 0}
    most = dict(running)
    release = asyncio.Event()

    def counting(kind: str) -> Callable:
        async def handle(app: None, job: Job) -> None:
            running[kind] += 1
            most[kind] = max(most[kind], running[kind])
            if kind == "long":
                await release.wait()
            else:
                await asyncio.sleep(0)
            running[kind] -= 1

        return handle

    work.handler("k")(counting("k"))
    work.handler("long", concurrency=2)(counting("long"))
    await work.start(None)
    long = [await enqueue(any_store, kind="long") for _ in range(5)]
    short = [await enqueue(any_store) for _ in range(20)]
    for id in short:  # they are not held up by the long ones
        await until(any_store, id, JobState.DONE)
    assert running["long"] == 2
    release.set()
    for id in long:
        await until(any_store, id, JobState.DONE)
    assert most["long"] == 2
    assert most["k"] <= 4


async def test_a_handler_that_goes_on_when_its_job_has_ended_keeps_its_slot(any_store: Store, work: Work):
    """A transaction that ends a job takes the next one of the shared slots along, but none of a kind with slots of its own."""
    running = most = 0
    release = asyncio.Event()

    @work.handler("one", concurrency=1)
    async def handle(app: None, job: Job) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await any_store.write(jobs.complete, job)
        await release.wait()
        running -= 1

    ids = [await enqueue(any_store, kind="one") for _ in range(3)]
    await work.start(None)
    await until(any_store, ids[0], JobState.DONE)
    await enqueue(any_store, kind="one")  # a wake-up of the dispatcher
    assert {(await any_store.read(jobs.get, id)).state for id in ids[1:]} == {JobState.READY}  # type: ignore[union-attr]
    release.set()
    for id in ids:
        await until(any_store, id, JobState.DONE)
    assert most == 1


async def test_leases_are_renewed_while_a_handler_runs_and_a_lost_one_cancels_it(
    any_store: Store, work: Work, clock: ManualClock
):
    started, cancelled = asyncio.Event(), asyncio.Event()

    @work.handler("k")
    async def handle(app: None, job: Job) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    await work.start(None)
    id = await enqueue(any_store)
    await started.wait()
    first = await until(any_store, id, JobState.LEASED)
    clock.advance(1_000)
    async with asyncio.timeout(60):
        while (job := await any_store.read(jobs.get, id)) and job.until == first.until:
            clock.advance(100)
            await asyncio.sleep(0.002)
    assert not cancelled.is_set()
    assert await any_store.write(jobs.cancel_id, id)
    async with asyncio.timeout(60):
        while not cancelled.is_set():
            clock.advance(500)
            await asyncio.sleep(0.002)
    assert await until(any_store, id, JobState.CANCELLED)


async def test_stopping_gives_back_what_does_not_end_in_time(any_store: Store):
    work = Work(any_store, slots=4)
    started = asyncio.Event()

    @work.handler("k")
    async def handle(app: None, job: Job) -> None:
        started.set()
        await asyncio.Event().wait()

    await work.start(None)
    id = await enqueue(any_store)
    await started.wait()
    await work.stop(0)
    job = await any_store.read(jobs.get, id)
    assert job is not None
    assert (job.state, job.failures) == (JobState.READY, 0)
    assert work.running == ()


async def test_an_unknown_kind_stays_ready_and_is_counted(any_store: Store, work: Work):
    @work.handler("k")
    async def handle(app: None, job: Job) -> None: ...

    strange = await enqueue(any_store, kind="strange")
    await work.start(None)
    await until(any_store, await enqueue(any_store), JobState.DONE)
    await work.tend_once()
    job = await any_store.read(jobs.get, strange)
    assert job is not None
    assert (job.state, job.attempt) == (JobState.READY, 0)
    assert metrics.JOBS_UNKNOWN.labels("strange")._value.get() == 1

    newer = Work(any_store)
    newer.handler("strange")(handle)
    await newer.start(None)
    await until(any_store, strange, JobState.DONE)
    await newer.stop()


async def test_a_timer_of_this_process_fires_when_it_is_due(any_store: Store, work: Work, clock: ManualClock):
    fired: list[int] = []

    @work.handler("k")
    async def handle(app: None, job: Job) -> None:
        fired.append(clock.now())

    await work.start(None)
    due = clock.now() + 86_400_000
    id = await enqueue(any_store, due=due)
    await any_store.write(lambda conn: None)
    async with asyncio.timeout(60):
        while work._alarm is None:
            await asyncio.sleep(0.002)
    clock.advance(86_400_000)
    await until(any_store, id, JobState.DONE)
    assert fired == [due]


@pytest.mark.parametrize(
    ("failures", "least", "most"), [(1, 400, 600), (2, 800, 1200), (5, 6400, 9600), (30, 240_000, 360_000)]
)
def test_the_back_off_doubles_to_five_minutes(failures: int, least: int, most: int):
    assert all(least <= backoff_ms(failures, str(key)) <= most for key in range(100))


async def test_a_slot_goes_on_with_the_next_job_in_the_transaction_that_ends_one(any_store: Store):
    work = Work(any_store, slots=2)
    seen: list[int] = []

    @work.handler("k")
    async def handle(app: None, job: Job) -> None:
        seen.append(job.payload["n"])
        assert len(work.running) <= 4  # for each slot one that ends, and its follower

    made = [await enqueue(any_store, payload={"n": n}) for n in range(40)]
    before = commits()
    await work.start(None)
    for id in made:
        await until(any_store, id, JobState.DONE)
    assert sorted(seen) == list(range(40))
    assert commits() - before <= 40 + 10  # one for each, and some to begin and to end with
    await work.stop(1)


async def test_a_lost_lease_takes_no_other_job_with_it(any_store: Store, work: Work, clock: ManualClock):
    """The transaction that is fenced off leases nothing, and the slot is free for what waits."""
    entered, go_on = asyncio.Event(), asyncio.Event()

    @work.handler("slow")
    async def slow(app: None, job: Job) -> None:
        entered.set()
        await go_on.wait()

    @work.handler("k")
    async def handle(app: None, job: Job) -> None: ...

    lost = await enqueue(any_store, "slow")
    await work.start(None)
    await entered.wait()
    assert await any_store.write(jobs.cancel_id, lost)
    waiting = [await enqueue(any_store) for _ in range(6)]
    go_on.set()
    for id in waiting:
        assert (await until(any_store, id, JobState.DONE)).attempt == 1


def commits() -> float:
    return metrics.COMMITS._value.get()


async def test_what_this_worker_is_about_to_run_does_not_lapse(any_store: Store, work: Work, clock: ManualClock):
    """The clock leaps between the COMMIT that leased a job and its start."""

    @work.handler("k")
    async def handle(app: None, job: Job) -> None: ...

    await work.start(None)
    await until(any_store, await enqueue(any_store), JobState.DONE)
    id = await enqueue(any_store, kind="other")
    worker = None
    async with asyncio.timeout(60):
        while worker is None:
            await at_rest(work)
            worker = work.reserve("k", WHERE["region"])
    claimant = leases.Claimant(worker=worker, lease_ms=3_000)
    await any_store.write(claimant.claim, {("other",): 1}, now=clock.now())
    clock.advance(3_000)
    await work.tend_once()
    job = await any_store.read(jobs.get, id)
    assert job is not None
    assert (job.state, job.failures) == (JobState.LEASED, 0)
    work.release("k")
    async with asyncio.timeout(60):
        while (await any_store.read(jobs.get, id)).state is not JobState.READY:  # type: ignore[union-attr]
            await work.tend_once()  # a claim may be under way, and then it takes nothing back
