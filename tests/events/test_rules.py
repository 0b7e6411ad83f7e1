"""Buses, rules and targets in process: what is kept, listed and refused, with AWS's texts."""

import json

import pytest
from penstock_identity_harness import ACCOUNT, OTHER, REGION, allow, refused, trusting

from penstock.wire.errors import AccessDenied

ARN = f"arn:aws:events:{REGION}:{ACCOUNT}"
TOPIC = f"arn:aws:sns:{REGION}:{ACCOUNT}:news"
PATTERN = ' {"source": ["shop"]}'


async def put(events, name="r", pattern=PATTERN, **input):
    return await events("PutRule", Name=name, EventPattern=pattern, **input)


async def test_buses(any_bridge):
    events = any_bridge.events
    queue = f"arn:aws:sqs:{REGION}:{ACCOUNT}:dead"
    made = await events("CreateEventBus", Name="team.a", Description="A", DeadLetterConfig={"Arn": queue})
    assert made == {"EventBusArn": f"{ARN}:event-bus/team.a", "Description": "A", "DeadLetterConfig": {"Arn": queue}}
    for taken in ("team.a", "default"):
        refusal = await refused(events("CreateEventBus", Name=taken))
        assert refusal == ("ResourceAlreadyExistsException", f"Event bus {taken} already exists.")
    described = await events("DescribeEventBus", Name=f"{ARN}:event-bus/team.a")
    assert described["Description"] == "A"
    assert "Policy" not in described
    assert await events("DescribeEventBus") == {"Name": "default", "Arn": f"{ARN}:event-bus/default"}
    refusal = await refused(events("DescribeEventBus", Name="x"))
    assert refusal == ("ResourceNotFoundException", "Event bus x does not exist.")
    refusal = await refused(events("DescribeEventBus", Name=f"arn:aws:events:{REGION}:{OTHER}:event-bus/team.a"))
    assert refusal == ("ResourceNotFoundException", "Event bus team.a does not exist.")
    await events("UpdateEventBus", Name="team.a", Description="B")
    await events("UpdateEventBus", Name="default", Description="D")
    first = await events("ListEventBuses", Limit=1)
    second = await events("ListEventBuses", Limit=1, NextToken=first["NextToken"])
    listed = [*first["EventBuses"], *second["EventBuses"]]
    assert [(bus["Name"], bus["Description"]) for bus in listed] == [("default", "D"), ("team.a", "B")]
    assert "NextToken" not in second
    assert [bus["Name"] for bus in (await events("ListEventBuses", NamePrefix="t"))["EventBuses"]] == ["team.a"]
    refusal = await refused(events("DeleteEventBus", Name="default"))
    assert refusal == ("ValidationException", "Cannot delete event bus default.")
    await put(events, EventBusName="team.a")
    assert (await refused(events("DeleteEventBus", Name="team.a")))[0] == "ValidationException"
    await events("DeleteRule", Name="r", EventBusName="team.a")
    await events("DeleteEventBus", Name="team.a")
    await events("DeleteEventBus", Name="team.a")
    for unserved in (
        {"KmsKeyIdentifier": "k"},
        {"LogConfig": {"Level": "INFO"}},
        {"EventSourceName": "aws.partner/a/b"},
    ):
        assert (await refused(events("CreateEventBus", Name="y", **unserved)))[0] == "ValidationException"


async def test_a_policy_of_a_bus(any_bridge):
    events = any_bridge.events
    permission = {"Action": "events:PutEvents", "Principal": OTHER, "StatementId": "s"}
    missing = ("ResourceNotFoundException", "Statement with the provided id does not exist.")
    assert await refused(events("RemovePermission", StatementId="s")) == missing
    await events("PutPermission", **permission)
    await events("PutPermission", **permission | {"Principal": "*", "StatementId": "t"})
    await events("PutPermission", **permission)
    policy = json.loads((await events("DescribeEventBus"))["Policy"])
    s = {
        "Sid": "s",
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{OTHER}:root"},
        "Action": "events:PutEvents",
        "Resource": f"{ARN}:event-bus/default",
    }
    assert policy["Statement"] == [s | {"Sid": "t", "Principal": "*"}, s]
    assert await refused(events("RemovePermission", StatementId="x")) == missing
    await events("RemovePermission", StatementId="t")
    assert json.loads((await events("DescribeEventBus"))["Policy"])["Statement"] == [s]
    await events("RemovePermission", RemoveAllPermissions=True)
    assert "Policy" not in await events("DescribeEventBus")
    for bad in (
        {"Policy": "{"},
        {"Policy": json.dumps({"Version": "2012-10-17", "Statement": [s | {"Action": "s3:GetObject"}]})},
        {"Policy": json.dumps({"Version": "2012-10-17", "Statement": [s | {"Resource": "arn:aws:s3:::b"}]})},
        {"StatementId": "s"},
        permission | {"Action": "events:PutRule"},
        permission | {"Condition": {"Type": "StringLike", "Key": "k", "Value": "v"}},
    ):
        assert (await refused(events("PutPermission", **bad)))[0] == "ValidationException"
    long = json.dumps({"Version": "2012-10-17", "Statement": [s], "Id": "x" * 10_240})
    assert (await refused(events("PutPermission", Policy=long)))[0] == "PolicyLengthExceededException"
    assert (await refused(events("RemovePermission")))[0] == "ValidationException"


async def test_rules(any_bridge):
    events = any_bridge.events
    made = await put(events, Description="d", Tags=[{"Key": "k", "Value": "v"}])
    assert made == {"RuleArn": f"{ARN}:rule/r"}
    rule = {"Name": "r", "Arn": f"{ARN}:rule/r", "EventPattern": PATTERN, "State": "ENABLED", "EventBusName": "default"}
    assert await events("DescribeRule", Name="r") == rule | {"Description": "d", "CreatedBy": ACCOUNT}
    await put(events, State="DISABLED", Tags=[{"Key": "other", "Value": "v"}])
    assert (await events("ListRules"))["Rules"] == [rule | {"State": "DISABLED"}]
    await events("EnableRule", Name="r")
    assert (await events("DescribeRule", Name="r"))["State"] == "ENABLED"
    await events("DisableRule", Name="r")
    assert (await events("DescribeRule", Name="r"))["State"] == "DISABLED"
    tags = await events("ListTagsForResource", ResourceARN=f"{ARN}:rule/r")
    assert tags == {"Tags": [{"Key": "k", "Value": "v"}]}
    await put(events, "s")
    page = await events("ListRules", Limit=1)
    assert [one["Name"] for one in (await events("ListRules", Limit=1, NextToken=page["NextToken"]))["Rules"]] == ["s"]
    assert [one["Name"] for one in (await events("ListRules", NamePrefix="s"))["Rules"]] == ["s"]
    for operation in ("DescribeRule", "EnableRule", "DisableRule"):
        refusal = await refused(events(operation, Name="x"))
        assert refusal == ("ResourceNotFoundException", "Rule x does not exist on EventBus default.")
        refusal = await refused(events(operation, Name="x", EventBusName="y"))
        assert refusal == ("ResourceNotFoundException", "Event bus y does not exist.")
    await events("DeleteRule", Name="x")
    await events("CreateEventBus", Name="b")
    assert (await put(events, EventBusName="b"))["RuleArn"] == f"{ARN}:rule/b/r"
    refusal = await refused(put(events, pattern='{"a": 1}'))
    assert refusal[0] == "InvalidEventPatternException"
    assert refusal[1].startswith('Event pattern is not valid. Reason: "a" must be an object or an array\n at [')
    assert (await refused(events("PutRule", Name="x")))[0] == "ValidationException"
    assert (await refused(events("PutRule", Name="x", ScheduleExpression="")))[0] == "ValidationException"
    refusal = await refused(events("PutRule", Name="not valid", EventPattern=PATTERN))
    assert refusal[1].startswith(
        "1 validation error detected: Value 'not valid' at 'name' failed to satisfy constraint:"
    )


async def test_as_many_rules_as_a_bus_may_have(bridge, monkeypatch):
    monkeypatch.setattr("penstock.events.operations.rules.MAX_RULES", 2)
    monkeypatch.setattr("penstock.events.operations.buses.MAX_BUSES", 1)
    for name in ("a", "b", "b"):
        await put(bridge.events, name)
    full = ("LimitExceededException", "The requested resource exceeds the maximum number allowed.")
    assert await refused(put(bridge.events, "c")) == full
    await bridge.events("CreateEventBus", Name="a")
    assert await refused(bridge.events("CreateEventBus", Name="c")) == full


async def test_combinations_of_all_rules_are_bounded(any_bridge, monkeypatch):
    monkeypatch.setattr("penstock.events.operations.rules.MAX_BRANCHES", 5)
    events = any_bridge.events

    async def made(name, pattern):
        await events("PutRule", Name=name, EventPattern=pattern)

    two, three = (json.dumps({"$or": [{"a": [n]} for n in range(many)]}) for many in (2, 3))
    await made("a", two)
    await made("b", three.replace("$", "\\u0024"))
    for name in ("a", "b"):
        await made(name, two)
    assert (await refused(made("c", two)))[0] == "LimitExceededException"
    await made("c", '{"a":[1]}')
    await made("b", '{"a":[1]}')
    await made("c", three)
    monkeypatch.setattr("penstock.events.operations.rules.MAX_WITH_OR", 1)
    full = ("LimitExceededException", "This account and region have 1 rules with $or already.")
    assert await refused(made("a", two)) == full


async def test_targets(any_bridge):
    events = any_bridge.events
    await put(events)
    target = {"Id": "1", "Arn": TOPIC, "RetryPolicy": {"MaximumRetryAttempts": 3}, "DeadLetterConfig": {"Arn": TOPIC}}
    done = {"FailedEntryCount": 0, "FailedEntries": []}
    assert await events("PutTargets", Rule="r", Targets=[target, {"Id": "2", "Arn": TOPIC}]) == done
    replaced = {"Id": "2", "Arn": TOPIC, "Input": "{}"}
    await events("PutTargets", Rule="r", Targets=[replaced])
    page = await events("ListTargetsByRule", Rule="r", Limit=1)
    assert page["Targets"] == [target]
    assert (await events("ListTargetsByRule", Rule="r", Limit=1, NextToken=page["NextToken"]))["Targets"] == [replaced]
    assert await events("ListRuleNamesByTarget", TargetArn=TOPIC) == {"RuleNames": ["r"]}
    assert await events("ListRuleNamesByTarget", TargetArn=f"{TOPIC}x") == {"RuleNames": []}
    refusal = await refused(events("DeleteRule", Name="r"))
    assert refusal == ("ValidationException", "Rule can't be deleted since it has targets.")
    more = [{"Id": f"more-{number}", "Arn": TOPIC} for number in range(4)]
    refusal = await refused(events("PutTargets", Rule="r", Targets=more))
    assert refusal == ("LimitExceededException", "The requested resource exceeds the maximum number allowed.")
    assert len((await events("ListTargetsByRule", Rule="r"))["Targets"]) == 2
    assert await events("RemoveTargets", Rule="r", Ids=["1", "2", "x"]) == done
    assert (await events("ListTargetsByRule", Rule="r"))["Targets"] == []
    await events("DeleteRule", Name="r")
    for operation, input in (
        ("PutTargets", {"Targets": [target]}),
        ("RemoveTargets", {"Ids": ["1"]}),
        ("ListTargetsByRule", {}),
    ):
        refusal = await refused(events(operation, Rule="r", **input))
        assert refusal == ("ResourceNotFoundException", "Rule r does not exist on EventBus default.")


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ({"Arn": "x"}, "Parameter x is not valid. Reason: Provided Arn is not in correct format."),
        ({"Arn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f"}, "Penstock has no targets of this kind"),
        ({"Arn": f"arn:aws:sns:{REGION}:{OTHER}:news"}, "A target lies in the account and region of its rule."),
        ({"Arn": f"arn:aws:sns:eu-west-1:{ACCOUNT}:news"}, "A target lies in the account and region of its rule."),
        (
            {"Input": "{}", "InputPath": "$"},
            "Only one of Input, InputPath, or InputTransformer must be provided for target t.",
        ),
        ({"Input": "x"}, "JSON syntax error in input for target t."),
        ({"InputPath": "detail"}, "InputPath for target t is invalid."),
        (
            {"InputTransformer": {"InputTemplate": '"<x>"', "InputPathsMap": {"y": "$.detail"}}},
            "InputTemplate for target t contains invalid placeholder x.",
        ),
        (
            {"Arn": f"arn:aws:codepipeline:{REGION}:{ACCOUNT}:shop"},
            "RoleArn is required for target arn:aws:codepipeline",
        ),
        *(
            (
                {"Arn": f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/other", name: given},
                f"Parameter {name} is not valid for target t.",
            )
            for name, given in (
                ("Input", "{}"),
                ("InputPath", "$.detail"),
                ("InputTransformer", {"InputTemplate": "{}"}),
            )
        ),
        ({"HttpParameters": {}}, "Parameter HttpParameters is not valid for target t."),
    ],
)
async def test_a_target_is_refused(bridge, target, message):
    await put(bridge.events)
    code, said = await refused(bridge.events("PutTargets", Rule="r", Targets=[{"Id": "t", "Arn": TOPIC, **target}]))
    assert code == "ValidationException"
    assert message in said


async def test_who_may(bridge):
    """The rule that policies are asked about, tags, and whose role a target may have."""
    events, harness = bridge.events, bridge.harness
    await put(events, Tags=[{"Key": "team", "Value": "a"}])
    await events("TagResource", ResourceARN=f"{ARN}:event-bus/default", Tags=[{"Key": "k", "Value": "v"}])
    assert (await events("ListTagsForResource", ResourceARN=f"{ARN}:event-bus/default"))["Tags"][0]["Key"] == "k"
    await events("UntagResource", ResourceARN=f"{ARN}:event-bus/default", TagKeys=["k"])
    for unknown in ("rule/x", "event-bus/x", "archive/x"):
        refusal = await refused(events("ListTagsForResource", ResourceARN=f"{ARN}:{unknown}"))
        assert refusal[0] == "ResourceNotFoundException"
    condition = {"StringEquals": {"aws:ResourceTag/team": "a"}}
    own = {"Effect": "Allow", "Action": "events:*", "Resource": "*", "Condition": condition}
    tagged = await harness.user("tagged", json.dumps({"Version": "2012-10-17", "Statement": [own]}))
    await events("DescribeRule", by=tagged, Name="r")
    await put(events, "other")
    with pytest.raises(AccessDenied):
        await events("DescribeRule", by=tagged, Name="other")
    role = await harness.role("starts", trusting(Service="events.amazonaws.com"))
    target = {"Id": "1", "Arn": f"arn:aws:codepipeline:{REGION}:{ACCOUNT}:shop", "RoleArn": role}
    may_put = await harness.user("puts", allow("events:PutTargets"))
    with pytest.raises(AccessDenied, match="iam:PassRole"):
        await events("PutTargets", by=may_put, Rule="r", Targets=[target])
    with pytest.raises(AccessDenied):
        await put(events, by=may_put)
    await events("PutTargets", Rule="r", Targets=[target])
