"""Series of a metric: how its data lie in rows, and how they are read by periods.

A row has the data of one metric and unit for a span of time, a summary for each of its points. What is a second fine is kept for three hours, a
minute for 15 days, five minutes for 63 days, an hour for 455 days (AWS: GetMetricStatistics). Data of each moment lie in one tier: they move to
the next one when their time in the former is over, which is after the last that may still come for it.
"""

from __future__ import annotations

import hashlib
import itertools
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from penstock.monitoring.statistics import Summary

HOUR, DAY = 3_600, 86_400  # seconds
OLDEST = 14 * DAY  # of data that are put
NEWEST = 2 * HOUR  # in the future


def seconds(ms: int, *, up: bool = False) -> int:
    """A time of the wire (ms) in seconds, the resolution of data; rounded down, or up."""
    return -(-ms // 1000) if up else ms // 1000


def wire_time(at: int) -> int:
    """A time in seconds as the wire has it (ms)."""
    return at * 1000


Dimensions = Sequence[tuple[str, str]]
"""Names and values in the order of names."""


@dataclass(frozen=True, slots=True)
class Tier:
    """Data of one resolution. All in seconds."""

    period: int  # of a point
    span: int  # of a row
    keep: int


SECONDS = Tier(1, 60, 3 * HOUR)
MINUTES = Tier(60, HOUR, 15 * DAY)
TIERS = (SECONDS, MINUTES, Tier(300, 6 * HOUR, 63 * DAY), Tier(HOUR, 5 * DAY, 455 * DAY))
LAST = TIERS[-1]
NEXT = dict(itertools.pairwise(TIERS))


class RowKey(NamedTuple):
    """Which row of a metric."""

    metric: str
    tier: int  # its period
    start: int  # seconds
    unit: str


class Metric(NamedTuple):
    """What a metric is called: one with other dimensions is another metric."""

    namespace: str
    name: str
    dimensions: Dimensions

    def id(self, account: str, region: str) -> str:
        """A UUID that follows from the name, so that data can be found without a look-up."""
        named = orjson.dumps([account, region, self.namespace, self.name, self.dimensions])
        return str(uuid.UUID(bytes=hashlib.sha256(named).digest()[:16]))


def metric_of(given: Mapping[str, Any]) -> Metric:
    """The metric that an input names by `Namespace`, `MetricName` and `Dimensions`."""
    dimensions = given.get("Dimensions") or ()
    named = tuple(sorted((one["Name"], one["Value"]) for one in dimensions))
    return Metric(given.get("Namespace", ""), given.get("MetricName", ""), named)


def tier_for(at: int, resolution: int, now: int) -> Tier:
    """Where new data of a time belong. All in seconds."""
    return SECONDS if resolution == 1 and at > now - SECONDS.keep else MINUTES


def key_of(metric: str, tier: Tier, at: int, unit: str) -> RowKey:
    """The row of a moment."""
    return RowKey(metric, tier.period, at - at % tier.span, unit)


Points = dict[int, Summary]
"""Of a row or a series, by their start in seconds."""


def add(points: Points, at: int, period: int, summary: Summary) -> None:
    """Count a summary in the point of its moment."""
    start = at - at % period
    known = points.get(start)
    if known is None:
        points[start] = summary
    else:
        known.merge(summary)


def stored(key: RowKey, points: Points) -> list[Any]:
    """A row's points as JSON: what tells each from the row's start, and its summary."""
    return [[(at - key.start) // key.tier, *summary.stored()] for at, summary in points.items()]


def load(key: RowKey, content: list[Any]) -> Points:
    """The points of a row."""
    return {key.start + one[0] * key.tier: Summary.load(one[1:]) for one in content}


def rounded(start: int, period: int, now: int) -> int:
    """Where a request for a series begins (AWS: GetMetricStatistics, StartTime). Seconds."""
    age = now - start
    step = 60 if age < 15 * DAY else 300 if age < 63 * DAY else HOUR
    return start - start % (period if period < 60 and age < SECONDS.keep else step)


def tiers_of(period: int) -> tuple[Tier, ...]:
    """The tiers whose points make up periods of this length."""
    return tuple(tier for tier in TIERS if period % tier.period == 0)


def has(rows: Iterable[tuple[RowKey, list[Any]]], start: int, end: int, period: int) -> bool:
    """Whether rows have data between two moments. All in seconds."""
    return bool(by_periods(rows, start, end, period))


def by_periods(rows: Iterable[tuple[RowKey, list[Any]]], start: int, end: int, period: int) -> Points:
    """A series from `start` (inclusive) to `end` (exclusive), by periods counted from its start. All in seconds."""
    series: Points = {}
    for key, content in rows:
        for one in content:
            at = key.start + one[0] * key.tier
            if start <= at < end:
                slot = at - (at - start) % period
                summary = Summary.load(one[1:])
                known = series.get(slot)
                if known is None:
                    series[slot] = summary
                else:
                    known.merge(summary)
    return series
