"""Aggregates of `stats`, in memory that is bounded by a budget."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from penstock.logfiles.queries.expressions import Evaluate, Record, evaluate, order
from penstock.logfiles.queries.functions import ARITHMETIC, FUNCTIONS, number_of, text_of
from penstock.logfiles.queries.grammar import AGGREGATES, Applied, Expression, Operation, Stats, Value

MAX_ENTRIES = 1_000_000  # groups, different values and parts of percentiles that a query holds
_EXACT = 512  # values of which a percentile is exact
_BASE = math.log(1.01)  # above, it is within half a percent


class TooMuch(Exception):
    """A query holds more than it may. Its text says what to do."""


class Budget:
    """What a query may hold."""

    def __init__(self, entries: int = MAX_ENTRIES) -> None:
        self._left = entries

    def take(self, many: int = 1) -> None:
        """Raises TooMuch."""
        self._left -= many
        if self._left < 0:
            raise TooMuch(
                "The query holds more than a million groups and different values. Group by fewer, or filter more."
            )


class _Number:
    """sum, avg, min, max, stddev and count of one expression, as far as it is a number."""

    def __init__(self, kind: str, value: Evaluate) -> None:
        self._kind, self._value = kind, value
        self._many = 0
        self._sum: Any = 0
        self._mean = self._squares = 0.0

    def add(self, record: Record) -> None:
        number = number_of(self._value(record))
        if number is None or (isinstance(number, float) and not math.isfinite(number)):
            return
        self._many += 1
        self._sum += number if -(2**53) < number < 2**53 else float(number)
        apart = number - self._mean
        self._mean += apart / self._many
        self._squares += apart * (number - self._mean)

    def result(self) -> Any:
        if not self._many:
            return None
        if self._kind == "sum":
            return self._sum
        if self._kind == "avg":
            return self._sum / self._many
        return math.sqrt(self._squares / (self._many - 1)) if self._many > 1 else 0.0


class _Count:
    def __init__(self, value: Evaluate | None) -> None:
        self._value = value
        self._many = 0

    def add(self, record: Record) -> None:
        if self._value is None or self._value(record) is not None:
            self._many += 1

    def result(self) -> int:
        return self._many


class _Distinct:
    def __init__(self, value: Evaluate, budget: Budget) -> None:
        self._value, self._budget = value, budget
        self._found: set[int] = set()

    def add(self, record: Record) -> None:
        value = self._value(record)
        if value is None:
            return
        known = hash(text_of(value))
        if known not in self._found:
            self._budget.take()
            self._found.add(known)

    def result(self) -> int:
        return len(self._found)


class _Extreme:
    """min and max of values; earliest and latest by the time of the record."""

    def __init__(self, kind: str, value: Evaluate) -> None:
        self._largest = kind in ("max", "latest")
        self._by_time = kind in ("earliest", "latest")
        self._value = value
        self._key: Any = None
        self._found: Any = None

    def add(self, record: Record) -> None:
        value = self._value(record)
        if value is None:
            return
        key = order(record.get("@timestamp") if self._by_time else value)
        if self._key is None or (key > self._key if self._largest else key < self._key):
            self._key, self._found = key, value

    def result(self) -> Any:
        return self._found


class _Percentile:
    """Exact of few values; of many, from how many lie in intervals whose ends are one percent apart."""

    def __init__(self, value: Evaluate, percent: float, budget: Budget) -> None:
        self._value, self._percent, self._budget = value, percent, budget
        self._values: list[float] | None = []
        self._parts: dict[tuple[int, int], int] = {}
        self._many = 0

    def add(self, record: Record) -> None:
        number = number_of(self._value(record))
        if number is None or not abs(number) < 1e300:
            return
        self._many += 1
        if self._values is not None:
            self._budget.take()
            self._values.append(number)
            if len(self._values) > _EXACT:
                values, self._values = self._values, None
                for one in values:
                    self._put(one)
            return
        self._put(number)

    def _put(self, number: float) -> None:
        part = (0, 0)
        if abs(number) > 1e-300:
            at = math.ceil(math.log(abs(number)) / _BASE)
            part = (1, at) if number > 0 else (-1, -at)
        if part not in self._parts:
            self._budget.take()
            self._parts[part] = 0
        self._parts[part] += 1

    def result(self) -> Any:
        if not self._many:
            return None
        rank = max(0, math.ceil(self._percent / 100 * self._many) - 1)
        if self._values is not None:
            return sorted(self._values)[rank]
        for sign, at in sorted(self._parts):
            rank -= self._parts[sign, at]
            if rank < 0:
                return sign * math.exp((abs(at) - 0.5) * _BASE) if sign else 0.0
        return None


def _aggregate(expression: Applied, budget: Budget) -> Callable[[], Any]:
    """What makes an aggregate for a new group."""
    name = expression.function
    value = evaluate(expression.arguments[0]) if expression.arguments else None
    if name == "count":
        return lambda: _Count(value)
    assert value is not None
    if name == "count_distinct":
        return lambda: _Distinct(value, budget)
    if name == "pct":
        percent = expression.arguments[1]
        assert isinstance(percent, Value)
        return lambda: _Percentile(value, float(percent.value), budget)
    if name in ("min", "max", "earliest", "latest"):
        return lambda: _Extreme(name, value)
    return lambda: _Number(name, value)


class Groups:
    """The groups of `stats`, filled record by record."""

    def __init__(self, stats: Stats, budget: Budget) -> None:
        self._budget = budget
        self._by = [(name, evaluate(one)) for name, one in stats.by]
        self._makers: list[Callable[[], Any]] = []
        self._items = [(name, self._item(one)) for name, one in stats.items]
        self._found: dict[tuple[Any, ...], list[Any]] = {}
        self.names = [name for name, _ in (*stats.by, *stats.items)]

    def _item(self, expression: Expression) -> Callable[[list[Any]], Any]:
        """The value of an item, from the results of the aggregates in it."""
        if isinstance(expression, Applied) and expression.function in AGGREGATES:
            self._makers.append(_aggregate(expression, self._budget))
            at = len(self._makers) - 1
            return lambda results: results[at]
        if isinstance(expression, Applied):
            apply, values = FUNCTIONS[expression.function].apply, [self._item(one) for one in expression.arguments]
            return lambda results: apply(*(value(results) for value in values))
        if isinstance(expression, Operation) and expression.sign in ARITHMETIC:
            apply, values = ARITHMETIC[expression.sign], [self._item(one) for one in expression.operands]
            return lambda results: apply(*(value(results) for value in values))
        constant = evaluate(expression)
        empty = Record({}, None)
        return lambda _results: constant(empty)

    def add(self, record: Record) -> None:
        """Count a record in its group. Raises TooMuch."""
        key = tuple(value(record) for _, value in self._by)
        group = self._found.get(key)
        if group is None:
            self._budget.take(1 + len(self._makers))
            group = self._found[key] = [make() for make in self._makers]
        for one in group:
            one.add(record)

    def rows(self) -> list[Record]:
        """A record for each group; one where there are no groups."""
        found = self._found or ({} if self._by else {(): [make() for make in self._makers]})
        rows: list[Record] = []
        for key, group in found.items():
            results = [one.result() for one in group]
            fields = dict(zip((name for name, _ in self._by), key, strict=True))
            fields |= {name: value(results) for name, value in self._items}
            rows.append(Record(fields, None))
        return rows
