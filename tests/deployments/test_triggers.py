"""Triggers of deployment groups: what is published to topics, under which role, and what a group refuses."""

import asyncio
import contextlib
import json
import re

import pytest
from penstock_deployments_harness import open_harness
from penstock_topics import LOOPBACK, Endpoint, sns, subscribed, topic
from penstock_waiting import eventually

import penstock.topics
from penstock.wire.errors import ServiceError

ALL = [
    "DeploymentStart", "DeploymentSuccess", "DeploymentFailure", "DeploymentStop", "DeploymentRollback", "DeploymentReady", "InstanceStart",
    "InstanceSuccess", "InstanceFailure", "InstanceReady",
]  # fmt: skip
OF_DEPLOYMENTS = [
    "region",
    "accountId",
    "eventTriggerName",
    "applicationName",
    "deploymentId",
    "deploymentGroupName",
    "createTime",
    "completeTime",
]


@contextlib.asynccontextmanager
async def triggered(store, clock, tmp_path):
    """A harness with a topic that an endpoint is subscribed to."""
    endpoint = Endpoint()
    server = await asyncio.start_server(endpoint.serve, "127.0.0.1", 0)
    endpoint.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    further = (penstock.topics.component,)
    try:
        async with open_harness(store, clock, tmp_path, further=further, chosen=(LOOPBACK,)) as made:
            made.app.public_url = "https://penstock.test"
            made.topic = await topic(made, made.admin)
            await subscribed(made, made.admin, made.topic, f"{endpoint.url}/told")
            made.endpoint = endpoint
            yield made
    finally:
        server.close()


@pytest.fixture
async def harness(any_store, clock, tmp_path):
    async with triggered(any_store, clock, tmp_path) as made:
        yield made


async def permit(harness, action="sns:Publish"):
    document = json.dumps(
        {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": action, "Resource": "*"}]}
    )
    await harness.call("PutRolePolicy", service="iam", RoleName="deployer", PolicyName="p", PolicyDocument=document)


def trigger(harness, name="all", events=ALL):
    return {"triggerName": name, "triggerTargetArn": harness.topic, "triggerEvents": list(events)}


async def published(harness, number):
    """Subject and message of what arrived, once it is so many."""
    await eventually(lambda: len(harness.endpoint.of("/told")) >= number)
    found = [(one.json["Subject"], one.json["Message"]) for one in harness.endpoint.of("/told")]
    assert len(found) == number
    return found


async def test_deployments_and_instances_are_published_as_codedeploy_does(harness):
    await permit(harness)
    (host,) = await harness.group(1, triggerConfigurations=[trigger(harness)])
    ((subject, text),) = await published(harness, 1)
    assert subject == "AWS CodeDeploy test notification for shop"
    assert text.startswith("This is a test notification for the trigger all of the deployment group web")
    shown = await harness.call("GetDeploymentGroup", applicationName="shop", deploymentGroupName="web")
    assert shown["deploymentGroupInfo"]["triggerConfigurations"] == [trigger(harness)]
    harness.serve(host)
    id = await harness.deploy()
    assert (await harness.until(id))["status"] == "Succeeded"
    target = (await harness.call("GetDeploymentTarget", deploymentId=id, targetId="web-0"))["deploymentTarget"]
    found = {subject: json.loads(text) for subject, text in (await published(harness, 5))[1:]}
    assert set(found) == {
        f"{status}: AWS CodeDeploy {id} in us-east-1 to shop" for status in ("CREATED", "INPROGRESS", "SUCCEEDED")
    } | {f"SUCCEEDED: AWS CodeDeploy {id} in us-east-1 to shop"}
    begun = found[f"CREATED: AWS CodeDeploy {id} in us-east-1 to shop"]
    assert list(begun) == [*OF_DEPLOYMENTS, "status"]
    assert begun == {
        "region": "us-east-1",
        "accountId": "111111111111",
        "eventTriggerName": "all",
        "applicationName": "shop",
        "deploymentId": id,
        "deploymentGroupName": "web",
        "createTime": begun["createTime"],
        "completeTime": None,
        "status": "CREATED",
    }
    assert re.fullmatch(r"[A-Z][a-z]{2} [A-Z][a-z]{2} \d\d \d\d:\d\d:\d\d UTC \d{4}", begun["createTime"])
    both = [json.loads(text) for subject, text in await published(harness, 5) if subject.startswith("SUCCEEDED")]
    of_host, of_deployment = sorted(both, key=lambda one: "status" in one)
    assert list(of_deployment) == [*OF_DEPLOYMENTS, "deploymentOverview", "status"]
    assert json.loads(of_deployment["deploymentOverview"]) == {
        "Succeeded": 1, "Failed": 0, "Skipped": 0, "InProgress": 0, "Pending": 0,
    }  # fmt: skip
    assert of_deployment["completeTime"] is not None
    assert list(of_host) == [
        "region", "accountId", "eventTriggerName", "deploymentId", "instanceId", "lastUpdatedAt", "instanceStatus", "lifecycleEvents",
    ]  # fmt: skip
    assert (of_host["instanceId"], of_host["instanceStatus"]) == (target["instanceTarget"]["targetArn"], "Succeeded")
    assert re.fullmatch(r"\d+\.\d{3}", of_host["lastUpdatedAt"])
    assert [one["LifecycleEvent"] for one in of_host["lifecycleEvents"]] == [
        one["lifecycleEventName"] for one in target["instanceTarget"]["lifecycleEvents"]
    ]
    for one in of_host["lifecycleEvents"]:
        assert list(one) == ["LifecycleEvent", "LifecycleEventStatus", "StartTime", "EndTime"]


async def test_a_failure_and_its_rollback_say_why(harness):
    await permit(harness)
    wanted = [one for one in ALL if one.startswith("Deployment")]
    on = {"autoRollbackConfiguration": {"enabled": True, "events": ["DEPLOYMENT_FAILURE"]}}
    (host,) = await harness.group(1, triggerConfigurations=[trigger(harness, events=wanted)], **on)
    harness.serve(host, fails=(("bad.zip", "ApplicationStart"), ("bad.zip", "AfterInstall")))
    good = await harness.deploy("good.zip")
    await harness.until(good)
    bad = await harness.deploy("bad.zip")
    back = (await harness.until(bad))["rollbackInfo"]["rollbackDeploymentId"]
    assert (await harness.until(back))["status"] == "Succeeded"
    found = [json.loads(text) for _, text in (await published(harness, 8))[1:]]
    assert sorted(one["status"] for one in found if one["deploymentId"] == good) == ["CREATED", "SUCCEEDED"]
    failed = next(one for one in found if one["status"] == "FAILED")
    assert list(failed) == [*OF_DEPLOYMENTS, "deploymentOverview", "status", "errorInformation", "rollbackInformation"]
    assert json.loads(failed["errorInformation"])["ErrorCode"] == "HEALTH_CONSTRAINTS"
    assert json.loads(failed["rollbackInformation"])["RollbackDeploymentId"] == back
    rolled = {one["status"]: one for one in found if one["deploymentId"] == back}
    assert set(rolled) == {"CREATED", "IN_PROGRESS", "SUCCEEDED"}
    assert json.loads(rolled["CREATED"]["rollbackInformation"]) == {
        "RollbackTriggeringDeploymentId": bad,
        "RollbackMessage": f"Deployment {back} is triggered to roll back deployment {bad}.",
    }


async def test_a_topic_that_the_role_cannot_publish_to_is_refused(harness):
    await harness.call("CreateApplication", applicationName="shop")
    asked = {"applicationName": "shop", "deploymentGroupName": "web", "serviceRoleArn": harness.role}
    with pytest.raises(ServiceError) as caught:
        await harness.call("CreateDeploymentGroup", **asked, triggerConfigurations=[trigger(harness)])
    assert (caught.value.wire_code, caught.value.message) == (
        "InvalidTriggerConfigException", f"Topic ARN {harness.topic} is not valid",
    )  # fmt: skip
    await permit(harness)
    for bad in ("arn:aws:sns:us-east-1:111111111111:none", "arn:aws:sqs:us-east-1:111111111111:deploys", "deploys"):
        with pytest.raises(ServiceError) as caught:
            await harness.call(
                "CreateDeploymentGroup", **asked, triggerConfigurations=[trigger(harness) | {"triggerTargetArn": bad}]
            )
        assert caught.value.message == f"Topic ARN {bad} is not valid"
    await harness.call("CreateDeploymentGroup", **asked)
    name = {"applicationName": "shop", "currentDeploymentGroupName": "web"}
    await harness.call("UpdateDeploymentGroup", **name, triggerConfigurations=[trigger(harness)])
    # What is there already is not published to again.
    await harness.call(
        "UpdateDeploymentGroup", **name, triggerConfigurations=[trigger(harness), trigger(harness, "more")]
    )
    assert ["the trigger all" in text for _, text in await published(harness, 2)] == [True, False]


async def test_a_topic_that_is_gone_holds_up_no_deployment(harness, caplog):
    await permit(harness)
    (host,) = await harness.group(1, triggerConfigurations=[trigger(harness, events=["DeploymentStart"])])
    await sns(harness, harness.admin, "DeleteTopic", TopicArn=harness.topic)
    harness.serve(host)
    assert (await harness.until(await harness.deploy()))["status"] == "Succeeded"
    await eventually(lambda: any(one.message == "deployments.trigger_failed" for one in caplog.records))
