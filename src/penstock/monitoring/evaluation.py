"""What an alarm's metric says of its state: M of the last N periods, and what periods without data count as. Pure.

AWS: CloudWatch User Guide, "Evaluating an alarm" and "Configuring how CloudWatch alarms treat missing data".
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from penstock.monitoring.model import Found, StateValue

BEYOND = 2  # periods that are read beyond the N that are asked about: data may come late (AWS: the evaluation range)
_LISTED = 5  # data points in a reason
_DATA = 20  # and in the data beside it, which is 4,000 characters at most

_COMPARED: Final[dict[str, tuple[Callable[[float, float], bool], str]]] = {
    "GreaterThanThreshold": (operator.gt, "greater than"),
    "GreaterThanOrEqualToThreshold": (operator.ge, "greater than or equal to"),
    "LessThanThreshold": (operator.lt, "less than"),
    "LessThanOrEqualToThreshold": (operator.le, "less than or equal to"),
}
OPERATORS: Final = {name: words for name, (_, words) in _COMPARED.items()}
"""How alarms compare, each in words."""


def breaches(name: str, value: float, threshold: float) -> bool:
    """Whether a value is beyond a threshold, by the name of how it is compared."""
    return _COMPARED[name][0](value, threshold)


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """What an alarm asks of its metric."""

    metric: str  # its id
    namespace: str
    unit: str  # "": every one
    statistic: str  # "": it has `queries`
    period: int  # seconds
    periods: int  # N
    breaching: int  # M
    threshold: float
    operator: str
    missing: str = "missing"  # or breaching, notBreaching, ignore
    ignores_low_counts: bool = False  # percentiles of too few samples change nothing
    queries: str = ""  # JSON, of an alarm on an expression
    adds_up: bool = False  # some of its queries are of sums

    @property
    def grid(self) -> int:
        """How often it is looked at, in seconds: its windows end at such steps."""
        return min(60, self.period)

    @property
    def grows(self) -> bool:
        """Whether a period that is not over is bound to have a larger value later."""
        return self.adds_up or self.statistic in ("Sum", "SampleCount")

    @property
    def wants_little(self) -> bool:
        """Whether it is small values that breach."""
        return self.operator.startswith("Less")


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A period with data."""

    at: int  # seconds, of its start
    value: float
    count: float


Points = Sequence[Point | None]
"""Periods, the newest first; None: without data."""


def find(watch: Watch, points: Points, value: StateValue, now: int) -> Found | None:
    """The state that an alarm is in by its periods; None when it keeps the one that it has. `now` is in seconds."""
    compare = _COMPARED[watch.operator][0]
    real = [point for point in points if point is not None]
    if watch.ignores_low_counts and any(point.count < _enough(watch.statistic) for point in real[: watch.periods]):
        return None
    judged = real[: watch.periods]
    breaching = [point for point in judged if compare(point.value, watch.threshold)]
    filled = watch.periods - len(judged)
    treatment = "ignore" if watch.namespace == "AWS/DynamoDB" else watch.missing
    alarmed = len(breaching) >= watch.breaching
    if filled and not alarmed:
        if treatment in ("missing", "ignore"):
            return _sparse(watch, points, treatment, value, now)
        alarmed = treatment == "breaching" and len(breaching) + filled >= watch.breaching
    chosen = breaching if alarmed else [point for point in judged if point not in breaching]
    found = StateValue.ALARM if alarmed else StateValue.OK
    return _crossed(watch, judged, chosen, filled=filled, found=found, value=value, now=now)


def _sparse(watch: Watch, points: Points, treatment: str, value: StateValue, now: int) -> Found | None:
    """Fewer periods than N have data, too few of them breach, and those without are not judged."""
    judged = [point for point in points if point is not None]
    compare = _COMPARED[watch.operator][0]
    good = [point for point in judged if not compare(point.value, watch.threshold)]
    if not judged:
        return None if treatment == "ignore" else _unknown(watch, now)
    if good:
        return _crossed(watch, judged, good, filled=0, found=StateValue.OK, value=value, now=now)
    # Everything there breaches. Were the missing ones there, the oldest of these would leave the range before M could.
    oldest = max(index for index, point in enumerate(points, 1) if point is not None)
    if treatment == "missing" and oldest >= watch.breaching:
        return _crossed(watch, judged, judged, filled=0, found=StateValue.ALARM, value=value, now=now)
    return None


_PERCENTILE = re.compile(r"[pP]([0-9.]+)")


def _enough(statistic: str) -> float:
    """Samples without which a percentile says little (AWS: "Percentile-based alarms and low data samples")."""
    named = _PERCENTILE.fullmatch(statistic)
    if named is None:
        return 0.0
    share = float(named[1]) / 100
    return 10 / (1 - share) if 0.5 <= share < 1 else 10 / share if 0 < share < 0.5 else 0.0


# --- reasons ----------------------------------------------------------------------------------------------------------


def _crossed(
    watch: Watch,
    judged: list[Point],
    chosen: list[Point],
    *,
    filled: int,
    found: StateValue,
    value: StateValue,
    now: int,
) -> Found:
    text = _filled(len(judged), filled, found) if filled and not _decides(watch, chosen, found) else ""
    text = text or _compared(watch, judged, chosen, found, value)
    return Found(value=found, reason=text, reason_data=_data(watch, judged, now))


def _decides(watch: Watch, chosen: list[Point], found: StateValue) -> bool:
    """Whether the periods with data lead to the state by themselves."""
    return len(chosen) >= (watch.breaching if found is StateValue.ALARM else watch.periods - watch.breaching + 1)


def _filled(received: int, filled: int, found: StateValue) -> str:
    were = "no datapoints were" if not received else f"{_counted(received)} {'was' if received == 1 else 'were'}"
    kind = "Breaching" if found is StateValue.ALARM else "NonBreaching"
    missing = f"{filled} missing datapoint{'s were' if filled > 1 else ' was'} treated as [{kind}]"
    return f"Threshold Crossed: {were} received for {_periods(received + filled)} and {missing}."


def _compared(watch: Watch, judged: list[Point], chosen: list[Point], found: StateValue, value: StateValue) -> str:
    words = _COMPARED[watch.operator][1]
    listed = ", ".join(f"{number(point.value)} ({_short(point.at)})" for point in chosen[:_LISTED])
    more = ", ..." if len(chosen) > _LISTED else ""
    was = ("was" if len(chosen) == 1 else "were") + ("" if found is StateValue.ALARM else " not")
    least = watch.breaching if found is StateValue.ALARM else watch.periods - watch.breaching + 1
    minimum = f"minimum {_counted(least)} for {value} -> {found} transition"
    return (
        f"Threshold Crossed: {len(chosen)} out of the last {len(judged)} datapoints [{listed}{more}] {was} {words} the threshold"
        f" ({number(watch.threshold)}) ({minimum})."
    )


def _unknown(watch: Watch, now: int) -> Found:
    were = f"{_counted(watch.periods)} {'was' if watch.periods == 1 else 'were'}"
    return Found(
        value=StateValue.INSUFFICIENT_DATA,
        reason=f"Insufficient Data: {were} unknown.",
        reason_data=_data(watch, [], now),
    )


def _counted(count: int) -> str:
    return f"{count} datapoint{'' if count == 1 else 's'}"


def _periods(count: int) -> str:
    return f"{count} period{'' if count == 1 else 's'}"


def _data(watch: Watch, judged: list[Point], now: int) -> str:
    stated: dict[str, Any] = {"version": "1.0", "queryDate": stamp(now * 1000)}
    if judged:
        stated["startDate"] = stamp(judged[-1].at * 1000)
    if watch.unit:
        stated["unit"] = watch.unit
    newest = judged[:_DATA]
    if watch.statistic:
        stated["statistic"] = watch.statistic
    stated |= {
        "period": watch.period,
        "recentDatapoints": [point.value for point in reversed(newest)],
        "threshold": watch.threshold,
        "evaluatedDatapoints": [
            {"timestamp": stamp(point.at * 1000)}
            | ({"sampleCount": point.count} if watch.statistic else {})
            | {"value": point.value}
            for point in newest
        ],
    }
    return json.dumps(stated, separators=(",", ":"))


def stamp(ms: int) -> str:
    """A time as alarms write it: 2019-10-02T17:04:40.989+0000."""
    return f"{datetime.fromtimestamp(ms // 1000, tz=UTC):%Y-%m-%dT%H:%M:%S}.{ms % 1000:03}+0000"


def _short(at: int) -> str:
    return f"{datetime.fromtimestamp(at, tz=UTC):%d/%m/%y %H:%M:%S}"


def number(value: float) -> str:
    """A number as Java prints it: 45628.0, 1.0E20."""
    text = repr(float(value))
    if "e" not in text:
        return text
    mantissa, _, exponent = text.partition("e")
    return f"{mantissa if '.' in mantissa else mantissa + '.0'}E{int(exponent)}"
