"""What an account may have so many of, asked for by many callers at once: they get no more than one after the other."""

import asyncio

import penstock_identity_harness
import pytest
from penstock_identity_harness import ACCOUNT, REGION

import penstock.certificates
import penstock.events
import penstock.fleet
import penstock.monitoring
import penstock.notifications
import penstock.parameters
import penstock.pipelines
from penstock.certificates import operations as certificates
from penstock.events.operations import api_destinations, archives, connections, replays, rules, schedule_groups
from penstock.monitoring.operations import alarms
from penstock.notifications import operations as notifications
from penstock.parameters.operations import writing
from penstock.pipelines.operations import custom_action_types, partner_types
from penstock.wire.errors import ServiceError

MOST = 3
ASKED = 10
TOPIC = f"arn:aws:sns:{REGION}:{ACCOUNT}:t"
BUS = f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/default"
ARCHIVE = f"arn:aws:events:{REGION}:{ACCOUNT}:archive/a0"
BASIC = {"BasicAuthParameters": {"Username": "u", "Password": "p"}}
SPAN = {"EventStartTime": 1_000, "EventEndTime": 2_000}
ALARM = {
    "Namespace": "n", "MetricName": "m", "Statistic": "Sum", "Period": 60, "EvaluationPeriods": 1, "Threshold": 1.0,
    "ComparisonOperator": "GreaterThanThreshold",
}  # fmt: skip


@pytest.fixture
async def asking(any_store, clock, tmp_path):
    components = (
        penstock.events,
        penstock.fleet,
        penstock.monitoring,
        penstock.notifications,
        penstock.parameters,
        penstock.pipelines,
        penstock.certificates,
    )
    found = (one.component for one in components)
    async with penstock_identity_harness.harness_on(any_store, clock, tmp_path, *found) as harness:
        owner = await harness.administrator()

        async def ask(service, operation, **input):
            return await harness.app.invoke(owner, service, operation, input, region=REGION)

        yield ask


async def done(asked):
    """Whether something is done, and not refused."""
    try:
        await asked
    except ServiceError:
        return False
    return True


async def test_callers_at_once_get_no_more_than_one_after_the_other(asking, monkeypatch):
    for module, name in (
        (connections, "MAX_CONNECTIONS"), (api_destinations, "MAX_DESTINATIONS"), (archives, "MAX_ARCHIVES"), (replays, "MAX_REPLAYS"),
        (rules, "MAX_RULES"), (schedule_groups, "MAX_GROUPS"), (notifications, "_ALL_TARGETS"), (alarms, "_PARENTS"),
        (certificates, "MAX_RESOURCES"),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, MOST)
    monkeypatch.setattr(writing, "MAX_PARAMETERS", dict.fromkeys(writing.MAX_PARAMETERS, MOST))
    await asking("cloudwatch", "PutMetricAlarm", AlarmName="child", **ALARM)
    rule = {
        "Resource": f"arn:aws:codepipeline:{REGION}:{ACCOUNT}:p",
        "EventTypeIds": ["codepipeline-pipeline-manual-approval-needed"],
    }
    made = [
        await asking(
            "codestar-notifications", "CreateNotificationRule", Name=f"r{n}", Targets=[], DetailType="FULL", **rule
        )
        for n in range(ASKED)
    ]
    for service, operation, inputs in (
        ("events", "CreateConnection", [{"Name": f"c{n}", "AuthorizationType": "BASIC", "AuthParameters": BASIC} for n in range(ASKED)]),
        ("events", "CreateApiDestination", [
            {"Name": f"d{n}", "HttpMethod": "POST", "InvocationEndpoint": "https://example.com"} for n in range(ASKED)
        ]),
        ("events", "CreateArchive", [{"ArchiveName": f"a{n}", "EventSourceArn": BUS} for n in range(ASKED)]),
        ("events", "StartReplay", [{"ReplayName": f"r{n}", "Destination": {"Arn": BUS}, **SPAN} for n in range(ASKED)]),
        ("events", "PutRule", [{"Name": f"r{n}", "EventPattern": '{"source": ["s"]}'} for n in range(ASKED)]),
        ("scheduler", "CreateScheduleGroup", [{"Name": f"g{n}", "ClientToken": f"t{n}"} for n in range(ASKED)]),
        ("ssm", "PutParameter", [{"Name": f"p{n}", "Value": "v", "Type": "String"} for n in range(ASKED)]),
        ("codestar-notifications", "Subscribe", [
            {"Arn": one["Arn"], "Target": {"TargetType": "SNS", "TargetAddress": f"{TOPIC}{n}"}} for n, one in enumerate(made)
        ]),
        ("cloudwatch", "PutCompositeAlarm", [{"AlarmName": f"c{n}", "AlarmRule": "ALARM(child)"} for n in range(ASKED)]),
        ("rolesanywhere", "CreateProfile", [
            {"name": f"p{n}", "roleArns": [f"arn:aws:iam::{ACCOUNT}:role/r"]} for n in range(ASKED)
        ]),
    ):  # fmt: skip
        more = {}
        if operation == "CreateApiDestination":
            (found,) = (await asking("events", "ListConnections", Limit=1))["Connections"]
            more = {"ConnectionArn": found["ConnectionArn"]}
        elif operation == "StartReplay":
            kept = (await asking("events", "ListArchives"))["Archives"]
            more = {"EventSourceArn": ARCHIVE.replace("a0", kept[0]["ArchiveName"])}
        answers = await asyncio.gather(*(done(asking(service, operation, **input, **more)) for input in inputs))
        assert sum(answers) == MOST, operation


async def test_no_composite_alarm_is_about_one_that_is_deleted_at_that_moment(asking):
    for number in range(8):
        child = f"child{number}"
        await asking("cloudwatch", "PutMetricAlarm", AlarmName=child, **ALARM)
        both = await asyncio.gather(
            done(asking("cloudwatch", "PutCompositeAlarm", AlarmName=f"of{number}", AlarmRule=f"ALARM({child})")),
            done(asking("cloudwatch", "DeleteAlarms", AlarmNames=[child])),
        )
        assert sorted(both) == [False, True]


async def test_action_types(asking, monkeypatch):
    for module in (custom_action_types, partner_types):
        monkeypatch.setattr(module, "MOST", MOST)
    counts = {"minimumCount": 0, "maximumCount": 1}
    details = {"inputArtifactDetails": counts, "outputArtifactDetails": counts}
    executor = {"type": "JobWorker", "configuration": {"jobWorkerExecutorConfiguration": {}}}

    def custom(number):
        return asking(
            "codepipeline", "CreateCustomActionType", category="Test", provider=f"p{number}", version="1", **details
        )

    def partners(number):
        id = {"category": "Test", "owner": "ThirdParty", "provider": f"p{number}", "version": "1"}
        return asking("penstock", "RegisterActionType", actionType={"id": id, "executor": executor, **details})

    for make in (custom, partners):
        made = await asyncio.gather(*(done(make(number)) for number in range(ASKED)))
        assert sum(made) == MOST
