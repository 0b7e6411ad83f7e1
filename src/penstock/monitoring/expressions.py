"""Metric math: expressions over time series, computed. Pure.

AWS: CloudWatch User Guide, "Metric math syntax and functions". A value is a number (S), a time series (TS), or an array of those (TS[]). A number
that there is none of, such as the largest value of a series without data, is NaN: points that would have it are dropped, as those of a division
by zero are.
"""

from __future__ import annotations

import itertools
import math
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

from penstock.monitoring.expression_syntax import (
    Applied,
    Chain,
    ExpressionError,
    Items,
    Name,
    Negated,
    Node,
    Number,
    Power,
    Text,
    parts,
    tree_of,
)


class TooMuch(Exception):
    """What is asked for would compute more than a request may."""


# --- values -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A time series: values by the start of their period (seconds), in the order of time."""

    points: Mapping[int, float] = field(default_factory=dict)
    period: int = 60  # seconds
    label: str = ""


Array = tuple[Series, ...]
Value = float | Series | Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The time that is asked about, in seconds: `start` inclusive, `end` exclusive, by periods."""

    start: int
    end: int
    period: int

    def times(self) -> range:
        """The start of each period."""
        return range(self.start, self.end, self.period)


class Budget:
    """How many points may be computed yet."""

    def __init__(self, points: int) -> None:
        self._left = points

    def spend(self, points: int) -> None:
        """Count points. Raises TooMuch when there have been too many."""
        self._left -= points
        if self._left < 0:
            raise TooMuch


# --- what an expression needs -----------------------------------------------------------------------------------------------------------

# What AWS computes and this does not.
_ELSEWHERE = (
    "ANOMALY_DETECTION_BAND", "DB_PERF_INSIGHTS", "INSIGHT_RULE_METRIC", "LAMBDA", "SERVICE_QUOTA", "SERVICE_QUOTA_METRIC",
)  # fmt: skip


def parse(text: str) -> Node:
    """The expression of a text. Raises ExpressionError."""
    if re.match(r"\s*SELECT\s", text, re.IGNORECASE):
        raise ExpressionError("queries of Metrics Insights (SELECT) are not served by this version of Penstock")
    node = tree_of(text)
    for part in parts(node):
        if isinstance(part, Applied) and part.function not in _FUNCTIONS:
            if part.function in _ELSEWHERE:
                raise ExpressionError(f"Function '{part.function}' is not served by this version of Penstock")
            raise ExpressionError(f"Function '{part.function}' not found at char {part.at}")
    return node


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """`SEARCH('query', 'statistic', period)`."""

    query: str
    statistic: str
    period: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What an expression is computed from."""

    names: tuple[str, ...]  # ids of metrics and expressions
    containing: tuple[str, ...]  # texts in ids of metrics ("": all of them), of METRICS
    searches: tuple[Search, ...]


def needs_of(node: Node) -> Needs:
    """What an expression needs. Raises ExpressionError."""
    names: dict[str, None] = {}
    containing: dict[str, None] = {}
    searches: dict[Search, None] = {}
    for part in parts(node):
        match part:
            case Name(name=name) if name not in _WORDS:
                names[name] = None
            case Applied(function="METRICS"):
                containing[_containing(part)] = None
            case Applied(function="SEARCH"):
                searches[search_of(part)] = None
            case _:
                pass
    return Needs(names=tuple(names), containing=tuple(containing), searches=tuple(searches))


def _containing(call: Applied) -> str:
    match call.arguments:
        case ():
            return ""
        case (Text(value=text),):
            return text
    raise ExpressionError("METRICS takes nothing, or one text in quotation marks")


def search_of(call: Applied) -> Search:
    """What a call of SEARCH asks for. Raises ExpressionError."""
    match call.arguments:
        case (Text(value=query), Text(value=statistic)):
            return Search(query=query, statistic=statistic, period=None)
        case (Text(value=query), Text(value=statistic), Number(value=period)) if period >= 1 and period == int(period):
            return Search(query=query, statistic=statistic, period=int(period))
    raise ExpressionError("SEARCH takes a query and a statistic, both in quotation marks, and a period in seconds")


# --- computing --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What an expression is computed in."""

    span: Span
    value: Callable[[str], Value]  # of an id. Raises ExpressionError
    metrics: Callable[[str], Array]  # whose ids contain a text
    is_metric: Callable[[str], bool]
    found: Callable[[Search], Array]
    budget: Budget


def compute(node: Node, scope: Scope) -> Value:
    """The value of an expression. Raises ExpressionError and TooMuch. Types do not depend on data."""
    scope.budget.spend(1)
    match node:
        case Number(value=value):
            return value
        case Name(name=name, at=at):
            if name in _WORDS:
                raise ExpressionError(f"Invalid syntax: unexpected '{name}' at char {at}")
            return scope.value(name)
        case Text():
            raise ExpressionError("a text in quotation marks is an argument of METRICS and SEARCH only")
        case Negated(of=of):
            return _each(compute(of, scope), operator.neg, scope)
        case Chain(first=first, rest=rest):
            value = compute(first, scope)
            for sign, operand in rest:
                value = _binary(sign, value, compute(operand, scope), scope)
            return value
        case Power(base=base, exponent=exponent):
            return _binary("^", compute(base, scope), compute(exponent, scope), scope)
        case Items(items=items):
            return _array([compute(item, scope) for item in items], scope)
        case Applied(function=function):
            return _FUNCTIONS[function](node, scope)


def kind_of(value: Value) -> str:
    """How messages call the type of a value."""
    return "Scalar" if isinstance(value, float) else "TimeSeries" if isinstance(value, Series) else "Array[TimeSeries]"


def _array(values: Sequence[Value], scope: Scope) -> Array:
    found: list[Series] = []
    for value in values:
        match value:
            case Series():
                found.append(value)
            case tuple():
                scope.budget.spend(len(value))
                found += value
            case _:
                raise ExpressionError("an array has time series, and no numbers")
    return tuple(found)


def _finite(points: Iterable[tuple[int, float]]) -> dict[int, float]:
    return {at: value for at, value in points if math.isfinite(value)}


def _each(value: Value, fn: Callable[[float], float], scope: Scope) -> Value:
    """A function of every number in a value. Points for which it has no value are dropped."""
    match value:
        case Series():
            scope.budget.spend(len(value.points) + 1)
            return replace(value, points=_finite((at, _defined(fn, one)) for at, one in value.points.items()))
        case tuple():
            return tuple(one for one in (_each(each, fn, scope) for each in value) if isinstance(one, Series))
        case _:
            assert isinstance(value, float)
            return _defined(fn, value)


def _defined(fn: Callable[..., float], *values: float) -> float:
    """A function's value, NaN where it has none."""
    try:
        return float(fn(*values))
    except (ValueError, ZeroDivisionError, OverflowError):
        return math.nan


def _power(base: float, exponent: float) -> float:
    value = base**exponent
    return value if isinstance(value, float) else math.nan  # a root of a negative number


def _truth(fn: Callable[[float, float], bool]) -> Callable[[float, float], float]:
    return lambda one, other: math.nan if math.isnan(one) or math.isnan(other) else float(fn(one, other))


_ARITHMETIC: Final[dict[str, Callable[[float, float], float]]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "^": _power,
}
_LOGICAL: Final[dict[str, Callable[[float, float], float]]] = {
    "==": _truth(operator.eq),
    "!=": _truth(operator.ne),
    "<=": _truth(operator.le),
    ">=": _truth(operator.ge),
    "<": _truth(operator.lt),
    ">": _truth(operator.gt),
} | dict.fromkeys(("AND", "&&"), _truth(lambda one, other: bool(one and other))) | dict.fromkeys(
    ("OR", "||"), _truth(lambda one, other: bool(one or other))
)  # fmt: skip


def _binary(sign: str, one: Value, other: Value, scope: Scope) -> Value:
    arrays = isinstance(one, tuple) + isinstance(other, tuple)
    if arrays > (sign in _ARITHMETIC):
        raise ExpressionError(f"Unsupported operand type(s) for {sign}: '[{kind_of(one)}, {kind_of(other)}]'")
    fn = _ARITHMETIC.get(sign) or _LOGICAL[sign]
    if isinstance(one, tuple):
        return tuple(_pair(fn, each, other, scope) for each in one)
    if isinstance(other, tuple):
        return tuple(_pair(fn, one, each, scope) for each in other)
    if isinstance(one, Series) or isinstance(other, Series):
        return _pair(fn, one, other, scope)
    return _defined(fn, one, other)


def _pair(fn: Callable[[float, float], float], one: Value, other: Value, scope: Scope) -> Series:
    """Of two values, at least one of which is a series. What one of two series has no value for is 0 (AWS)."""
    if isinstance(one, Series) and isinstance(other, Series):
        scope.budget.spend(len(one.points) + len(other.points) + 1)
        left, right = one.points, other.points
        times = left if left.keys() == right.keys() else sorted(left.keys() | right.keys())
        points = _finite((at, _defined(fn, left.get(at, 0.0), right.get(at, 0.0))) for at in times)
        return replace(one, points=points)
    if isinstance(one, Series):
        assert isinstance(other, float)
        scope.budget.spend(len(one.points) + 1)
        return replace(one, points=_finite((at, _defined(fn, value, other)) for at, value in one.points.items()))
    assert isinstance(other, Series)
    assert isinstance(one, float)
    scope.budget.spend(len(other.points) + 1)
    return replace(other, points=_finite((at, _defined(fn, one, value)) for at, value in other.points.items()))


# --- functions --------------------------------------------------------------------------------------------------------


Function = Callable[[Applied, Scope], Value]


def _arguments(call: Applied, scope: Scope, *kinds: str) -> list[Value]:
    """Arguments of a function, by their types: of each of `kinds`, letters S, T (TS) and A (TS[]) that it may be. Raises ExpressionError."""
    if len(call.arguments) != len(kinds):
        raise ExpressionError(
            f"Function '{call.function}' takes {len(kinds)} argument{'s' * (len(kinds) != 1)} at char {call.at}"
        )
    values = [compute(argument, scope) for argument in call.arguments]
    for value, allowed in zip(values, kinds, strict=True):
        if {"Scalar": "S", "TimeSeries": "T"}.get(kind_of(value), "A") not in allowed:
            raise ExpressionError(
                f"Function '{call.function}' does not take arguments of the type {kind_of(value)} at char {call.at}"
            )
    return values


def _mapped(fn: Callable[[float], float]) -> Function:
    return lambda call, scope: _each(_arguments(call, scope, "STA")[0], fn, scope)


def _series_wise(fn: Callable[[Series, Scope], Iterable[tuple[int, float]]]) -> Function:
    """A function of each series, which says the points of another."""

    def applied(call: Applied, scope: Scope) -> Value:
        (value,) = _arguments(call, scope, "TA")

        def one(series: Series) -> Series:
            scope.budget.spend(len(series.points) + 1)
            return replace(series, points=_finite(fn(series, scope)))

        return one(value) if isinstance(value, Series) else tuple(one(each) for each in series_of(value))

    return applied


def series_of(value: Value) -> Array:
    """The series of an array."""
    assert isinstance(value, tuple)
    return value


def _count(values: Sequence[float]) -> float:
    return float(len(values))


def _least(values: Sequence[float]) -> float:
    return min(values, default=math.nan)


def _largest(values: Sequence[float]) -> float:
    return max(values, default=math.nan)


def _deviation(values: Sequence[float]) -> float:
    if not values:
        return math.nan
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values))


def _overseries_of(fn: Callable[[Sequence[float]], float]) -> Callable[[Sequence[float], int], float]:
    """A statistic to which it does not matter how many values are missing."""

    def applied(values: Sequence[float], _slots: int) -> float:
        try:
            return fn(values)
        except OverflowError:
            return math.nan

    return applied


def _mean(values: Sequence[float], slots: int) -> float:
    """AWS: AVG counts missing values as 0."""
    return _overseries_of(math.fsum)(values, slots) / slots if slots else math.nan


_STATISTICS: Final[dict[str, Callable[[Sequence[float], int], float]]] = {
    "AVG": _mean,
    "DATAPOINT_COUNT": _overseries_of(_count),
    "MAX": _overseries_of(_largest),
    "MIN": _overseries_of(_least),
    "STDDEV": _overseries_of(_deviation),
    "SUM": _overseries_of(math.fsum),
}


def _summed_up(call: Applied, scope: Scope) -> Value:
    """A number of a series; of an array, a series with what its series have at each time."""
    (value,) = _arguments(call, scope, "TA")
    fn = _STATISTICS[call.function]
    if isinstance(value, Series):
        return _of_one(fn, value, scope)
    columns: dict[int, list[float]] = {}
    for series in series_of(value):
        scope.budget.spend(len(series.points) + 1)
        for at, one in series.points.items():
            columns.setdefault(at, []).append(one)
    points = _finite((at, fn(columns[at], len(series_of(value)))) for at in sorted(columns))
    return Series(points=points, period=scope.span.period, label=call.function)


def _of_one(fn: Callable[[Sequence[float], int], float], series: Series, scope: Scope) -> float:
    scope.budget.spend(len(series.points) + 1)
    return fn(list(series.points.values()), len(scope.span.times()))


def _differences(series: Series, _scope: Scope) -> Iterator[tuple[int, float]]:
    return ((at, value - before) for (_, before), (at, value) in _neighbours(series))


def _rates(series: Series, _scope: Scope) -> Iterator[tuple[int, float]]:
    return ((at, (value - before) / (at - since)) for (since, before), (at, value) in _neighbours(series))


def _distances(series: Series, _scope: Scope) -> Iterator[tuple[int, float]]:
    return ((at, float(at - since)) for (since, _), (at, _value) in _neighbours(series))


def _neighbours(series: Series) -> Iterator[tuple[tuple[int, float], tuple[int, float]]]:
    points = list(series.points.items())
    return itertools.pairwise(points)


def _running(series: Series, _scope: Scope) -> Iterator[tuple[int, float]]:
    total = 0.0
    for at, value in series.points.items():
        total += value
        yield at, total


def _calendar(fn: Callable[[datetime], float]) -> Function:
    """A number of the time of each period, whether or not the series has data then."""

    def dated(_series: Series, scope: Scope) -> Iterator[tuple[int, float]]:
        scope.budget.spend(len(scope.span.times()))
        return ((at, _defined(lambda at: fn(datetime.fromtimestamp(at, tz=UTC)), at)) for at in scope.span.times())

    return _series_wise(dated)


def _fill(call: Applied, scope: Scope) -> Value:
    if len(call.arguments) != 2:
        raise ExpressionError(f"Function 'FILL' takes 2 arguments at char {call.at}")
    value, filler = compute(call.arguments[0], scope), call.arguments[1]
    if isinstance(value, float):
        raise ExpressionError(f"Function 'FILL' does not take arguments of the type Scalar at char {call.at}")
    how: Value | str
    match filler:
        case Name(name="REPEAT" | "LINEAR" as how):
            pass
        case _:
            how = compute(filler, scope)
            if isinstance(how, tuple):
                raise ExpressionError(f"Function 'FILL' does not fill with an {kind_of(how)} at char {call.at}")

    def filled(series: Series) -> Series:
        scope.budget.spend(len(scope.span.times()) + 1)
        return replace(series, points=_finite(_filled(series.points, how, scope.span)))

    return filled(value) if isinstance(value, Series) else tuple(filled(each) for each in series_of(value))


def _filled(points: Mapping[int, float], how: Value | str, span: Span) -> Iterator[tuple[int, float]]:
    times = [(at, points.get(at)) for at in span.times()]
    if how == "LINEAR":
        yield from _straight(times)
        return
    last = math.nan
    for at, value in times:
        if value is not None:
            last = value
            yield at, value
        elif how == "REPEAT":
            yield at, last
        elif isinstance(how, Series):
            yield at, how.points.get(at, math.nan)
        elif isinstance(how, float):
            yield at, how


def _straight(times: Sequence[tuple[int, float | None]]) -> Iterator[tuple[int, float]]:
    """Gaps between two values are filled along a straight line; those at the ends stay."""
    known = [(at, value) for at, value in times if value is not None]
    following = iter(known)
    before, after = (0, math.nan), next(following, (0, math.nan))
    for at, value in times:
        if value is not None:
            before, after = (at, value), next(following, (0, math.nan))
            yield at, value
        else:
            distance = after[0] - before[0]
            share = (at - before[0]) / distance if distance else math.nan
            yield at, before[1] + (after[1] - before[1]) * share


def _if(call: Applied, scope: Scope) -> Value:
    if len(call.arguments) not in (2, 3):
        raise ExpressionError(f"Function 'IF' takes 2 or 3 arguments at char {call.at}")
    condition, yes, *rest = _arguments(call, scope, *(["ST"] * len(call.arguments)))
    no: Value | None = rest[0] if rest else None
    if isinstance(condition, Series):
        scope.budget.spend(len(condition.points) + 1)
        chosen = (
            (at, _chosen(at, yes if one else no, missing=0.0 if one else math.nan))
            for at, one in condition.points.items()
        )
        return replace(condition, points=_finite(chosen))
    assert isinstance(condition, float)
    picked = math.nan if math.isnan(condition) else yes if condition else (math.nan if no is None else no)
    if isinstance(yes, Series) or isinstance(no, Series):  # what it is does not depend on data
        return _constant(picked, scope) if isinstance(picked, float) else picked
    return picked


def _chosen(at: int, value: Value | None, *, missing: float) -> float:
    if isinstance(value, Series):
        return value.points.get(at, missing)
    return value if isinstance(value, float) else math.nan


def _constant(value: float, scope: Scope) -> Series:
    times = scope.span.times()
    scope.budget.spend(len(times) + 1)
    points = dict.fromkeys(times, value) if math.isfinite(value) else {}
    return Series(points=points, period=scope.span.period, label="TIME_SERIES")


def _time_series(call: Applied, scope: Scope) -> Value:
    (value,) = _arguments(call, scope, "S")
    assert isinstance(value, float)
    return _constant(value, scope)


def _metrics(call: Applied, scope: Scope) -> Value:
    found = scope.metrics(_containing(call))
    scope.budget.spend(len(found))
    return found


def _search(call: Applied, scope: Scope) -> Value:
    found = scope.found(search_of(call))
    scope.budget.spend(len(found))
    return found


def _metric_count(call: Applied, scope: Scope) -> Value:
    return float(len(series_of(_arguments(call, scope, "A")[0])))


def _period(call: Applied, scope: Scope) -> Value:
    match call.arguments:
        case (Name(name=name),) if scope.is_metric(name):
            (value,) = _arguments(call, scope, "T")
            assert isinstance(value, Series)
            return float(value.period)
    raise ExpressionError(f"Function 'PERIOD' takes the id of a metric at char {call.at}")


def _end_of(index: int) -> Function:
    def end(call: Applied, scope: Scope) -> Value:
        (value,) = _arguments(call, scope, "A")
        return series_of(value)[index] if value else Series(period=scope.span.period)

    return end


def _without_empty(call: Applied, scope: Scope) -> Value:
    return tuple(one for one in series_of(_arguments(call, scope, "A")[0]) if one.points)


def _sort(call: Applied, scope: Scope) -> Value:
    match call.arguments:
        case (
            array,
            Name(name="AVG" | "MAX" | "MIN" | "STDDEV" | "SUM" as by),
            Name(name="ASC" | "DESC" as order),
            *limit,
        ) if len(limit) < 2:
            pass
        case _:
            raise ExpressionError(
                f"Function 'SORT' takes an array, one of AVG, MAX, MIN, STDDEV and SUM, ASC or DESC, and a limit at char {call.at}"
            )
    (value,) = _arguments(replace(call, arguments=(array,)), scope, "A")
    ranked = [(_of_one(_STATISTICS[by], one, scope), one) for one in series_of(value)]
    known = sorted(
        (pair for pair in ranked if not math.isnan(pair[0])), key=lambda pair: pair[0], reverse=order == "DESC"
    )
    found = tuple(one for _, one in [*known, *(pair for pair in ranked if math.isnan(pair[0]))])
    return found[: _index(call, limit[0], scope)] if limit else found


def _slice(call: Applied, scope: Scope) -> Value:
    if len(call.arguments) not in (2, 3):
        raise ExpressionError(f"Function 'SLICE' takes 2 or 3 arguments at char {call.at}")
    (value,) = _arguments(replace(call, arguments=call.arguments[:1]), scope, "A")
    first, *last = (_index(call, argument, scope) for argument in call.arguments[1:])
    return series_of(value)[first : last[0] if last else None]


def _index(call: Applied, node: Node, scope: Scope) -> int:
    value = compute(node, scope)
    if not isinstance(value, float):
        raise ExpressionError(
            f"Function '{call.function}' does not take arguments of the type {kind_of(value)} at char {call.at}"
        )
    return int(min(max(value, 0.0), 1e6)) if math.isfinite(value) else 0


# Words that functions take, which are no ids: those begin with a small letter.
_WORDS: Final = frozenset({"REPEAT", "LINEAR", "ASC", "DESC", *_STATISTICS})

_FUNCTIONS: Final[dict[str, Function]] = {
    "ABS": _mapped(abs),
    "CEIL": _mapped(math.ceil),
    "FLOOR": _mapped(math.floor),
    "LOG": _mapped(math.log),
    "LOG10": _mapped(math.log10),
    **dict.fromkeys(_STATISTICS, _summed_up),
    "DIFF": _series_wise(_differences),
    "DIFF_TIME": _series_wise(_distances),
    "RATE": _series_wise(_rates),
    "RUNNING_SUM": _series_wise(_running),
    "FILL": _fill,
    "IF": _if,
    "METRICS": _metrics,
    "METRIC_COUNT": _metric_count,
    "PERIOD": _period,
    "FIRST": _end_of(0),
    "LAST": _end_of(-1),
    "REMOVE_EMPTY": _without_empty,
    "SEARCH": _search,
    "SLICE": _slice,
    "SORT": _sort,
    "TIME_SERIES": _time_series,
    "MINUTE": _calendar(lambda at: at.minute),
    "HOUR": _calendar(lambda at: at.hour),
    "DAY": _calendar(lambda at: at.isoweekday()),  # Monday is 1
    "DATE": _calendar(lambda at: at.day),
    "MONTH": _calendar(lambda at: at.month),
    "YEAR": _calendar(lambda at: at.year),
    "EPOCH": _calendar(lambda at: at.timestamp()),
}
FUNCTIONS = tuple(sorted(_FUNCTIONS))
