"""Functions of values in queries. A value is text, a number, a `Time`, or None where there is none. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

PERIOD = re.compile(r"(\d{1,9})(ms|s|m|h|d|w)")
_UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_NUMBER = re.compile(r"\s*[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?\s*\Z")
_LONGEST = 1 << 20  # characters of a text that is put together
_NEWEST = 253_402_300_799_999  # ms: the end of the year 9999


class Time(int):
    """A moment, ms UTC."""


def period_ms(found: re.Match[str]) -> int | None:
    """A period in milliseconds; None for one that is nothing, or too long."""
    period = int(found[1]) * _UNITS[found[2]]
    return period if 0 < period <= _NEWEST else None


def text_of(value: Any) -> str:
    """A value as results show it."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, Time):
        if not 0 <= value <= _NEWEST:
            return str(int(value))
        moment = datetime.fromtimestamp(value // 1000, UTC)
        return f"{moment:%Y-%m-%d %H:%M:%S}.{value % 1000:03d}"
    if isinstance(value, float):
        if value.is_integer() and abs(value) < 1e15:
            return str(int(value))
        return format(value, ".10g") if math.isfinite(value) else str(value)
    return str(value)


def number_of(value: Any) -> float | int | None:
    """A value as a number; None of what is none."""
    if isinstance(value, int | float):
        return value
    if isinstance(value, str) and len(value) < 64 and _NUMBER.match(value):
        found = float(value)
        return int(value) if value.strip().lstrip("+-").isdigit() and abs(found) < 2**53 else found
    return None


def _numbers(function: Callable[..., Any]) -> Callable[..., Any]:
    """Of numbers, or None."""

    def apply(*values: Any) -> Any:
        found = [number_of(value) for value in values]
        if any(one is None for one in found):
            return None
        try:
            result = function(*found)
        except (ValueError, OverflowError, ZeroDivisionError):
            return None
        return None if isinstance(result, complex) else result

    return apply


def _texts(function: Callable[..., Any]) -> Callable[..., Any]:
    """Of a text and further values, or None."""

    def apply(value: Any, *more: Any) -> Any:
        if value is None:
            return None
        return function(text_of(value), *more)

    return apply


def _replace(text: str, old: Any, new: Any) -> Any:
    old, new = text_of(old), text_of(new)
    if not old:
        return text
    return text.replace(old, new) if len(text) + text.count(old) * len(new) <= _LONGEST else None


def _substr(text: str, start: Any, length: Any = None) -> Any:
    begins, many = number_of(start), number_of(length)
    if begins is None or not 0 <= begins < 2**53:
        return None
    begins = int(begins)
    return text[begins:] if many is None else text[begins : begins + max(0, int(min(many, 2**53)))]


def _concat(*values: Any) -> Any:
    text = "".join("" if value is None else text_of(value) for value in values)
    return text if len(text) <= _LONGEST else None


def _strip(method: str) -> Callable[..., Any]:
    return _texts(lambda text, chars=None: getattr(text, method)(None if chars is None else text_of(chars)))


def _floor(value: Any, period: Any) -> Any:
    at, length = number_of(value), number_of(period)
    if at is None or length is None or length < 1 or not 0 <= at <= _NEWEST:
        return None
    return Time(int(at) // int(length) * int(length))


def _ceil(value: Any, period: Any) -> Any:
    floor = _floor(value, period)
    return floor if floor is None or floor == number_of(value) else Time(floor + int(number_of(period) or 0))


def _extreme(choose: Callable[..., Any]) -> Callable[..., Any]:
    def apply(*values: Any) -> Any:
        found = [number for value in values if (number := number_of(value)) is not None]
        return choose(found) if found else None

    return apply


def power(base: float, exponent: float) -> Any:
    """A power; of large integers one of floats, so that it takes no time."""
    return float(base) ** float(exponent)


def remainder(value: float, by: float) -> float:
    """With the sign of the value."""
    return math.fmod(value, by)


ARITHMETIC: dict[str, Callable[..., Any]] = {
    "+": _numbers(lambda a, b: a + b),
    "-": _numbers(lambda a, b: a - b),
    "*": _numbers(lambda a, b: float(a) * b if abs(a) > 2**53 or abs(b) > 2**53 else a * b),
    "/": _numbers(lambda a, b: a / b),
    "%": _numbers(remainder),
    "^": _numbers(power),
}
"""Sign → what it makes of two values."""


class Function(NamedTuple):
    """A function, and how many arguments it takes."""

    least: int
    most: int
    apply: Callable[..., Any]


FUNCTIONS = {
    "abs": Function(1, 1, _numbers(abs)),
    "ceil": Function(1, 1, _numbers(math.ceil)),
    "floor": Function(1, 1, _numbers(math.floor)),
    "log": Function(1, 1, _numbers(math.log)),
    "sqrt": Function(1, 1, _numbers(math.sqrt)),
    "greatest": Function(1, 20, _extreme(max)),
    "least": Function(1, 20, _extreme(min)),
    "ispresent": Function(1, 1, lambda value: value is not None),
    "isempty": Function(1, 1, lambda value: value is None or value == ""),
    "isblank": Function(1, 1, lambda value: value is None or not text_of(value).strip()),
    "coalesce": Function(1, 20, lambda *values: next((value for value in values if value is not None), None)),
    "concat": Function(1, 20, _concat),
    "strlen": Function(1, 1, _texts(len)),
    "strcontains": Function(2, 2, _texts(lambda text, part: int(part is not None and text_of(part) in text))),
    "toupper": Function(1, 1, _texts(str.upper)),
    "tolower": Function(1, 1, _texts(str.lower)),
    "trim": Function(1, 2, _strip("strip")),
    "ltrim": Function(1, 2, _strip("lstrip")),
    "rtrim": Function(1, 2, _strip("rstrip")),
    "replace": Function(3, 3, _texts(_replace)),
    "substr": Function(2, 3, _texts(_substr)),
    "bin": Function(1, 1, lambda period: period),  # of @timestamp: see expressions
    "datefloor": Function(2, 2, _floor),
    "dateceil": Function(2, 2, _ceil),
    "frommillis": Function(1, 1, _numbers(lambda value: Time(int(value)))),
    "tomillis": Function(1, 1, _numbers(int)),
}
"""By their names in lower case. AWS: "Functions and expressions"."""
