"""Metric filters: what a pattern finds in sample messages."""

from __future__ import annotations

from penstock.application import Call
from penstock.logs.logstore import LogStore
from penstock.logs.operations import check_pattern, operation
from penstock.wire.call import Input, Output


@operation("TestMetricFilter", abandonable=True)
async def test_metric_filter(logs: LogStore, call: Call, input: Input) -> Output:
    """Which of up to 50 messages match a pattern, and what it extracts from them."""
    check_pattern(input["filterPattern"])
    return {"matches": (await logs.test(input["filterPattern"], input["logEventMessages"]))["events"]}
