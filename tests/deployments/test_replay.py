"""What the journal holds is all that the decisions were made from."""

from dataclasses import replace

import sqlalchemy as sa

from penstock.deployments import records, runs
from penstock.deployments.aggregates import DeploymentAggregate, GroupAggregate
from penstock.deployments.server import queue, replay
from penstock.store import journal
from penstock.store.jobs import WORK


async def retold(house, deployment):
    """The journal replayed from nothing, beside what the database holds."""
    store = house.app.store
    row = await store.read(runs.deployment, deployment)
    entries = await store.read(journal.read, f"deployment/{deployment}")
    kinds = DeploymentAggregate
    told = replay.replayed((kinds.inputs.load(entry.input), entry.at, entry.seed) for entry in entries)
    for entry, (_, effects, again) in zip(entries, told, strict=True):
        assert [kinds.effects.dump(effect) for effect in effects] == entry.effects
        world = again
    assert replace(world.deployment, id=deployment) == runs.STATE.load(row.state)
    await _group_retold(store, row.group_id)
    query = sa.select(records.targets).where(records.targets.c.deployment == deployment)
    rows = await store.read(lambda conn: conn.execute(query).all())
    kept = {row.name: runs.host(row, world.deployment.events) for row in rows}
    assert world.rows == kept
    return world


async def _group_retold(store, id):
    row = await store.read(records.one, records.groups, id=id)
    group = queue.Group()
    for entry in await store.read(journal.read, f"deployment-group/{id}"):
        group, effects = queue.decide(group, GroupAggregate.inputs.load(entry.input), entry.at, entry.seed)
        assert [GroupAggregate.effects.dump(effect) for effect in effects] == entry.effects
    assert runs.GROUP.dump(group) == row.state
    assert (row.active, row.attempted, row.successful) == (group.active, group.attempted, group.successful)


async def test_success_failure_and_rollback_retell_themselves(house):
    hosts = await house.group(
        5,
        config="CodeDeployDefault.HalfAtATime",
        autoRollbackConfiguration={"enabled": True, "events": ["DEPLOYMENT_FAILURE"]},
    )
    house.serve(*hosts, fails={("bad.zip", "Install")})
    good = await house.deploy("good.zip")
    await house.until(good)
    bad = await house.deploy("bad.zip")
    found = await house.until(bad)
    await retold(house, good)
    await retold(house, bad)
    assert found["status"] == "Failed"
    rollback = found["rollbackInfo"]["rollbackDeploymentId"]
    await house.until(rollback)
    await retold(house, rollback)


async def test_stops_and_time_outs_retell_themselves(house, clock):
    hosts = await house.group(4, config="CodeDeployDefault.AllAtOnce")
    deployment = await house.deploy()
    first, second = [await host.poll() for host in hosts[:2]]
    await hosts[0].acknowledge(first)
    await hosts[1].acknowledge(second)
    await hosts[1].complete(second)
    await house.call("StopDeployment", deploymentId=deployment)
    clock.advance(3_700_000)
    assert (await house.until(deployment))["status"] == "Stopped"
    await retold(house, deployment)


async def test_lost_reports_and_gone_hosts_retell_themselves(any_house, clock):
    house = any_house
    hosts = await house.group(4, config="CodeDeployDefault.AllAtOnce")
    deployment = await house.deploy()
    commands = [await host.poll() for host in hosts]
    await hosts[0].complete(commands[0], code=5, message="end of file reached", script="")
    await hosts[1].acknowledge(commands[1], noop=True)
    await hosts[2].acknowledge(commands[2])
    await house.call("DeregisterOnPremisesInstance", instanceName="web-3")
    clock.advance(61_000)
    house.app.store.signal(WORK)
    assert (await hosts[1].poll())["CommandName"] == "ApplicationStop"
    clock.advance(310_000)
    house.app.store.signal(WORK)
    assert (await house.until(deployment))["status"] == "Failed"
    world = await retold(house, deployment)
    assert {row.events[0].diagnostics.message.split(" ")[0] for row in world.rows.values()} == {"CodeDeploy", "The"}


async def test_a_rollback_can_mean_the_whole_group(house):
    hosts = await house.group(
        3,
        autoRollbackConfiguration={"enabled": True, "events": ["DEPLOYMENT_FAILURE"]},
        tags=[{"Key": "penstock:rollback-scope", "Value": "all"}],
    )
    house.serve(*hosts, fails={("bad.zip", "Install")})
    await house.until(await house.deploy("good.zip"))
    failed = await house.until(await house.deploy("bad.zip"))
    rollback = await house.until(failed["rollbackInfo"]["rollbackDeploymentId"])
    assert rollback["status"] == "Succeeded"
    assert rollback["deploymentOverview"]["Succeeded"] == 3
