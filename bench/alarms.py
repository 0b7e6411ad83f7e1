"""What it costs to evaluate 10,000 alarms once, as happens each minute: processor time, as a share of one core."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import penstock.identity
import penstock.monitoring
from bench.run import Row
from penstock.app import compose
from penstock.application import Settings
from penstock.monitoring.evaluating import Evaluator
from penstock.store.clock import ManualClock

ALARMS, MINUTES = 10_000, 10
_BAR = 0.05
_METRICS = 1_000  # of a call


async def _measure(folder: Path) -> tuple[float, float]:
    """Seconds of the processor for one evaluation of each, and for a minute's data of each."""
    clock = ManualClock()
    settings = Settings(data_dir=folder / "data", master_key_file=folder / "master.key")
    components = (penstock.identity.component, penstock.monitoring.component)
    async with compose(settings, components=components, clock=clock) as app:
        lines = (await app.identity.bootstrap()).splitlines()
        session = (await app.identity.credential(lines[1].partition(" = ")[2], "")).session

        async def call(operation: str, **input: Any) -> None:
            await app.invoke(session, "cloudwatch", operation, input, region="us-east-1")

        names = [f"m{number:05}" for number in range(ALARMS)]
        asked = {"Namespace": "Bench", "Statistic": "Average", "Period": 60, "EvaluationPeriods": 3, "DatapointsToAlarm": 2,
                 "Threshold": 100.0, "ComparisonOperator": "GreaterThanThreshold"}  # fmt: skip
        for start in range(0, ALARMS, 200):
            made = (
                call("PutMetricAlarm", AlarmName=name, MetricName=name, **asked) for name in names[start : start + 200]
            )
            await asyncio.gather(*made)
        putting = 0.0
        for _ in range(MINUTES):
            before = time.process_time()
            for start in range(0, ALARMS, _METRICS):
                data = [{"MetricName": name, "Value": 1.5} for name in names[start : start + _METRICS]]
                await call("PutMetricData", Namespace="Bench", MetricData=data)
            putting = time.process_time() - before
            clock.advance(60_000)
        await Evaluator(app).turn()
        clock.advance(70_000)
        before = time.process_time()
        await Evaluator(app).turn()
        return time.process_time() - before, putting


def measure() -> list[Row]:
    """The rows of this benchmark."""
    with tempfile.TemporaryDirectory() as folder:
        evaluating, putting = asyncio.run(_measure(Path(folder)))
    share = evaluating / 60
    return [
        Row(
            what=f"{ALARMS:,} alarms evaluated each minute, on one core",
            measured=f"{share:.1%}",
            bar=f"≤ {_BAR:.0%}",
            met=share <= _BAR,
        ),
        Row(
            what=f"data of {ALARMS:,} metrics each minute, on one core",
            measured=f"{putting / 60:.1%}",
            bar="",
            met=None,
        ),
    ]


if __name__ == "__main__":
    for row in measure():
        print(row.what, row.measured, sep=": ")
