"""Kill -9 after an alarm was evaluated, between an action and the note of it, and between a read of a source and its data: each is noted once."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import signal
import socket
from pathlib import Path
from urllib.parse import urlsplit

import botocore.config
import botocore.exceptions
from penstock_balancers import shop
from penstock_live import boto_session
from penstock_starter import PENSTOCK, start
from penstock_waiting import until

from penstock.store.failpoints import points

POINTS = [point for point in points() if point.startswith("monitoring.")]
TOPIC = "arn:aws:sns:us-east-1:111111111111:alerts"


def serve(folder: Path, crash: str = "", *more: str):
    """A server that dies at crash points."""
    (folder / "data" / "server.json").unlink(missing_ok=True)
    options = (
        "--data-dir",
        str(folder / "data"),
        "--port",
        "0",
        "--master-key-file",
        str(folder / "keys" / "master.key"),
        "--builds",
        "0",
        *more,
    )
    with (folder / "log").open("ab") as log:
        return start(
            PENSTOCK, "up", *options, env={**os.environ, "PENSTOCK_CRASH_POINT": crash}, stdout=log, stderr=log
        )


def _listens(url: str) -> bool:
    parts = urlsplit(url)
    with contextlib.suppress(OSError), socket.create_connection((str(parts.hostname), int(parts.port or 80)), 5):
        return True
    return False


def client(folder: Path, process, service: str = "cloudwatch"):
    """A service of a server that answers."""
    facts = folder / "data" / "server.json"
    until(lambda: facts.exists() or process.poll() is not None)
    assert process.poll() is None, (folder / "log").read_text()
    url = json.loads(facts.read_text())["url"]
    until(lambda: _listens(url) or process.poll() is not None)
    lines = (folder / "data" / "credentials").read_text().splitlines()
    keys = dict(line.split(" = ") for line in lines if " = " in line)
    config = botocore.config.Config(retries={"total_max_attempts": 5}, connect_timeout=10)
    return boto_session().client(
        service, endpoint_url=url, region_name="us-east-1", config=config,
        aws_access_key_id=keys["aws_access_key_id"], aws_secret_access_key=keys["aws_secret_access_key"],
    )  # fmt: skip


def test_a_kill_repeats_no_transition_and_loses_no_action(tmp_path):
    assert POINTS == ["monitoring.acted", "monitoring.evaluated", "monitoring.source_read"]
    dying = serve(tmp_path, crash="monitoring.evaluated")
    cloudwatch = client(tmp_path, dying)
    cloudwatch.put_metric_data(Namespace="Shop", MetricData=[{"MetricName": "Errors", "Value": 5}])
    with contextlib.suppress(botocore.exceptions.BotoCoreError):  # it dies while it answers, or soon after
        cloudwatch.put_metric_alarm(
            AlarmName="errors", Namespace="Shop", MetricName="Errors", Statistic="Sum", Period=60, EvaluationPeriods=1, Threshold=1,
            ComparisonOperator="GreaterThanThreshold", AlarmActions=[TOPIC], TreatMissingData="ignore",
        )  # fmt: skip
    assert until(lambda: dying.poll()) == -signal.SIGKILL
    dying = serve(tmp_path, crash="monitoring.acted")
    assert until(lambda: dying.poll()) == -signal.SIGKILL
    last = serve(tmp_path)
    cloudwatch = client(tmp_path, last)

    def history():
        return [
            one["HistorySummary"] for one in cloudwatch.describe_alarm_history(AlarmName="errors")["AlarmHistoryItems"]
        ]

    until(lambda: any("action" in one for one in history()))
    found = sorted(one.partition(f" {TOPIC}")[0] for one in history())
    last.send_signal(signal.SIGTERM)
    last.wait(60)
    updated = "Alarm updated from INSUFFICIENT_DATA to ALARM"
    assert found == ['Alarm "errors" created', updated, "Failed to execute action"]


def test_a_kill_after_a_read_counts_it_once(tmp_path):
    with shop() as probed:
        more = ("--egress-network", "127.0.0.0/8", "--lease", "1")
        dying = serve(tmp_path, "monitoring.source_read", *more)
        penstock = client(tmp_path, dying, "penstock")
        with contextlib.suppress(botocore.exceptions.BotoCoreError):  # it dies while it answers, or soon after
            penstock.put_metric_source(sourceName="shop", http={"url": probed.url}, intervalSeconds=3600)
        assert until(lambda: dying.poll()) == -signal.SIGKILL
        last = serve(tmp_path, "", *more)
        penstock, cloudwatch = (client(tmp_path, last, service) for service in ("penstock", "cloudwatch"))
        found = until(
            lambda: next((one for one in penstock.list_metric_sources()["sources"] if "lastReadTime" in one), None)
        )
        assert (found["status"], found["failures"]) == ("OK", 0)
        now = found["lastReadTime"]
        counted = cloudwatch.get_metric_statistics(
            Namespace="Penstock/Probes", MetricName="Success", Dimensions=[{"Name": "Source", "Value": "shop"}],
            StartTime=now - dt.timedelta(hours=1), EndTime=now + dt.timedelta(hours=1), Period=86_400, Statistics=["SampleCount"],
        )  # fmt: skip
        last.send_signal(signal.SIGTERM)
        last.wait(60)
        assert [one["SampleCount"] for one in counted["Datapoints"]] == [1.0]


def test_a_kill_neither_repeats_nor_loses_the_transition_of_a_composite_alarm(tmp_path):
    first = serve(tmp_path)
    cloudwatch = client(tmp_path, first)
    cloudwatch.put_metric_alarm(
        AlarmName="errors", Namespace="Shop", MetricName="Never", Statistic="Sum", Period=60, EvaluationPeriods=1, Threshold=1,
        ComparisonOperator="GreaterThanThreshold", TreatMissingData="ignore",
    )  # fmt: skip
    cloudwatch.put_composite_alarm(AlarmName="shop", AlarmRule="ALARM(errors)", AlarmActions=[TOPIC])

    def value():
        found = cloudwatch.describe_alarms(AlarmNames=["shop"], AlarmTypes=["CompositeAlarm"])["CompositeAlarms"]
        return found[0]["StateValue"]

    until(lambda: value() == "OK")
    first.kill()
    first.wait(60)
    asked = {"AlarmName": "errors", "StateValue": "ALARM", "StateReason": "drill"}
    dying = serve(tmp_path, "monitoring.evaluated")
    with contextlib.suppress(botocore.exceptions.BotoCoreError):  # it dies while it answers, or soon after
        client(tmp_path, dying).set_alarm_state(**asked)
    assert until(lambda: dying.poll(), seconds=90) == -signal.SIGKILL
    last = serve(tmp_path)
    cloudwatch = client(tmp_path, last)
    cloudwatch.set_alarm_state(**asked)

    def history():
        found = cloudwatch.describe_alarm_history(AlarmName="shop", AlarmTypes=["CompositeAlarm"])["AlarmHistoryItems"]
        return [one["HistorySummary"].partition(f" {TOPIC}")[0] for one in found]

    until(lambda: any("action" in one for one in history()))
    found = sorted(history())
    last.send_signal(signal.SIGTERM)
    last.wait(60)
    assert found == [
        'Alarm "shop" created',
        "Alarm updated from INSUFFICIENT_DATA to OK",
        "Alarm updated from OK to ALARM",
        "Failed to execute action",
    ]
