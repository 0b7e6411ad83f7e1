"""Jobs for workers outside, beside their operations: nonces, leases and what comes of a silent worker. On both databases."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from penstock.pipelines import offers
from penstock.pipelines.model import ActionType, ActionTypeId, Property
from penstock.store import jobs, leases
from penstock.store.database import Store
from penstock.store.jobs import JobState

MINUTE = 60_000
ID = ActionTypeId(category="Build", owner="Custom", provider="Maker", version="1")
ROW: Any = SimpleNamespace(
    id="11111111-2222-4333-8444-555555555555", pipeline="demo", pipeline_id="p", execution_id="e", account="111111111111", region="r"
)  # fmt: skip


def a_type(**more: Any) -> ActionType:
    return ActionType(
        id=ID,
        properties=(Property(name="Pool", description="", queryable=True),),
        inputs=(0, 0),
        outputs=(0, 0),
        **more,
    )


TOPIC = offers.topic_of(ROW.account, ROW.region, ID, "linux")


async def made(store: Store, **more: Any) -> str:
    return await store.write(offers.make, ROW, a_type(**more), {"Pool": "linux"})


async def test_a_job_is_offered_to_one_worker_at_a_time(any_store: Store, clock):
    id = await made(any_store)
    now = clock.now()
    assert await any_store.read(offers.waiting, TOPIC, now=now)
    assert not await any_store.read(offers.waiting, offers.topic_of(ROW.account, ROW.region, ID, "windows"), now=now)
    (first,) = await any_store.write(offers.offer, TOPIC, most=5, now=now)
    assert await any_store.write(offers.offer, TOPIC, most=5, now=now) == []
    assert not await any_store.read(offers.waiting, TOPIC, now=now)
    (second,) = await any_store.write(offers.offer, TOPIC, most=5, now=now + offers.OFFER_MS)
    assert (first.id, second.id) == (id, id)
    assert not await any_store.write(offers.acknowledge, first, first.nonce, now=now)
    for _ in range(2):
        assert await any_store.write(offers.acknowledge, second, second.nonce, now=now)
    held = await any_store.read(jobs.get, id)
    assert held is not None
    assert (held.state, held.until) == (
        JobState.LEASED,
        None,
    )  # without a lease it is the worker's until the action ends
    assert await any_store.write(offers.offer, TOPIC, most=5, now=now + 10**9) == []


async def test_a_silent_worker_loses_its_job_where_the_type_says_so(any_store: Store, clock):
    id = await made(any_store, job_lease=5 * MINUTE)
    now = clock.now()
    (first,) = await any_store.write(offers.offer, TOPIC, most=1, now=now)
    await any_store.write(offers.acknowledge, first, first.nonce, now=now)
    await any_store.write(offers.acknowledge, first, first.nonce, now=now + 4 * MINUTE)  # it is alive
    assert await any_store.write(leases.lapse, now=now + 8 * MINUTE) == 0
    assert await any_store.write(leases.lapse, now=now + 9 * MINUTE) == 1
    assert not await any_store.write(offers.acknowledge, first, first.nonce, now=now + 9 * MINUTE)
    lost = await any_store.read(jobs.get, id)
    assert lost is not None
    assert offers.acknowledged(lost)  # what the first worker did counts until another has a result
    (second,) = await any_store.write(offers.offer, TOPIC, most=1, now=now + 9 * MINUTE)
    assert second.nonce != first.nonce
    assert await any_store.write(offers.end, second)
    assert not await any_store.write(offers.end, second)


async def test_jobs_of_one_action_follow_each_other(any_store: Store, clock):
    id = await made(any_store, job_timeout=MINUTE)
    (first,) = await any_store.write(offers.offer, TOPIC, most=1, now=clock.now())

    def continued(conn: Any) -> str:
        assert offers.end(conn, first)
        return offers.make_next(conn, first, "token")

    following = await any_store.write(continued)
    (second,) = await any_store.write(offers.offer, TOPIC, most=5, now=clock.now())
    assert (second.id, second.payload["token"], second.payload["number"]) == (following, "token", 2)
    assert following != id
    await any_store.write(offers.withdraw, ROW.id)
    over = await any_store.read(jobs.get, following)
    assert over is not None
    assert not offers.live(over)
    assert await any_store.write(offers.offer, TOPIC, most=5, now=clock.now() + 10**9) == []


def test_workers_can_ask_for_some_values_only():
    assert offers.refused(a_type(), {"Pool": "linux_1-a"}) is None
    assert "Job workers cannot ask for the value 'two words'" in (offers.refused(a_type(), {"Pool": "two words"}) or "")
