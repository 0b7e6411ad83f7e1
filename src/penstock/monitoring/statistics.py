"""What is known of a metric's values within a period, and the statistics that are asked of it.

AWS: CloudWatch User Guide, "CloudWatch statistics definitions".
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from penstock.monitoring.sketches import Sketch

SIMPLE = ("SampleCount", "Average", "Sum", "Minimum", "Maximum")
_LIMIT = 128  # characters of an extended statistic


@dataclass(slots=True)
class Summary:
    """A period's values. Without a sketch their distribution is not known, since somebody sent a statistics set."""

    count: float = 0.0
    sum: float = 0.0
    minimum: float = math.inf
    maximum: float = -math.inf
    sketch: Sketch | None = field(default_factory=Sketch)

    @classmethod
    def of_set(cls, count: float, sum: float, minimum: float, maximum: float) -> Summary:
        """Of a statistics set. Where all values are the same, or there is one, their distribution is known."""
        sketch = None
        if count == 1 or minimum == maximum:
            sketch = Sketch()
            sketch.add(sum if count == 1 else minimum, count)
        return cls(count, sum, minimum, maximum, sketch)

    def add(self, value: float, weight: float = 1.0) -> None:
        """Count a value."""
        self.count += weight
        self.sum += value * weight
        self.minimum = min(self.minimum, value)
        self.maximum = max(self.maximum, value)
        if self.sketch is not None:
            self.sketch.add(value, weight)

    def merge(self, other: Summary) -> None:
        """Count all of another one."""
        self.count += other.count
        self.sum += other.sum
        self.minimum = min(self.minimum, other.minimum)
        self.maximum = max(self.maximum, other.maximum)
        if self.sketch is not None and other.sketch is not None:
            self.sketch.merge(other.sketch)
        else:
            self.sketch = None

    def stored(self) -> list[Any]:
        """As JSON. Most periods have one value, of which four numbers say everything."""
        numbers = [self.count, self.sum, self.minimum, self.maximum]
        if self.sketch is None:
            return [*numbers, None]
        return numbers if self.minimum == self.maximum else [*numbers, self.sketch.stored()]

    @classmethod
    def load(cls, stored: list[Any]) -> Summary:
        """What was stored."""
        count, sum, minimum, maximum = stored[:4]
        if len(stored) == 4:
            return cls(count, sum, minimum, maximum, Sketch(weights={minimum: count}))
        return cls(count, sum, minimum, maximum, None if stored[4] is None else Sketch.load(stored[4]))


Statistic = Callable[[Summary], float | None]
"""None where a period has too little for it, such as a percentile of a statistics set."""


class UnknownStatistic(ValueError):
    """A name that stands for no statistic."""


@lru_cache(maxsize=1024)
def statistic(name: str) -> Statistic:
    """The statistic of a name, such as `Average`, `p99.9`, `TM(5%:95%)`. Raises UnknownStatistic."""
    match name:
        case "SampleCount":
            return lambda found: found.count
        case "Sum":
            return lambda found: found.sum
        case "Minimum":
            return lambda found: found.minimum
        case "Maximum":
            return lambda found: found.maximum
        case "Average":
            return lambda found: found.sum / found.count if found.count else None
    return _extended(name)


_SHORT = re.compile(r"(p|tm|wm|tc|ts)([0-9]{1,3}(?:\.[0-9]{1,10})?)", re.IGNORECASE)
_NUMBER = r"[0-9]{1,30}(?:\.[0-9]{1,10})?"
_RANGE = re.compile(rf"(TM|WM|TC|TS|PR)\(({_NUMBER})?(%)?:({_NUMBER})?(%)?\)", re.IGNORECASE)


def _extended(name: str) -> Statistic:
    text = name.strip() if len(name) <= _LIMIT else ""
    if text.upper() == "IQM":
        return _of_range("TM", 0.25, 0.75, percent=True)
    short, ranged = _SHORT.fullmatch(text), _RANGE.fullmatch(text)
    if short is not None and float(short[2]) <= 100:
        share = float(short[2]) / 100
        return _percentile(share) if short[1].lower() == "p" else _of_range(short[1].upper(), 0.0, share, percent=True)
    if ranged is None or (ranged[2] is None and ranged[4] is None):
        raise UnknownStatistic(name)
    kind, low, low_percent, high, high_percent = ranged[1].upper(), ranged[2], ranged[3], ranged[4], ranged[5]
    percent = bool(low_percent or high_percent)
    stated = [bool(sign) for bound, sign in ((low, low_percent), (high, high_percent)) if bound is not None]
    # Both bounds are of one kind; PR is a share of the samples within values.
    if (
        len(set(stated)) != 1
        or stated[0] is not percent
        or (low is None and low_percent)
        or (high is None and high_percent)
    ):
        raise UnknownStatistic(name)
    if percent and kind == "PR":
        raise UnknownStatistic(name)
    scale = 100 if percent else 1
    first = float(low) / scale if low is not None else (0.0 if percent else -math.inf)
    last = float(high) / scale if high is not None else (1.0 if percent else math.inf)
    if first >= last or (percent and last > 1):
        raise UnknownStatistic(name)
    return _of_range(kind, first, last, percent=percent)


def _percentile(share: float) -> Statistic:
    def percentile(found: Summary) -> float | None:
        if found.sketch is None or not found.count:
            return None
        return _at(found, share)

    return percentile


def _at(found: Summary, share: float) -> float:
    """The least value that has this share of the samples at or below it."""
    assert found.sketch is not None
    wanted = share * found.count
    below = 0.0
    for value, weight in found.sketch.values():
        below += weight
        if below >= wanted - 1e-9 * found.count:
            return min(max(value, found.minimum), found.maximum)  # a class reaches beyond the values in it
    return found.maximum


def _of_range(kind: str, first: float, last: float, *, percent: bool) -> Statistic:
    def ranged(found: Summary) -> float | None:
        if found.sketch is None or not found.count:
            return None
        kept = _within(found, first, last, percent=percent)
        weight = sum(part for _, part in kept)
        total = sum(value * part for value, part in kept)
        match kind:
            case "TC":
                return weight
            case "TS":
                return total
            case "PR":
                return 100 * weight / found.count
            case "WM":
                return _winsorized(found, first, last, kept, percent=percent)
        return total / weight if weight else None

    return ranged


def _within(found: Summary, first: float, last: float, *, percent: bool) -> list[tuple[float, float]]:
    """Values within bounds, with the weight that lies within them: shares of the samples, or (first, last] of values."""
    assert found.sketch is not None
    pairs = [(min(max(value, found.minimum), found.maximum), weight) for value, weight in found.sketch.values()]
    if not percent:
        return [(value, weight) for value, weight in pairs if first < value <= last]
    kept: list[tuple[float, float]] = []
    below, start, end = 0.0, first * found.count, last * found.count
    for value, weight in pairs:
        part = min(below + weight, end) - max(below, start)
        below += weight
        if part > 1e-9 * found.count:
            kept.append((value, part))
    return kept


def _winsorized(
    found: Summary, first: float, last: float, kept: list[tuple[float, float]], *, percent: bool
) -> float | None:
    """The mean when values beyond the bounds count as the bounds."""
    if not kept:
        return None
    low = kept[0][0] if percent else first
    high = kept[-1][0] if percent else last
    assert found.sketch is not None
    return sum(min(max(value, low), high) * weight for value, weight in found.sketch.values()) / found.count
