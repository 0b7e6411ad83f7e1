"""Notification rules by boto3: made, shown, changed, listed, and what is refused."""

import pytest
from botocore.exceptions import ClientError

ACCOUNT = "111111111111"
PROJECT = f"arn:aws:codebuild:us-east-1:{ACCOUNT}:project/web"
PIPELINE = f"arn:aws:codepipeline:us-east-1:{ACCOUNT}:shop"
TOPIC = f"arn:aws:sns:us-east-1:{ACCOUNT}:people"
FAILED = "codepipeline-pipeline-pipeline-execution-failed"
NEEDED = "codepipeline-pipeline-manual-approval-needed"


def sns(address=TOPIC):
    return {"TargetType": "SNS", "TargetAddress": address}


def asked(name, **more):
    return {
        "Name": name,
        "Resource": PIPELINE,
        "EventTypeIds": [FAILED],
        "Targets": [sns()],
        "DetailType": "FULL",
    } | more


@pytest.fixture(scope="module")
def client(live):
    return live.client("codestar-notifications")


def refused(call, **input):
    with pytest.raises(ClientError) as caught:
        call(**input)
    answer = caught.value.response
    return answer["Error"]["Code"], answer["Error"]["Message"], answer["ResponseMetadata"]["HTTPStatusCode"]


def test_a_rule_is_made_shown_changed_and_deleted(client):
    arn = client.create_notification_rule(
        **asked("whole", Tags={"team": "till"}, EventTypeIds=[NEEDED, FAILED, NEEDED])
    )["Arn"]
    assert arn.startswith(f"arn:aws:codestar-notifications:us-east-1:{ACCOUNT}:notificationrule/")
    assert len(arn.rpartition("/")[2]) == 40
    found = client.describe_notification_rule(Arn=arn)
    assert found["EventTypes"] == [
        {"EventTypeId": NEEDED, "ServiceName": "CodePipeline", "EventTypeName": "Manual approval: Needed", "ResourceType": "Pipeline"},
        {"EventTypeId": FAILED, "ServiceName": "CodePipeline", "EventTypeName": "Pipeline execution: Failed", "ResourceType": "Pipeline"},
    ]  # fmt: skip
    assert found["Targets"] == [{"TargetAddress": TOPIC, "TargetType": "SNS", "TargetStatus": "PENDING"}]
    assert {name: found[name] for name in ("Name", "Resource", "DetailType", "Status", "Tags")} == {
        "Name": "whole", "Resource": PIPELINE, "DetailType": "FULL", "Status": "ENABLED", "Tags": {"team": "till"},
    }  # fmt: skip
    assert found["CreatedBy"].startswith(f"arn:aws:iam::{ACCOUNT}:user/")
    assert found["CreatedTimestamp"] == found["LastModifiedTimestamp"]
    other = f"{TOPIC}-2"
    client.update_notification_rule(
        Arn=arn, Name="renamed", Status="DISABLED", DetailType="BASIC", EventTypeIds=[FAILED], Targets=[sns(other)]
    )
    found = client.describe_notification_rule(Arn=arn)
    assert (found["Name"], found["Status"], found["DetailType"]) == ("renamed", "DISABLED", "BASIC")
    assert (
        [one["EventTypeId"] for one in found["EventTypes"]],
        [one["TargetAddress"] for one in found["Targets"]],
    ) == ([FAILED], [other])
    client.update_notification_rule(Arn=arn)
    assert client.tag_resource(Arn=arn, Tags={"a": "1"})["Tags"] == {"team": "till", "a": "1"}
    client.untag_resource(Arn=arn, TagKeys=["team", "none"])
    assert client.list_tags_for_resource(Arn=arn)["Tags"] == {"a": "1"}
    for _ in range(2):
        assert client.delete_notification_rule(Arn=arn)["Arn"] == arn
        assert client.unsubscribe(Arn=arn, TargetAddress=other)["Arn"] == arn
    for call, more in (
        (client.describe_notification_rule, {}), (client.update_notification_rule, {}), (client.list_tags_for_resource, {}),
        (client.subscribe, {"Target": sns()}), (client.tag_resource, {"Tags": {}}), (client.untag_resource, {"TagKeys": ["a"]}),
    ):  # fmt: skip
        assert refused(call, Arn=arn, **more) == (
            "ResourceNotFoundException", f"The notification rule {arn} does not exist.", 404,
        )  # fmt: skip
    for address in (TOPIC, other):
        client.delete_target(TargetAddress=address)


def test_the_same_request_with_the_same_token_is_one_rule(client):
    one = client.create_notification_rule(**asked("token"), ClientRequestToken="t-1")["Arn"]
    assert client.create_notification_rule(**asked("token"), ClientRequestToken="t-1")["Arn"] == one
    code, message, status = refused(
        client.create_notification_rule, **asked("token", DetailType="BASIC"), ClientRequestToken="t-1"
    )
    assert (code, status) == ("ValidationException", 400)
    assert "The ClientRequestToken was used with other parameters." in message
    assert refused(client.create_notification_rule, **asked("token")) == (
        "ResourceAlreadyExistsException", "A notification rule with the name token already exists.", 409,
    )  # fmt: skip
    two = client.create_notification_rule(**asked("token-2"))["Arn"]
    assert "with the name token already exists" in refused(client.update_notification_rule, Arn=two, Name="token")[1]
    target = sns(f"{TOPIC}-3")
    for _ in range(2):
        assert client.subscribe(Arn=one, Target=target, ClientRequestToken="s-1")["Arn"] == one
    assert "other parameters" in refused(client.subscribe, Arn=one, Target=sns(), ClientRequestToken="s-1")[1]
    for arn in (one, two):
        client.delete_notification_rule(Arn=arn)


def test_what_cannot_be_a_rule_is_refused_with_the_reason(client):
    create = client.create_notification_rule
    elsewhere = PIPELINE.replace(ACCOUNT, "222222222222")
    for input, code, why in (
        ({"Resource": elsewhere}, "ValidationException", "not one of the caller's account and region"),
        ({"Resource": f"arn:aws:s3:us-east-1:{ACCOUNT}:bucket"}, "ValidationException", "The resource is the ARN of a pipeline, a project"),
        ({"Resource": f"arn:aws:codebuild:us-east-1:{ACCOUNT}:build/x:1"}, "ValidationException", "The resource is the ARN of"),
        ({"Resource": PROJECT}, "ValidationException", f"The event type {FAILED} is not one of {PROJECT}."),
        ({"EventTypeIds": []}, "ValidationException", "A rule names one to 100 event types."),
        ({"EventTypeIds": ["codepipeline-x"]}, "ValidationException", "There is no event type codepipeline-x."),
        ({"EventTypeIds": ["codecommit-repository-pull-request-created"]}, "ValidationException", "there are events of branches and tags"),
        ({"Targets": [{"TargetType": "AWSChatbotSlack", "TargetAddress": "x"}]}, "ConfigurationException", "Penstock has no AWS Chatbot."),
        ({"Targets": [{"TargetType": "AWSChatbotMicrosoftTeams", "TargetAddress": "x"}]}, "ConfigurationException", "incoming webhook to a topic"),
        ({"Targets": [{"TargetType": "Mail", "TargetAddress": "x"}]}, "ValidationException", "The target type Mail is SNS for"),
        ({"Targets": [{"TargetAddress": TOPIC}]}, "ValidationException", "The target type is missing: it is SNS"),
        ({"Targets": [sns("x")]}, "ValidationException", "the ARN of a standard topic"),
        ({"Targets": [sns(f"{TOPIC}.fifo")]}, "ValidationException", "the ARN of a standard topic"),
        ({"Targets": [sns(TOPIC.replace("us-east-1", "eu-west-1"))]}, "ValidationException", "in the rule's region"),
        ({"Targets": [sns(f"{TOPIC}{n}") for n in range(11)]}, "ValidationException", "less than or equal to 10"),
        ({"Tags": {"aws:x": "y"}}, "ValidationException", "reserved"),
        ({"Tags": {f"k{n}": "" for n in range(51)}}, "LimitExceededException", "There can be 50 tags"),
        ({"DetailType": "SHORT"}, "ValidationException", "BASIC"),
        ({"Name": "a/b"}, "ValidationException", ""),
    ):  # fmt: skip
        found = refused(create, **asked("bad", **input))
        assert found[0] == code, input
        assert why in found[1], (input, found)
    assert not [one for one in client.list_notification_rules()["NotificationRules"] if "bad" in one["Arn"]]


def test_lists_are_filtered_and_paged(client):
    arns = {
        name: client.create_notification_rule(**asked(name, **more))["Arn"]
        for name, more in (
            ("list-1", {"Targets": [sns(f"{TOPIC}-list")]}),
            ("list-2", {"EventTypeIds": [NEEDED], "Targets": [sns(f"{TOPIC}-list"), sns(f"{TOPIC}-more")]}),
            ("list-3", {"Resource": PROJECT, "EventTypeIds": ["codebuild-project-build-state-failed"], "Targets": []}),
        )
    }

    def rules(**filters):
        listed = [{"Name": name, "Value": value} for name, value in filters.items()]
        return {one["Arn"] for one in client.list_notification_rules(Filters=listed)["NotificationRules"]}

    assert rules(EVENT_TYPE_ID=NEEDED) == {arns["list-2"]}
    assert rules(RESOURCE=PROJECT) == {arns["list-3"]}
    assert rules(TARGET_ADDRESS=f"{TOPIC}-list") == {arns["list-1"], arns["list-2"]}
    assert rules(TARGET_ADDRESS=f"{TOPIC}-list", EVENT_TYPE_ID=FAILED) == {arns["list-1"]}
    assert rules(CREATED_BY="nobody") == set()
    assert rules() == set(arns.values())
    pages = client.get_paginator("list_notification_rules").paginate(PaginationConfig={"PageSize": 2})
    found = [one for page in pages for one in page["NotificationRules"]]
    assert {one["Arn"] for one in found} == set(arns.values())
    assert [one["Id"] for one in found] == sorted(one["Id"] for one in found)
    asked_for = [
        {"Name": "TARGET_ADDRESS", "Value": f"{TOPIC}-more"},
        {"Name": "TARGET_STATUS", "Value": "PENDING"},
        {"Name": "TARGET_TYPE", "Value": "SNS"},
    ]
    assert [one["TargetAddress"] for one in client.list_targets(Filters=asked_for)["Targets"]] == [f"{TOPIC}-more"]
    assert len(client.list_targets(MaxResults=1)["Targets"]) == 1
    of_projects = client.list_event_types(Filters=[{"Name": "RESOURCE_TYPE", "Value": "Project"}])["EventTypes"]
    assert {one["ServiceName"] for one in of_projects} == {"CodeBuild"}
    assert len(of_projects) == 6
    first = client.list_event_types(MaxResults=10)
    rest = client.list_event_types(NextToken=first["NextToken"])["EventTypes"]
    ids = [one["EventTypeId"] for one in first["EventTypes"] + rest]
    assert ids == sorted(ids)
    assert {
        "codedeploy-application-deployment-succeeded",
        FAILED,
        NEEDED,
        "codebuild-project-build-phase-failure",
    } < set(ids)
    assert refused(client.list_event_types, NextToken="x")[0] == "InvalidNextTokenException"
    code, why, _ = refused(client.delete_target, TargetAddress=f"{TOPIC}-list")
    assert code == "ValidationException"
    assert "2 notification rules notify the target" in why
    client.delete_target(TargetAddress=f"{TOPIC}-list", ForceUnsubscribeAll=True)
    assert rules(TARGET_ADDRESS=f"{TOPIC}-list") == set()
    for arn in arns.values():
        client.delete_notification_rule(Arn=arn)


def test_a_rule_has_ten_targets(client):
    arn = client.create_notification_rule(**asked("ten", Targets=[sns(f"{TOPIC}-{n}") for n in range(10)]))["Arn"]
    assert "at most 10 targets" in refused(client.subscribe, Arn=arn, Target=sns(f"{TOPIC}-10"))[1]
    client.subscribe(Arn=arn, Target=sns(f"{TOPIC}-9"))
    assert client.unsubscribe(Arn=arn, TargetAddress=f"{TOPIC}-3")["Arn"] == arn
    client.subscribe(Arn=arn, Target=sns(f"{TOPIC}-10"))
    targets = client.describe_notification_rule(Arn=arn)["Targets"]
    assert {one["TargetAddress"] for one in targets} == {f"{TOPIC}-{n}" for n in range(11) if n != 3}
    client.delete_notification_rule(Arn=arn)
