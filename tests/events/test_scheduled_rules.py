"""Rules with a schedule: what is refused, and that each time makes one event, whoever makes it and whatever happened meanwhile."""

import asyncio
import json

import pytest
import sqlalchemy as sa
from penstock_identity_harness import ACCOUNT, REGION, refused, trusting
from penstock_waiting import eventually

from penstock.events import records, scheduled_rules
from penstock.store.jobs import Fenced, JobState
from penstock.store.records import jobs

ARN = f"arn:aws:events:{REGION}:{ACCOUNT}:rule/r"
TOPIC = {"Id": "1", "Arn": f"arn:aws:sns:{REGION}:{ACCOUNT}:news"}
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
START = 1_800_000_000_000  # of the tests' clock: 2027-01-15T08:00:00Z


async def timers(bridge):
    """The times of the timers that are set."""
    live = sa.select(jobs.c.due).where(jobs.c.kind == scheduled_rules.FIRE, jobs.c.state == JobState.READY)
    return await bridge.app.store.read(lambda conn: sorted(conn.execute(live).scalars()))


async def put(bridge, schedule, name="r", **more):
    return await bridge.events("PutRule", Name=name, ScheduleExpression=schedule, **more)


async def times(bridge):
    """The times of the events whose deliveries were written."""
    found = await bridge.app.store.read(lambda conn: conn.execute(sa.select(records.envelopes.c.body)).scalars().all())
    return sorted(json.loads(body)["time"] for body in found)


async def test_what_is_refused(any_bridge):
    events = any_bridge.events
    await events("CreateEventBus", Name="b")
    assert await refused(put(any_bridge, "rate(1 minute)", EventBusName="b")) == (
        "ValidationException",
        "ScheduleExpression is supported only on the default event bus.",
    )
    for bad in (
        "rate(1 minutes)",
        "rate( 10 minutes )",
        "cron(0 1 * * * *)",
        "cron(INVALID)",
        "at(2030-01-01T00:00:00)",
    ):
        assert await refused(put(any_bridge, bad)) == (
            "ValidationException",
            "Parameter ScheduleExpression is not valid.",
        )
    assert (await refused(events("PutRule", Name="r")))[0] == "ValidationException"
    assert await put(any_bridge, "rate(1 minute)", EventPattern='{"source": ["x"]}') == {"RuleArn": ARN}
    described = await events("DescribeRule", Name="r")
    assert (described["ScheduleExpression"], described["EventPattern"]) == ("rate(1 minute)", '{"source": ["x"]}')
    await put(any_bridge, "cron(0 2 * * ? *)")
    (listed,) = (await events("ListRules"))["Rules"]
    assert listed == {
        "Arn": ARN, "EventBusName": "default", "Name": "r", "ScheduleExpression": "cron(0 2 * * ? *)", "State": "ENABLED",
    }  # fmt: skip


async def test_a_timer_for_each_rule_that_acts(any_bridge):
    events, clock = any_bridge.events, any_bridge.clock
    await put(any_bridge, "rate(5 minutes)")
    assert await timers(any_bridge) == [START + 5 * MINUTE]
    clock.advance(MINUTE)
    await put(any_bridge, "rate(5 minutes)", Description="as it was")
    await events("EnableRule", Name="r")
    assert await timers(any_bridge) == [START + 5 * MINUTE]
    await put(any_bridge, "rate(1 hour)")
    assert await timers(any_bridge) == [START + MINUTE + HOUR]
    await events("DisableRule", Name="r")
    assert await timers(any_bridge) == []
    await put(any_bridge, "rate(1 hour)", State="DISABLED")
    assert await timers(any_bridge) == []
    clock.advance(MINUTE)
    await events("EnableRule", Name="r")
    assert await timers(any_bridge) == [START + 2 * MINUTE + HOUR]
    await put(any_bridge, "cron(0 0 ? * 6L 2002-2005)")
    assert await timers(any_bridge) == []
    await put(any_bridge, "cron(30 8 * * ? *)")
    assert await timers(any_bridge) == [START + 30 * MINUTE]
    await events("PutRule", Name="r", EventPattern='{"source": ["x"]}')
    assert await timers(any_bridge) == []
    await put(any_bridge, "rate(1 day)")
    await events("DeleteRule", Name="r")
    assert await timers(any_bridge) == []


async def test_the_event_comes_to_the_targets_each_time(working):
    role = await working.harness.role("starter", trusting(Service="events.amazonaws.com"))
    await working.harness.iam(
        "PutRolePolicy", RoleName="starter", PolicyName="p",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}),
    )  # fmt: skip
    pipeline = {"Arn": f"arn:aws:codepipeline:{REGION}:{ACCOUNT}:nightly", "RoleArn": role}
    constant = {"Id": "2", "Input": '{"variables": [{"name": "v", "value": "1"}]}'}
    await put(working, "cron(0/30 * * * ? *)")
    await working.events("PutTargets", Rule="r", Targets=[{"Id": "1", **pipeline}, constant | pipeline])
    for half_hour in (1, 2):
        working.clock.advance(30 * MINUTE)
        await eventually(lambda wanted=2 * half_hour: _asked(working, wanted))
    assert {name for name, _, _ in working.stand.asked} == {"nightly"}
    assert {len(input.get("variables", ())) for _, input, _ in working.stand.asked} == {0, 1}
    assert len({input["clientRequestToken"] for _, input, _ in working.stand.asked}) == 4
    assert await times(working) == ["2027-01-15T08:30:00Z", "2027-01-15T09:00:00Z"]
    (body, _) = await working.app.store.read(
        lambda conn: conn.execute(sa.select(records.envelopes.c.body).order_by(records.envelopes.c.at)).scalars().all()
    )
    event = json.loads(body)
    assert event == {
        "version": "0", "id": event["id"], "detail-type": "Scheduled Event", "source": "aws.events", "account": ACCOUNT,
        "time": "2027-01-15T08:30:00Z", "region": REGION, "resources": [ARN], "detail": {},
    }  # fmt: skip


async def _asked(bridge, number):
    return len(bridge.stand.asked) >= number


async def taken(bridge, worker):
    """The timer that is due, in a worker's hands."""
    from penstock.store.leases import Claimant

    claimant = Claimant(worker=worker, lease_ms=30_000, regions=())
    now = bridge.clock.now()
    (job,) = await bridge.app.store.write(lambda conn: claimant.claim(conn, {(scheduled_rules.FIRE,): 1}, now=now))
    return job


async def test_each_time_makes_one_event_though_two_servers_try(any_bridge):
    """The first one's lease has run out when it comes to write, and the second one has the timer."""
    from penstock.events.interest import RuleBook
    from penstock.store import leases

    await put(any_bridge, "rate(1 hour)")
    await any_bridge.events("PutTargets", Rule="r", Targets=[TOPIC])
    book = RuleBook(any_bridge.app)
    any_bridge.clock.advance(HOUR)
    slow = await taken(any_bridge, "slow")
    any_bridge.clock.advance(31_000)
    await any_bridge.app.store.write(leases.lapse, now=any_bridge.clock.now(), held=(), worker=None)
    any_bridge.clock.advance(MINUTE)
    quick = await taken(any_bridge, "quick")
    await scheduled_rules.fire(book, quick)
    with pytest.raises(Fenced):
        await scheduled_rules.fire(book, slow)
    assert await times(any_bridge) == ["2027-01-15T09:00:00Z"]
    assert await timers(any_bridge) == [START + 2 * HOUR]


@pytest.mark.parametrize("change", ["delete", "disable", "replace"])
async def test_a_timer_that_is_due_does_nothing_for_a_rule_that_has_changed(bridge, change):
    from penstock.events.interest import RuleBook

    await put(bridge, "rate(1 hour)")
    bridge.clock.advance(HOUR)
    job = await taken(bridge, "one")
    match change:
        case "delete":
            await bridge.events("DeleteRule", Name="r")
        case "disable":
            await bridge.events("DisableRule", Name="r")
        case _:
            await put(bridge, "rate(2 hours)")
    with pytest.raises(Fenced):
        await scheduled_rules.fire(RuleBook(bridge.app), job)
    assert await times(bridge) == []
    assert await timers(bridge) == ([START + 3 * HOUR] if change == "replace" else [])


@pytest.mark.parametrize(("outage", "made"), [(5 * HOUR, ["2027-01-15T09:00:00Z"]), (DAY + 2 * HOUR, [])])
async def test_of_the_times_of_an_outage_one_is_made_up_for(bridge, outage, made):
    """And none when the first of them is more than a day ago."""
    await put(bridge, "cron(0 * * * ? *)")
    await bridge.events("PutTargets", Rule="r", Targets=[TOPIC])
    bridge.clock.advance(outage + MINUTE)
    await bridge.app.events.start()
    await bridge.app.work.start(bridge.app)
    await eventually(lambda: _set(bridge, START + outage + HOUR))
    await asyncio.gather(bridge.app.work.stop(), bridge.app.events.stop())
    assert await times(bridge) == made


async def _set(bridge, due):
    return await timers(bridge) == [due]
