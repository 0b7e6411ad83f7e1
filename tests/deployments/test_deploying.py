"""Whole deployments against hosts that speak the protocol in process."""

import asyncio

import pytest

from penstock.deployments import errors, runs
from penstock.deployments.server.lifecycle import IN_PLACE
from penstock.store import journal


async def test_three_hosts_one_at_a_time(any_harness):
    harness = any_harness
    hosts = await harness.group(3)
    harness.serve(*hosts)
    deployment = await harness.deploy()
    found = await harness.until(deployment)
    assert found["status"] == "Succeeded", found
    assert found["deploymentOverview"] == {
        "Pending": 0, "InProgress": 0, "Succeeded": 3, "Failed": 0, "Skipped": 0, "Ready": 0,
    }  # fmt: skip
    assert found["creator"] == "user"
    assert "errorInformation" not in {k: v for k, v in found.items() if v is not None}
    for host in hosts:
        assert [event for _, _, event in host.log] == list(IN_PLACE)
        target = await harness.target(deployment, host.name)
        assert [event["status"] for event in target["lifecycleEvents"]] == ["Succeeded"] * 7
        assert target["lifecycleEvents"][0]["diagnostics"]["errorCode"] == "Success"
    group = await harness.call("GetDeploymentGroup", applicationName="shop", deploymentGroupName="web")
    assert group["deploymentGroupInfo"]["lastSuccessfulDeployment"]["deploymentId"] == deployment
    assert group["deploymentGroupInfo"]["targetRevision"]["s3Location"]["key"] == "app.zip"
    entries = await harness.app.store.read(journal.read, f"deployment/{deployment}")
    assert [entry.input["type"] for entry in entries][:4] == ["Requested", "Began", "Acknowledged", "Completed"]
    assert len(entries) == 2 + 3 * 14


async def test_failure_at_the_first_host_rolls_back_what_was_attempted(any_harness):
    harness = any_harness
    hosts = await harness.group(3, autoRollbackConfiguration={"enabled": True, "events": ["DEPLOYMENT_FAILURE"]})
    harness.serve(*hosts, fails={("bad.zip", "AfterInstall")})
    good = await harness.deploy("good.zip")
    assert (await harness.until(good))["status"] == "Succeeded"
    bad = await harness.deploy("bad.zip")
    failed = await harness.until(bad)
    assert failed["status"] == "Failed"
    assert failed["errorInformation"]["code"] == "HEALTH_CONSTRAINTS"
    assert failed["previousRevision"]["s3Location"]["key"] == "good.zip"
    assert failed["deploymentOverview"]["Failed"] == 1
    assert failed["deploymentOverview"]["Skipped"] == 2
    rollback = failed["rollbackInfo"]["rollbackDeploymentId"]
    assert failed["rollbackInfo"]["rollbackMessage"] == (
        f"Deployment {bad} terminated. Automatic rollback is triggered with a DeploymentId {rollback}."
    )
    found = await harness.until(rollback)
    assert found["status"] == "Succeeded"
    assert found["creator"] == "codeDeployRollback"
    assert found["revision"]["s3Location"]["key"] == "good.zip"
    assert found["rollbackInfo"] == {
        "rollbackTriggeringDeploymentId": bad,
        "rollbackMessage": f"Deployment {rollback} is triggered to roll back deployment {bad}.",
    }
    touched = [name for name, status in (await harness.statuses(bad)).items() if status == "Failed"]
    assert list(await harness.statuses(rollback)) == touched
    target = await harness.target(bad, touched[0])
    events = target["lifecycleEvents"]
    assert [e["status"] for e in events] == ["Succeeded"] * 4 + ["Failed"] + ["Skipped"] * 2
    assert events[4]["diagnostics"]["errorCode"] == "ScriptFailed"
    assert events[5].get("startTime") is None
    assert events[5]["endTime"]


async def test_a_second_deployment_waits_for_the_first(harness):
    (host,) = await harness.group(1)
    first = await harness.deploy("1.zip")
    await harness.until(first, "InProgress")
    second, third = await harness.deploy("2.zip"), await harness.deploy("3.zip")
    assert (await harness.get(second))["status"] == "Queued"
    harness.serve(host)
    assert (await harness.until(third))["status"] == "Succeeded"
    assert [key for _, key, event in host.log if event == "Install"] == ["1.zip", "2.zip", "3.zip"]
    listed = await harness.call("ListDeployments", applicationName="shop", deploymentGroupName="web")
    assert set(listed["deployments"]) == {first, second, third}


async def test_a_group_can_ask_for_aws_limit(harness):
    await harness.group(1, tags=[{"Key": "penstock:queue", "Value": "off"}])
    first = await harness.deploy()
    with pytest.raises(
        errors.DeploymentLimitExceededException,
        match=f"The Deployment Group 'web' already has an active Deployment '{first}'",
    ):
        await harness.deploy()


async def test_a_queued_deployment_can_be_stopped(harness):
    (host,) = await harness.group(1)
    first = await harness.deploy("1.zip")
    await harness.until(first, "InProgress")
    second = await harness.deploy("2.zip")
    answer = await harness.call("StopDeployment", deploymentId=second)
    assert answer["status"] == "Succeeded"
    assert (await harness.get(second))["status"] == "Stopped"
    harness.serve(host)
    assert (await harness.until(first))["status"] == "Succeeded"
    group = await harness.call("GetDeploymentGroup", applicationName="shop", deploymentGroupName="web")
    assert group["deploymentGroupInfo"]["lastSuccessfulDeployment"]["deploymentId"] == first


async def test_stop_with_rollback(harness):
    hosts = await harness.group(3, config="CodeDeployDefault.AllAtOnce")
    harness.serve(*hosts)
    good = await harness.deploy("good.zip")
    await harness.until(good)
    for agent in harness.agents:
        agent.cancel()
    await asyncio.gather(*harness.agents, return_exceptions=True)
    harness.agents.clear()
    deployment = await harness.deploy("new.zip")
    first, second, _ = hosts
    one, two = await first.poll(), await second.poll()
    assert await first.acknowledge(one) == "InProgress"
    answer = await harness.call("StopDeployment", deploymentId=deployment, autoRollbackEnabled=True)
    assert answer["status"] == "Pending"
    assert await second.acknowledge(two) == "Failed"
    with pytest.raises(errors.DeploymentGroupNameRequiredException):
        await harness.call("ListDeployments", applicationName="shop")
    again = await harness.call("StopDeployment", deploymentId=deployment)
    assert again["status"] == "Succeeded"
    await first.complete(one)
    stopped = await harness.until(deployment)
    assert stopped["status"] == "Stopped"
    assert stopped["errorInformation"]["code"] == "MANUAL_STOP"
    harness.serve(*hosts)
    rollback = await harness.until(stopped["rollbackInfo"]["rollbackDeploymentId"])
    assert rollback["status"] == "Succeeded"
    assert rollback["deploymentOverview"]["Succeeded"] == 1
    with pytest.raises(errors.DeploymentAlreadyCompletedException, match="already complete"):
        await harness.call("StopDeployment", deploymentId=deployment)


async def test_no_hosts(harness):
    await harness.group(0)
    found = await harness.until(await harness.deploy())
    assert found["status"] == "Failed"
    assert found["errorInformation"]["code"] == "NO_INSTANCES"


async def test_a_role_that_vanishes_before_the_start(harness):
    (host,) = await harness.group(1)
    first = await harness.deploy("1.zip")
    await harness.until(first, "InProgress")
    second = await harness.deploy("2.zip")
    await harness.call("DeleteRole", service="iam", RoleName="deployer")
    harness.serve(host)
    found = await harness.until(second)
    assert found["errorInformation"]["code"] == "IAM_ROLE_MISSING"
    with pytest.raises(errors.InvalidRoleException, match=r"^Cannot assume role provided\.$"):
        await harness.deploy()


async def test_only_outdated_hosts(harness):
    hosts = await harness.group(3, config="CodeDeployDefault.AllAtOnce")
    harness.serve(*hosts)
    await harness.until(await harness.deploy("1.zip"))
    late = await harness.host("web-late")
    harness.serve(late)
    deployment = await harness.deploy("1.zip", updateOutdatedInstancesOnly=True)
    found = await harness.until(deployment)
    assert found["status"] == "Succeeded"
    assert await harness.statuses(deployment) == {"web-late": "Succeeded"}
    again = await harness.until(await harness.deploy("1.zip", updateOutdatedInstancesOnly=True))
    assert again["status"] == "Succeeded"


async def test_a_restart_names_the_deployment_whose_bundle_is_there(harness):
    (host,) = await harness.group(1)
    with pytest.raises(errors.RevisionRequiredException, match="no successful deployment"):
        await harness.call(
            "CreateDeployment", applicationName="shop", deploymentGroupName="web", deploymentMode="RESTART"
        )
    agent = asyncio.create_task(host.serve())
    first = await harness.deploy("1.zip")
    await harness.until(first)
    agent.cancel()
    await asyncio.gather(agent, return_exceptions=True)
    answer = await harness.call(
        "CreateDeployment", applicationName="shop", deploymentGroupName="web", deploymentMode="RESTART"
    )
    spec = await host.specification(await host.poll())
    assert spec["ReuseArchiveFromDeploymentId"] == first
    assert (await harness.get(answer["deploymentId"]))["deploymentMode"] == "RESTART"


async def test_what_waited_begins_with_what_the_group_has_then(harness):
    (host,) = await harness.group(1)
    agent = asyncio.create_task(host.serve())
    await harness.until(await harness.deploy("1.zip"))
    agent.cancel()
    await asyncio.gather(agent, return_exceptions=True)
    second = await harness.deploy("2.zip")
    restart = await harness.call(
        "CreateDeployment", applicationName="shop", deploymentGroupName="web", deploymentMode="RESTART"
    )
    third = await harness.deploy("3.zip")
    harness.serve(host)
    assert (await harness.until(third))["previousRevision"]["s3Location"]["key"] == "2.zip"
    assert [key for _, key, event in host.log if event == "Install"] == ["1.zip", "2.zip", "2.zip", "3.zip"]
    restarted = await harness.get(restart["deploymentId"])
    assert restarted["revision"]["s3Location"]["key"] == "2.zip"
    body = (await harness.app.store.read(runs.deployment, restart["deploymentId"])).body
    assert body["reuse"] == second


async def test_a_machine_under_a_name_that_was_given_up_is_outdated(harness):
    (host,) = await harness.group(1)
    harness.serve(host)
    await harness.until(await harness.deploy("1.zip"))
    await harness.call("DeregisterOnPremisesInstance", instanceName=host.name)
    fresh = f"arn:aws:iam::111111111111:user/{host.name}-fresh"
    await harness.call("RegisterOnPremisesInstance", instanceName=host.name, iamUserArn=fresh)
    tags = [{"Key": "role", "Value": "web"}]
    await harness.call("AddTagsToOnPremisesInstances", instanceNames=[host.name], tags=tags)
    deployment = await harness.deploy("1.zip", updateOutdatedInstancesOnly=True)
    await harness.until(deployment, "InProgress")
    assert list(await harness.statuses(deployment)) == [host.name]


async def test_a_timeout_tag_that_is_no_number_holds_nothing_up(harness):
    await harness.group(1, tags=[{"Key": "penstock:agent-timeout-seconds", "Value": "\u00b2"}])
    await harness.until(await harness.deploy(), "InProgress")


async def test_a_host_that_never_polls_fails_with_a_reason(harness, clock):
    await harness.group(1)
    deployment = await harness.deploy()
    await harness.until(deployment, "InProgress")
    clock.advance(61_000)
    found = await harness.until(deployment)
    assert found["status"] == "Failed"
    target = await harness.target(deployment, "web-0")
    assert "was not able to receive the lifecycle event" in target["lifecycleEvents"][0]["diagnostics"]["message"]


async def test_an_event_that_never_ends_fails_after_an_hour(harness, clock):
    (host,) = await harness.group(1)
    deployment = await harness.deploy()
    command = await host.poll()
    await host.acknowledge(command)
    clock.advance(3_600_000)
    assert (await harness.get(deployment))["status"] == "InProgress"
    clock.advance(61_000)
    found = await harness.until(deployment)
    assert found["status"] == "Failed"
    await host.complete(command)
    assert (await harness.target(deployment, "web-0"))["status"] == "Failed"


async def test_events_of_a_deployment(harness):
    (host,) = await harness.group(1)
    async with harness.app.events.tap() as queue:
        harness.serve(host)
        deployment = await harness.deploy()
        await harness.until(deployment)
        seen = []
        while not queue.empty():
            event = queue.get_nowait()
            if event.type.startswith("codedeploy."):
                seen.append((event.type, event.payload["state"], event.payload.get("instanceId")))
    assert seen == [
        ("codedeploy.deployment.state_changed", "START", None),
        ("codedeploy.instance.state_changed", "START", "web-0"),
        ("codedeploy.instance.state_changed", "SUCCESS", "web-0"),
        ("codedeploy.deployment.state_changed", "SUCCESS", None),
    ]
