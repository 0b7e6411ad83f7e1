"""The job table, on both databases."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa

from penstock.store import dead_letters, jobs, leases, outside
from penstock.store.clock import ManualClock
from penstock.store.database import Store
from penstock.store.jobs import Fenced, Job, JobState
from penstock.store.work import Work

WHERE = {"account": "111111111111", "region": "us-east-1"}


async def enqueue(store: Store, kind: str = "k", **values) -> str:
    return await store.write(lambda conn: jobs.enqueue(conn, kind=kind, payload={"n": 1}, **WHERE, **values))


async def claim(store: Store, free: int = 10, worker: str = "w", kinds: tuple[str, ...] = ("k",)) -> list[Job]:
    return await store.write(claimant(worker).claim, {kinds: free}, now=store.clock.now())


def claimant(worker: str = "w", *regions: str) -> leases.Claimant:
    return leases.Claimant(worker=worker, lease_ms=30_000, regions=regions)


async def state(store: Store, id: str) -> JobState:
    job = await store.read(jobs.get, id)
    assert job is not None
    return job.state


async def test_oldest_first_and_not_before_they_are_due(any_store: Store, clock: ManualClock):
    now = clock.now()
    later = await enqueue(any_store, due=now + 500)
    second = await enqueue(any_store)
    first = await enqueue(any_store, due=now - 10)
    assert await any_store.read(claimant().next_due, ["k"]) == now - 10
    assert [job.id for job in await claim(any_store)] == [first, second]
    assert await claim(any_store) == []
    assert await any_store.read(claimant().next_due, ["k"]) == now + 500
    clock.advance(500)
    (job,) = await claim(any_store)
    assert (job.id, job.attempt, job.payload, job.state) == (later, 1, {"n": 1}, JobState.LEASED)


async def test_workers_are_not_woken_for_what_is_offered_outside(any_store: Store, clock: ManualClock):
    workers = any_store.wakeup(jobs.WORK)
    host = any_store.wakeup(jobs.outside("k", "host"))
    id = await enqueue(any_store, topic="host")
    assert await host.wait(5)
    await offer(any_store, "host")
    clock.advance(1000)
    await any_store.write(leases.lapse, now=clock.now())
    assert await host.wait(5)
    await any_store.write(jobs.put_back, id)
    assert await host.wait(5)
    assert not await workers.wait(0)
    await enqueue(any_store)
    assert await workers.wait(5)


async def test_a_completed_job_is_over(any_store: Store):
    id = await enqueue(any_store)
    (job,) = await claim(any_store)
    await any_store.write(jobs.complete, job)
    assert job.hold.settled
    assert await state(any_store, id) is JobState.DONE
    with pytest.raises(Fenced):
        await any_store.write(jobs.complete, job)


async def test_a_late_completion_is_fenced_and_takes_its_transaction_with_it(any_store: Store, clock: ManualClock):
    id = await enqueue(any_store)
    (mine,) = await claim(any_store, worker="a")
    clock.advance(30_000)
    assert await any_store.write(leases.lapse, now=clock.now()) == 1
    (theirs,) = await claim(any_store, worker="b")
    assert (theirs.id, theirs.attempt, theirs.failures) == (id, 2, 1)

    def late(conn: sa.Connection) -> None:
        jobs.enqueue(conn, kind="follow-up", payload={}, **WHERE)
        jobs.complete(conn, mine)

    with pytest.raises(Fenced):
        await any_store.write(late)
    with pytest.raises(Fenced):
        await any_store.write(jobs.retry, mine, due=0)
    with pytest.raises(Fenced):
        await any_store.write(jobs.dead_letter, mine, error="late")
    assert not mine.hold.settled
    assert await claim(any_store, kinds=("follow-up",)) == []
    await any_store.write(jobs.complete, theirs)


async def test_renewal_keeps_a_lease_and_reports_lost_ones(any_store: Store, clock: ManualClock):
    await enqueue(any_store)
    await enqueue(any_store)
    held = await claim(any_store)
    clock.advance(20_000)
    await any_store.write(jobs.cancel_id, held[1].id)
    assert await any_store.write(leases.renew, held, lease_ms=30_000, now=clock.now()) == {held[0].id}
    clock.advance(20_000)
    assert await any_store.write(leases.lapse, now=clock.now()) == 0
    clock.advance(10_000)
    assert await any_store.write(leases.lapse, now=clock.now()) == 1


async def test_a_live_twin_is_kept_and_a_finished_one_is_not(any_store: Store):
    first = await enqueue(any_store, dedup="x")
    assert await enqueue(any_store, dedup="x") == first
    assert await enqueue(any_store, kind="other", dedup="x") != first
    (job,) = await claim(any_store)
    assert await enqueue(any_store, dedup="x") == first
    await any_store.write(jobs.complete, job)
    assert await enqueue(any_store, dedup="x") != first


async def test_cancelling_by_name_and_by_id(any_store: Store):
    named = await enqueue(any_store, dedup="x")
    plain = await enqueue(any_store)
    assert await any_store.write(lambda conn: jobs.cancel(conn, kind="k", dedup="x"))
    assert not await any_store.write(lambda conn: jobs.cancel(conn, kind="k", dedup="x"))
    assert await any_store.write(jobs.cancel_id, plain)
    assert not await any_store.write(jobs.cancel_id, plain)
    assert await state(any_store, named) is await state(any_store, plain) is JobState.CANCELLED
    assert await claim(any_store) == []


async def test_retry_counts_failures_only_when_asked(any_store: Store, clock: ManualClock):
    await enqueue(any_store)
    (job,) = await claim(any_store)
    await any_store.write(jobs.retry, job, due=clock.now(), error="no luck")
    (job,) = await claim(any_store)
    assert (job.failures, job.error, job.attempt) == (1, "no luck", 2)
    await any_store.write(jobs.retry, job, due=clock.now() + 5, counts=False)
    assert await claim(any_store) == []
    clock.advance(5)
    (job,) = await claim(any_store)
    assert (job.failures, job.attempt) == (1, 3)


async def test_a_dead_job_is_visible_and_can_be_revived(any_store: Store):
    id = await enqueue(any_store)
    (job,) = await claim(any_store)
    await any_store.write(jobs.dead_letter, job, error="hopeless")
    ours = {"accounts": ["111111111111", "1"], "region": "us-east-1"}
    (dead,) = await any_store.read(dead_letters.dead, **ours)
    assert (dead.id, dead.error, dead.state) == (id, "hopeless", JobState.DEAD)
    assert await any_store.read(dead_letters.count_dead) == 1
    assert await claim(any_store) == []
    assert not await any_store.write(dead_letters.revive, id, accounts=["222222222222"], region="us-east-1")
    assert not await any_store.write(dead_letters.revive, id, **ours | {"region": "eu-west-1"})
    assert await any_store.write(dead_letters.revive, id, **ours)
    assert await any_store.read(dead_letters.dead, **ours) == []
    (job,) = await claim(any_store)
    assert job.failures == 0


async def test_pools_bound_what_is_taken(any_store: Store):
    for kind in ("a", "a", "b", "b", "c", "c"):
        await enqueue(any_store, kind=kind)
    pools = {("a", "b"): 3, ("c",): 1, ("d",): 0}
    taken = await any_store.write(claimant().claim, pools, now=any_store.clock.now())
    assert sorted(job.kind for job in taken) == ["a", "a", "b", "c"]


async def test_a_site_takes_its_own(any_store: Store):
    await any_store.write(lambda conn: jobs.enqueue(conn, kind="k", payload={}, account="1", region="eu-west-1"))
    now = any_store.clock.now()
    elsewhere, both = claimant("w", "us-east-1"), claimant("w", "us-east-1", "eu-west-1")
    assert await any_store.write(elsewhere.claim, {("k",): 3}, now=now) == []
    assert await any_store.read(elsewhere.next_due, ["k"]) is None
    assert len(await any_store.write(both.claim, {("k",): 3}, now=now)) == 1


VERBS: list[tuple[Any, dict[str, Any]]] = [
    (lambda conn, job, _: jobs.complete(conn, job), {"state": "done", "fence": "w:3", "ended": 5_000}),
    (lambda conn, job, now: jobs.retry(conn, job, due=now + 4_000, error="e"), {"state": "ready", "due": 9_000, "error": "e", "failures": 3}),
    (lambda conn, job, now: jobs.retry(conn, job, due=now + 4_000, counts=False), {"state": "ready", "due": 9_000, "error": None}),
    (lambda conn, job, _: jobs.dead_letter(conn, job, error="e"), {"state": "dead", "fence": "w:3", "error": "e", "failures": 3, "ended": 5_000}),
    (lambda conn, job, _: jobs.finish(conn, job.id), {"state": "done", "fence": "w:3", "ended": 5_000}),
    (lambda conn, job, _: jobs.finish_all(conn, ["x", job.id]), {"state": "done", "fence": "w:3", "ended": 5_000}),
    (lambda conn, job, _: jobs.put_back(conn, job.id), {"state": "ready", "due": 5_000}),
    (lambda conn, job, _: jobs.cancel_id(conn, job.id), {"state": "cancelled", "fence": "w:3", "ended": 5_000}),
    (lambda conn, job, _: jobs.cancel(conn, kind="k", dedup="x"), {"state": "cancelled", "fence": "w:3", "ended": 5_000}),
    (lambda conn, job, now: leases.renew(conn, [job], lease_ms=30_000, now=now), {"state": "leased", "fence": "w:3", "until": 35_000}),
    (
        lambda conn, job, now: leases.lapse(conn, now=now + 26_000),
        {"state": "ready", "error": "its lease ran out: the worker died or lost its connection", "failures": 3},
    ),
    (lambda conn, job, now: leases.lapse(conn, now=now + 24_999), {"state": "leased", "fence": "w:3", "until": 30_000}),
    (lambda conn, job, _: leases.take_back_all(conn), {"state": "ready", "error": "its worker died", "failures": 3}),
]  # fmt: skip


async def test_what_each_verb_leaves_of_a_leased_job_and_that_it_leaves_others_alone(
    any_store: Store, clock: ManualClock
):
    """Times are counted from when the job was made. It was leased thrice and has failed twice."""
    for verb, left in VERBS:
        began = clock.now()
        id = await enqueue(any_store, dedup="x", due=began - 7)
        other = await enqueue(any_store, kind="other", dedup="x", due=began - 7)
        for _ in range(2):
            (job,) = await claim(any_store)
            await any_store.write(jobs.retry, job, due=began - 7, error="before")
        (job,) = await claim(any_store)
        untouched = await any_store.read(jobs.get, other)
        clock.advance(5_000)
        await any_store.write(verb, job, clock.now())
        found = await any_store.read(jobs.get, id)
        assert found is not None
        shown = {name: getattr(found, name) for name in ("state", "fence", "error", "failures", "attempt")}
        times = {name: at and at - began for name in ("due", "until", "ended") for at in (getattr(found, name),)}
        before = {"state": "leased", "fence": "", "error": "before", "failures": 2, "attempt": 3, "due": -7, "until": None, "ended": None}  # fmt: skip
        assert shown | times == before | left
        assert await any_store.read(jobs.get, other) == untouched
        await any_store.write(jobs.finish_all, [id, other])


async def test_what_was_given_up_comes_back_with_a_clean_slate(any_store: Store, clock: ManualClock):
    id = await enqueue(any_store)
    (job,) = await claim(any_store)
    await any_store.write(jobs.dead_letter, job, error="hopeless")
    for verb in (jobs.finish, jobs.cancel_id, jobs.put_back):
        assert not await any_store.write(verb, id)
    clock.advance(5_000)
    workers = any_store.wakeup(jobs.WORK)
    assert not await any_store.write(dead_letters.revive, "x", accounts=[WHERE["account"]], region=WHERE["region"])
    assert await any_store.write(dead_letters.revive, id, accounts=[WHERE["account"]], region=WHERE["region"])
    assert not await any_store.write(dead_letters.revive, id, accounts=[WHERE["account"]], region=WHERE["region"])
    assert await workers.wait(0)
    found = await any_store.read(jobs.get, id)
    assert found is not None
    assert (found.state, found.due, found.failures, found.ended, found.fence) == (JobState.READY, clock.now(), 0, None, "")  # fmt: skip
    assert (found.attempt, found.error) == (1, "hopeless")


# --- outside workers --------------------------------------------------------------------------------------------------


async def offer(store: Store, *topics: str) -> list[Job]:
    asked = topics or ("host-1",)
    offered = await store.write(outside.offer, kind="k", topics=asked, offer_ms=1_000, now=store.clock.now())
    assert all(job.topic == topic for topic, job in offered.items())
    return list(offered.values())


async def acknowledge(store: Store, id: str, nonce: str, *, lease_ms: int | None = None) -> Job | None:
    taken = await store.write(outside.acknowledge, [(id, nonce)], lease_ms=lease_ms, now=store.clock.now())
    assert set(taken) <= {id}
    return taken.get(id)


async def test_an_offer_is_acknowledged_by_its_nonce_once_and_again(any_store: Store, clock: ManualClock):
    id = await enqueue(any_store, topic="host-1")
    await enqueue(any_store, topic="host-2")
    (offered,) = await offer(any_store)
    assert (offered.id, offered.state, offered.attempt) == (id, JobState.OFFERED, 1)
    assert await offer(any_store) == []
    assert await acknowledge(any_store, id, "another") is None
    taken = await acknowledge(any_store, id, offered.nonce)
    assert taken is not None
    assert (taken.state, taken.until) == (JobState.LEASED, None)
    assert await acknowledge(any_store, id, offered.nonce) == taken
    clock.advance(10**9)
    assert await any_store.write(leases.lapse, now=clock.now()) == 0
    assert await any_store.write(jobs.finish, id)
    assert not await any_store.write(jobs.finish, id)
    assert await acknowledge(any_store, id, offered.nonce) is None


@pytest.mark.parametrize("lapsed", [False, True])
async def test_an_offer_that_has_run_out_counts_until_it_is_made_again(
    any_store: Store, clock: ManualClock, lapsed: bool
):
    id = await enqueue(any_store, topic="host-1")
    (offered,) = await offer(any_store)
    clock.advance(1_000)
    if lapsed:
        assert await any_store.write(leases.lapse, now=clock.now()) == 1
    taken = await acknowledge(any_store, id, offered.nonce)
    assert taken is not None
    assert taken.state is JobState.LEASED
    assert await offer(any_store) == []


async def test_an_offer_lapses_and_is_made_again_under_another_nonce(any_store: Store, clock: ManualClock):
    id = await enqueue(any_store, topic="host-1")
    (first,) = await offer(any_store)
    clock.advance(1_000)
    (second,) = await offer(any_store)
    assert await acknowledge(any_store, id, first.nonce, lease_ms=5) is None
    assert second.nonce != first.nonce
    assert second.attempt == 2
    clock.advance(1_000)
    waiting = any_store.wakeup(jobs.outside("k", "host-1"))
    assert await any_store.write(leases.lapse, now=clock.now()) == 1
    assert await waiting.wait(0)
    assert await state(any_store, id) is JobState.READY


async def test_unknown_kinds_are_counted_and_outside_ones_are_not(any_store: Store):
    await enqueue(any_store, kind="strange")
    await enqueue(any_store, kind="k")
    await enqueue(any_store, kind="host.command", topic="host-1")
    assert await any_store.read(leases.unknown, ["k"], now=any_store.clock.now()) == {"strange": 1}


async def test_a_process_that_is_alone_takes_back_what_the_dead_held_at_once(store):
    await store.write(jobs.enqueue, kind="mine", payload={}, account="1" * 12, region="r", id="ours")
    await store.write(
        jobs.enqueue, kind="theirs", payload={}, account="1" * 12, region="r", topic="host/a", id="outside"
    )
    now = store.clock.now()
    taken = await store.write(claimant("dead").claim, {("mine",): 1}, now=now)
    offered = await store.write(outside.offer, kind="theirs", topics=["host/a"], offer_ms=60_000, now=now)
    assert await acknowledge(store, "outside", offered["host/a"].nonce)
    assert await store.write(leases.take_back_all) == 1
    again = await store.write(claimant("alive").claim, {("mine",): 1, ("theirs",): 1}, now=now)
    assert [job.id for job in again] == ["ours"]
    with pytest.raises(jobs.Fenced):
        await store.write(jobs.complete, taken[0])


async def test_whoever_takes_back_keeps_what_it_holds_itself(any_store: Store, clock: ManualClock):
    """The clock has leapt past the end of every lease. A worker's name is no pattern."""
    for _ in range(3):
        await enqueue(any_store)
    ((mine,), (other,), (held,)) = [await claim(any_store, free=1, worker=name) for name in ("w_1", "wx1", "v")]
    clock.advance(30_000)
    assert await any_store.write(leases.lapse, now=clock.now(), held=[held.id], worker="w_1") == 1
    states = [await state(any_store, job.id) for job in (mine, other, held)]
    assert states == [JobState.LEASED, JobState.READY, JobState.LEASED]


async def test_a_dead_job_is_not_revived_beside_its_twin(any_store: Store):
    id = await enqueue(any_store, dedup="x")
    (job,) = await claim(any_store)
    await any_store.write(jobs.dead_letter, job, error="hopeless")
    assert await enqueue(any_store, dedup="x") != id
    (twin,) = await claim(any_store)
    ours = {"accounts": ["111111111111"], "region": "us-east-1"}
    assert not await any_store.write(dead_letters.revive, id, **ours)
    await any_store.write(jobs.complete, twin)
    assert await any_store.write(dead_letters.revive, id, **ours)


@pytest.mark.parametrize("topic", ["", "host-1"])
async def test_what_is_tried_again_wakes_whoever_takes_it(any_store: Store, clock: ManualClock, topic: str):
    id = await enqueue(any_store, topic=topic)
    if topic:
        (offered,) = await offer(any_store)
        job = await acknowledge(any_store, id, offered.nonce)
        assert job is not None
    else:
        (job,) = await claim(any_store)
    wakeups = {name: any_store.wakeup(name) for name in (jobs.WORK, jobs.outside("k", "host-1"))}
    await any_store.write(jobs.retry, job, due=clock.now())
    woken = [name for name, wakeup in wakeups.items() if await wakeup.wait(0)]
    assert woken == [jobs.taken_by("k", topic)] == [jobs.outside("k", "host-1") if topic else jobs.WORK]


def test_a_pool_that_is_full_is_not_woken_for_what_it_cannot_take():
    """When the next job of a kind is due, only a pool with a free place asks."""
    asked = []
    first, second = SimpleNamespace(kinds=["a", "b"]), SimpleNamespace(kinds=["c"])
    taken = [SimpleNamespace(kind="a"), SimpleNamespace(kind="c")]
    claimant = SimpleNamespace(
        claim=lambda _conn, _pools, now: list(taken), next_due=lambda _conn, kinds: asked.append(kinds) or 7
    )
    work: Any = SimpleNamespace(_claimant=claimant, _pool_of={"a": first, "b": first, "c": second})
    for places, kinds in (((2, 1), ["a", "b"]), ((1, 2), ["c"]), ((2, 2), ["a", "b", "c"]), ((1, 1), None)):
        asked.clear()
        found = Work._claim(work, None, dict(zip((("a", "b"), ("c",)), places, strict=True)), 0)
        assert found == (taken, 7 if kinds else None)
        assert asked == ([kinds] if kinds else [])
