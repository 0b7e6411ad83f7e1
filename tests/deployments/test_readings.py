"""What the metrics say of deployments and hosts."""

from __future__ import annotations

import sqlalchemy as sa
from penstock_waiting import eventually

from penstock.deployments import records
from penstock.metrics import REGISTRY


def ended(result: str) -> float:
    return REGISTRY.get_sample_value("penstock_deployment_seconds_count", {"result": result}) or 0


async def looked(scan, count: int) -> bool:
    return list(await scan) == [{(): count}]


async def test_deployments_and_hosts(any_harness):
    harness = any_harness
    store, clock = harness.app.store, harness.app.clock
    running, hosts = harness.app.readings
    before = ended("Succeeded")
    assert list(await store.scan(running.read, clock.now())) == [{(): 0}]
    group = await harness.group(3)
    deployment = await harness.deploy()
    await eventually(lambda: looked(store.scan(running.read, clock.now()), 1))
    assert ended("Succeeded") == before
    harness.serve(*group)
    assert (await harness.until(deployment))["status"] == "Succeeded"
    await eventually(lambda: ended("Succeeded") == before + 1)
    assert list(await store.scan(running.read, clock.now())) == [{(): 0}]

    def seen(conn: sa.Connection) -> None:
        i = records.instances.c
        conn.execute(sa.update(records.instances).values(seen=None))
        conn.execute(sa.update(records.instances).where(i.name == group[0].name).values(seen=clock.now() - 180_000))
        conn.execute(sa.update(records.instances).where(i.name == group[1].name).values(seen=clock.now() - 180_001))

    await store.write(seen)
    assert list(await store.scan(hosts.read, clock.now())) == [{("connected",): 1, ("silent",): 2}]
