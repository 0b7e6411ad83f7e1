"""Kill -9 after an alarm was evaluated, and between an action and the note of it: one transition, and each action noted once."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from pathlib import Path

import boto3
import botocore.config
import botocore.exceptions
from penstock_starter import PENSTOCK, start
from penstock_waiting import until

from penstock.store.failpoints import points

POINTS = [point for point in points() if point.startswith("monitoring.")]
TOPIC = "arn:aws:sns:us-east-1:111111111111:alerts"


def serve(folder: Path, crash: str = ""):
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
    )
    with (folder / "log").open("ab") as log:
        return start(
            PENSTOCK, "up", *options, env={**os.environ, "PENSTOCK_CRASH_POINT": crash}, stdout=log, stderr=log
        )


def client(folder: Path, process):
    """CloudWatch of a server that answers."""
    facts = folder / "data" / "server.json"
    until(lambda: facts.exists() or process.poll() is not None)
    assert process.poll() is None, (folder / "log").read_text()
    lines = (folder / "data" / "credentials").read_text().splitlines()
    keys = dict(line.split(" = ") for line in lines if " = " in line)
    config = botocore.config.Config(retries={"total_max_attempts": 5}, connect_timeout=10)
    return boto3.client(
        "cloudwatch", endpoint_url=json.loads(facts.read_text())["url"], region_name="us-east-1", config=config,
        aws_access_key_id=keys["aws_access_key_id"], aws_secret_access_key=keys["aws_secret_access_key"],
    )  # fmt: skip


def test_a_kill_repeats_no_transition_and_loses_no_action(tmp_path):
    assert POINTS == ["monitoring.acted", "monitoring.evaluated"]
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
