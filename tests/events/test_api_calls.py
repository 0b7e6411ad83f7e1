"""Rules that take API calls, which trails record."""

import asyncio
import json

import pytest
import sqlalchemy as sa
from penstock_bridge import Stand, component
from penstock_identity_harness import ACCOUNT, OTHER, REGION, allow, harness_on, trusting
from penstock_waiting import eventually

import penstock.audit
import penstock.events
from penstock.audit import records as audit
from penstock.audit import trail_rows
from penstock.audit.trail_rules import EVERYTHING
from penstock.events import delivering, records
from penstock.events.destinations import topics
from penstock.store.records import events as store_events

PIPELINE = f"arn:aws:codepipeline:{REGION}:{ACCOUNT}:shop"
ALL = "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS"


def trail(conn, account=ACCOUNT, periods=((0, None),)):
    row = {
        "id": f"trail-{account}", "account": account, "region": REGION, "name": "all", "arn": "arn:x", "bucket": "b", "prefix": "", "key": "",
        "everywhere": True, "nowhere": True, "selectors": EVERYTHING, "chosen": False, "periods": list(map(list, periods)), "tags": {},
        "created": 0, "error": "",
    }  # fmt: skip
    trail_rows.insert(conn, row)


class Calls:
    def __init__(self, harness, owner, stand):
        self.app, self.harness, self.owner, self.stand = harness.app, harness, owner, stand

    async def events(self, operation, **input):
        return await self.app.invoke(self.owner, "events", operation, input, region=REGION)

    async def start(self, by=None):
        await self.app.invoke(
            by or self.owner, "codepipeline", "StartPipelineExecution", {"name": "shop"}, region=REGION
        )

    async def rule(self, name, detail, target, state="ENABLED"):
        pattern = {"detail-type": ["AWS API Call via CloudTrail"], "detail": detail}
        await self.events("PutRule", Name=name, EventPattern=json.dumps(pattern), State=state)
        await self.events("PutTargets", Rule=name, Targets=[{"Id": "1", **target}])

    async def passing(self, condition):
        """Let time pass, seconds at a time, until a condition holds."""

        async def later():
            self.app.clock.advance(2_000)
            await asyncio.sleep(0)
            return await condition()

        return await eventually(later)

    def given(self):
        return [(name, json.loads(text)) for name, text, _ in self.stand.asked if isinstance(text, str)]

    async def emitted(self):
        count = sa.select(sa.func.count()).select_from(store_events)
        return await self.app.store.read(lambda conn: conn.execute(count).scalar_one())


@pytest.fixture
async def calls(store, clock, tmp_path, monkeypatch):
    stand = Stand()
    components = (component(stand), penstock.events.component, penstock.audit.component)
    async with harness_on(store, clock, tmp_path, *components) as harness:
        owner = await harness.administrator()
        monkeypatch.setattr(topics, "service_session", lambda *_: owner)
        async with harness.app.records.writing():
            await harness.app.events.start()
            await harness.app.work.start(harness.app)
            yield Calls(harness, owner, stand)
            await harness.app.work.stop()
            await harness.app.events.stop()


def topic(name):
    return {"Arn": f"arn:aws:sns:{REGION}:{ACCOUNT}:{name}"}


async def test_a_call_that_a_trail_takes_goes_to_the_rules(calls):
    """Calls that only read go to the rules that ask for them by their state."""
    await calls.app.store.write(trail)
    started = {"eventName": ["StartPipelineExecution"]}
    await calls.rule("started", started, topic("started"))
    read = {"eventName": ["ListRules"]}
    await calls.rule("read", read, topic("read"))
    await calls.rule("all", read, topic("all"), ALL)
    await calls.events("ListRules")
    await calls.start()
    await calls.passing(lambda: _two(calls))
    found = dict(calls.given())
    assert sorted(found) == ["all", "started"]
    event = found["started"]
    assert (event["source"], event["account"], event["region"], event["resources"]) == (
        "aws.codepipeline",
        ACCOUNT,
        REGION,
        [],
    )
    assert event["detail"]["requestParameters"] == {"name": "shop"}
    assert (event["id"], event["time"]) == (event["detail"]["eventID"], event["detail"]["eventTime"])
    assert found["all"]["detail"]["readOnly"] is True
    assert await calls.emitted() == 2


async def _two(calls):
    return len(calls.given()) == 2


async def test_what_no_trail_takes_and_no_rule_wants_is_no_event(calls, monkeypatch):
    """Without a trail no line is read twice; without a rule no row is written."""
    asked = []
    real = penstock.audit.api_calls.of_lines
    monkeypatch.setattr(
        penstock.audit.api_calls, "of_lines", lambda lines, trails: asked.append(len(lines)) or real(lines, trails)
    )
    shipped = sa.select(sa.func.count()).select_from(audit.blocks)

    async def blocks():
        return await calls.app.store.read(lambda conn: conn.execute(shipped).scalar_one())

    await calls.rule("started", {"eventName": ["StartPipelineExecution"]}, topic("started"))
    await calls.start()
    await calls.passing(blocks)
    assert (asked, await calls.emitted()) == ([], 0)
    before = await blocks()
    await calls.app.store.write(lambda conn: trail(conn, OTHER))
    await calls.app.store.write(lambda conn: trail(conn, periods=[(1, 2)]))
    await calls.start()
    await calls.passing(lambda: _more(blocks, before))
    assert await calls.emitted() == 0


async def _more(blocks, before):
    return await blocks() > before


async def test_a_rule_whose_target_makes_the_call_that_it_takes_ends(calls):
    await calls.app.store.write(trail)
    role = await calls.harness.role(
        "starts", trusting(Service="events.amazonaws.com"), allow("codepipeline:StartPipelineExecution")
    )
    await calls.rule("again", {"eventName": ["StartPipelineExecution"]}, {"Arn": PIPELINE, "RoleArn": role})
    await calls.start()

    async def letters():
        return await calls.app.store.read(lambda conn: conn.execute(sa.select(records.dead_letters)).all())

    (letter,) = await calls.passing(letters)
    assert (letter.code, letter.hops) == ("LOOP_DETECTED", delivering.MAX_HOPS)
    assert len(calls.stand.asked) == delivering.MAX_HOPS + 1


async def test_what_eventbridge_does_for_rules_is_no_event(calls):
    """Else a rule that takes every call would have no end."""
    await calls.app.store.write(trail)
    role = await calls.harness.role(
        "starts", trusting(Service="events.amazonaws.com"), allow("codepipeline:StartPipelineExecution")
    )
    await calls.rule("roles", {"eventName": ["AssumeRole"]}, topic("assumed"))
    await calls.rule("started", {"eventName": ["StartPipelineExecution"]}, {"Arn": PIPELINE, "RoleArn": role})
    await calls.harness.assumed(
        await calls.harness.role("other", trusting(AWS=f"arn:aws:iam::{ACCOUNT}:root"), allow("*")), by=calls.owner
    )
    await calls.start()

    async def ended():
        return len([one for one in calls.stand.asked if one[0] == "shop"]) > delivering.MAX_HOPS

    await calls.passing(ended)
    await calls.passing(lambda: _assumed(calls))
    assert [name for name, _ in calls.given()] == ["assumed"]


async def _assumed(calls):
    return calls.given()
