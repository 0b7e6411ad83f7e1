"""Labels of series that change with their data, such as `[max: ${MAX}]`. Pure.

AWS: CloudWatch User Guide, "Use dynamic labels".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

from penstock.monitoring.errors import ValidationError

_MOST = 5  # values of a label
_VALUE = re.compile(r"\$\{([^}]{1,300})\}")
_PROPERTY = re.compile(r"PROP\('([^']+)'\)")
_ZONE = re.compile(r"([+-])([0-9]{2})([0-5][0-9])")

Points = Mapping[int, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What a label is about. Times are in seconds."""

    default: str  # the label that it would have without one of its own
    points: Points  # in the order of time
    properties: Mapping[str, str]
    now: int
    zone: timezone


def zone_of(text: str) -> timezone:
    """The time zone of `+0130`. Raises ValidationError."""
    found = _ZONE.fullmatch(text)
    if found is None or int(found[2]) > 23:
        raise ValidationError(
            f"The value {text} for parameter LabelOptions.Timezone is invalid: give + or - and four digits, such as +0130."
        )
    offset = timedelta(hours=int(found[2]), minutes=int(found[3]))
    return timezone(-offset if found[1] == "-" else offset)


def check(label: str, where: str) -> None:
    """Raise ValidationError for a label that is not valid."""
    values = _VALUE.findall(label)
    unknown = [
        value for value in values if value not in _VALUES and value != "LABEL" and _PROPERTY.fullmatch(value) is None
    ]
    if unknown:
        raise ValidationError(f"The parameter {where} has a dynamic value that does not exist: ${{{unknown[0]}}}.")
    if len(values) > _MOST or values.count("LABEL") > 1:
        raise ValidationError(f"The parameter {where} can have up to {_MOST} dynamic values, and ${{LABEL}} once.")


def is_dynamic(label: str) -> bool:
    """Whether a label has values."""
    return _VALUE.search(label) is not None


def filled(label: str, subject: Subject) -> str:
    """A label with its values. What a series without data has no value for is `-`."""

    def value(found: re.Match[str]) -> str:
        name = found[1]
        if name == "LABEL":
            return subject.default
        property = _PROPERTY.fullmatch(name)
        if property is not None:
            return subject.properties.get(property[1], "")
        return _VALUES[name](subject) if subject.points else "0" if name == "DATAPOINT_COUNT" else "-"

    return _VALUE.sub(value, label)


def _number(value: float) -> str:
    return f"{value:.6g}"


def _of(fn: Callable[[list[float]], float]) -> Callable[[Subject], str]:
    return lambda subject: _number(fn(list(subject.points.values())))


Choice = Callable[[Points], int]


def _first(points: Points) -> int:
    return next(iter(points))


def _last(points: Points) -> int:
    return next(reversed(list(points)))


def _highest(points: Points) -> int:
    return max(points, key=lambda at: (points[at], at))


def _lowest(points: Points) -> int:
    return min(points, key=lambda at: (points[at], -at))


def _time(choice: Choice) -> Callable[[Subject], str]:
    def shown(subject: Subject) -> str:
        try:
            at = datetime.fromtimestamp(choice(subject.points), tz=UTC).astimezone(subject.zone)
        except (OverflowError, ValueError):  # before the year 1 or behind 9999, in that zone
            return "-"
        return f"{at:%Y-%m-%d %H:%M:%S}"

    return shown


def _relative(choice: Choice) -> Callable[[Subject], str]:
    return lambda subject: _distance(subject.now - choice(subject.points))


def _between(one: Choice, other: Choice) -> Callable[[Subject], str]:
    return lambda subject: _distance(one(subject.points) - other(subject.points))


def _distance(seconds: int) -> str:
    """A time span: `1d 2h 3m`, `4s`."""
    left, said = abs(seconds), list[str]()
    for name, length in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        count, left = divmod(left, length)
        if count:
            said.append(f"{count}{name}")
    return " ".join(said) or "0s"


_VALUES: Final[dict[str, Callable[[Subject], str]]] = {
    "AVG": _of(lambda values: sum(values) / len(values)),
    "DATAPOINT_COUNT": lambda subject: str(len(subject.points)),
    "FIRST": _of(lambda values: values[0]),
    "FIRST_LAST_RANGE": _of(lambda values: values[-1] - values[0]),
    "FIRST_LAST_TIME_RANGE": _between(_last, _first),
    "FIRST_TIME": _time(_first),
    "FIRST_TIME_RELATIVE": _relative(_first),
    "LAST": _of(lambda values: values[-1]),
    "LAST_TIME": _time(_last),
    "LAST_TIME_RELATIVE": _relative(_last),
    "MAX": _of(max),
    "MAX_TIME": _time(_highest),
    "MAX_TIME_RELATIVE": _relative(_highest),
    "MIN": _of(min),
    "MIN_MAX_RANGE": _of(lambda values: max(values) - min(values)),
    "MIN_MAX_TIME_RANGE": _between(_highest, _lowest),
    "MIN_TIME": _time(_lowest),
    "MIN_TIME_RELATIVE": _relative(_lowest),
    "SUM": _of(sum),
}
