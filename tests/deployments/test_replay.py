"""What the journal holds is all that the decisions were made from."""

from dataclasses import replace

import sqlalchemy as sa

from penstock.deployments import records, runs
from penstock.deployments.aggregates import DeploymentAggregate, GroupAggregate
from penstock.deployments.server import queue, replay
from penstock.store import journal
from penstock.store.jobs import WORK


async def check_replay(harness, deployment):
    """The journal replayed from nothing, beside what the database holds."""
    store = harness.app.store
    row = await store.read(runs.deployment, deployment)
    entries = await store.read(journal.read, f"deployment/{deployment}")
    kinds = DeploymentAggregate
    replayed_steps = replay.replayed((kinds.inputs.load(entry.input), entry.at, entry.seed) for entry in entries)
    for entry, (_, effects, again) in zip(entries, replayed_steps, strict=True):
        assert [kinds.effects.dump(effect) for effect in effects] == entry.effects
        world = again
    assert replace(world.deployment, id=deployment) == runs.STATE.load(row.state)
    await _check_group_replay(store, row.group_id)
    query = sa.select(records.targets).where(records.targets.c.deployment == deployment)
    rows = await store.read(lambda conn: conn.execute(query).all())
    kept = {row.name: runs.host(row, world.deployment.events) for row in rows}
    assert world.rows == kept
    return world


async def _check_group_replay(store, id):
    row = await store.read(records.one, records.groups, id=id)
    group = queue.Group()
    for entry in await store.read(journal.read, f"deployment-group/{id}"):
        group, effects = queue.decide(group, GroupAggregate.inputs.load(entry.input), entry.at, entry.seed)
        assert [GroupAggregate.effects.dump(effect) for effect in effects] == entry.effects
    assert runs.GROUP.dump(group) == row.state
    assert (row.active, row.attempted, row.successful) == (group.active, group.attempted, group.successful)


async def test_success_failure_and_rollback_replay(harness):
    hosts = await harness.group(
        5,
        config="CodeDeployDefault.HalfAtATime",
        autoRollbackConfiguration={"enabled": True, "events": ["DEPLOYMENT_FAILURE"]},
    )
    harness.serve(*hosts, fails={("bad.zip", "Install")})
    good = await harness.deploy("good.zip")
    await harness.until(good)
    bad = await harness.deploy("bad.zip")
    found = await harness.until(bad)
    await check_replay(harness, good)
    await check_replay(harness, bad)
    assert found["status"] == "Failed"
    rollback = found["rollbackInfo"]["rollbackDeploymentId"]
    await harness.until(rollback)
    await check_replay(harness, rollback)


async def test_stops_and_time_outs_replay(harness, clock):
    hosts = await harness.group(4, config="CodeDeployDefault.AllAtOnce")
    deployment = await harness.deploy()
    first, second = [await host.poll() for host in hosts[:2]]
    await hosts[0].acknowledge(first)
    await hosts[1].acknowledge(second)
    await hosts[1].complete(second)
    await harness.call("StopDeployment", deploymentId=deployment)
    clock.advance(3_700_000)
    assert (await harness.until(deployment))["status"] == "Stopped"
    await check_replay(harness, deployment)


async def test_lost_reports_and_gone_hosts_replay(any_harness, clock):
    harness = any_harness
    hosts = await harness.group(4, config="CodeDeployDefault.AllAtOnce")
    deployment = await harness.deploy()
    commands = [await host.poll() for host in hosts]
    await hosts[0].complete(commands[0], code=5, message="end of file reached", script="")
    await hosts[1].acknowledge(commands[1], noop=True)
    await hosts[2].acknowledge(commands[2])
    await harness.call("DeregisterOnPremisesInstance", instanceName="web-3")
    clock.advance(61_000)
    harness.app.store.signal(WORK)
    assert (await hosts[1].poll())["CommandName"] == "ApplicationStop"
    clock.advance(310_000)
    harness.app.store.signal(WORK)
    assert (await harness.until(deployment))["status"] == "Failed"
    world = await check_replay(harness, deployment)
    assert {row.events[0].diagnostics.message.split(" ")[0] for row in world.rows.values()} == {"CodeDeploy", "The"}


async def test_a_rollback_can_mean_the_whole_group(harness):
    hosts = await harness.group(
        3,
        autoRollbackConfiguration={"enabled": True, "events": ["DEPLOYMENT_FAILURE"]},
        tags=[{"Key": "penstock:rollback-scope", "Value": "all"}],
    )
    harness.serve(*hosts, fails={("bad.zip", "Install")})
    await harness.until(await harness.deploy("good.zip"))
    failed = await harness.until(await harness.deploy("bad.zip"))
    rollback = await harness.until(failed["rollbackInfo"]["rollbackDeploymentId"])
    assert rollback["status"] == "Succeeded"
    assert rollback["deploymentOverview"]["Succeeded"] == 3
