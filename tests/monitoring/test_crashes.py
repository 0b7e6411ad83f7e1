"""Kill -9 after an alarm was evaluated, between an action and the note of it, and between a read of a source and its data: each is noted once."""

from __future__ import annotations

import contextlib
import datetime as dt
import signal

import botocore.config
import botocore.exceptions
from penstock_balancers import shop
from penstock_crashing import Crashing
from penstock_waiting import until

from penstock.store.failpoints import points

POINTS = [point for point in points() if point.startswith("monitoring.")]
TOPIC = "arn:aws:sns:us-east-1:111111111111:alerts"


def test_a_kill_repeats_no_transition_and_loses_no_action(tmp_path):
    assert POINTS == ["monitoring.acted", "monitoring.evaluated", "monitoring.source_read"]
    dying = Crashing(tmp_path, "monitoring.evaluated")
    cloudwatch = dying.client("cloudwatch", attempts=5)
    cloudwatch.put_metric_data(Namespace="Shop", MetricData=[{"MetricName": "Errors", "Value": 5}])
    with contextlib.suppress(botocore.exceptions.BotoCoreError):  # it dies while it answers, or soon after
        cloudwatch.put_metric_alarm(
            AlarmName="errors", Namespace="Shop", MetricName="Errors", Statistic="Sum", Period=60, EvaluationPeriods=1, Threshold=1,
            ComparisonOperator="GreaterThanThreshold", AlarmActions=[TOPIC], TreatMissingData="ignore",
        )  # fmt: skip
    assert until(lambda: dying.process.poll()) == -signal.SIGKILL
    dying = Crashing(tmp_path, "monitoring.acted")
    assert until(lambda: dying.process.poll()) == -signal.SIGKILL
    last = Crashing(tmp_path)
    cloudwatch = last.client("cloudwatch", attempts=5)

    def history():
        return [
            one["HistorySummary"] for one in cloudwatch.describe_alarm_history(AlarmName="errors")["AlarmHistoryItems"]
        ]

    until(lambda: any("action" in one for one in history()))
    found = sorted(one.partition(f" {TOPIC}")[0] for one in history())
    last.end()
    updated = "Alarm updated from INSUFFICIENT_DATA to ALARM"
    assert found == ['Alarm "errors" created', updated, "Failed to execute action"]


def test_a_kill_after_a_read_counts_it_once(tmp_path):
    with shop() as probed:
        more = ("--lease", "1")
        dying = Crashing(tmp_path, "monitoring.source_read", *more)
        penstock = dying.client("penstock", attempts=5)
        with contextlib.suppress(botocore.exceptions.BotoCoreError):  # it dies while it answers, or soon after
            penstock.put_metric_source(sourceName="shop", http={"url": probed.url}, intervalSeconds=3600)
        assert until(lambda: dying.process.poll()) == -signal.SIGKILL
        last = Crashing(tmp_path, "", *more)
        penstock, cloudwatch = (last.client(service, attempts=5) for service in ("penstock", "cloudwatch"))
        found = until(
            lambda: next((one for one in penstock.list_metric_sources()["sources"] if "lastReadTime" in one), None)
        )
        assert (found["status"], found["failures"]) == ("OK", 0)
        now = found["lastReadTime"]
        counted = cloudwatch.get_metric_statistics(
            Namespace="Penstock/Probes", MetricName="Success", Dimensions=[{"Name": "Source", "Value": "shop"}],
            StartTime=now - dt.timedelta(hours=1), EndTime=now + dt.timedelta(hours=1), Period=86_400, Statistics=["SampleCount"],
        )  # fmt: skip
        last.end()
        assert [one["SampleCount"] for one in counted["Datapoints"]] == [1.0]


def test_a_kill_neither_repeats_nor_loses_the_transition_of_a_composite_alarm(tmp_path):
    first = Crashing(tmp_path)
    cloudwatch = first.client("cloudwatch", attempts=5)
    cloudwatch.put_metric_alarm(
        AlarmName="errors", Namespace="Shop", MetricName="Never", Statistic="Sum", Period=60, EvaluationPeriods=1, Threshold=1,
        ComparisonOperator="GreaterThanThreshold", TreatMissingData="ignore",
    )  # fmt: skip
    cloudwatch.put_composite_alarm(AlarmName="shop", AlarmRule="ALARM(errors)", AlarmActions=[TOPIC])

    def value():
        found = cloudwatch.describe_alarms(AlarmNames=["shop"], AlarmTypes=["CompositeAlarm"])["CompositeAlarms"]
        return found[0]["StateValue"]

    until(lambda: value() == "OK")
    first.end()
    asked = {"AlarmName": "errors", "StateValue": "ALARM", "StateReason": "drill"}
    dying = Crashing(tmp_path, "monitoring.evaluated")
    with contextlib.suppress(botocore.exceptions.BotoCoreError):  # it dies while it answers, or soon after
        dying.client("cloudwatch", attempts=5).set_alarm_state(**asked)
    assert until(lambda: dying.process.poll(), seconds=90) == -signal.SIGKILL
    last = Crashing(tmp_path)
    cloudwatch = last.client("cloudwatch", attempts=5)
    cloudwatch.set_alarm_state(**asked)

    def history():
        found = cloudwatch.describe_alarm_history(AlarmName="shop", AlarmTypes=["CompositeAlarm"])["AlarmHistoryItems"]
        return [one["HistorySummary"].partition(f" {TOPIC}")[0] for one in found]

    until(lambda: any("action" in one for one in history()))
    found = sorted(history())
    last.end()
    assert found == [
        'Alarm "shop" created',
        "Alarm updated from INSUFFICIENT_DATA to OK",
        "Alarm updated from OK to ALARM",
        "Failed to execute action",
    ]
