"""Composite alarms: their rules, when another alarm suppresses their actions, and what becomes of them in process."""

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from penstock_alarms import (
    BOTH,
    REGION,
    TOPIC,
    actions,
    cloudwatch,
    emitted,
    history,
    make,
    put,
    turn,
)
from penstock_identity_harness import refused

from penstock.monitoring import acting
from penstock.monitoring.engine import decide
from penstock.monitoring.model import AlarmState, Configured, Found, Released, StateValue, Suppressing, Transitioned
from penstock.monitoring.rules import RuleError, children, holds, parse

# --- rules ------------------------------------------------------------------------------------------------------------

RULES = [
    ("ALARM(a)", {"a": "ALARM"}, True),
    ("ALARM(a)", {}, False),
    ('OK("a b") AND NOT INSUFFICIENT_DATA(arn:aws:cloudwatch:us-east-1:1:alarm:c)', {"a b": "OK"}, True),
    ("TRUE AND NOT (FALSE OR NOT TRUE)", {}, True),
    ("ALARM(a) OR ALARM(b) AND ALARM(c)", {"a": "ALARM"}, True),
    ("(ALARM(a) OR ALARM(b)) AND ALARM(c)", {"a": "ALARM"}, False),
    ("NOT NOT OK(a)", {"a": "OK"}, True),
]
BAD_RULES = [
    ("()", "Error in AlarmRule [Unsupported token ')' at char 1, must be: '(', NOT, TRUE, FALSE, ALARM, OK or INSUFFICIENT_DATA]"),
    ("ALARM(a b)", "Error in AlarmRule [Unsupported token 'b' at char 8, must be: ')']"),
    ("ALARM(a) ALARM(b)", "Error in AlarmRule [Unsupported token 'ALARM' at char 9, must be: AND or OR]"),
    ("ALARM a", "Error in AlarmRule [Unsupported token 'a' at char 6, must be: '(']"),
    ("ALARM()", "Error in AlarmRule [Unsupported token ')' at char 6, must be: the name or ARN of an alarm]"),
    ("(TRUE", "Error in AlarmRule [Unsupported token '' at char 5, must be: ')', AND or OR]"),
    ('ALARM("a)', "Error in AlarmRule [Unsupported token '\"' at char 6, nothing ends it]"),
    (" TRUE", "AlarmRule must not contain leading or trailing whitespace or be null"),
    ("AT_LEAST(1, ALARM, (a))", "Error in AlarmRule [Unsupported token 'AT_LEAST' at char 0, must be: '(', NOT, TRUE, FALSE, ALARM, OK or"
     " INSUFFICIENT_DATA]"),
    (" OR ".join(f"ALARM(a{n})" for n in range(101)), "Error in AlarmRule [The rule names more than 100 alarms]"),
    (" OR ".join(["TRUE"] * 251), "Error in AlarmRule [The rule has more than 500 elements]"),
    ("(" * 101 + "TRUE" + ")" * 101, "Error in AlarmRule [More than 100 parentheses within each other at char 101]"),
]  # fmt: skip


def test_rules():
    for text, states, expected in RULES:
        assert holds(parse(text), states) is expected, text
    for text, message in BAD_RULES:
        with pytest.raises(RuleError) as refused_:
            parse(text)
        assert str(refused_.value) == message
    assert children(parse("ALARM(b) AND (OK(a) OR ALARM(b))")) == ("b", "a")
    assert len(children(parse(" OR ".join(f"ALARM(a{n})" for n in range(100))))) == 100


names = st.sampled_from(["a", "b", "c"])
conditions = st.tuples(st.sampled_from(["ALARM", "OK"]), names).map(
    lambda one: f"{one[0]}({one[1]})"
) | st.sampled_from(["TRUE", "FALSE"])


def _larger(inner):
    chain = st.lists(inner, min_size=2, max_size=3)
    return chain.map(" AND ".join) | chain.map(" OR ".join) | inner.map("NOT ({})".format) | inner.map("({})".format)


@given(
    st.recursive(conditions, _larger, max_leaves=8),
    st.fixed_dictionaries({name: st.sampled_from(["OK", "ALARM"]) for name in "abc"}),
)
def test_rules_hold_as_python_has_it(text, states):
    python = (
        text.replace("AND", "and")
        .replace("OR", "or")
        .replace("NOT", "not")
        .replace("TRUE", "True")
        .replace("FALSE", "False")
    )
    named = {name: name for name in states}
    functions = {"ALARM": lambda name: states[name] == "ALARM", "OK": lambda name: states[name] == "OK"}
    assert holds(parse(text), states) is eval(python, functions | named)


# --- suppression (AWS: "Composite alarm action suppression", its examples) --------------------------------------------

SUPPRESSED = {
    "AlarmRule": "ALARM(a)",
    "ActionsSuppressor": "s",
    "ActionsSuppressorWaitPeriod": 2,
    "ActionsSuppressorExtensionPeriod": 3,
}


def played(*steps):
    """Each step is a time in seconds and a state, True/False of the suppressor, or None: only time has passed. What was done then."""
    state = AlarmState(config=SUPPRESSED, configured=1, value=StateValue.OK)
    suppressing, done = False, []
    for at, step in steps:
        if isinstance(step, str):
            input = Found(value=StateValue(step), reason="x", suppressing=suppressing)
        else:
            suppressing = suppressing if step is None else step
            input = Suppressing(active=suppressing)
        state, effects = decide(state, input, at * 1000, 0)
        acted = [
            effect
            for effect in effects
            if isinstance(effect, Released) or (isinstance(effect, Transitioned) and not effect.held)
        ]
        done.append((state.suppressed_by, [state.value.value] if acted else []))
    return done


def test_suppression_follows_the_examples_of_aws():
    for steps, expected in [
        ([(2, "ALARM"), (3, None), (4, None)], [("WaitPeriod", []), ("WaitPeriod", []), ("", ["ALARM"])]),
        ([(2, "ALARM"), (3, True), (9, None)], [("WaitPeriod", []), ("Alarm", []), ("Alarm", [])]),
        ([(2, "ALARM"), (3, "OK"), (4, None), (5, None)], [("WaitPeriod", [])] * 3 + [("", ["OK"])]),
        ([(1, True), (2, "ALARM"), (5, "OK")], [("Alarm", [])] * 3),
        ([(2, "ALARM"), (3, True), (6, False), (8, None), (9, None)],
         [("WaitPeriod", []), ("Alarm", []), ("ExtensionPeriod", []), ("ExtensionPeriod", []), ("", ["ALARM"])]),
        ([(2, "ALARM"), (3, True), (6, False), (7, "OK"), (8, None), (9, None)],
         [("WaitPeriod", []), ("Alarm", []), ("ExtensionPeriod", []), ("WaitPeriod", []), ("WaitPeriod", []), ("", ["OK"])]),
        ([(1, True), (2, False), (3, None)], [("Alarm", []), ("", []), ("", [])]),  # nothing waits
    ]:  # fmt: skip
        assert played(*steps) == expected, steps


def test_another_suppressor_discards_what_waits():
    state = AlarmState(config=SUPPRESSED, configured=1, value=StateValue.OK)
    state, _ = decide(state, Found(value=StateValue.ALARM, reason="x"), 2_000, 0)
    kept, _ = decide(state, Configured(config=SUPPRESSED | {"AlarmRule": "TRUE"}), 3_000, 0)
    other, _ = decide(state, Configured(config=SUPPRESSED | {"ActionsSuppressor": "t"}), 3_000, 0)
    assert (kept.suppressed_by, other.suppressed_by, other.held) == ("WaitPeriod", "", None)


# --- in process -------------------------------------------------------------------------------------------------------


def arn(name):
    return f"arn:aws:cloudwatch:{REGION}:111111111111:alarm:{name}"


async def compose(harness, by, name, rule, **more):
    await cloudwatch(harness, by, "PutCompositeAlarm", AlarmName=name, AlarmRule=rule, **more)


async def composite(harness, by, name):
    (found,) = (await cloudwatch(harness, by, "DescribeAlarms", AlarmNames=[name], AlarmTypes=["CompositeAlarm"]))[
        "CompositeAlarms"
    ]
    return found


async def states(harness, by, *names):
    return [(await composite(harness, by, name))["StateValue"] for name in names]


async def set_state(harness, by, name, value):
    await cloudwatch(harness, by, "SetAlarmState", AlarmName=name, StateValue=value, StateReason="drill")


@BOTH
async def test_composite_alarms_follow_their_children_at_once(alarmed, owner, clock, now, topics):
    await make(alarmed, owner, TreatMissingData="ignore")
    await make(alarmed, owner, AlarmName="slow", MetricName="Latency", TreatMissingData="ignore")
    await compose(
        alarmed, owner, "shop", f'ALARM("errors") OR ALARM({arn("slow")})', AlarmActions=[TOPIC], AlarmDescription="all"
    )
    await compose(alarmed, owner, "site", "ALARM(shop)")
    before = await composite(alarmed, owner, "shop")
    assert (before["StateValue"], before["StateReason"], before["AlarmRule"]) == (
        "INSUFFICIENT_DATA",
        "Unchecked: Initial alarm creation",
        f'ALARM("errors") OR ALARM({arn("slow")})',
    )
    await turn(alarmed)
    after = await composite(alarmed, owner, "shop")
    assert (after["StateValue"], after["StateReason"]) == (
        "OK",
        f"{arn('shop')} was created and its alarm rule evaluates to OK",
    )
    assert [one["arn"] for one in json.loads(after["StateReasonData"])["triggeringAlarms"]] == [
        arn("errors"),
        arn("slow"),
    ]
    clock.advance(5_000)
    await put(alarmed, owner, 4.0)
    await asyncio.gather(*(turn(alarmed) for _ in range(4)))  # several processes
    assert await states(alarmed, owner, "shop", "site") == ["ALARM", "ALARM"]
    found = await composite(alarmed, owner, "shop")
    assert found["StateReason"] == f"{arn('errors')} transitioned to ALARM at Friday 15 January, 2027 08:00:05 UTC"
    (job,) = await actions(alarmed)
    await acting.act(alarmed.app, job)
    message = json.loads(topics.published[0][2]["Message"])
    stamped = "2027-01-15T08:00:05.000+0000"
    assert message == {
        "AlarmName": "shop", "AlarmDescription": "all", "AWSAccountId": "111111111111", "NewStateValue": "ALARM",
        "NewStateReason": found["StateReason"], "StateChangeTime": stamped, "Region": "US East (N. Virginia)", "AlarmArn": arn("shop"),
        "OldStateValue": "OK", "OKActions": [], "AlarmActions": [TOPIC], "InsufficientDataActions": [], "AlarmRule": found["AlarmRule"],
        "TriggeringChildren": [{"Arn": arn("errors"), "State": {"Value": "ALARM", "Timestamp": stamped}}],
    }  # fmt: skip
    assert await history(alarmed, owner, AlarmName="shop", AlarmTypes=["CompositeAlarm"]) == [
        ("Action", f"Successfully executed action {TOPIC}"),
        ("StateUpdate", "Alarm updated from OK to ALARM"),
        ("StateUpdate", "Alarm updated from INSUFFICIENT_DATA to OK"),
        ("ConfigurationUpdate", 'Alarm "shop" created'),
    ]
    configured = [
        text for text in await emitted(alarmed, "configuration_changed") if '"alarmRule": "ALARM(shop)"' in text
    ]
    assert len(configured) == 1
    await compose(alarmed, owner, "shop", "FALSE")
    await turn(alarmed)
    found = await composite(alarmed, owner, "shop")
    assert (found["StateReason"], await states(alarmed, owner, "site")) == (
        f"{arn('shop')} was updated and its alarm rule evaluates to OK",
        ["OK"],
    )


@BOTH
async def test_an_alarm_suppresses_the_actions_of_another(alarmed, owner, clock, now):
    await make(alarmed, owner, TreatMissingData="ignore")
    await make(alarmed, owner, AlarmName="maintenance", MetricName="Never", TreatMissingData="ignore")
    periods = {"ActionsSuppressorWaitPeriod": 10, "ActionsSuppressorExtensionPeriod": 20}
    await compose(
        alarmed, owner, "shop", "ALARM(errors)", ActionsSuppressor=arn("maintenance"), AlarmActions=[TOPIC], **periods
    )
    await turn(alarmed)
    clock.advance(20_000)
    await turn(alarmed)  # the actions of its creation waited for that
    await set_state(alarmed, owner, "errors", "ALARM")
    await turn(alarmed)
    found = await composite(alarmed, owner, "shop")
    assert (found["StateValue"], found["ActionsSuppressedBy"], found["ActionsSuppressedReason"]) == (
        "ALARM",
        "WaitPeriod",
        "Actions suppressed by WaitPeriod",
    )
    assert '"actionsSuppressedBy": "WaitPeriod"' in (await emitted(alarmed, "state_changed"))[-1]
    clock.advance(5_000)
    await set_state(alarmed, owner, "maintenance", "ALARM")
    await turn(alarmed)
    clock.advance(60_000)
    await turn(alarmed)
    assert ((await composite(alarmed, owner, "shop"))["ActionsSuppressedBy"], await actions(alarmed)) == ("Alarm", [])
    await cloudwatch(alarmed, owner, "DeleteAlarms", AlarmNames=["maintenance"])  # one that is gone suppresses nothing
    await turn(alarmed)
    assert (await composite(alarmed, owner, "shop"))["ActionsSuppressedBy"] == "ExtensionPeriod"
    clock.advance(20_000)
    await asyncio.gather(*(turn(alarmed) for _ in range(3)))
    assert "ActionsSuppressedBy" not in await composite(alarmed, owner, "shop")
    (job,) = await actions(alarmed)
    assert (job.payload["value"], job.payload["message"]["OldStateValue"]) == ("ALARM", "OK")


@BOTH
async def test_relatives_cycles_and_deletion(alarmed, owner, clock, now):
    await make(alarmed, owner, TreatMissingData="ignore")
    await compose(alarmed, owner, "one", "ALARM(errors)")
    await compose(alarmed, owner, "two", "ALARM(one) AND ALARM(errors)")
    await turn(alarmed)
    children_ = await cloudwatch(alarmed, owner, "DescribeAlarms", ChildrenOfAlarmName="two")
    assert [[one["AlarmName"] for one in children_[kind]] for kind in ("MetricAlarms", "CompositeAlarms")] == [
        ["errors"],
        ["one"],
    ]
    assert set(children_["CompositeAlarms"][0]) == {"AlarmName", "AlarmArn", "StateValue", "StateUpdatedTimestamp"}
    parents = await cloudwatch(alarmed, owner, "DescribeAlarms", ParentsOfAlarmName="errors", MaxRecords=1)
    assert parents["CompositeAlarms"] == [{"AlarmName": "one", "AlarmArn": arn("one")}]
    more = await cloudwatch(
        alarmed, owner, "DescribeAlarms", ParentsOfAlarmName="errors", MaxRecords=1, NextToken=parents["NextToken"]
    )
    assert [one["AlarmName"] for one in more["CompositeAlarms"]] == ["two"]
    assert (await cloudwatch(alarmed, owner, "DescribeAlarms", ParentsOfAlarmName="two"))["CompositeAlarms"] == []
    assert (await cloudwatch(alarmed, owner, "DescribeAlarms"))["CompositeAlarms"] == []
    both = await cloudwatch(alarmed, owner, "DescribeAlarms", AlarmTypes=["CompositeAlarm", "MetricAlarm"])
    assert (len(both["MetricAlarms"]), len(both["CompositeAlarms"])) == (1, 2)
    for names_, message in [
        (["errors"], "Cannot delete errors as there are composite alarm(s) depending on it."),
        (["errors", "one"], "Cannot delete errors,one as there are composite alarm(s) depending on them."),
        (["one", "two"], "Only one composite alarm can be deleted at a time."),
    ]:
        assert await refused(cloudwatch(alarmed, owner, "DeleteAlarms", AlarmNames=names_)) == (
            "ValidationError",
            message,
        )
    await compose(alarmed, owner, "one", "NOT ALARM(two)")  # a cycle, whose alarms are not evaluated
    await set_state(alarmed, owner, "errors", "ALARM")
    await turn(alarmed)
    assert await states(alarmed, owner, "one", "two") == ["OK", "OK"]
    code, _ = await refused(cloudwatch(alarmed, owner, "DeleteAlarms", AlarmNames=["two"]))
    assert code == "ValidationError"
    await compose(alarmed, owner, "one", "FALSE")
    for names_ in (["two", "errors"], ["one"]):
        await cloudwatch(alarmed, owner, "DeleteAlarms", AlarmNames=names_)


async def test_composite_alarms_that_are_refused(alarmed, owner):
    await make(alarmed, owner)
    for change, message in [
        ({"AlarmRule": "ALARM(errors"}, "Error in AlarmRule [Unsupported token '' at char 12, must be: ')']"),
        ({"AlarmRule": "ALARM(gone) OR OK(errors)"}, "Could not save the composite alarm as alarms [gone] in the alarm rule do not exist"),
        ({"AlarmRule": "ALARM(arn:aws:cloudwatch:us-east-1:222222222222:alarm:errors)"}, "Could not save the composite alarm as alarms"
         " [arn:aws:cloudwatch:us-east-1:222222222222:alarm:errors] in the alarm rule do not exist"),
        ({"AlarmName": "errors"}, "The alarm errors is a metric alarm. Give the new one another name, or delete the other first."),
        ({"ActionsSuppressor": "errors"}, "ActionsSuppressorWaitPeriod is required when ActionsSuppressor is given."),
        ({"ActionsSuppressorWaitPeriod": 1}, "ActionsSuppressorWaitPeriod can only be given with ActionsSuppressor."),
        ({"ActionsSuppressor": "gone", "ActionsSuppressorWaitPeriod": 1, "ActionsSuppressorExtensionPeriod": 1},
         "Could not save the composite alarm as the actions suppressor gone does not exist"),
        ({"ActionsSuppressor": "errors", "ActionsSuppressorWaitPeriod": -1, "ActionsSuppressorExtensionPeriod": 1},
         "ActionsSuppressorWaitPeriod must be between 0 and 86400 seconds."),
        ({"ActionConfiguration": {"AlarmTagsPropagation": {"Enabled": True}}},
         "Alarms with ActionConfiguration are not served by this version of Penstock: notifications have no tags."),
    ]:  # fmt: skip
        asked = {"AlarmName": "shop", "AlarmRule": "ALARM(errors)", **change}
        assert await refused(cloudwatch(alarmed, owner, "PutCompositeAlarm", **asked)) == ("ValidationError", message)
    await compose(alarmed, owner, "shop", "ALARM(errors)")
    assert (await refused(make(alarmed, owner, AlarmName="shop")))[0] == "ValidationError"
    assert (await refused(cloudwatch(alarmed, owner, "DescribeAlarms", ChildrenOfAlarmName="shop", StateValue="OK")))[
        0
    ] == "ValidationError"
    for number in range(149):
        await compose(alarmed, owner, f"p{number}", "ALARM(errors)")
    assert (await refused(compose(alarmed, owner, "p150", "ALARM(errors)")))[0] == "LimitExceeded"


async def test_what_is_set_by_hand_is_sent_with_any_data(alarmed, owner):
    await make(alarmed, owner)
    await compose(alarmed, owner, "shop", "ALARM(errors)", AlarmActions=[TOPIC])
    for value, data in (("ALARM", "[1]"), ("OK", '{"triggeringAlarms":[1]}')):
        await cloudwatch(
            alarmed,
            owner,
            "SetAlarmState",
            AlarmName="shop",
            StateValue=value,
            StateReason="drill",
            StateReasonData=data,
        )
    (job,) = await actions(alarmed)
    assert job.payload["message"]["TriggeringChildren"] == []
