"""From a deployment to a topic: what is published, whom the topic's policy lets in, and how a target is then."""

import asyncio
import contextlib
import json
from types import SimpleNamespace

import pytest
from penstock_deployments_harness import ACCOUNT, open_harness
from penstock_topics import LOOPBACK, Endpoint, sns, subscribed, topic
from penstock_waiting import eventually

import penstock.notifications
import penstock.topics
from penstock.notifications import delivering, event_types

APPLICATION = f"arn:aws:codedeploy:us-east-1:{ACCOUNT}:application:shop"
TYPES = ["codedeploy-application-deployment-started", "codedeploy-application-deployment-succeeded"]


@pytest.fixture
async def harness(any_store, clock, tmp_path):
    endpoint = Endpoint()
    server = await asyncio.start_server(endpoint.serve, "127.0.0.1", 0)
    endpoint.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    further = (penstock.topics.component, penstock.notifications.component)
    with contextlib.closing(server):
        async with open_harness(any_store, clock, tmp_path, further=further, chosen=(LOOPBACK,)) as made:
            made.app.public_url = "https://penstock.test"
            made.topic = await topic(made, made.admin)
            await subscribed(made, made.admin, made.topic, f"{endpoint.url}/people")
            made.endpoint = endpoint
            yield made


async def rule(harness, name="all", **more):
    input = {
        "Name": name, "Resource": APPLICATION, "EventTypeIds": TYPES, "DetailType": "FULL",
        "Targets": [{"TargetType": "SNS", "TargetAddress": harness.topic}], **more,
    }  # fmt: skip
    return (await harness.call("CreateNotificationRule", service="codestar-notifications", **input))["Arn"]


async def status(harness, arn):
    found = await harness.call("DescribeNotificationRule", service="codestar-notifications", Arn=arn)
    return found["Targets"][0]["TargetStatus"]


async def let_in(harness, arn):
    """The topic's policy, as AWS's documentation has it."""
    statement = {
        "Effect": "Allow", "Principal": {"Service": "codestar-notifications.amazonaws.com"}, "Action": "SNS:Publish",
        "Resource": harness.topic, "Condition": {"StringEquals": {"aws:SourceArn": arn}},
    }  # fmt: skip
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    await sns(
        harness,
        harness.admin,
        "SetTopicAttributes",
        TopicArn=harness.topic,
        AttributeName="Policy",
        AttributeValue=policy,
    )


async def test_a_rule_publishes_what_its_types_name_to_whom_the_topic_lets_in(harness, caplog):
    arn = await rule(harness)
    off = await rule(harness, "off", Status="DISABLED")
    await rule(harness, "others", EventTypeIds=["codedeploy-application-deployment-failed"])
    (host,) = await harness.group(1)
    harness.serve(host)
    assert (await harness.until(await harness.deploy()))["status"] == "Succeeded"
    # The first policy of a topic lets the account in, and no service for it.
    await eventually(lambda: sum(one.message == "notifications.not_delivered" for one in caplog.records) == 2)
    assert await status(harness, arn) == "UNREACHABLE"
    assert not harness.endpoint.of("/people")
    await let_in(harness, arn)
    id = await harness.deploy()
    assert (await harness.until(id))["status"] == "Succeeded"
    await eventually(lambda: len(harness.endpoint.of("/people")) == 2)
    messages = [json.loads(one.json["Message"]) for one in harness.endpoint.of("/people")]
    assert {one["detail"]["state"] for one in messages} == {"START", "SUCCESS"}
    for one in messages:
        assert list(one) == [
            "account", "detailType", "region", "source", "time", "notificationRuleArn", "detail", "resources", "additionalAttributes",
        ]  # fmt: skip
        assert (one["notificationRuleArn"], one["detail"]["deploymentId"]) == (arn, id)
        assert one["resources"][0] == APPLICATION
        assert (one["source"], one["additionalAttributes"]) == ("aws.codedeploy", {})

    async def reached():
        return await status(harness, arn) == "ACTIVE"

    await eventually(reached)
    # What a rule had begun to send before it was switched off, and deleted, is not sent.
    payload = {"rule": off.rpartition("/")[2], "address": harness.topic, "message": {}}
    late = SimpleNamespace(account=ACCOUNT, region="us-east-1", payload=payload)
    await delivering.deliver(harness.app, late)
    await harness.call("DeleteNotificationRule", service="codestar-notifications", Arn=off)
    await delivering.deliver(harness.app, late)
    assert await status(harness, arn) == "ACTIVE"  # else the target could not have been reached for either


def test_why_an_action_failed_stands_in_the_detail_full():
    for state, found, more in (
        ("FAILED", {"external-execution-summary": "tests failed"}, {"additionalInformation": "tests failed"}),
        ("FAILED", None, {}),
        ("SUCCEEDED", {"external-execution-summary": "fine"}, {}),
    ):
        event = SimpleNamespace(type=event_types.ACTION, payload={"state": state, "execution-result": found})
        assert delivering._more(event) == more


async def test_rules_that_are_made_at_the_same_moment(harness):
    """Of one name there is one; the same request with the same token is answered the same. No race is a fault of the server."""
    for number in range(5):
        twins = await asyncio.gather(*(rule(harness, f"n{number}") for _ in range(4)), return_exceptions=True)
        refusals = [type(one).__name__ for one in twins if isinstance(one, Exception)]
        assert refusals == ["ResourceAlreadyExistsException"] * 3
        again = [rule(harness, f"t{number}", ClientRequestToken=f"token-{number}") for _ in range(4)]
        assert len(set(await asyncio.gather(*again))) == 1
