"""Whole deployments against hosts that speak the protocol in process."""

import asyncio

import pytest

from penstock.deployments import runs
from penstock.deployments.server.lifecycle import IN_PLACE
from penstock.store import journal


async def test_three_hosts_one_at_a_time(any_house):
    house = any_house
    hosts = await house.group(3)
    house.serve(*hosts)
    deployment = await house.deploy()
    found = await house.until(deployment)
    assert found["status"] == "Succeeded", found
    assert found["deploymentOverview"] == {
        "Pending": 0, "InProgress": 0, "Succeeded": 3, "Failed": 0, "Skipped": 0, "Ready": 0,
    }  # fmt: skip
    assert found["creator"] == "user"
    assert "errorInformation" not in {k: v for k, v in found.items() if v is not None}
    for host in hosts:
        assert [event for _, _, event in host.log] == list(IN_PLACE)
        target = await house.target(deployment, host.name)
        assert [event["status"] for event in target["lifecycleEvents"]] == ["Succeeded"] * 7
        assert target["lifecycleEvents"][0]["diagnostics"]["errorCode"] == "Success"
    group = await house.call("GetDeploymentGroup", applicationName="shop", deploymentGroupName="web")
    assert group["deploymentGroupInfo"]["lastSuccessfulDeployment"]["deploymentId"] == deployment
    assert group["deploymentGroupInfo"]["targetRevision"]["s3Location"]["key"] == "app.zip"
    entries = await house.app.store.read(journal.read, f"deployment/{deployment}")
    assert [entry.input["type"] for entry in entries][:4] == ["Requested", "Began", "Acknowledged", "Completed"]
    assert len(entries) == 2 + 3 * 14


async def test_failure_at_the_first_host_rolls_back_what_was_attempted(any_house):
    house = any_house
    hosts = await house.group(3, autoRollbackConfiguration={"enabled": True, "events": ["DEPLOYMENT_FAILURE"]})
    house.serve(*hosts, fails={("bad.zip", "AfterInstall")})
    good = await house.deploy("good.zip")
    assert (await house.until(good))["status"] == "Succeeded"
    bad = await house.deploy("bad.zip")
    failed = await house.until(bad)
    assert failed["status"] == "Failed"
    assert failed["errorInformation"]["code"] == "HEALTH_CONSTRAINTS"
    assert failed["previousRevision"]["s3Location"]["key"] == "good.zip"
    assert failed["deploymentOverview"]["Failed"] == 1
    assert failed["deploymentOverview"]["Skipped"] == 2
    rollback = failed["rollbackInfo"]["rollbackDeploymentId"]
    assert failed["rollbackInfo"]["rollbackMessage"] == (
        f"Deployment {bad} terminated. Automatic rollback is triggered with a DeploymentId {rollback}."
    )
    found = await house.until(rollback)
    assert found["status"] == "Succeeded"
    assert found["creator"] == "codeDeployRollback"
    assert found["revision"]["s3Location"]["key"] == "good.zip"
    assert found["rollbackInfo"] == {
        "rollbackTriggeringDeploymentId": bad,
        "rollbackMessage": f"Deployment {rollback} is triggered to roll back deployment {bad}.",
    }
    touched = [name for name, status in (await house.statuses(bad)).items() if status == "Failed"]
    assert list(await house.statuses(rollback)) == touched
    target = await house.target(bad, touched[0])
    events = target["lifecycleEvents"]
    assert [e["status"] for e in events] == ["Succeeded"] * 4 + ["Failed"] + ["Skipped"] * 2
    assert events[4]["diagnostics"]["errorCode"] == "ScriptFailed"
    assert events[5].get("startTime") is None
    assert events[5]["endTime"]


async def test_a_second_deployment_waits_for_the_first(house):
    (host,) = await house.group(1)
    first = await house.deploy("1.zip")
    await house.until(first, "InProgress")
    second, third = await house.deploy("2.zip"), await house.deploy("3.zip")
    assert (await house.get(second))["status"] == "Queued"
    house.serve(host)
    assert (await house.until(third))["status"] == "Succeeded"
    assert [key for _, key, event in host.log if event == "Install"] == ["1.zip", "2.zip", "3.zip"]
    listed = await house.call("ListDeployments", applicationName="shop", deploymentGroupName="web")
    assert set(listed["deployments"]) == {first, second, third}


async def test_a_group_can_ask_for_aws_limit(house):
    await house.group(1, tags=[{"Key": "penstock:queue", "Value": "off"}])
    first = await house.deploy()
    with pytest.raises(Exception, match=f"The Deployment Group 'web' already has an active Deployment '{first}'"):
        await house.deploy()


async def test_a_queued_deployment_can_be_stopped(house):
    (host,) = await house.group(1)
    first = await house.deploy("1.zip")
    await house.until(first, "InProgress")
    second = await house.deploy("2.zip")
    answer = await house.call("StopDeployment", deploymentId=second)
    assert answer["status"] == "Succeeded"
    assert (await house.get(second))["status"] == "Stopped"
    house.serve(host)
    assert (await house.until(first))["status"] == "Succeeded"
    group = await house.call("GetDeploymentGroup", applicationName="shop", deploymentGroupName="web")
    assert group["deploymentGroupInfo"]["lastSuccessfulDeployment"]["deploymentId"] == first


async def test_stop_with_rollback(house):
    hosts = await house.group(3, config="CodeDeployDefault.AllAtOnce")
    house.serve(*hosts)
    good = await house.deploy("good.zip")
    await house.until(good)
    for agent in house.agents:
        agent.cancel()
    await asyncio.gather(*house.agents, return_exceptions=True)
    house.agents.clear()
    deployment = await house.deploy("new.zip")
    first, second, _ = hosts
    one, two = await first.poll(), await second.poll()
    assert await first.acknowledge(one) == "InProgress"
    answer = await house.call("StopDeployment", deploymentId=deployment, autoRollbackEnabled=True)
    assert answer["status"] == "Pending"
    assert await second.acknowledge(two) == "Failed"
    with pytest.raises(Exception, match="Deployment Group|invalid|not"):
        await house.call("ListDeployments", applicationName="shop")
    again = await house.call("StopDeployment", deploymentId=deployment)
    assert again["status"] == "Succeeded"
    await first.complete(one)
    stopped = await house.until(deployment)
    assert stopped["status"] == "Stopped"
    assert stopped["errorInformation"]["code"] == "MANUAL_STOP"
    house.serve(*hosts)
    rollback = await house.until(stopped["rollbackInfo"]["rollbackDeploymentId"])
    assert rollback["status"] == "Succeeded"
    assert rollback["deploymentOverview"]["Succeeded"] == 1
    with pytest.raises(Exception, match="already complete"):
        await house.call("StopDeployment", deploymentId=deployment)


async def test_no_hosts(house):
    await house.group(0)
    found = await house.until(await house.deploy())
    assert found["status"] == "Failed"
    assert found["errorInformation"]["code"] == "NO_INSTANCES"


async def test_a_role_that_vanishes_before_the_start(house):
    (host,) = await house.group(1)
    first = await house.deploy("1.zip")
    await house.until(first, "InProgress")
    second = await house.deploy("2.zip")
    await house.call("DeleteRole", service="iam", RoleName="deployer")
    house.serve(host)
    found = await house.until(second)
    assert found["errorInformation"]["code"] == "IAM_ROLE_MISSING"
    with pytest.raises(Exception, match="Cannot assume role provided."):
        await house.deploy()


async def test_only_outdated_hosts(house):
    hosts = await house.group(3, config="CodeDeployDefault.AllAtOnce")
    house.serve(*hosts)
    await house.until(await house.deploy("1.zip"))
    late = await house.host("web-late")
    house.serve(late)
    deployment = await house.deploy("1.zip", updateOutdatedInstancesOnly=True)
    found = await house.until(deployment)
    assert found["status"] == "Succeeded"
    assert await house.statuses(deployment) == {"web-late": "Succeeded"}
    again = await house.until(await house.deploy("1.zip", updateOutdatedInstancesOnly=True))
    assert again["status"] == "Succeeded"


async def test_a_restart_names_the_deployment_whose_bundle_is_there(house):
    (host,) = await house.group(1)
    with pytest.raises(Exception, match="no successful deployment"):
        await house.call(
            "CreateDeployment", applicationName="shop", deploymentGroupName="web", deploymentMode="RESTART"
        )
    agent = asyncio.create_task(host.serve())
    first = await house.deploy("1.zip")
    await house.until(first)
    agent.cancel()
    await asyncio.gather(agent, return_exceptions=True)
    answer = await house.call(
        "CreateDeployment", applicationName="shop", deploymentGroupName="web", deploymentMode="RESTART"
    )
    spec = await host.specification(await host.poll())
    assert spec["ReuseArchiveFromDeploymentId"] == first
    assert (await house.get(answer["deploymentId"]))["deploymentMode"] == "RESTART"


async def test_what_waited_begins_with_what_the_group_has_then(house):
    (host,) = await house.group(1)
    agent = asyncio.create_task(host.serve())
    await house.until(await house.deploy("1.zip"))
    agent.cancel()
    await asyncio.gather(agent, return_exceptions=True)
    second = await house.deploy("2.zip")
    restart = await house.call(
        "CreateDeployment", applicationName="shop", deploymentGroupName="web", deploymentMode="RESTART"
    )
    third = await house.deploy("3.zip")
    house.serve(host)
    assert (await house.until(third))["previousRevision"]["s3Location"]["key"] == "2.zip"
    assert [key for _, key, event in host.log if event == "Install"] == ["1.zip", "2.zip", "2.zip", "3.zip"]
    restarted = await house.get(restart["deploymentId"])
    assert restarted["revision"]["s3Location"]["key"] == "2.zip"
    body = (await house.app.store.read(runs.deployment, restart["deploymentId"])).body
    assert body["reuse"] == second


async def test_a_machine_under_a_name_that_was_given_up_is_outdated(house):
    (host,) = await house.group(1)
    house.serve(host)
    await house.until(await house.deploy("1.zip"))
    await house.call("DeregisterOnPremisesInstance", instanceName=host.name)
    fresh = f"arn:aws:iam::111111111111:user/{host.name}-fresh"
    await house.call("RegisterOnPremisesInstance", instanceName=host.name, iamUserArn=fresh)
    tags = [{"Key": "role", "Value": "web"}]
    await house.call("AddTagsToOnPremisesInstances", instanceNames=[host.name], tags=tags)
    deployment = await house.deploy("1.zip", updateOutdatedInstancesOnly=True)
    await house.until(deployment, "InProgress")
    assert list(await house.statuses(deployment)) == [host.name]


async def test_a_timeout_tag_that_is_no_number_holds_nothing_up(house):
    await house.group(1, tags=[{"Key": "penstock:agent-timeout-seconds", "Value": "\u00b2"}])
    await house.until(await house.deploy(), "InProgress")


async def test_a_host_that_never_polls_fails_in_words(house, clock):
    await house.group(1)
    deployment = await house.deploy()
    await house.until(deployment, "InProgress")
    clock.advance(61_000)
    found = await house.until(deployment)
    assert found["status"] == "Failed"
    target = await house.target(deployment, "web-0")
    assert "was not able to receive the lifecycle event" in target["lifecycleEvents"][0]["diagnostics"]["message"]


async def test_an_event_that_never_ends_fails_after_an_hour(house, clock):
    (host,) = await house.group(1)
    deployment = await house.deploy()
    command = await host.poll()
    await host.acknowledge(command)
    clock.advance(3_600_000)
    assert (await house.get(deployment))["status"] == "InProgress"
    clock.advance(61_000)
    found = await house.until(deployment)
    assert found["status"] == "Failed"
    await host.complete(command)
    assert (await house.target(deployment, "web-0"))["status"] == "Failed"


async def test_events_of_a_deployment(house):
    (host,) = await house.group(1)
    async with house.app.events.tap() as queue:
        house.serve(host)
        deployment = await house.deploy()
        await house.until(deployment)
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


async def test_the_same_external_id_is_the_same_deployment(house):
    await house.group(1)
    first = await house.deploy("1.zip", pipelineContext={"actionExecutionId": "run-7/deploy"})
    again = await house.deploy("1.zip", pipelineContext={"actionExecutionId": "run-7/deploy"})
    other = await house.deploy("1.zip", pipelineContext={"actionExecutionId": "run-8/deploy"})
    assert first == again != other
    listed = await house.call(
        "ListDeployments", applicationName="shop", deploymentGroupName="web", externalId="run-7/deploy"
    )
    assert listed["deployments"] == [first]
    assert (await house.get(first))["externalId"] == "run-7/deploy"
