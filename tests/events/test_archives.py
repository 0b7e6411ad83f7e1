"""Archives keep what arrives at a bus, for as long as they say; replays let it arrive again."""

import json

import pytest
import sqlalchemy as sa
from penstock_bridge import emitted
from penstock_identity_harness import ACCOUNT, REGION, refused
from penstock_waiting import eventually

from penstock.events import archiving, records
from penstock.events.destinations import topics
from penstock.store.retention import Sweeper

BUS = f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/default"
ARCHIVE = f"arn:aws:events:{REGION}:{ACCOUNT}:archive"
DAY = 86_400_000


@pytest.fixture
async def archiving_bridge(working, monkeypatch):
    monkeypatch.setattr(topics, "service_session", lambda *_: working.owner)
    return working


def entry(number=0, **more):
    return {"Source": "shop", "DetailType": "Ordered", "Detail": json.dumps({"n": number}), **more}


async def archive(bridge, name="all", **more):
    return await bridge.events("CreateArchive", ArchiveName=name, EventSourceArn=BUS, **more)


async def rule(bridge, name, topic, pattern='{"source": ["shop"]}'):
    await bridge.events("PutRule", Name=name, EventPattern=pattern)
    arn = f"arn:aws:sns:{REGION}:{ACCOUNT}:{topic}"
    await bridge.events("PutTargets", Rule=name, Targets=[{"Id": "1", "Arn": arn}])


async def replay(bridge, name, since, until, source="all", **destination):
    return await bridge.events(
        "StartReplay",
        ReplayName=name,
        EventSourceArn=f"{ARCHIVE}/{source}",
        EventStartTime=since,
        EventEndTime=until,
        Destination={"Arn": BUS, **destination},
    )


async def state(bridge, name):
    return (await bridge.events("DescribeReplay", ReplayName=name))["State"]


async def completed(bridge, name):
    return await eventually(lambda: _is(bridge, name, "COMPLETED"))


async def _is(bridge, name, wanted):
    return await state(bridge, name) == wanted


async def held(bridge, name="all"):
    found = await bridge.events("DescribeArchive", ArchiveName=name)
    return found["EventCount"]


async def test_what_was_archived_arrives_again(archiving_bridge):
    """With the name of the replay, at the chosen rules, in order; and it is not archived once more."""
    bridge = archiving_bridge
    now = bridge.clock.now() // 1000 * 1000
    await archive(bridge, "some", EventPattern='{"detail": {"n": [1, 2]}}')
    made = await archive(bridge)
    assert made == {"ArchiveArn": f"{ARCHIVE}/all", "State": "ENABLED", "CreationTime": bridge.clock.now()}
    await rule(bridge, "one", "one")
    await rule(bridge, "two", "two")
    times = [now - 3_000, now - 2_000, now - 1_000, now]
    put = [entry(number, Time=time) for number, time in enumerate(times)]
    ids = [one["EventId"] for one in (await bridge.events("PutEvents", Entries=put))["Entries"]]
    await bridge.app.store.write(lambda conn: emitted(conn, bridge.app, {"arn": "arn:1"}))
    await eventually(lambda: _held(bridge, 5))
    assert await held(bridge, "some") == 2
    await eventually(lambda: len(bridge.stand.asked) == 8)
    bridge.stand.asked.clear()
    started = await replay(
        bridge, "again", now - 2_000, now - 1_000, FilterArns=[BUS.replace("event-bus/default", "rule/two")]
    )
    assert (started["State"], started["ReplayArn"][-12:]) == ("STARTING", "replay/again")
    await completed(bridge, "again")
    await eventually(lambda: len(bridge.stand.asked) == 2)
    found = [(topic, json.loads(text)) for topic, text, _ in bridge.stand.asked]
    assert [(topic, one["id"], one["replay-name"]) for topic, one in found] == [
        ("two", ids[1], "again"),
        ("two", ids[2], "again"),
    ]
    shown = await bridge.events("DescribeReplay", ReplayName="again")
    assert (shown["EventLastReplayedTime"], shown["ReplayEndTime"]) == (now - 1_000, bridge.clock.now())
    assert await held(bridge) == 5
    await replay(bridge, "some", now - DAY, now + DAY, "some")
    await completed(bridge, "some")
    await eventually(lambda: len(bridge.stand.asked) == 6)
    listed = await bridge.events("ListReplays", EventSourceArn=f"{ARCHIVE}/some")
    assert [one["ReplayName"] for one in listed["Replays"]] == ["some"]


async def _held(bridge, number):
    return await held(bridge) == number


async def test_many_small_blocks_become_one(any_bridge):
    """Nothing is lost or doubled by it, and while a replay reads them they stay."""
    bridge = any_bridge
    await archive(bridge)
    for at in range(0, 40, 10):
        await bridge.events("PutEvents", Entries=[entry(at + number) for number in range(10)])

    async def blocks():
        return await bridge.app.store.read(
            lambda conn: conn.execute(sa.select(records.archived).order_by(records.archived.c.first)).all()
        )

    before = await blocks()
    (job,) = await bridge.app.store.read(lambda conn: _jobs(conn))
    replays = {
        "account": ACCOUNT, "region": REGION, "name": "live", "id": "x", "archive": before[0].archive, "source": "x", "bus": "default",
        "destination": {}, "state": "RUNNING", "since": 0, "until": 1, "started": 0,
    }  # fmt: skip
    await bridge.app.store.write(lambda conn: conn.execute(records.replays.insert().values(replays)))
    await bridge.app.work.start(bridge.app)
    bridge.clock.advance(job.due - bridge.clock.now())
    await eventually(lambda: _due_later(bridge, job.due))
    assert len(await blocks()) == 40
    await bridge.app.store.write(lambda conn: conn.execute(records.replays.delete()))
    bridge.clock.advance(3_600_000)
    await eventually(lambda: _one(blocks))
    (block,) = await blocks()
    assert sorted(one["detail"]["n"] for one in archiving.events_of(block)) == list(range(40))
    assert (block.events, block.size) == (40, sum(one.size for one in before))
    assert len(block.content) < sum(len(one.content) for one in before) / 2
    found = await bridge.events("DescribeArchive", ArchiveName="all")
    assert (found["EventCount"], found["SizeBytes"]) == (40, block.size)
    await bridge.app.work.stop()


def _jobs(conn):
    from penstock.store.records import jobs

    return conn.execute(sa.select(jobs).where(jobs.c.kind == archiving.PACK, jobs.c.state == "ready")).all()


async def _due_later(bridge, due):
    return any(one.due > due for one in await bridge.app.store.read(_jobs))


async def _one(blocks):
    return len(await blocks()) == 1


async def test_on_both_databases_an_archive_is_replayed_and_forgotten(any_bridge, monkeypatch):
    bridge = any_bridge
    monkeypatch.setattr(topics, "service_session", lambda *_: bridge.owner)
    await archive(bridge, RetentionDays=2)
    await archive(bridge, "ever")
    await rule(bridge, "one", "one", '{"replay-name": [{"exists": true}]}')
    now = bridge.clock.now()
    await bridge.events("PutEvents", Entries=[entry(1)])
    bridge.clock.advance(DAY)
    await bridge.events("PutEvents", Entries=[entry(2)])
    bridge.clock.advance(DAY + 1)

    async def swept():
        return (await Sweeper(bridge.app.store, expiring=bridge.app.expiring).sweep())["event_archived"]

    # What is over is replayed no more, whether or not it is swept away by now.
    await replay(bridge, "late", now - DAY, now + 2 * DAY)
    await bridge.app.work.start(bridge.app)
    await completed(bridge, "late")
    await eventually(lambda: len(bridge.stand.asked) == 1)
    assert json.loads(bridge.stand.asked[0][1])["detail"] == {"n": 2}
    assert (await swept(), await held(bridge), await held(bridge, "ever")) == (1, 1, 2)
    await bridge.events("UpdateArchive", ArchiveName="all", RetentionDays=1, EventPattern='{"source": ["other"]}')
    assert (await swept(), await held(bridge)) == (1, 0)
    await bridge.events("PutEvents", Entries=[entry(3)])
    assert (await held(bridge), await held(bridge, "ever")) == (0, 3)
    await bridge.events("DeleteArchive", ArchiveName="ever")
    assert await swept() == 3
    listed = await bridge.events("ListArchives", EventSourceArn=BUS)
    assert [(one["ArchiveName"], one["RetentionDays"]) for one in listed["Archives"]] == [("all", 1)]
    bridge.clock.advance(91 * DAY)
    await Sweeper(bridge.app.store, expiring=bridge.app.expiring).sweep()
    assert (await bridge.events("ListReplays"))["Replays"] == []
    await bridge.app.work.stop()


async def test_a_replay_is_cancelled(bridge):
    now = bridge.clock.now()
    await archive(bridge)
    await bridge.events("PutEvents", Entries=[entry(1)])
    await rule(bridge, "one", "one")
    await replay(bridge, "a", now - DAY, now + DAY)
    assert (await bridge.events("CancelReplay", ReplayName="a"))["State"] == "CANCELLING"
    await replay(bridge, "b", now - DAY, now + DAY)
    await bridge.events("DeleteArchive", ArchiveName="all")
    await bridge.app.work.start(bridge.app)
    await eventually(lambda: _is(bridge, "a", "CANCELLED"))
    await eventually(lambda: _is(bridge, "b", "FAILED"))
    assert "does not exist any more" in (await bridge.events("DescribeReplay", ReplayName="b"))["StateReason"]
    assert (await refused(bridge.events("CancelReplay", ReplayName="a")))[0] == "IllegalStatusException"
    await bridge.app.work.stop()


async def test_refusals(bridge):
    await archive(bridge)
    await bridge.events("CreateEventBus", Name="team")
    team = BUS.replace("default", "team")
    times = {"EventStartTime": 1_000, "EventEndTime": 2_000}
    asked = {"ReplayName": "r", "EventSourceArn": f"{ARCHIVE}/all", "Destination": {"Arn": BUS}, **times}
    await bridge.events("StartReplay", **asked)
    exists, missing, invalid = "ResourceAlreadyExistsException", "ResourceNotFoundException", "ValidationException"
    cases = [
        ("CreateArchive", {"ArchiveName": "all", "EventSourceArn": BUS}, exists, "Archive all already exists."),
        (
            "CreateArchive",
            {"ArchiveName": "x", "EventSourceArn": BUS.replace("default", "gone")},
            missing,
            "Event bus gone does not exist.",
        ),
        (
            "CreateArchive",
            {"ArchiveName": "x", "EventSourceArn": BUS, "EventPattern": "{}"},
            "InvalidEventPatternException",
            "Event pattern is not valid. Reason: Empty objects are not allowed",
        ),
        ("DescribeArchive", {"ArchiveName": "x"}, missing, "Archive x does not exist."),
        ("DeleteArchive", {"ArchiveName": "x"}, missing, "Archive x does not exist."),
        (
            "UpdateArchive",
            {"ArchiveName": "all"},
            invalid,
            "At least one of EventPattern, RetentionDays or Description must be provided.",
        ),
        (
            "ListArchives",
            {"NamePrefix": "a", "State": "ENABLED"},
            invalid,
            "At most one filter is allowed for ListArchives. Use either : State, EventSourceArn, or NamePrefix.",
        ),
        ("StartReplay", asked, exists, "Replay r already exists."),
        (
            "StartReplay",
            {**asked, "Destination": {"Arn": team}},
            invalid,
            "Parameter Destination.Arn is not valid. Reason: Cross event bus replay is not permitted.",
        ),
        (
            "StartReplay",
            {**asked, "EventSourceArn": f"{ARCHIVE}/x"},
            invalid,
            "Parameter EventSourceArn is not valid. Reason: Archive x does not exist.",
        ),
        (
            "StartReplay",
            {**asked, "EventEndTime": 1_000},
            invalid,
            "Parameter EventEndTime is not valid. Reason: EventStartTime must be before EventEndTime.",
        ),
        ("DescribeReplay", {"ReplayName": "x"}, missing, "Replay x does not exist."),
    ]
    for operation, input, code, message in cases:
        found = await refused(bridge.events(operation, **input))
        assert (found[0], found[1][: len(message)]) == (code, message), operation
    wrong = {"Arn": BUS, "FilterArns": [team.replace("event-bus/", "rule/") + "/r"]}
    assert "FilterArns" in (await refused(bridge.events("StartReplay", **{**asked, "Destination": wrong})))[1]
    many = {
        "Arn": BUS,
        "FilterArns": [BUS.replace("event-bus/default", "rule/r")] * 301,
    }  # each is looked at for each event
    assert "at most 300 ARNs" in (await refused(bridge.events("StartReplay", **{**asked, "Destination": many})))[1]
    for number in range(9):
        await bridge.events("StartReplay", **{**asked, "ReplayName": f"r{number}"})
    assert (await refused(bridge.events("StartReplay", **{**asked, "ReplayName": "one-more"})))[
        0
    ] == "LimitExceededException"


async def test_an_event_that_arrives_twice_is_kept_once(bridge):
    """The platform's own events come at least once."""
    from penstock.events.archiving import archive as keep

    await archive(bridge)
    answer = await bridge.events("PutEvents", Entries=[entry(1)])
    (row,) = await bridge.app.store.read(lambda conn: conn.execute(sa.select(records.archived)).all())
    (event,) = archiving.events_of(row)
    assert event["id"] == answer["Entries"][0]["EventId"]
    await bridge.app.store.write(lambda conn: keep(conn, (ACCOUNT, REGION), [row.archive], event, bridge.clock.now()))
    assert await held(bridge) == 1


async def test_times_of_events_that_no_date_can_say(archiving_bridge):
    """They are refused by themselves; the first years of all are kept with four digits."""
    bridge = archiving_bridge
    await archive(bridge)
    first, end = -62_135_596_800_000, 253_402_300_800_000
    answer = await bridge.events("PutEvents", Entries=[entry(Time=at) for at in (first, first - 1, end, 10**16, 0)])
    assert [one.get("ErrorCode") for one in answer["Entries"]] == [None, *["InvalidArgument"] * 3, None]
    assert await held(bridge) == 2
