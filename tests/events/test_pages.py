"""The console's pages of rules and schedules, as their visitor may see them."""

import json

import pytest
from penstock_identity_harness import ACCOUNT, REGION, allow, trusting

from penstock.events import pages
from penstock.webpages.wording import state
from penstock.wire.errors import AccessDenied

START = 1_800_000_000_000  # of the tests' clock: 2027-01-15T08:00:00Z
HOUR = 3_600_000


class View:
    """What a page is given, of one visitor."""

    def __init__(self, bridge, session, **query):
        self.app, self.query, self._session = bridge.app, query, session

    async def call(self, service, operation, **input):
        return await self.app.invoke(self._session, service, operation, input, region=REGION)

    async def allowed(self, service, operation, **input):
        try:
            return await self.call(service, operation, **input)
        except AccessDenied:
            return None


def cells(listing):
    """Name, text and next time of each row."""
    return [(row.cells[0], row.cells[2].text, row.cells[-1].at) for row in listing.rows]


async def test_rules(bridge):
    view = View(bridge, bridge.owner)
    shown = await pages.rules(view)
    assert (shown.rows, shown.empty.title) == ([], "No rules yet")
    pattern = json.dumps({"source": ["shop"]})
    await bridge.events("PutRule", Name="a", ScheduleExpression="cron(0 9 * * ? *)", EventPattern=pattern)
    await bridge.events("PutRule", Name="b", ScheduleExpression="rate(1 hour)")
    await bridge.events("PutRule", Name="c", EventPattern=pattern)
    await bridge.events("PutRule", Name="d", ScheduleExpression="cron(0 9 * * ? *)", State="DISABLED")
    shown = await pages.rules(view)
    assert shown.lede == "4 rules of the default bus on this page, 3 with a schedule."
    assert cells(shown) == [
        ("a", "cron(0 9 * * ? *)", START + HOUR),
        ("b", "rate(1 hour)", None),
        ("c", pattern, None),
        ("d", "cron(0 9 * * ? *)", None),
    ]
    assert [state(row.cells[1].state).word for row in shown.rows] == ["Enabled"] * 3 + ["Disabled"]


async def test_schedules(bridge, monkeypatch):
    assert (await pages.schedules(View(bridge, bridge.owner))).empty.title == "No schedules yet"
    role = await bridge.harness.role("clock", trusting(Service="scheduler.amazonaws.com"))
    target = {"Arn": f"arn:aws:sns:{REGION}:{ACCOUNT}:news", "RoleArn": role}

    async def put(name, expression, operation="CreateSchedule", **more):
        given = {
            "Name": name,
            "ScheduleExpression": expression,
            "Target": target,
            "FlexibleTimeWindow": {"Mode": "OFF"},
        }
        await bridge.app.invoke(bridge.owner, "scheduler", operation, given | more, region=REGION)

    await put("a", "at(2027-01-15T10:00:00)", ScheduleExpressionTimezone="Europe/Berlin")
    await put("b", "rate(1 hour)")
    await put("c", "rate(1 hour)", State="DISABLED")
    await put("d", "rate(2 hours)")
    bridge.clock.advance(60_000)
    await put("d", "rate(1 hour)", "UpdateSchedule")
    monkeypatch.setattr(pages, "_SCHEDULES", 3)
    shown = await pages.schedules(View(bridge, bridge.owner))
    assert cells(shown) == [
        ("a", "at(2027-01-15T10:00:00)", START + HOUR),
        ("b", "rate(1 hour)", START + HOUR),
        ("c", "rate(1 hour)", None),
    ]
    assert shown.rows[0].cells[2].below == "Europe/Berlin"
    token = (await View(bridge, bridge.owner).call("scheduler", "ListSchedules", MaxResults=3))["NextToken"]
    assert cells(await pages.schedules(View(bridge, bridge.owner, **{"from": token}))) == [("d", "rate(1 hour)", None)]
    looker = await bridge.harness.user("looker", allow("scheduler:ListSchedules"))
    names = [text for _, text, _ in cells(await pages.schedules(View(bridge, looker)))]
    assert names == ["A policy does not let you see it."] * 3
    with pytest.raises(AccessDenied):
        await pages.rules(View(bridge, looker))


async def test_a_schedule_that_comes_after_all_dates_breaks_no_page():
    found = {"ScheduleExpression": "rate(99999999 days)", "ScheduleExpressionTimezone": "UTC", "State": "ENABLED"}
    times = {"CreationDate": START, "LastModificationDate": START}
    assert pages._next_of_schedule({**found, **times}, START + 1) is None
