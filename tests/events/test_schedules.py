"""EventBridge Scheduler in process: what is kept and refused, when targets are asked and for what, and what becomes of failures."""

import asyncio
import hashlib
import hmac
import json

import orjson
import pytest
import sqlalchemy as sa
from penstock_bridge import Busy, TopicNotFound
from penstock_identity_harness import ACCOUNT, OTHER, REGION, allow, refused, trusting
from penstock_waiting import eventually

from penstock.events import invoking, records, schedule_records, scheduling
from penstock.events.interest import RuleBook
from penstock.store.jobs import Fenced, JobState
from penstock.store.leases import Claimant
from penstock.store.records import jobs
from penstock.wire.errors import AccessDenied

ARN = f"arn:aws:scheduler:{REGION}:{ACCOUNT}"
TOPIC = f"arn:aws:sns:{REGION}:{ACCOUNT}:news"
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
START = 1_800_000_000_000  # of the tests' clock: 2027-01-15T08:00:00Z
OFF = {"Mode": "OFF"}


@pytest.fixture
def of(monkeypatch):
    """A function that asks Scheduler, by the owner of a bridge, with a role that may do everything."""

    async def made(bridge):
        role = await bridge.harness.role("clock", trusting(Service="scheduler.amazonaws.com"), allow("*"))
        target = {"Arn": TOPIC, "RoleArn": role}

        async def scheduler(operation, by=None, **input):
            if operation in ("CreateSchedule", "UpdateSchedule"):
                given = {"Name": "s", "ScheduleExpression": "rate(1 hour)", "FlexibleTimeWindow": OFF}
                input = given | input | {"Target": target | input.get("Target", {})}
            elif operation in ("GetSchedule", "DeleteSchedule"):
                input = {"Name": "s"} | input
            return await bridge.app.invoke(by or bridge.owner, "scheduler", operation, input, region=REGION)

        return scheduler, role

    return made


async def timers(bridge):
    live = sa.select(jobs.c.due).where(jobs.c.kind == scheduling.FIRE, jobs.c.state == JobState.READY)
    return await bridge.app.store.read(lambda conn: sorted(conn.execute(live).scalars()))


async def rows(bridge, table):
    return await bridge.app.store.read(lambda conn: conn.execute(sa.select(table)).all())


async def test_a_schedule_and_what_is_refused(any_bridge, of):
    scheduler, role = await of(any_bridge)
    made = await scheduler("CreateSchedule", Description="d", Target={"Input": "hello"}, ClientToken="t")
    assert made == {"ScheduleArn": f"{ARN}:schedule/default/s"}
    assert await scheduler("CreateSchedule", Description="d", Target={"Input": "hello"}, ClientToken="t") == made
    assert (await refused(scheduler("CreateSchedule", Target={"Input": "x"}, ClientToken="t")))[
        0
    ] == "ConflictException"
    assert await refused(scheduler("CreateSchedule")) == ("ConflictException", "Schedule s already exists.")
    assert await scheduler("GetSchedule") == {
        "ActionAfterCompletion": "NONE",
        "Arn": f"{ARN}:schedule/default/s",
        "CreationDate": START,
        "Description": "d",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "GroupName": "default",
        "LastModificationDate": START,
        "Name": "s",
        "ScheduleExpression": "rate(1 hour)",
        "ScheduleExpressionTimezone": "UTC",
        "State": "ENABLED",
        "Target": {
            "Arn": TOPIC,
            "Input": "hello",
            "RetryPolicy": {"MaximumEventAgeInSeconds": 86400, "MaximumRetryAttempts": 185},
            "RoleArn": role,
        },
    }
    any_bridge.clock.advance(MINUTE)
    await scheduler(
        "UpdateSchedule", ScheduleExpression="cron(0 2 * * ? *)", ScheduleExpressionTimezone="Europe/Berlin"
    )
    changed = await scheduler("GetSchedule")
    assert "Description" not in changed
    assert "Input" not in changed["Target"]
    assert (changed["CreationDate"], changed["LastModificationDate"]) == (START, START + MINUTE)
    assert await timers(any_bridge) == [START + 17 * HOUR]
    missing = ("ResourceNotFoundException", "Schedule x does not exist.")
    for operation in ("GetSchedule", "DeleteSchedule", "UpdateSchedule"):
        assert await refused(scheduler(operation, Name="x")) == missing
        refusal = await refused(scheduler(operation, Name="x", GroupName="g"))
        assert refusal == ("ResourceNotFoundException", "Schedule group g does not exist.")
    for input, message in (
        ({"ScheduleExpression": "cron(0 1 * * * *)"}, "Invalid Schedule Expression cron(0 1 * * * *)."),
        ({"ScheduleExpression": " rate(10 minutes)"}, "Invalid Schedule Expression  rate(10 minutes)."),
        ({"ScheduleExpression": "at(2021-12-31)"}, "Invalid Schedule Expression at(2021-12-31)."),
        ({"ScheduleExpressionTimezone": "Mars"}, "Invalid ScheduleExpressionTimezone Mars."),
        ({"StartDate": START - HOUR}, "The StartDate you specify cannot be earlier than 5 minutes ago."),
        ({"EndDate": START}, "The EndDate you specify must be in the future."),
        ({"StartDate": START + DAY, "EndDate": START + HOUR}, "The EndDate you specify must come after the StartDate."),
        ({"FlexibleTimeWindow": {"Mode": "FLEXIBLE"}}, "needs MaximumWindowInMinutes"),
        ({"FlexibleTimeWindow": OFF | {"MaximumWindowInMinutes": 5}}, "of Mode FLEXIBLE"),
        ({"KmsKeyArn": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/k"}, "leave out KmsKeyArn"),
        ({"Target": {"Arn": "x"}}, "not a target that Penstock has"),
        ({"Target": {"Arn": TOPIC.replace(ACCOUNT, OTHER)}}, "another account or region"),
        ({"Target": {"Input": "x" * 262_145}}, "longer than 262144 bytes"),
        ({"Target": {"SqsParameters": {}}}, "does not have"),
        ({"Target": {"EventBridgeParameters": {"Source": "x", "DetailType": "y"}}}, "event buses"),
        ({"Target": {"Arn": f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/default"}}, "are required for an event bus"),
        ({"Target": {"Arn": "arn:aws:scheduler:::aws-sdk:sns:listTopics"}}, "only reads"),
        ({"Target": {"Arn": "arn:aws:scheduler:::aws-sdk:sns:flyAway"}}, "has no operation flyAway"),
        ({"Target": {"Arn": "arn:aws:scheduler:::aws-sdk:sns:publish", "Input": "[]"}}, "not a JSON object"),
        ({"Target": {"Arn": "arn:aws:scheduler:::aws-sdk:sns:publish", "Input": '{"X": 1}'}}, "a member X"),
        ({"Target": {"Arn": "arn:aws:scheduler:::aws-sdk:sns:publish", "Input": "[" * 999}}, "cannot be read"),
    ):  # fmt: skip
        code, said = await refused(scheduler("CreateSchedule", Name="n", **input))
        assert (code, message in said) == ("ValidationException", True), (input, said)
    skipped = {"ScheduleExpression": "at(2027-03-28T02:30:00)", "ScheduleExpressionTimezone": "Europe/Berlin"}
    assert "No clock in Europe/Berlin" in (await refused(scheduler("CreateSchedule", Name="n", **skipped)))[1]
    stranger = await any_bridge.harness.role("stranger", trusting(Service="events.amazonaws.com"), allow("*"))
    said = "The execution role you provide must allow AWS EventBridge Scheduler to assume the role."
    assert await refused(scheduler("CreateSchedule", Name="n", Target={"RoleArn": stranger})) == (
        "ValidationException",
        said,
    )
    ann = await any_bridge.harness.user("ann", allow("scheduler:*"))
    with pytest.raises(AccessDenied, match="iam:PassRole"):
        await scheduler("CreateSchedule", by=ann, Name="n")
    await scheduler("DeleteSchedule", ClientToken="gone")
    await scheduler("DeleteSchedule", ClientToken="gone")
    assert await timers(any_bridge) == []


async def test_groups_and_lists(any_bridge, of):
    scheduler, _ = await of(any_bridge)
    tags = [{"Key": "k", "Value": "v"}]
    made = await scheduler("CreateScheduleGroup", Name="g", Tags=tags, ClientToken="c")
    assert made == {"ScheduleGroupArn": f"{ARN}:schedule-group/g"}
    assert await scheduler("CreateScheduleGroup", Name="g", Tags=tags, ClientToken="c") == made
    for name in ("g", "default"):
        refusal = await refused(scheduler("CreateScheduleGroup", Name=name))
        assert refusal == ("ConflictException", f"Schedule group {name} already exists.")
    arn = made["ScheduleGroupArn"]
    await scheduler("TagResource", ResourceArn=arn, Tags=[{"Key": "l", "Value": "w"}])
    await scheduler("UntagResource", ResourceArn=arn, TagKeys=["k", "none"])
    assert await scheduler("ListTagsForResource", ResourceArn=arn) == {"Tags": [{"Key": "l", "Value": "w"}]}
    for group, name in (("g", "a"), ("g", "b"), ("default", "a"), ("default", "c")):
        await scheduler("CreateSchedule", GroupName=group, Name=name, State="DISABLED" if name == "c" else "ENABLED")

    async def listed(**input):
        found, more = [], {}
        while True:
            page = await scheduler("ListSchedules", MaxResults=1, **input, **more)
            found += [f"{one['GroupName']}/{one['Name']}" for one in page["Schedules"]]
            if "NextToken" not in page:
                return found
            more = {"NextToken": page["NextToken"]}

    assert await listed() == ["default/a", "default/c", "g/a", "g/b"]
    assert await listed(GroupName="g") == ["g/a", "g/b"]
    assert await listed(NamePrefix="a") == ["default/a", "g/a"]
    assert await listed(State="DISABLED") == ["default/c"]
    (one,) = (await scheduler("ListSchedules", NamePrefix="c"))["Schedules"]
    assert one == {
        "Arn": f"{ARN}:schedule/default/c", "CreationDate": START, "GroupName": "default", "LastModificationDate": START,
        "Name": "c", "State": "DISABLED", "Target": {"Arn": TOPIC},
    }  # fmt: skip
    assert [one["Name"] for one in (await scheduler("ListScheduleGroups"))["ScheduleGroups"]] == ["default", "g"]
    assert await scheduler("GetScheduleGroup", Name="default") == {
        "Arn": f"{ARN}:schedule-group/default", "Name": "default", "State": "ACTIVE",
    }  # fmt: skip
    missing = ("ResourceNotFoundException", "Schedule group x does not exist.")
    for operation, input in (
        ("GetScheduleGroup", {"Name": "x"}),
        ("DeleteScheduleGroup", {"Name": "x"}),
        ("ListSchedules", {"GroupName": "x"}),
        ("ListTagsForResource", {"ResourceArn": f"{ARN}:schedule-group/x"}),
        ("CreateSchedule", {"GroupName": "x"}),
    ):
        assert await refused(scheduler(operation, **input)) == missing
    assert (await refused(scheduler("DeleteScheduleGroup", Name="default")))[0] == "ValidationException"
    only = await any_bridge.harness.user("only", allow("scheduler:DeleteScheduleGroup"))
    with pytest.raises(AccessDenied, match="scheduler:DeleteSchedule "):
        await scheduler("DeleteScheduleGroup", by=only, Name="g")
    await scheduler("DeleteScheduleGroup", Name="g")
    assert (await scheduler("GetScheduleGroup", Name="g"))["State"] == "DELETING"
    assert (await refused(scheduler("CreateSchedule", GroupName="g", Name="z")))[0] == "ConflictException"
    await any_bridge.app.work.start(any_bridge.app)
    await eventually(lambda: _gone(scheduler))
    await any_bridge.app.work.stop()
    assert await listed() == ["default/a", "default/c"]
    assert len(await timers(any_bridge)) == 1


async def taken(bridge, kind):
    """A job in a worker's hands."""
    claimant = Claimant(worker="one", lease_ms=30_000, regions=())
    now = bridge.clock.now()
    (job,) = await bridge.app.store.write(lambda conn: claimant.claim(conn, {(kind,): 1}, now=now))
    return job


async def test_a_group_that_was_made_anew_keeps_its_schedules(bridge, of):
    """Though the job that deleted the one before it runs again."""
    scheduler, _ = await of(bridge)
    await scheduler("CreateScheduleGroup", Name="g")
    await scheduler("DeleteScheduleGroup", Name="g")
    job = await taken(bridge, scheduling.EMPTY_GROUP)
    await scheduling.empty_group(RuleBook(bridge.app), job)
    await scheduler("CreateScheduleGroup", Name="g")
    await scheduler("CreateSchedule", GroupName="g")
    with pytest.raises(Fenced):
        await scheduling.empty_group(RuleBook(bridge.app), job)
    assert len((await scheduler("ListSchedules", GroupName="g"))["Schedules"]) == 1
    await scheduler("DeleteScheduleGroup", Name="g")
    await scheduling.empty_group(RuleBook(bridge.app), await taken(bridge, scheduling.EMPTY_GROUP))
    await _gone(scheduler)
    assert await timers(bridge) == []


async def test_what_was_given_up_is_asked_again_at_once(any_bridge, of):
    """The job that gave it up has ended by then, though its handler has not."""
    scheduler, _ = await of(any_bridge)
    book = RuleBook(any_bridge.app)
    any_bridge.stand.fails["news"] = [1, TopicNotFound()]
    await scheduler("CreateSchedule", Target={"Input": "again"})
    await scheduling.fire(book, await taken(any_bridge, scheduling.FIRE))
    await invoking.invoke(book, await taken(any_bridge, scheduling.INVOKE))
    (letter,) = await letters(any_bridge)
    await any_bridge.app.store.write(invoking.invoke_again, letter, any_bridge.clock.now())
    await invoking.invoke(book, await taken(any_bridge, scheduling.INVOKE))
    assert said(any_bridge) == [("news", "again")]


async def _gone(scheduler):
    return len((await scheduler("ListScheduleGroups"))["ScheduleGroups"]) == 1


async def test_when_a_schedule_comes(any_bridge, of):
    """A rate begins at once or at its StartDate, and keeps its times when something else is changed."""
    scheduler, clock = (await of(any_bridge))[0], any_bridge.clock

    async def due(operation="UpdateSchedule", **input):
        await scheduler(operation, **input)
        return await timers(any_bridge)

    assert await due("CreateSchedule") == [START]
    clock.advance(MINUTE)
    assert await due(Description="x") == [START]
    assert await due(State="DISABLED") == []
    assert await due() == [START + HOUR]
    assert await due(ScheduleExpression="rate(2 hours)") == [START + MINUTE]
    assert await due(StartDate=START + DAY) == [START + DAY]
    assert await due(ScheduleExpression="cron(0 8 * * ? *)", StartDate=START + DAY) == [START + DAY]
    assert await due(ScheduleExpression="cron(0 8 * * ? *)", EndDate=START + DAY) == [START + DAY]
    assert await due(ScheduleExpression="cron(0 8 * * ? *)", EndDate=START + DAY - 1) == []
    once = {"ScheduleExpression": "at(2027-07-01T02:00:00)", "ScheduleExpressionTimezone": "Europe/Berlin"}
    assert await due(**once, StartDate=START - DAY, EndDate=START - HOUR) == [1_814_400_000_000]
    assert await due(ScheduleExpression="at(2020-01-01T00:00:00)") == []
    window = {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 60}
    (begun,) = await due(ScheduleExpression="cron(0 12 * * ? *)", FlexibleTimeWindow=window)
    assert START + 4 * HOUR <= begun < START + 5 * HOUR


def said(bridge):
    return [(name, input if isinstance(input, str) else {**input}) for name, input, _ in bridge.stand.asked]


async def test_targets_are_asked_under_their_role(working, of):
    scheduler, role = await of(working)
    await working.events("PutRule", Name="r", EventPattern='{"source": ["clock"]}')
    pipeline = f"arn:aws:codepipeline:{REGION}:{ACCOUNT}:nightly"
    await working.events(
        "PutTargets", Rule="r", Targets=[{"Id": "1", "Arn": pipeline, "RoleArn": await _events_role(working)}]
    )
    at = {"ScheduleExpression": "at(2027-01-15T09:00:00)", "ActionAfterCompletion": "DELETE"}
    text = (
        "<aws.scheduler.schedule-arn> <aws.scheduler.scheduled-time> <aws.scheduler.attempt-number> <aws.scheduler.x> "
    )
    bus = {
        "Arn": f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/default",
        "EventBridgeParameters": {"Source": "clock", "DetailType": "Tick"},
        "Input": '{"n": 1}',
    }
    universal = {
        "Arn": "arn:aws:scheduler:::aws-sdk:codepipeline:startPipelineExecution",
        "Input": '{"Name": "<aws.scheduler.attempt-number>-any"}',
    }
    rerun = {"Arn": pipeline, "Input": '{"variables": [{"name": "v", "value": "1"}], "more": 1}'}
    targets = {"topic": {"Input": text}, "usual": {}, "bus": bus, "universal": universal, "pipeline": rerun}
    for name, target in targets.items():
        await scheduler("CreateSchedule", Name=name, Target=target, **at)
    working.clock.advance(HOUR)
    await eventually(lambda: _asked(working, 5))
    asked = said(working)
    texts = sorted(input for name, input in asked if name == "news")
    assert texts[0] == f"{ARN}:schedule/default/topic 2027-01-15T09:00:00Z 1 <aws.scheduler.x> "
    usual = json.loads(texts[1])
    assert usual == {
        "version": "0", "id": usual["id"], "detail-type": "Scheduled Event", "source": "aws.scheduler", "account": ACCOUNT,
        "time": "2027-01-15T09:00:00Z", "region": REGION, "resources": [f"{ARN}:schedule/default/usual"], "detail": "{}",
    }  # fmt: skip
    pipelines = [input for name, input in asked if name != "news"]
    assert sorted(input["name"] for input in pipelines) == ["1-any", "nightly", "nightly"]
    assert len({input["clientRequestToken"] for input in pipelines}) == 3
    assert [input["variables"] for input in pipelines if "variables" in input] == [[{"name": "v", "value": "1"}]]
    sessions = {session.arn.split("/")[1] for name, _, session in working.stand.asked if name == "news"}
    assert sessions == {"clock"}
    await eventually(lambda: _all_done(working))
    assert (await scheduler("ListSchedules"))["Schedules"] == []


async def _events_role(bridge):
    return await bridge.harness.role("starter", trusting(Service="events.amazonaws.com"), allow("*"))


async def _asked(bridge, number):
    return len(bridge.stand.asked) >= number


async def _all_done(bridge):
    return not await rows(bridge, schedule_records.invocations)


async def letters(bridge):
    return await rows(bridge, records.dead_letters)


async def _letter(bridge):
    return len(await letters(bridge)) == 1


async def test_what_fails_is_tried_again_and_then_kept(working, of):
    scheduler, _ = await of(working)
    working.stand.fails["news"] = [2, Busy()]
    queue = f"arn:aws:sqs:{REGION}:{ACCOUNT}:dead"
    once = {"ScheduleExpression": "at(2027-01-15T09:00:00)"}
    again = {"Input": "<aws.scheduler.attempt-number>", "DeadLetterConfig": {"Arn": queue}}
    await scheduler("CreateSchedule", Target=again | {"RetryPolicy": {"MaximumRetryAttempts": 2}}, **once)

    async def asked():
        working.clock.advance(MINUTE)
        return bool(working.stand.asked)

    working.clock.advance(HOUR)
    await eventually(asked)
    assert said(working) == [("news", "3")]
    await eventually(lambda: _all_done(working))
    working.stand.fails["news"] = [1, TopicNotFound()]
    await scheduler("CreateSchedule", Name="t", ScheduleExpression="at(2027-01-16T09:00:00)", Target=again)
    working.clock.advance(DAY)
    await eventually(lambda: _letter(working))
    (letter,) = await letters(working)
    assert letter.schedule == f"{ARN}:schedule/default/t"
    assert (letter.code, letter.arn, letter.queue) == ("NO_RESOURCE", TOPIC, queue)
    (dead,) = await rows(working, schedule_records.invocations)
    assert json.loads(invoking.said_of(working.app, dead)) == {
        "scheduleArn": letter.schedule,
        "scheduledTime": "2027-01-16T09:00:00Z",
        "targetArn": TOPIC,
        "input": "<aws.scheduler.attempt-number>",
    }
    await working.app.store.write(invoking.invoke_again, letter, working.clock.now())
    await eventually(lambda: _asked(working, 2))
    await eventually(lambda: _all_done(working))
    assert await letters(working) == []


async def test_a_role_that_may_not(working, of):
    scheduler, _ = await of(working)
    role = await working.harness.role("weak", trusting(Service="scheduler.amazonaws.com"))
    await scheduler("CreateSchedule", ScheduleExpression="at(2027-01-15T09:00:00)", Target={"RoleArn": role})
    working.clock.advance(HOUR)
    await eventually(lambda: _letter(working))
    (letter,) = await letters(working)
    assert letter.code == "NO_PERMISSIONS"


@pytest.mark.parametrize(("outage", "age", "asked"), [(5 * HOUR, 86_400, 1), (5 * HOUR, 3_600, 0)])
async def test_what_was_missed_is_made_up_for_once_unless_it_is_too_old(bridge, of, outage, age, asked):
    scheduler, _ = await of(bridge)
    policy = {"RetryPolicy": {"MaximumEventAgeInSeconds": age}}
    await scheduler(
        "CreateSchedule",
        ScheduleExpression="cron(30 * * * ? *)",
        Target=policy | {"Input": "<aws.scheduler.scheduled-time>"},
    )
    bridge.clock.advance(outage)
    await bridge.app.work.start(bridge.app)
    await eventually(lambda: _settled(bridge, outage + HOUR // 2))
    await eventually(lambda: _asked(bridge, 1) if asked else _letter(bridge))
    await asyncio.gather(bridge.app.work.stop())
    assert said(bridge) == ([("news", "2027-01-15T08:30:00Z")] if asked else [])
    if not asked:
        assert (await letters(bridge))[0].exhausted == "MaximumEventAgeInSeconds"


async def _settled(bridge, due):
    return await timers(bridge) == [START + due]


async def test_an_input_is_sealed(bridge, of):
    """In the schedule and in what is asked; the digest of a request is under a key."""
    scheduler, _ = await of(bridge)
    asked = {"Target": {"Input": "hush"}, "ScheduleExpression": "at(2027-01-15T09:00:00)"}
    await scheduler("CreateSchedule", **asked, ClientToken="t")
    (token,) = await rows(bridge, schedule_records.tokens)
    full = (await scheduler("GetSchedule"))["Target"]
    given = {"Name": "s", "FlexibleTimeWindow": OFF, **asked} | {
        "Target": {n: full[n] for n in ("Arn", "RoleArn", "Input")}
    }
    text = orjson.dumps(["CreateSchedule", given], option=orjson.OPT_SORT_KEYS)
    key = bridge.app.sealer.derive("tokens of schedules")
    assert token.digest == hmac.new(key, text, hashlib.sha256).hexdigest()
    (row,) = await rows(bridge, schedule_records.schedules)
    assert b"hush" not in row.input
    assert "hush" not in json.dumps(row.content)
    assert await rows(bridge, records.dead_letters) == []


async def test_twins_of_a_request_are_answered_the_same(any_bridge, of):
    """A client that has waited too long asks again while its first request is still at work."""
    scheduler, _ = await of(any_bridge)
    for operation in (
        "CreateScheduleGroup",
        "CreateSchedule",
        "DeleteSchedule",
        "DeleteScheduleGroup",
    ):
        for number in range(4):
            twins = [scheduler(operation, Name=f"n{number}", ClientToken=f"{operation}-{number}") for _ in range(4)]
            answers = await asyncio.gather(*twins)
            assert answers == answers[:1] * 4
