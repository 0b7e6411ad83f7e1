"""Alarms in process: evaluated by their data and by its absence, with history, events and actions, each once."""

import asyncio
import datetime as dt
import json

import pytest
import sqlalchemy as sa
from penstock_alarms import (
    ARN,
    BOTH,
    ERRORS,
    NS,
    REGION,
    TOPIC,
    actions,
    cloudwatch,
    emitted,
    history,
    make,
    put,
    shown,
    state,
    turn,
)
from penstock_identity_harness import ACCOUNT, OTHER, allow, refused

from penstock.monitoring import acting, alarm_records
from penstock.monitoring.acting import long_name
from penstock.wire.errors import AccessDenied, error_class

ABSENT = (
    "ResourceNotFound",
    "There is no alarm of that name or ARN in this account and region. `aws cloudwatch describe-alarms` lists those that there are.",
)


@BOTH
async def test_an_alarm_follows_its_metric(alarmed, owner, clock, now):
    await make(alarmed, owner, AlarmActions=[TOPIC], AlarmDescription="Too many errors")
    await turn(alarmed)
    before = await shown(alarmed, owner)
    assert (before["StateValue"], before["StateReason"]) == ("INSUFFICIENT_DATA", "Unchecked: Initial alarm creation")
    assert {name for name in before if before[name] not in ([], None)} == {
        "AlarmName", "AlarmArn", "AlarmConfigurationUpdatedTimestamp", "ActionsEnabled", "AlarmActions", "AlarmDescription", "StateValue",
        "StateReason", "StateUpdatedTimestamp", "StateTransitionedTimestamp", "MetricName", "Namespace", "Statistic", "Period",
        "EvaluationPeriods", "Threshold", "ComparisonOperator",
    }  # fmt: skip
    clock.advance(5_000)
    await put(alarmed, owner, 4.0)
    await turn(alarmed)  # without any wait for the end of the minute
    after = await shown(alarmed, owner)
    assert (after["StateValue"], after["StateTransitionedTimestamp"]) == ("ALARM", clock.now())
    begun = dt.datetime.fromtimestamp(now, tz=dt.UTC)
    assert after["StateReason"] == (
        f"Threshold Crossed: 1 out of the last 1 datapoints [4.0 ({begun:%d/%m/%y %H:%M:%S})] was greater than the threshold (1.0)"
        " (minimum 1 datapoint for INSUFFICIENT_DATA -> ALARM transition)."
    )
    clock.advance(60_000)
    await put(alarmed, owner, 0.0)
    await turn(alarmed)
    assert await state(alarmed, owner) == "ALARM"  # the minute may have more errors to come
    clock.advance(60_000)
    await turn(alarmed)
    assert await state(alarmed, owner) == "OK"
    clock.advance(240_000)
    await turn(alarmed)
    assert await state(alarmed, owner) == "INSUFFICIENT_DATA"
    assert await history(alarmed, owner, AlarmName="errors") == [
        ("StateUpdate", "Alarm updated from OK to INSUFFICIENT_DATA"),
        ("StateUpdate", "Alarm updated from ALARM to OK"),
        ("StateUpdate", "Alarm updated from INSUFFICIENT_DATA to ALARM"),
        ("ConfigurationUpdate", 'Alarm "errors" created'),
    ]


async def test_a_sum_that_is_too_small_waits_for_the_end_of_its_period(alarmed, owner, clock, now):
    await make(alarmed, owner, ComparisonOperator="LessThanThreshold", Threshold=10.0)
    await put(alarmed, owner, 3.0)
    await turn(alarmed)
    assert await state(alarmed, owner) == "INSUFFICIENT_DATA"
    await put(alarmed, owner, 8.0)
    clock.advance(69_000)
    await turn(alarmed)
    assert await state(alarmed, owner) == "OK"
    await put(alarmed, owner, 3.0)
    clock.advance(60_000)
    await turn(alarmed)
    assert await state(alarmed, owner) == "ALARM"


async def test_an_alarm_that_is_made_after_its_datum(alarmed, owner, clock, now):
    await put(alarmed, owner, 1.0)
    clock.advance(1_000)
    await make(alarmed, owner, AlarmName="sum", EvaluationPeriods=3)
    await make(alarmed, owner, AlarmName="crossed", Threshold=0.0)
    await make(alarmed, owner, AlarmName="mean", Statistic="Average", EvaluationPeriods=3)
    await turn(alarmed)
    states = [await state(alarmed, owner, name) for name in ("sum", "crossed", "mean")]
    assert states == ["INSUFFICIENT_DATA", "ALARM", "OK"]  # a sum within its threshold waits for the minute's end
    clock.advance(69_000)
    await turn(alarmed)
    assert await state(alarmed, owner, "sum") == "OK"


async def test_windows_slide_by_the_minute(alarmed, owner, clock, now):
    await make(alarmed, owner, Period=300, Threshold=2.0)
    clock.advance(299_000)
    for _ in range(3):
        await put(alarmed, owner, 1.0)
        await turn(alarmed)
        clock.advance(60_000)
    assert await state(alarmed, owner) == "ALARM"  # though no five minutes of the clock have three


async def test_periods_of_seconds(alarmed, owner, clock, now):
    await make(alarmed, owner, Period=10, Statistic="Maximum")
    await put(alarmed, owner, 5.0, StorageResolution=1)
    await turn(alarmed)
    assert await state(alarmed, owner) == "ALARM"
    clock.advance(10_000)
    await put(alarmed, owner, 0.0, StorageResolution=1)
    await turn(alarmed)
    assert await state(alarmed, owner) == "OK"


async def test_units_and_percentiles(alarmed, owner, clock, now):
    await make(alarmed, owner, Unit="Seconds")
    slow = {"AlarmName": "slow", "ExtendedStatistic": "p90", "MetricName": "Latency"}
    await cloudwatch(
        alarmed,
        owner,
        "PutMetricAlarm",
        **{name: value for name, value in (ERRORS | slow).items() if name != "Statistic"},
    )
    await put(alarmed, owner, 9.0)
    for value in (0.5, 3.0):
        await put(alarmed, owner, value, name="Latency")
    await turn(alarmed)
    assert [await state(alarmed, owner, name) for name in ("errors", "slow")] == ["INSUFFICIENT_DATA", "ALARM"]


@BOTH
async def test_several_processes_run_each_action_once(alarmed, owner, clock, now, topics):
    names = [f"alarm-{number:02}" for number in range(60)]
    await asyncio.gather(*(make(alarmed, owner, AlarmName=name, AlarmActions=[TOPIC, TOPIC]) for name in names))
    await turn(alarmed)
    await put(alarmed, owner, 4.0)
    await asyncio.gather(*(turn(alarmed) for _ in range(4)))
    assert sorted(one.payload["alarm"] for one in await actions(alarmed)) == names
    transitions = await cloudwatch(alarmed, owner, "DescribeAlarmHistory", HistoryItemType="StateUpdate")
    assert sorted(one["AlarmName"] for one in transitions["AlarmHistoryItems"]) == names


async def test_a_topic_is_told_as_by_aws(alarmed, owner, clock, now, topics):
    await make(
        alarmed, owner, AlarmActions=[TOPIC], Dimensions=[{"Name": "Host", "Value": "web-1"}], TreatMissingData="ignore"
    )
    configured = clock.now()
    clock.advance(1_234)
    await put(alarmed, owner, 4.0, Dimensions=[{"Name": "Host", "Value": "web-1"}])
    await turn(alarmed)
    (job,) = await actions(alarmed)
    for _ in range(2):  # jobs may run twice: what they note is there once
        await acting.act(alarmed.app, job)
    arn, source, sent = topics.published[0]
    assert (arn, source) == ("cloudwatch.amazonaws.com", ARN)
    assert (sent["TopicArn"], sent["Subject"]) == (TOPIC, 'ALARM: "errors" in US East (N. Virginia)')
    stamped = [
        dt.datetime.fromtimestamp(ms // 1000, tz=dt.UTC).strftime(f"%Y-%m-%dT%H:%M:%S.{ms % 1000:03}+0000")
        for ms in (configured, clock.now())
    ]
    assert json.loads(sent["Message"]) == {
        "AlarmName": "errors",
        "AlarmDescription": None,
        "AWSAccountId": ACCOUNT,
        "AlarmConfigurationUpdatedTimestamp": stamped[0],
        "NewStateValue": "ALARM",
        "NewStateReason": (await shown(alarmed, owner))["StateReason"],
        "StateChangeTime": stamped[1],
        "Region": "US East (N. Virginia)",
        "AlarmArn": ARN,
        "OldStateValue": "INSUFFICIENT_DATA",
        "OKActions": [],
        "AlarmActions": [TOPIC],
        "InsufficientDataActions": [],
        "Trigger": {
            "MetricName": "Errors",
            "Namespace": NS,
            "StatisticType": "Statistic",
            "Statistic": "SUM",
            "Unit": None,
            "Dimensions": [{"value": "web-1", "name": "Host"}],
            "Period": 60,
            "EvaluationPeriods": 1,
            "ComparisonOperator": "GreaterThanThreshold",
            "Threshold": 1.0,
            "TreatMissingData": "ignore",
            "EvaluateLowSampleCountPercentile": "",
        },
    }
    done = [one for one in await history(alarmed, owner) if one[0] == "Action"]
    assert done == [("Action", f"Successfully executed action {TOPIC}")]


@BOTH
async def test_an_action_that_fails_says_why_and_what_may_pass_is_tried_again(alarmed, owner, now, topics):
    other = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:x"
    await make(alarmed, owner, AlarmActions=[TOPIC, other])
    await put(alarmed, owner, 4.0)
    await turn(alarmed)
    first, second = await actions(alarmed)
    topics.error = error_class("Throttling")("Rate exceeded")
    with pytest.raises(type(topics.error)):
        await acting.act(alarmed.app, first)
    topics.error = error_class("NotFound", 404)("Topic does not exist")
    await acting.act(alarmed.app, first)
    await acting.act(alarmed.app, second)
    failed = {text for item, text in await history(alarmed, owner) if item == "Action"}
    assert failed == {
        f"Failed to execute action {TOPIC}. Received error: Topic does not exist",
        f"Failed to execute action {other}. Received error: Actions of this kind are not served: give the ARN of a topic of SNS.",
    }


def stat(id, name, period=60, statistic="Sum"):
    metric = {"Namespace": NS, "MetricName": name, "Dimensions": [{"Name": "Host", "Value": "web-1"}]}
    return {"Id": id, "MetricStat": {"Metric": metric, "Stat": statistic, "Period": period}, "ReturnData": False}


RATE = {"Id": "rate", "Expression": "100 * errors / requests", "Label": "Error rate"}
OF_RATE = {
    "AlarmName": "errors", "EvaluationPeriods": 1, "Threshold": 50.0, "ComparisonOperator": "GreaterThanThreshold",
    "Metrics": [RATE, stat("errors", "Errors"), stat("requests", "Requests")],
}  # fmt: skip
HOST = {"Dimensions": [{"Name": "Host", "Value": "web-1"}]}


@BOTH
async def test_an_alarm_follows_an_expression_over_metrics(alarmed, owner, clock, now, topics):
    await cloudwatch(alarmed, owner, "PutMetricAlarm", **OF_RATE, AlarmActions=[TOPIC])
    await turn(alarmed)
    await put(alarmed, owner, 10.0, name="Requests", **HOST)
    await turn(alarmed)
    clock.advance(5_000)
    await put(alarmed, owner, 6.0, **HOST)
    await turn(alarmed)  # without any wait for the end of the minute
    found = await shown(alarmed, owner)
    begun = dt.datetime.fromtimestamp(now, tz=dt.UTC)
    assert (found["StateValue"], found["StateReason"]) == (
        "ALARM",
        f"Threshold Crossed: 1 out of the last 1 datapoints [60.0 ({begun:%d/%m/%y %H:%M:%S})] was greater than the threshold (50.0)"
        " (minimum 1 datapoint for INSUFFICIENT_DATA -> ALARM transition).",
    )
    assert {"MetricName", "Namespace", "Statistic", "Period", "Dimensions"} & set(found) == set()
    assert found["Metrics"] == [{**RATE, "ReturnData": True}, *OF_RATE["Metrics"][1:]]
    data = json.loads(found["StateReasonData"])
    assert (data["recentDatapoints"], "statistic" in data) == ([60.0], False)
    (job,) = await actions(alarmed)
    await acting.act(alarmed.app, job)
    trigger = json.loads(topics.published[0][2]["Message"])["Trigger"]
    assert trigger == {
        "Period": 60,
        "EvaluationPeriods": 1,
        "ComparisonOperator": "GreaterThanThreshold",
        "Threshold": 50.0,
        "TreatMissingData": "missing",
        "EvaluateLowSampleCountPercentile": "",
        "Metrics": [
            {**RATE, "ReturnData": True},
            *(
                {
                    **one,
                    "MetricStat": {
                        **one["MetricStat"],
                        "Metric": {**one["MetricStat"]["Metric"], "Dimensions": [{"value": "web-1", "name": "Host"}]},
                    },
                }
                for one in OF_RATE["Metrics"][1:]
            ),
        ],
    }
    (event,) = await emitted(alarmed, "state_changed")
    assert '{"id": "rate", "returnData": true, "expression": "100 * errors / requests", "label": "Error rate"}' in event
    clock.advance(60_000)
    await put(alarmed, owner, 10.0, name="Requests", **HOST)
    clock.advance(69_000)
    await turn(alarmed)
    assert await state(alarmed, owner) == "OK"  # no errors count as 0
    listed = await cloudwatch(alarmed, owner, "DescribeAlarmsForMetric", Namespace=NS, MetricName="Errors", **HOST)
    assert listed == {"MetricAlarms": []}


async def test_expressions_by_longer_periods_and_of_no_sums(alarmed, owner, clock, now):
    queries = [stat("a", "A", 300, "Maximum"), stat("b", "B", 60, "Maximum"), {"Id": "e", "Expression": "a - b"}]
    await cloudwatch(
        alarmed,
        owner,
        "PutMetricAlarm",
        **{**OF_RATE, "Threshold": 1.0, "ComparisonOperator": "LessThanThreshold", "Metrics": queries},
    )
    await put(alarmed, owner, 9.0, name="A", **HOST)
    clock.advance(200_000)
    await turn(alarmed)
    assert await state(alarmed, owner) == "OK"
    await put(alarmed, owner, 9.5, name="B", **HOST)
    await turn(alarmed)
    assert await state(alarmed, owner) == "ALARM"


async def test_metrics_that_do_not_fit_are_refused(alarmed, owner):
    async def said(*metrics, **more):
        return await refused(
            cloudwatch(alarmed, owner, "PutMetricAlarm", **{**OF_RATE, "Metrics": list(metrics), **more})
        )

    one = stat("m", "M") | {"ReturnData": True}
    for metrics, more, message in [
        ([one | {"ReturnData": False}, RATE], {}, "Error in expression 'rate': there is no metric or expression with the Id 'errors'."),
        ([one, one | {"Id": "n"}], {}, "Exactly one element of the metrics list should return data."),
        ([stat("m", "M")], {}, "Exactly one element of the metrics list should return data."),
        ([{"Id": "e", "Expression": "SEARCH('x', 'Sum', 60)"}], {}, "SEARCH is not supported on Metric Alarms."),
        ([{"Id": "e", "Expression": "TIME_SERIES(1)"}], {}, "Period must not be null"),
        ([{"Id": "e", "Expression": "1", "Period": 60}], {}, "Error in expression 'e': an alarm needs a time series, not a single number."),
        ([stat("m", "M"), {"Id": "e", "Expression": "[m, m]"}], {},
         "Metrics expression that return multi time series are only allowed for MetricsInsights expression with an ORDER BY clause"),
        ([stat(f"m{n}", "M") for n in range(11)], {}, "Invalid metrics list: it can have 10 metrics and 10 expressions at most."),
        ([one], {"Statistic": "Sum"}, "Statistic should not be set if list of Metrics is set."),
        ([one], {"Period": 60}, "Period should not be set if list of Metrics is set."),
        ([one], {"EvaluateLowSampleCountPercentile": "ignore"},
         "The parameter EvaluateLowSampleCountPercentile can only be given with a percentile as ExtendedStatistic."),
        ([one], {"EvaluationPeriods": 1441}, "Metrics cannot be checked across more than a day (EvaluationPeriods * Period must be <= 86400)."),
        ([one], {"ThresholdMetricId": "m"}, "Alarms with ThresholdMetricId are not served by this version of Penstock: an alarm compares one metric"
         " or expression with a fixed threshold."),
        ([stat("m", "M"), {"Id": "e", "Expression": "m" + "+m" * 300}], {"EvaluationPeriods": 1440},
         "Error in expression 'e': the request would compute too many data points. Ask for a shorter time, longer periods or fewer metrics."),
    ]:  # fmt: skip
        assert await said(*metrics, **more) == ("ValidationError", message)
    code, message = await said(stat("m", "M", period=5) | {"ReturnData": True})
    assert (code, message[:44]) == ("InvalidParameterValue", "The parameter Metrics.member.1.MetricStat.Pe")


async def test_events_are_those_of_aws(alarmed, owner, clock, now):
    await make(alarmed, owner)
    await put(alarmed, owner, 4.0)
    await turn(alarmed)
    await make(alarmed, owner, Threshold=9.0)
    await cloudwatch(alarmed, owner, "DeleteAlarms", AlarmNames=["errors"])
    (changed,) = await emitted(alarmed, "state_changed")
    assert '"state": {"reason": "Threshold Crossed: 1 out of' in changed
    assert '"previousState": {"reason": "Unchecked: Initial alarm creation", "timestamp": ' in changed
    assert (
        f'"metric": {{"namespace": "{NS}", "name": "Errors", "dimensions": {{}}}}, "period": 60, "stat": "Sum"'
        in changed
    )
    configured = await emitted(alarmed, "configuration_changed")
    for text, operation in zip(configured, ("create", "update", "delete"), strict=True):
        assert f'"operation": "{operation}"' in text
        assert ('"previousConfiguration"' in text) is (operation == "update")


async def test_the_state_may_be_set_by_hand_until_the_next_evaluation(alarmed, owner, clock, now):
    await make(alarmed, owner, AlarmActions=[TOPIC])
    await put(alarmed, owner, 0.0)
    clock.advance(69_000)
    await turn(alarmed)
    assert await state(alarmed, owner) == "OK"
    for _ in range(2):
        await cloudwatch(
            alarmed,
            owner,
            "SetAlarmState",
            AlarmName="errors",
            StateValue="ALARM",
            StateReason="drill",
            StateReasonData='{"a":1}',
        )
    await turn(alarmed)  # it is not due
    found = await shown(alarmed, owner)
    assert (found["StateValue"], found["StateReason"], found["StateReasonData"]) == ("ALARM", "drill", '{"a":1}')
    assert len(await actions(alarmed)) == 1
    clock.advance(60_000)
    await turn(alarmed)
    assert await state(alarmed, owner) == "OK"
    bad = cloudwatch(
        alarmed, owner, "SetAlarmState", AlarmName="errors", StateValue="ALARM", StateReason="x", StateReasonData="{"
    )
    assert (await refused(bad))[0] == "InvalidFormat"
    absent = cloudwatch(alarmed, owner, "SetAlarmState", AlarmName="none", StateValue="OK", StateReason="x")
    assert await refused(absent) == ABSENT
    wrong = await refused(
        cloudwatch(alarmed, owner, "SetAlarmState", AlarmName="errors", StateValue="BAD", StateReason="x")
    )
    assert wrong == (
        "ValidationError",
        "1 validation error detected: Value 'BAD' at 'stateValue' failed to satisfy constraint: Member must satisfy enum value set:"
        " [INSUFFICIENT_DATA, ALARM, OK]",
    )


async def test_actions_can_be_switched_off(alarmed, owner, now):
    await make(alarmed, owner, AlarmActions=[TOPIC], OKActions=[TOPIC])
    await cloudwatch(alarmed, owner, "DisableAlarmActions", AlarmNames=["errors", "none"])
    await put(alarmed, owner, 4.0)
    await turn(alarmed)
    assert (await shown(alarmed, owner))["ActionsEnabled"] is False
    assert await actions(alarmed) == []
    await cloudwatch(alarmed, owner, "EnableAlarmActions", AlarmNames=["errors"])
    assert await actions(alarmed) == []
    await cloudwatch(alarmed, owner, "SetAlarmState", AlarmName="errors", StateValue="OK", StateReason="x")
    assert [one.payload["action"] for one in await actions(alarmed)] == [TOPIC]


async def test_another_configuration_replaces_all_and_keeps_the_state(alarmed, owner, clock, now):
    await make(alarmed, owner, AlarmDescription="x", Tags=[{"Key": "Team", "Value": "a"}])
    await put(alarmed, owner, 4.0)
    await turn(alarmed)
    await make(alarmed, owner, MetricName="Other", Threshold=9.0, Tags=[{"Key": "Team", "Value": "b"}])
    found = await shown(alarmed, owner)
    assert (found["StateValue"], found["Threshold"], found.get("AlarmDescription")) == ("ALARM", 9.0, None)
    assert (await cloudwatch(alarmed, owner, "ListTagsForResource", ResourceARN=ARN))["Tags"] == [
        {"Key": "Team", "Value": "a"}
    ]
    of_metric = {
        name: (await cloudwatch(alarmed, owner, "DescribeAlarmsForMetric", Namespace=NS, MetricName=name))[
            "MetricAlarms"
        ]
        for name in ("Errors", "Other")
    }
    assert (of_metric["Errors"], [one["AlarmName"] for one in of_metric["Other"]]) == ([], ["errors"])
    await turn(alarmed)
    assert await state(alarmed, owner) == "INSUFFICIENT_DATA"  # at once: the other metric has no data


@BOTH
async def test_alarms_are_listed_by_what_they_are(alarmed, owner, now):
    for name in ("a-1", "a-2", "A-3", "b"):
        await make(alarmed, owner, AlarmName=name, AlarmActions=[TOPIC] if name == "b" else [])
    await cloudwatch(alarmed, owner, "SetAlarmState", AlarmName="a-2", StateValue="OK", StateReason="x")

    async def listed(**input):
        found = await cloudwatch(alarmed, owner, "DescribeAlarms", **input)
        return {one["AlarmName"] for one in found["MetricAlarms"]}

    assert await listed() == {"a-1", "a-2", "A-3", "b"}
    assert await listed(AlarmNamePrefix="a-") == {"a-1", "a-2"}
    assert await listed(AlarmNames=["b", "none"]) == {"b"}
    assert await listed(StateValue="OK") == {"a-2"}
    assert await listed(ActionPrefix="arn:aws:sns:") == {"b"}
    assert await listed(AlarmTypes=["CompositeAlarm"]) == set()
    pages, token = [], {}
    while token is not None:
        page = await cloudwatch(alarmed, owner, "DescribeAlarms", MaxRecords=3, **token)
        pages.append([one["AlarmName"] for one in page["MetricAlarms"]])
        token = {"NextToken": page["NextToken"]} if "NextToken" in page else None
    assert [len(page) for page in pages] == [3, 1]
    assert {name for page in pages for name in page} == await listed()
    both = cloudwatch(alarmed, owner, "DescribeAlarms", AlarmNames=["b"], AlarmNamePrefix="a")
    assert (await refused(both))[0] == "InvalidParameterCombination"


async def test_history_data_is_json_however_long_an_alarm_is(alarmed, owner):
    dimensions = [{"Name": f"{n}" * 100, "Value": "\\" * 255} for n in range(1, 10)]
    queries = [
        {"Id": f"m{n}", "ReturnData": n == 0, "MetricStat": {"Metric": {"Namespace": NS, "MetricName": f"{n}" * 255, "Dimensions": dimensions},
         "Period": 60, "Stat": "Sum"}}
        for n in range(10)
    ]  # fmt: skip
    only = {"EvaluationPeriods": 1, "Threshold": 1.0, "ComparisonOperator": "GreaterThanThreshold"}
    actions = [f"{TOPIC}{n}".ljust(250, "x") for n in range(5)]
    input = {
        "AlarmName": "long",
        "AlarmDescription": "\u1234" * 1024,
        "Metrics": queries,
        "AlarmActions": actions,
        **only,
    }
    await cloudwatch(alarmed, owner, "PutMetricAlarm", **input)
    for turned in ("ALARM", "OK"):
        data = json.dumps({"why": "\u1234" * 600})
        await cloudwatch(
            alarmed, owner, "SetAlarmState", AlarmName="long", StateValue=turned, StateReason="r", StateReasonData=data
        )
    items = (await cloudwatch(alarmed, owner, "DescribeAlarmHistory", AlarmName="long"))["AlarmHistoryItems"]
    assert all(len(one["HistoryData"]) <= 4095 for one in items)
    last, _, first = (json.loads(one["HistoryData"]) for one in items)
    assert (last["oldState"]["stateValue"], last["newState"]["stateValue"]) == ("ALARM", "OK")
    assert (first["type"], first["createdAlarm"]["Threshold"]) == ("Create", 1.0)
    assert first["createdAlarm"]["AlarmDescription"].endswith("…")


@BOTH
async def test_all_alarms_of_a_call_are_deleted_or_none(alarmed, owner, now):
    for name in ("one", "two"):
        await make(alarmed, owner, AlarmName=name)
    assert await refused(cloudwatch(alarmed, owner, "DeleteAlarms", AlarmNames=["one", "none"])) == ABSENT
    assert len((await cloudwatch(alarmed, owner, "DescribeAlarms"))["MetricAlarms"]) == 2
    await cloudwatch(alarmed, owner, "DeleteAlarms", AlarmNames=["two", "one", "one"])
    assert (await cloudwatch(alarmed, owner, "DescribeAlarms"))["MetricAlarms"] == []
    await put(alarmed, owner, 4.0)
    await turn(alarmed)
    assert (await history(alarmed, owner, AlarmName="one"))[0] == ("ConfigurationUpdate", 'Alarm "one" deleted')
    left = await alarmed.app.store.scan(lambda conn: conn.execute(sa.select(alarm_records.sources)).all())
    assert left == []
    await make(alarmed, owner, AlarmName="one")  # again, as a new one
    assert (await shown(alarmed, owner, "one"))["StateReason"] == "Unchecked: Initial alarm creation"
    await turn(alarmed)
    assert await state(alarmed, owner, "one") == "ALARM"


@BOTH
async def test_tags(alarmed, owner, now):
    await make(alarmed, owner)
    tags = [{"Key": "Team", "Value": "a"}, {"Key": "Env", "Value": ""}]
    await cloudwatch(alarmed, owner, "TagResource", ResourceARN=ARN, Tags=tags)
    await cloudwatch(alarmed, owner, "UntagResource", ResourceARN=ARN, TagKeys=["Env", "none"])
    assert (await cloudwatch(alarmed, owner, "ListTagsForResource", ResourceARN=ARN))["Tags"] == tags[:1]
    for arn in (f"{ARN}2", "nothing", ARN.replace(ACCOUNT, OTHER), ARN.replace("alarm:", "dashboard:")):
        assert await refused(cloudwatch(alarmed, owner, "ListTagsForResource", ResourceARN=arn)) == ABSENT
    reserved = cloudwatch(alarmed, owner, "TagResource", ResourceARN=ARN, Tags=[{"Key": "aws:x", "Value": ""}])
    assert (await refused(reserved))[0] == "InvalidParameterValue"


BAD = [
    ({"Statistic": None}, "MissingParameter", "Exactly one of Statistic and ExtendedStatistic must be specified"),
    ({"ExtendedStatistic": "p9"}, "InvalidParameterCombination", "The parameters Statistic and ExtendedStatistic are mutually exclusive."),
    ({"Statistic": None, "ExtendedStatistic": "p101"}, "InvalidParameterValue", "The value p101 for parameter ExtendedStatistic is not supported."),
    ({"Threshold": None}, "MissingParameter", "The parameter Threshold is required."),
    ({"Period": 61}, "InvalidParameterValue", "The parameter Period must be"),
    ({"Period": 5}, "ValidationError", "Period must be 10, 20, 30 or a multiple of 60"),
    ({"EvaluationPeriods": 1441}, "ValidationError", "Metrics cannot be checked across more than a day (EvaluationPeriods * Period must be <= 86400)."),
    ({"Period": 86_400, "EvaluationPeriods": 8}, "ValidationError", "Metrics cannot be checked across more than seven days"),
    ({"DatapointsToAlarm": 2}, "ValidationError", "DatapointsToAlarm must be less than or equal to EvaluationPeriods"),
    ({"TreatMissingData": "x"}, "ValidationError", "The value x is not supported for TreatMissingData."),
    ({"EvaluateLowSampleCountPercentile": "ignore"}, "ValidationError", "The parameter EvaluateLowSampleCountPercentile"),
    ({"ComparisonOperator": "LessThanLowerThreshold"}, "ValidationError", "The ComparisonOperator LessThanLowerThreshold is about"),
    ({"Metrics": [{"Id": "m", "Expression": "1"}]}, "ValidationError", "MetricName should not be set if list of Metrics is set."),
    ({"AlarmActions": ["x"] * 6}, "ValidationError", "1 validation error detected"),
    ({"AlarmName": None}, "MissingParameter", "The parameter AlarmName is required."),
    ({"AlarmName": "x" * 256}, "ValidationError", "1 validation error detected"),
]  # fmt: skip


async def test_alarms_that_are_refused(alarmed, owner):
    for change, code, message in BAD:
        given = {name: value for name, value in (ERRORS | change).items() if value is not None}
        said = await refused(cloudwatch(alarmed, owner, "PutMetricAlarm", **given))
        assert said[0] == code, change
        assert said[1].startswith(message), said
    assert (await cloudwatch(alarmed, owner, "DescribeAlarms"))["MetricAlarms"] == []


async def test_policies_name_alarms(alarmed, owner, now):
    await make(alarmed, owner)
    ada = await alarmed.user("ada", allow("cloudwatch:SetAlarmState", "cloudwatch:DescribeAlarms", resource=ARN))
    await cloudwatch(alarmed, ada, "SetAlarmState", AlarmName="errors", StateValue="OK", StateReason="x")
    assert await state(alarmed, ada) == "OK"
    for operation, input in (
        ("SetAlarmState", {"AlarmName": "other", "StateValue": "OK", "StateReason": "x"}),
        ("DescribeAlarms", {}),
        ("DeleteAlarms", {"AlarmNames": ["errors"]}),
    ):
        with pytest.raises(AccessDenied):
            await cloudwatch(alarmed, ada, operation, **input)
    other = await alarmed.administrator(OTHER)
    assert (await cloudwatch(alarmed, other, "DescribeAlarms"))["MetricAlarms"] == []


def test_regions_have_names():
    assert [long_name(region) for region in ("eu-central-1", "shop-7")] == ["Europe (Frankfurt)", "shop-7"]
