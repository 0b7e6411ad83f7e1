"""Hosts that die, fall silent, are deregistered or lose their reports in mid-deployment: nothing waits for them for ever."""

import asyncio
import re

import pytest
import sqlalchemy as sa

from penstock.deployments import records
from penstock.deployments.hostcommands import forgotten
from penstock.deployments.progress import SEEN_LATELY_MS
from penstock.deployments.stuck import stuck
from penstock.store.jobs import WORK


async def running(harness, hosts=1, upto="ApplicationStop", **more):
    """A deployment whose hosts have acknowledged the command of this event, and the commands."""
    found = await harness.group(hosts, config="CodeDeployDefault.AllAtOnce", **more)
    deployment = await harness.deploy("1.zip")
    return deployment, found, [await acknowledged(host, upto) for host in found]


async def acknowledged(host, event):
    while True:
        command = await host.poll()
        assert await host.acknowledge(command) == "InProgress"
        if command["CommandName"] == event:
            return command
        await host.complete(command)


async def later(harness, clock, ms):
    """Time passes, and whatever is due is done."""
    clock.advance(ms)
    harness.app.store.signal(WORK)


async def until_failed(harness, deployment, name):
    async with asyncio.timeout(60), harness.app.events.tap() as queue:
        while (await harness.statuses(deployment))[name] != "Failed":
            await queue.get()


async def deletable(harness):
    await harness.call("DeleteDeploymentGroup", applicationName="shop", deploymentGroupName="web")
    await harness.call("DeleteApplication", applicationName="shop")


async def test_a_stop_does_not_wait_for_a_host_that_died(any_harness, clock):
    harness = any_harness
    deployment, (host,), (command,) = await running(harness, upto="ApplicationStart")
    second = await harness.deploy("2.zip")
    assert (await harness.call("StopDeployment", deploymentId=deployment))["status"] == "Pending"
    await later(harness, clock, 100_000)
    assert (await harness.until(deployment))["status"] == "Stopped"
    events = (await harness.target(deployment, "web-0"))["lifecycleEvents"]
    assert [event["status"] for event in events] == [*["Succeeded"] * 5, "Failed", "Skipped"]
    assert "has not polled for" in events[5]["diagnostics"]["message"]
    assert (await harness.until(second, "InProgress"))["status"] == "InProgress"
    await host.complete(command)  # what the agent had spooled comes late, and changes nothing
    assert (await harness.target(deployment, "web-0"))["lifecycleEvents"] == events
    harness.serve(host)
    assert (await harness.until(second))["status"] == "Succeeded"
    await deletable(harness)


async def test_a_stop_ends_at_once_when_the_host_is_known_to_be_gone(harness, clock):
    deployment, _, _ = await running(harness)
    await later(harness, clock, 100_000)
    assert (await harness.call("StopDeployment", deploymentId=deployment))["status"] == "Succeeded"
    assert (await harness.get(deployment))["status"] == "Stopped"


async def test_a_stop_waits_for_a_hook_of_a_host_that_polls_but_not_for_ever(harness, clock):
    deployment, (host,), (command,) = await running(harness)
    await harness.call("StopDeployment", deploymentId=deployment)
    for _ in range(4):
        await later(harness, clock, 60_000)
        await polled(harness, host)
        assert (await harness.get(deployment))["status"] == "InProgress"
    await later(harness, clock, 61_000)
    assert (await harness.until(deployment))["status"] == "Stopped"
    message = (await harness.target(deployment, "web-0"))["lifecycleEvents"][0]["diagnostics"]["message"]
    assert "did not end within 300 seconds" in message
    assert await host.acknowledge(command) == "Failed"


async def polled(harness, host, agent="1.8.1"):
    """The host's agent has polled, and that was written down."""
    seen = sa.update(records.instances).where(records.instances.c.name == host.name)
    values = {"seen": harness.app.clock.now(), "agent": agent}
    await harness.app.store.write(lambda conn: conn.execute(seen.values(**values)))


@pytest.mark.parametrize("order", ["stop first", "stop later"])
async def test_a_stop_does_not_wait_for_a_deregistered_host(any_harness, order):
    harness = any_harness
    deployment, hosts, _ = await running(harness, hosts=2)
    if order == "stop first":
        assert (await harness.call("StopDeployment", deploymentId=deployment))["status"] == "Pending"
    for host in hosts:
        await harness.call("DeregisterOnPremisesInstance", instanceName=host.name)
    if order == "stop later":
        assert (await harness.call("StopDeployment", deploymentId=deployment))["status"] == "Succeeded"
    assert (await harness.get(deployment))["status"] == "Stopped"
    event = (await harness.target(deployment, "web-0"))["lifecycleEvents"][0]
    assert (event["status"], event["diagnostics"]["errorCode"]) == ("Failed", "UnknownError")
    assert "was deregistered during the deployment" in event["diagnostics"]["message"]
    await deletable(harness)


async def test_hosts_that_stay_deregistered_have_failed(any_harness, clock):
    harness = any_harness
    deployment, hosts, commands = await running(harness, hosts=3)
    for host in hosts:
        await harness.call("DeregisterOnPremisesInstance", instanceName=host.name)
    await harness.call("RegisterOnPremisesInstance", instanceName="web-2", iamUserArn=hosts[2].identifier)
    await later(harness, clock, 91_000)
    await until_failed(harness, deployment, "web-1")
    assert (await harness.statuses(deployment)) == {"web-0": "Failed", "web-1": "Failed", "web-2": "InProgress"}
    await hosts[2].complete(commands[2])
    harness.serve(hosts[2])
    assert (await harness.until(deployment))["status"] == "Succeeded"


async def test_a_host_deregistered_before_its_turn_has_failed(harness, clock):
    await harness.group(2)
    deployment = await harness.deploy()
    await harness.until(deployment, "InProgress")
    pending = next(name for name, status in (await harness.statuses(deployment)).items() if status == "Pending")
    await harness.call("DeregisterOnPremisesInstance", instanceName=pending)
    await later(harness, clock, 91_000)
    await until_failed(harness, deployment, pending)
    assert (await harness.target(deployment, pending))["lifecycleEvents"][0]["diagnostics"]["message"].startswith(
        "The instance was deregistered during the deployment"
    )


async def test_an_event_on_a_silent_host_fails_after_five_minutes(any_harness, clock):
    harness = any_harness
    deployment, hosts, _ = await running(harness, hosts=2)
    await later(harness, clock, 200_000)
    await polled(harness, hosts[1])
    await later(harness, clock, 101_000)
    await until_failed(harness, deployment, "web-0")
    assert (await harness.statuses(deployment))["web-1"] == "InProgress"


async def after_an_outage(harness, clock, ms):
    """The server was away for this long and has just come back."""
    clock.advance(ms)
    harness.app.started = clock.now()
    harness.app.store.signal(WORK)


async def test_an_outage_makes_no_host_silent(any_harness, clock):
    harness = any_harness
    deployment, (host,), (command,) = await running(harness)
    await after_an_outage(harness, clock, 400_000)
    await harness.call("StopDeployment", deploymentId=deployment)
    assert (await harness.get(deployment))["status"] == "InProgress"
    await host.complete(command)
    assert (await harness.get(deployment))["status"] == "Stopped"


async def test_hosts_that_never_polled_are_not_rolled_back(harness, clock):
    hosts = await harness.group(1, autoRollbackConfiguration={"enabled": True, "events": ["DEPLOYMENT_FAILURE"]})
    harness.serve(*hosts)
    await harness.until(await harness.deploy("good.zip"))
    harness.agents[0].cancel()
    failed = await harness.deploy("bad.zip")
    await harness.until(failed, "InProgress")
    await later(harness, clock, 400_000)
    found = await harness.until(failed)
    assert found["status"] == "Failed"
    assert found.get("rollbackInfo") is None
    event = (await harness.target(failed, "web-0"))["lifecycleEvents"][0]
    assert event["status"] == "Failed"
    assert event["startTime"] is None, "it never started"


REFUSED = 'Failed to open TCP connection to 127.0.0.1:8470 (Connection refused - connect(2) for "127.0.0.1" port 8470)'


@pytest.mark.parametrize(
    "message", [REFUSED, "end of file reached", "Net::ReadTimeout", "Connection reset by peer", "Broken pipe"]
)
async def test_a_command_that_an_agent_lost_to_the_network_is_offered_again(any_harness, message):
    harness = any_harness
    (host,) = await harness.group(1)
    deployment = await harness.deploy()
    command = await host.poll()
    # The specification could not be had: never acknowledged.
    await host.complete(command, code=5, message=message, script="")
    again = await host.poll()
    assert again["CommandName"] == command["CommandName"]
    assert again["HostCommandIdentifier"] != command["HostCommandIdentifier"]
    assert (await harness.statuses(deployment)) == {"web-0": "InProgress"}
    harness.serve(host)
    await host.complete(again)
    assert (await harness.until(deployment))["status"] == "Succeeded"


async def test_an_agent_that_never_reaches_the_server_fails_in_the_end(harness):
    (host,) = await harness.group(1)
    deployment = await harness.deploy()
    for _ in range(6):
        await host.complete(await host.poll(), code=5, message=REFUSED, script="")
    assert (await harness.get(deployment))["status"] == "Failed"


async def test_a_script_whose_report_was_lost_has_failed_with_a_reason(harness):
    (host,) = await harness.group(1)
    deployment = await harness.deploy()
    command = await acknowledged(host, "AfterInstall")
    await host.complete(command, code=5, message=REFUSED, script="")
    event = (await harness.target(deployment, "web-0"))["lifecycleEvents"][4]
    assert event["status"] == "Failed"
    assert (
        "could not reach the server to report how the lifecycle event ended (Failed to open"
        in event["diagnostics"]["message"]
    )
    assert "The script may have ended well" in event["diagnostics"]["message"]


@pytest.mark.parametrize("event", ["DownloadBundle", "Install", "BeforeInstall"])
async def test_what_runs_no_script_is_offered_again_when_its_report_was_lost(harness, event):
    (host,) = await harness.group(1)
    deployment = await harness.deploy()
    while (command := await host.poll())["CommandName"] != event:
        await host.complete(command)
    await host.acknowledge(command, noop=event == "BeforeInstall")
    await host.complete(command, code=5, message="end of file reached", script="")
    assert (await host.poll())["CommandName"] == event
    harness.serve(host)
    assert (await harness.statuses(deployment)) == {"web-0": "InProgress"}


async def test_an_event_without_a_script_is_offered_again_when_it_does_not_end(any_harness, clock):
    harness = any_harness
    (host,) = await harness.group(1)
    deployment = await harness.deploy()
    command = await host.poll()
    await host.acknowledge(command, noop=True)
    await later(harness, clock, 60_000)
    again = await host.poll()
    assert (again["CommandName"], await host.acknowledge(command)) == ("ApplicationStop", "Failed")
    assert await host.acknowledge(again, noop=True) == "InProgress"
    await host.complete(again)
    harness.serve(host)
    assert (await harness.until(deployment))["status"] == "Succeeded"


async def test_an_event_that_an_agent_forgot_over_an_outage_is_not_left_for_an_hour(any_harness, clock):
    harness = any_harness
    deployment, hosts, _ = await running(harness, hosts=2)
    await after_an_outage(harness, clock, 10_000)
    for minutes in range(15):
        assert (await harness.statuses(deployment)) == {"web-0": "InProgress", "web-1": "InProgress"}, minutes
        for host, agent in zip(hosts, ("1.8.1", "penstock-agent/0.1.0"), strict=True):
            await polled(harness, host, agent)
        await later(harness, clock, 60_000)
    await until_failed(harness, deployment, "web-0")
    event = (await harness.target(deployment, "web-0"))["lifecycleEvents"][0]
    assert "no longer knows of the lifecycle event" in event["diagnostics"]["message"]
    assert (await harness.statuses(deployment))["web-1"] == "InProgress", "it keeps its reports until they arrive"


@pytest.mark.parametrize(("event", "status"), [("AfterInstall", "Failed"), ("Install", "InProgress")])
async def test_what_an_agent_that_polls_no_longer_has_is_not_waited_for(any_harness, monkeypatch, event, status):
    monkeypatch.setattr(forgotten, "CERTAIN_SECONDS", 0)
    harness = any_harness
    deployment, (host,), (command,) = await running(harness, upto=event)
    asking = asyncio.create_task(polling(host, [command["HostCommandIdentifier"]]))
    await asyncio.wait([asking], timeout=0.1)
    asking.cancel()
    assert (await harness.statuses(deployment))["web-0"] == "InProgress"
    again = asyncio.create_task(polling(host, []))
    if status == "Failed":
        await until_failed(harness, deployment, "web-0")
        found = (await harness.target(deployment, "web-0"))["lifecycleEvents"][4]
        assert "no longer knows of the lifecycle event" in found["diagnostics"]["message"]
        assert (await harness.until(deployment))["status"] == "Failed"
        again.cancel()
    else:
        offered = (await again)["HostCommand"]
        assert (offered["CommandName"], offered["Nonce"]) == (event, 2)


async def test_a_stop_waits_no_longer_for_what_an_agent_no_longer_has(any_harness, monkeypatch):
    monkeypatch.setattr(forgotten, "CERTAIN_SECONDS", 0)
    harness = any_harness
    deployment, (host,), _ = await running(harness)
    assert (await harness.call("StopDeployment", deploymentId=deployment))["status"] == "Pending"
    again = asyncio.create_task(polling(host, []))
    assert (await harness.until(deployment))["status"] == "Stopped"
    again.cancel()


async def test_a_poll_that_its_agent_gave_up_says_nothing_of_what_it_runs(harness):
    deployment, (host,), _ = await running(harness)
    stale = asyncio.create_task(polling(host, []))
    done, _ = await asyncio.wait([stale], timeout=0.1)
    assert not done
    stale.cancel()
    assert (await harness.statuses(deployment))["web-0"] == "InProgress"


async def polling(host, commands):
    """A poll of our agent, which says which commands it has."""
    return await host.call("PollHostCommand", HostIdentifier=host.identifier, RunningCommands=commands)


async def test_an_event_keeps_its_start(harness, clock):
    deployment, (host,), (command,) = await running(harness)
    began = (await harness.target(deployment, "web-0"))["lifecycleEvents"][0]["startTime"]
    clock.advance(5_000)
    await host.complete(command)
    event = (await harness.target(deployment, "web-0"))["lifecycleEvents"][0]
    assert (event["startTime"], event["endTime"]) == (began, began + 5_000)


async def test_the_deployments_of_a_renamed_group_stay_its_own(harness):
    (host,) = await harness.group(1)
    harness.serve(host)
    deployment = await harness.deploy()
    await harness.until(deployment)
    await harness.call(
        "UpdateDeploymentGroup",
        applicationName="shop", currentDeploymentGroupName="web", newDeploymentGroupName="front",
    )  # fmt: skip
    listed = await harness.call("ListDeployments", applicationName="shop", deploymentGroupName="front")
    assert listed["deployments"] == [deployment]
    await harness.call("UpdateApplication", applicationName="shop", newApplicationName="store")
    listed = await harness.call("ListDeployments", applicationName="store", deploymentGroupName="front")
    assert listed["deployments"] == [deployment]
    found = await harness.get(deployment)
    assert (found["applicationName"], found["deploymentGroupName"]) == ("store", "front")


async def test_doctor_names_the_hosts_that_a_deployment_waits_for(any_harness, clock):
    harness = any_harness
    deployment, hosts, _ = await running(harness, hosts=2)
    second = await harness.deploy("2.zip")

    async def found():
        return [one.reason for one in await harness.app.store.read(stuck, clock.now())]

    assert await found() == [f"1 deployments of group shop/web wait for deployment {deployment} (InProgress)"]
    clock.advance(200_000)
    await polled(harness, hosts[1])
    silent, _ = await found()
    assert silent == f"deployment {deployment} to shop/web waits for hosts that do not answer: web-0"
    held = sa.update(records.deployments).where(records.deployments.c.id == deployment).values(status="Stopped")
    await harness.app.store.write(lambda conn: conn.execute(held))
    (over,) = await harness.app.store.read(stuck, clock.now())
    assert over.for_good
    assert over.reason.startswith(f"group shop/web is held by deployment {deployment}, which is over")
    assert (await harness.get(second))["status"] == "Queued"


async def test_doctor_names_five_hosts_of_many_and_not_those_that_are_heard(any_harness, clock):
    harness = any_harness
    deployment, hosts, _ = await running(harness, hosts=8)
    clock.advance(SEEN_LATELY_MS)
    assert await harness.app.store.read(stuck, clock.now()) == []
    clock.advance(1)
    await polled(harness, hosts[3])
    waits = f"deployment {deployment} to shop/web waits for hosts that do not answer: "
    (one,) = await harness.app.store.read(stuck, clock.now())
    assert re.fullmatch(re.escape(waits) + r"web-\d(, web-\d){4} and 2 more", one.reason)
    assert "web-3" not in one.reason
    assert not one.for_good
    for host in hosts[:3]:
        await polled(harness, host)
    (one,) = await harness.app.store.read(stuck, clock.now())
    assert one.reason.startswith(waits)
    assert sorted(one.reason.removeprefix(waits).split(", ")) == ["web-4", "web-5", "web-6", "web-7"]
