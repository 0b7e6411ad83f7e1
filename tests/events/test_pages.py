"""The console's pages of rules and schedules, as their visitor may see them."""

import json
from types import SimpleNamespace

import pytest
from penstock_identity_harness import ACCOUNT, REGION, allow, trusting

from penstock.events import pages, rule_pages
from penstock.webpages.wording import state
from penstock.wire.errors import AccessDenied

START = 1_800_000_000_000  # of the tests' clock: 2027-01-15T08:00:00Z
HOUR = 3_600_000


class View:
    """What a page is given, of one visitor."""

    def __init__(self, bridge, session, **query):
        self.app, self.query, self._session = bridge.app, query, session
        self.path, self.letters, self.region = {"name": query.get("name", "")}, [], REGION
        self.visitor = SimpleNamespace(account=ACCOUNT)

    async def call(self, service, operation, **input):
        return await self.app.invoke(self._session, service, operation, input, region=REGION)

    async def allowed(self, service, operation, **input):
        if operation == "ListEventDeadLetters":
            at = int(input.get("nextToken", "0"))
            found = None if self.letters is None else {"deadLetters": self.letters[at : at + 1]}
            return found if found is None or at > 8 else {**found, "nextToken": str(at + 1)}
        try:
            return await self.call(service, operation, **input)
        except AccessDenied:
            return None


def cells(listing):
    """Name, text and next time of each row."""
    return [(getattr(row.cells[0], "text", row.cells[0]), row.cells[2].text, row.cells[-1].at) for row in listing.rows]


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


async def test_a_rule_with_its_targets_and_what_was_given_up(bridge):
    pattern = json.dumps({"source": ["<b>shop"]})
    await bridge.events("PutRule", Name="a", EventPattern=pattern, Description="<b>")
    view = View(bridge, bridge.owner, name="a")
    shown = await rule_pages.rule(view)
    assert shown.lede == "It is enabled, with 0 targets."
    assert [(part.title, len(part.rows), part.none or part.text) for part in shown.parts] == [
        ("Targets", 0, "Nothing is done yet: add a target."),
        ("Given up", 0, "Nothing was given up."),
        ("Event pattern", 0, "It waits for no events."),
    ]
    topic = f"arn:aws:sns:{REGION}:{ACCOUNT}:news"
    targets = [{"Id": "t", "Arn": topic, "RetryPolicy": {"MaximumRetryAttempts": 2}}]
    await bridge.events("PutTargets", Rule="a", Targets=targets)
    (arn,) = (value for name, value in shown.facts if name == "ARN")
    letter = {"ruleArn": arn, "targetId": "t", "time": 1, "errorCode": "NO_PERMISSIONS", "retryAttempts": 2}
    view.letters = [
        letter | {"ruleArn": f"{arn}b"},
        letter,
        {"scheduleArn": "s"},
        letter | {"errorMessage": "<b>why"},
        letter,
        letter,
    ]
    shown = await rule_pages.rule(view)
    assert shown.lede == "It is enabled, with 1 target."
    assert [row.cells[0] for row in shown.parts[0].rows] == ["t"]
    assert shown.parts[0].rows[0].cells[-1] == 3
    # No more than five pages of letters are looked through.
    assert [(row.cells[2].text, row.cells[3]) for row in shown.parts[1].rows] == [
        ("NO_PERMISSIONS", 3),
        ("<b>why", 3),
        ("NO_PERMISSIONS", 3),
    ]
    assert shown.parts[2].text == pattern
    await bridge.events("DisableRule", Name="a")
    reader = View(bridge, await bridge.harness.user("reader", allow("events:DescribeRule")), name="a")
    reader.letters = None
    shown = await rule_pages.rule(reader)
    assert shown.lede == "It is disabled: nothing reaches its targets."
    assert [part.none for part in shown.parts[:2]] == [
        "A policy does not let you see them.",
        "A policy does not let you see what was given up.",
    ]


async def test_archives_and_how_far_their_replays_are(bridge):
    view = View(bridge, bridge.owner, name="all")
    assert (await rule_pages.archives(view)).empty.title == "No archives yet"
    bus = f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/default"
    made = await bridge.events("CreateArchive", ArchiveName="all", EventSourceArn=bus, RetentionDays=30)
    await bridge.events("CreateArchive", ArchiveName="ever", EventSourceArn=bus)
    shown = await rule_pages.archives(view)
    assert shown.lede == "2 archives on this page, with 0 events."
    assert [(row.cells[0].href, *row.cells[2:5]) for row in shown.rows] == [
        ("/console/archives/all", "default", "0", "30 days"),
        ("/console/archives/ever", "default", "0", "For ever"),
    ]
    assert (await rule_pages.archive(view)).parts[0].none == "Nothing was replayed yet."
    span = {"EventStartTime": START - 100_000, "EventEndTime": START}
    await bridge.events(
        "StartReplay", ReplayName="again", EventSourceArn=made["ArchiveArn"], Destination={"Arn": bus}, **span
    )
    shown = await rule_pages.archive(view)
    assert shown.lede == "0 events in 0 bytes."
    assert [(row.cells[0], row.cells[1].state, row.cells[2]) for row in shown.parts[0].rows] == [
        ("again", "STARTING", "0 %")
    ]
    for state_, at, done in (
        ("RUNNING", None, 0),
        ("RUNNING", START - 25_000, 75),
        ("RUNNING", START + 1, 100),
        ("COMPLETED", None, 100),
    ):
        one = span | {"State": state_} | ({} if at is None else {"EventLastReplayedTime": at})
        assert rule_pages._done(one) == done
    reader = View(bridge, await bridge.harness.user("reader", allow("events:DescribeArchive")), name="all")
    assert (await rule_pages.archive(reader)).parts[0].none == "A policy does not let you see them."
