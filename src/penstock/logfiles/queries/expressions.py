"""Expressions of queries, compiled to functions of a record."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from penstock.logfiles.queries.functions import ARITHMETIC, FUNCTIONS, Time, number_of, text_of
from penstock.logfiles.queries.grammar import Applied, Expression, Matches, Name, Operation, Value

_ORDER = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_STEPS = 32  # of a path into JSON


class Record:
    """An event, or a row of `stats`, with the fields that commands have given it."""

    __slots__ = ("_document", "_parsed", "base", "fields", "message")

    def __init__(self, base: Mapping[str, Any], message: str | None) -> None:
        self.base = base  # the fields that it has by itself
        self.message = message
        self.fields: dict[str, Any] = {}
        self._document: Any = None
        self._parsed = message is None

    def get(self, name: str) -> Any:
        """The value of a field; None where there is none."""
        if name in self.fields:
            return self.fields[name]
        if name in self.base:
            return self.base[name]
        if not self._parsed:
            self._parsed = True
            self._document = _parsed(self.message or "")
        return None if self._document is None else _within(self._document, name)

    def release(self) -> None:
        """Forget what was read of JSON, which takes several times the memory of its text; it is read again when it is asked for."""
        self._document, self._parsed = None, self.message is None

    def names(self) -> dict[str, Any]:
        """All fields that it has, those of JSON by their paths, 1,000 of them at most."""
        found = {name: value for name, value in {**self.base, **self.fields}.items() if value is not None}
        if not self._parsed:
            self._document, self._parsed = _parsed(self.message or ""), True
        waiting: list[tuple[str, Any]] = [("", self._document)] if self._document is not None else []
        while waiting and len(found) < 1_000:
            path, value = waiting.pop()
            if isinstance(value, dict | list) and path.count(".") < _STEPS:
                parts = value.items() if isinstance(value, dict) else enumerate(value)
                waiting += [(f"{path}.{key}" if path else str(key), part) for key, part in list(parts)[:1_000]]
            elif value is not None and not isinstance(value, dict | list):
                found.setdefault(path, _plain(value))
        return found


def _parsed(message: str) -> Any:
    if message.lstrip()[:1] != "{":
        return None
    try:
        document = orjson.loads(message)
    except orjson.JSONDecodeError:
        return None
    return document if isinstance(document, dict) else None


def _within(document: Any, name: str) -> Any:
    """The value at a path such as `a.b` or `list.0`, or of a member with dots in its name."""
    if name in document:
        return _plain(document[name])
    found = document
    for step in name.split(".", _STEPS):
        if isinstance(found, dict):
            found = found.get(step)
        elif isinstance(found, list) and step.isdigit() and len(step) < 10 and int(step) < len(found):
            found = found[int(step)]
        else:
            return None
    return _plain(found)


def _plain(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        return orjson.dumps(value).decode()
    return value


Evaluate = Callable[[Record], Any]


def evaluate(expression: Expression) -> Evaluate:
    """The value of an expression for a record."""
    match expression:
        case Name(name=name):
            return lambda record: record.get(name)
        case Value(value=value):
            return lambda _record: value
        case Matches():
            return _matches(expression)
        case Applied(function="bin", arguments=(period,)):
            length = evaluate(period)
            floor = FUNCTIONS["datefloor"].apply
            return lambda record: floor(record.get("@timestamp"), length(record))
        case Applied(function=name, arguments=arguments):
            apply, values = FUNCTIONS[name].apply, [evaluate(one) for one in arguments]
            return lambda record: apply(*(value(record) for value in values))
        case Operation(sign=sign, operands=operands):
            return _operation(sign, [evaluate(one) for one in operands])


def holds(expression: Expression) -> Callable[[Record], bool]:
    """Whether an expression is true of a record."""
    value = evaluate(expression)
    return lambda record: is_true(value(record))


def is_true(value: Any) -> bool:
    """Whether a value counts as true: not what is missing, empty, 0 or false."""
    return bool(value) and value not in ("0", "false")


def _operation(sign: str, values: list[Evaluate]) -> Evaluate:
    first, rest = values[0], values[1:]
    if sign in ARITHMETIC:
        second, apply = rest[0], ARITHMETIC[sign]
        return lambda record: apply(first(record), second(record))
    if sign == "not":
        return lambda record: not is_true(first(record))
    if sign == "and":
        second = rest[0]
        return lambda record: is_true(first(record)) and is_true(second(record))
    if sign == "or":
        second = rest[0]
        return lambda record: is_true(first(record)) or is_true(second(record))
    if sign == "in":

        def within(record: Record) -> bool:
            value = first(record)
            return any(equal(value, one(record)) for one in rest)

        return within
    second = rest[0]
    if sign == "=":
        return lambda record: equal(first(record), second(record))
    if sign == "!=":
        return lambda record: not equal(first(record), second(record))
    compare = _ORDER[sign]
    return lambda record: _ordered(compare, first(record), second(record))


def equal(one: Any, other: Any) -> bool:
    """Whether values are alike: as numbers where both are, else as texts. What is missing is like nothing."""
    if one is None or other is None:
        return False
    numbers = number_of(one), number_of(other)
    if None not in numbers:
        return numbers[0] == numbers[1]
    return text_of(one) == text_of(other)


def _ordered(compare: Callable[[Any, Any], bool], one: Any, other: Any) -> bool:
    if one is None or other is None:
        return False
    numbers = number_of(one), number_of(other)
    if None not in numbers:
        return compare(*numbers)
    return compare(text_of(one), text_of(other))


def _matches(expression: Matches) -> Evaluate:
    value, part, regex = evaluate(expression.value), expression.part, expression.regex
    if regex is None:
        return lambda record: (found := value(record)) is not None and part in text_of(found)
    return lambda record: (
        (found := value(record)) is not None and regex.search(text_of(found).encode("utf-8", "replace")) is not None
    )


def order(value: Any) -> tuple[int, float, str]:
    """A key by which values are sorted: numbers before texts, what is missing first."""
    if value is None:
        return (0, 0.0, "")
    number = number_of(value)
    if number is None:
        return (2, 0.0, text_of(value))
    return (1, float(number) if not isinstance(number, float) or math.isfinite(number) else 0.0, "")


def timestamp(value: int) -> Time:
    """A moment as a value."""
    return Time(value)
