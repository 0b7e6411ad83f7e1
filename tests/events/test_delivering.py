"""Events go to the targets of the rules that take them: what they are given, in which order, again after failures, never for ever."""

import asyncio
import json

import pytest
import sqlalchemy as sa
from penstock_bridge import RAN, Busy, TopicNotFound, emitted
from penstock_identity_harness import ACCOUNT, OTHER, REGION, allow, trusting
from penstock_waiting import eventually

from penstock.events import arriving, delivering, delivery_rows, interest, records
from penstock.store.records import deliveries as store_deliveries
from penstock.store.records import jobs

TOPIC = f"arn:aws:sns:{REGION}:{ACCOUNT}"
PIPELINE = f"arn:aws:codepipeline:{REGION}:{ACCOUNT}:shop"


def entry(number=0, **more):
    return {"Source": "shop", "DetailType": "Ordered", "Detail": json.dumps({"n": number}), **more}


async def rule(bridge, *targets, name="r", pattern='{"source": ["shop"]}', **more):
    await bridge.events("PutRule", Name=name, EventPattern=pattern, **more)
    bus = {"EventBusName": more["EventBusName"]} if "EventBusName" in more else {}
    await bridge.events("PutTargets", Rule=name, Targets=list(targets), **bus)


def topic(id="1", name="news", **more):
    return {"Id": id, "Arn": f"{TOPIC}:{name}", **more}


@pytest.fixture
async def may_publish(working, monkeypatch):
    """Every topic lets EventBridge publish: the stand-in has no policies, so the call is made by who may."""
    from penstock.events.destinations import topics

    sessions = []

    def by_owner(service, account, source):
        sessions.append((service, account, source))
        return working.owner

    monkeypatch.setattr(topics, "service_session", by_owner)
    return sessions


async def letters(bridge):
    return await bridge.app.store.read(lambda conn: conn.execute(sa.select(records.dead_letters)).all())


async def waiting(bridge):
    return await bridge.app.store.read(lambda conn: conn.execute(sa.select(records.deliveries)).all())


async def idle(bridge):
    await eventually(lambda: _none(bridge))


async def _none(bridge):
    return not await waiting(bridge)


async def test_an_event_that_was_put_comes_in_awss_envelope(working, may_publish):
    await rule(working, topic(), topic("2", "more"))
    await rule(working, topic(), name="same")
    answer = await working.events(
        "PutEvents",
        Entries=[
            entry(7, Time=1_700_000_000_123, Resources=["arn:x"]),
            entry(Source="aws.shop"),
            entry(Detail="[]"),
            {"DetailType": "x", "Detail": "{}"},
            entry(Source="other"),
            entry(EventBusName="nowhere"),
        ],
    )
    assert [one.get("ErrorCode") for one in answer["Entries"]] == [
        None,
        "NotAuthorizedForSourceException",
        "MalformedDetail",
        "InvalidArgument",
        None,
        None,
    ]
    required = "Parameter Source is not valid. Reason: Source is a required argument."
    assert answer["Entries"][3]["ErrorMessage"] == required
    assert answer["FailedEntryCount"] == 3
    await idle(working)
    assert sorted(name for name, _, _ in working.stand.asked) == ["more", "news", "news"]
    (text,) = {text for _, text, _ in working.stand.asked}
    assert text == json.dumps(
        {
            "version": "0",
            "id": answer["Entries"][0]["EventId"],
            "detail-type": "Ordered",
            "source": "shop",
            "account": ACCOUNT,
            "time": "2023-11-14T22:13:20Z",
            "region": REGION,
            "resources": ["arn:x"],
            "detail": {"n": 7},
        },
        separators=(",", ":"),
    )
    assert ("events.amazonaws.com", ACCOUNT, f"arn:aws:events:{REGION}:{ACCOUNT}:rule/r") in may_publish


async def test_entries_are_bounded(bridge):
    from penstock.wire.errors import ServiceError

    with pytest.raises(ServiceError, match="Total size of the entries in the request is over the limit"):
        await bridge.events("PutEvents", Entries=[entry(Detail=json.dumps({"x": "é" * 524_288}))])
    assert (await bridge.events("PutEvents", Entries=[entry(Detail=json.dumps({"x": "x" * 1_048_500}))]))["Entries"]


async def test_events_of_the_platform_come_to_the_default_bus(working, may_publish):
    """In order for each aggregate, and only those of the account and region."""
    app = working.app
    pattern = json.dumps({"source": ["aws.stand"], "resources": [{"prefix": "arn:"}]})
    before = await app.store.write(lambda conn: emitted(conn, app, {"arn": "arn:0"}))
    await rule(working, topic(), pattern=pattern)

    def several(conn):
        made = [emitted(conn, app, {"arn": f"arn:{number}", "n": number}) for number in range(1, 4)]
        emitted(conn, app, {"arn": "none"})
        emitted(conn, app, {"arn": "arn:x"}, account=OTHER)
        return made

    made = await app.store.write(several)
    await eventually(lambda: len(working.stand.asked) == 3)
    await idle(working)
    found = [json.loads(text) for _, text, _ in working.stand.asked]
    assert [one["id"] for one in found] == [one.id for one in made]
    assert before.id not in {one["id"] for one in found}
    assert (found[0]["source"], found[0]["detail-type"], found[0]["resources"]) == ("aws.stand", "Stand Ran", ["arn:1"])
    assert found[0]["detail"] == {"arn": "arn:1", "n": 1}


async def test_an_event_that_no_rule_wants_costs_no_delivery(bridge, monkeypatch):
    """No row, and where the account has no rules no look at them either."""
    app = bridge.app
    await app.events.start()
    asked = []
    monkeypatch.setattr(records, "version", lambda conn, place: asked.append(place) or 0)
    await app.store.write(lambda conn: emitted(conn, app, {"arn": "arn:1"}))
    assert asked == []
    monkeypatch.undo()
    await rule(bridge, topic(), pattern='{"source": ["aws.stand"], "detail": {"n": [1]}}')
    await app.store.write(lambda conn: emitted(conn, app, {"arn": "arn:1", "n": 2}))
    rows = sa.select(sa.func.count()).select_from(store_deliveries)
    assert await app.store.read(lambda conn: conn.execute(rows).scalar_one()) == 0
    await app.store.write(lambda conn: emitted(conn, app, {"arn": "arn:1", "n": 1}))
    assert await app.store.read(lambda conn: conn.execute(rows).scalar_one()) == 1
    await bridge.events("DisableRule", Name="r")
    await app.store.write(lambda conn: emitted(conn, app, {"arn": "arn:1", "n": 1}))
    assert await app.store.read(lambda conn: conn.execute(rows).scalar_one()) == 1
    await app.events.stop()


async def test_rules_of_another_bus_are_no_reason_to_compile_anything(bridge, monkeypatch):
    """Rules are compiled in the transaction of whatever happens next, and there may be a hundred buses."""
    app, compiled = bridge.app, []
    real = interest.Rules
    monkeypatch.setattr(interest, "Rules", lambda rules: compiled.append([name for name, _ in rules]) or real(rules))
    await app.events.start()
    await bridge.events("CreateEventBus", Name="side")
    for number in range(3):
        await rule(bridge, topic(), name=f"r{number}", EventBusName="side")
    await rule(bridge, topic(), name="main", pattern='{"source": ["aws.stand"]}')
    for number in range(2):
        await app.store.write(lambda conn, number=number: emitted(conn, app, {"arn": "arn:1", "n": number}))
    assert compiled == [["main"]]
    await bridge.events("PutEvents", Entries=[entry(EventBusName="side")])
    await bridge.events("PutEvents", Entries=[entry(EventBusName="side")])
    assert compiled == [["main"], ["r0", "r1", "r2"]]
    await app.events.stop()


async def test_a_target_that_fails_holds_up_no_other_and_keeps_its_order(working, may_publish):
    await rule(working, topic("1", "broken"), topic("2", "sound"))
    working.stand.fails["broken"] = [3, Busy("later")]
    for number in range(3):
        await working.events("PutEvents", Entries=[entry(number)])
    sound = [json.dumps({"n": number}, separators=(",", ":")) for number in range(3)]

    def given(name):
        return [
            json.dumps(json.loads(text)["detail"], separators=(",", ":"))
            for at, text, _ in working.stand.asked
            if at == name
        ]

    await eventually(lambda: given("sound") == sound)
    assert given("broken") == []
    await attempts_pass(working, 3)
    await idle(working)
    assert given("broken") == sound
    assert await letters(working) == []


async def _alone(bridge):
    rows = await waiting(bridge)
    return rows if len(rows) == 1 else []


async def attempts_pass(bridge, number):
    """Let the time come for as many further attempts, one after the other."""
    for _ in range(number):
        due = await eventually(lambda: _next_due(bridge))
        bridge.clock.advance(due - bridge.clock.now())


async def _next_due(bridge):
    c = jobs.c
    kinds = (arriving.DELIVER, delivering.DELIVER_ALONE)
    later = sa.select(sa.func.min(c.due)).where(c.kind.in_(kinds), c.state == "ready", c.due > bridge.clock.now())
    return await bridge.app.store.read(lambda conn: conn.execute(later).scalar_one())


@pytest.mark.parametrize(
    ("policy", "failing", "code", "exhausted", "attempts"),
    [
        ({}, TopicNotFound(), "NO_RESOURCE", None, 0),
        ({"MaximumRetryAttempts": 0}, Busy("later"), "THROTTLING", "MaximumRetryAttempts", 0),
    ],
)
async def test_what_is_given_up_is_kept(working, may_publish, policy, failing, code, exhausted, attempts):
    queue = f"arn:aws:sqs:{REGION}:{ACCOUNT}:dead"
    await rule(working, topic(RetryPolicy=policy, DeadLetterConfig={"Arn": queue}))
    working.stand.fails["news"] = [1, failing]
    answer = await working.events("PutEvents", Entries=[entry(1)])
    (letter,) = await eventually(lambda: letters(working))
    await idle(working)
    assert (letter.code, letter.exhausted, letter.attempts, letter.queue) == (code, exhausted, attempts, queue)
    assert (letter.rule, letter.target, letter.arn, letter.message) == ("r", "1", f"{TOPIC}:news", str(failing))
    assert json.loads(letter.body)["id"] == letter.event == answer["Entries"][0]["EventId"]


async def test_an_event_that_fails_for_long_steps_aside_and_grows_too_old(working, may_publish):
    await rule(working, topic(RetryPolicy={"MaximumEventAgeInSeconds": 3_600}))
    working.stand.fails["news"] = [delivering._IN_ORDER, Busy("later")]
    await working.events("PutEvents", Entries=[entry(1)])
    await working.events("PutEvents", Entries=[entry(2)])
    await attempts_pass(working, delivering._IN_ORDER - 1)
    await eventually(lambda: [json.loads(text)["detail"]["n"] for _, text, _ in working.stand.asked] == [2])
    (aside,) = await eventually(lambda: _alone(working))
    assert (aside.state, aside.attempts) == ("aside", delivering._IN_ORDER)
    working.stand.fails["news"] = [1, Busy("later")]
    assert await eventually(lambda: _next_due(working))
    working.clock.advance(3_600_000)
    (letter,) = await eventually(lambda: letters(working))
    assert (letter.exhausted, letter.attempts) == ("MaximumEventAgeInSeconds", delivering._IN_ORDER)
    await idle(working)


async def test_a_pipeline_is_started_under_the_targets_role(working):
    role = await working.harness.role(
        "starts",
        trusting(Service="events.amazonaws.com"),
        allow("codepipeline:StartPipelineExecution", resource=PIPELINE),
    )
    powerless = await working.harness.role("powerless", trusting(Service="events.amazonaws.com"))
    stranger = await working.harness.role("stranger", trusting(Service="codebuild.amazonaws.com"))
    variables = {
        "InputTemplate": '{"variables": [{"name": "n", "value": "<n>"}]}',
        "InputPathsMap": {"n": "$.detail.n"},
    }
    targets = [
        {"Id": "1", "Arn": PIPELINE, "RoleArn": role, "InputTransformer": variables},
        {"Id": "2", "Arn": PIPELINE, "RoleArn": powerless},
        {"Id": "3", "Arn": PIPELINE, "RoleArn": stranger},
    ]
    await rule(working, *targets)
    await working.events("PutEvents", Entries=[entry(5)])
    await eventually(lambda: _count(working, 2))
    await idle(working)
    ((name, input, session),) = working.stand.asked
    assert name == "shop"
    assert input["variables"] == [{"name": "n", "value": "5"}]
    assert session.arn.startswith(f"arn:aws:sts::{ACCOUNT}:assumed-role/starts/")
    assert session.arn.endswith(input["clientRequestToken"])
    assert {one.target: one.code for one in await letters(working)} == {"2": "NO_PERMISSIONS", "3": "NO_PERMISSIONS"}
    # No store keeps the character, which comes as an escape in the event's text: it is given up at once.
    await working.events("PutEvents", Entries=[{**entry(), "Detail": '{"n": "\\u0000"}'}])
    await eventually(lambda: _count(working, 5))
    assert [one.code for one in await letters(working) if one.target == "1"] == ["INVALID_JSON"]


async def _count(bridge, number):
    return len(await letters(bridge)) == number


async def test_a_rule_that_triggers_itself_ends(working):
    """Every run of the pipeline emits an event, which the rule takes to start the next one."""
    role = await working.harness.role(
        "starts", trusting(Service="events.amazonaws.com"), allow("codepipeline:StartPipelineExecution")
    )
    working.stand.runs = RAN
    pattern = json.dumps({"source": ["aws.stand"], "resources": [PIPELINE]})
    await rule(working, {"Id": "1", "Arn": PIPELINE, "RoleArn": role}, pattern=pattern)
    await working.app.store.write(lambda conn: emitted(conn, working.app, {"arn": PIPELINE}))
    (letter,) = await eventually(lambda: letters(working))
    await idle(working)
    assert (letter.code, letter.hops) == ("LOOP_DETECTED", delivering.MAX_HOPS)
    assert f"{delivering.MAX_HOPS} rules led to this event" in letter.message
    assert len(working.stand.asked) == delivering.MAX_HOPS


async def test_another_bus_of_the_account_gets_the_event_as_it_is(working, may_publish):
    await working.events("CreateEventBus", Name="team")
    await rule(working, topic("1", "of-team"), EventBusName="team")
    team = f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/team"
    gone = f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/gone"
    await rule(working, {"Id": "1", "Arn": team}, {"Id": "2", "Arn": gone})
    answer = await working.events("PutEvents", Entries=[entry(1)])
    await eventually(lambda: working.stand.asked)
    await eventually(lambda: letters(working))
    await idle(working)
    ((name, text, _),) = working.stand.asked
    assert (name, json.loads(text)["id"]) == ("of-team", answer["Entries"][0]["EventId"])
    (letter,) = await letters(working)
    assert (letter.code, letter.message) == ("NO_RESOURCE", "Event bus gone does not exist.")


async def test_buses_that_pass_events_to_each_other_end(working):
    team = f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/team"
    await working.events("CreateEventBus", Name="team")
    await rule(working, {"Id": "1", "Arn": team.replace("team", "default")}, EventBusName="team")
    await rule(working, {"Id": "1", "Arn": team})
    await working.events("PutEvents", Entries=[entry(1)])
    (letter,) = await eventually(lambda: letters(working))
    await idle(working)
    assert letter.code == "LOOP_DETECTED"


async def test_a_delivery_whose_target_is_gone_is_dropped(bridge):
    await rule(bridge, topic())
    await bridge.events("PutEvents", Entries=[entry(1)])
    await bridge.events("RemoveTargets", Rule="r", Ids=["1"])
    await bridge.app.work.start(bridge.app)
    await idle(bridge)
    assert await letters(bridge) == []
    await bridge.app.work.stop()


async def test_on_both_databases_an_event_is_written_and_kept_for_its_deliveries(any_bridge):
    """Every statement of a delivery's way, without a worker in between."""
    from penstock.store.retention import Sweeper

    await rule(any_bridge, topic())
    answer = await any_bridge.events("PutEvents", Entries=[entry(1), entry(2)])
    rows = await waiting(any_bridge)
    assert [row.event for row in rows] == [one["EventId"] for one in answer["Entries"]]
    assert len({row.ordering for row in rows}) == 1
    any_bridge.clock.advance(3 * 86_400_000)
    swept = await Sweeper(any_bridge.app.store, expiring=any_bridge.app.expiring).sweep()
    assert swept["event_envelopes"] == 0
    await any_bridge.app.work.start(any_bridge.app)
    await eventually(lambda: _count(any_bridge, 2))
    await idle(any_bridge)
    await any_bridge.app.work.stop()
    assert {one.code for one in await letters(any_bridge)} == {"NO_PERMISSIONS"}
    one = (await letters(any_bridge))[0]

    def redrive(conn):
        found = delivery_rows.letter(conn, (ACCOUNT, REGION), one.id, locked=True)
        if found is not None:
            delivering.deliver_again(conn, found, any_bridge.clock.now())
        return found is not None

    both = await asyncio.gather(any_bridge.app.store.write(redrive), any_bridge.app.store.write(redrive))
    assert sorted(both) == [False, True]
    assert len(await waiting(any_bridge)) == 1
    await any_bridge.app.work.start(any_bridge.app)
    await idle(any_bridge)
    await any_bridge.app.work.stop()
    swept = await Sweeper(any_bridge.app.store, expiring=any_bridge.app.expiring).sweep()
    assert swept["event_envelopes"] == 2
