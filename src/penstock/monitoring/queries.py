"""Queries of metrics (`MetricDataQuery`), of GetMetricData and of alarms: what each needs, and its values. Pure."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from penstock.monitoring import labels, searching
from penstock.monitoring.errors import InvalidParameterValue, ValidationError
from penstock.monitoring.expression_syntax import ExpressionError, Node
from penstock.monitoring.expressions import (
    Array,
    Budget,
    Needs,
    Scope,
    Search,
    Series,
    Span,
    TooMuch,
    Value,
    compute,
    kind_of,
    needs_of,
    parse,
)
from penstock.monitoring.series import Metric, metric_of
from penstock.monitoring.statistics import UnknownStatistic, statistic

DEFAULT_PERIOD = 300  # seconds, of what is computed from no metric, where none is asked for
_CHARACTERS = 200_000  # of the expressions of a request
_CHECKED = 2_000_000  # steps that checking the expressions of a request takes at most
_ID = re.compile(r"[a-z][a-zA-Z0-9_]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What is read of a metric (`MetricStat`)."""

    metric: Metric
    statistic: str
    period: int
    unit: str = ""  # "": every one


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One query: of a metric, or of an expression."""

    id: str
    label: str | None
    returned: bool
    period: int | None  # of an expression that asks for one
    measured: Measured | None
    text: str = ""  # of the expression
    expression: Node | None = None
    needs: Needs = Needs(names=(), containing=(), searches=())  # noqa: RUF009 - frozen


def read(given: Sequence[Mapping[str, Any]], name: str, account: str, *, allowed: Callable[[int], bool]) -> list[Query]:
    """The queries of an input, whose member is `name`. `allowed` says which periods there are. Raises the service's errors."""
    if sum(len(one.get("Expression") or "") for one in given) > _CHARACTERS:
        raise ValidationError(
            f"The expressions of a request can have {_CHARACTERS:,} characters altogether. Ask for some of them in another request."
        )
    queries = [_query(one, f"{name}.member.{number}", account, allowed) for number, one in enumerate(given, 1)]
    ids = [query.id for query in queries]
    if len(set(ids)) != len(ids):
        twice = next(id for id in ids if ids.count(id) > 1)
        raise ValidationError(f"The values for parameter id in {name} are not unique: {twice}.")
    return queries


def _query(given: Mapping[str, Any], where: str, account: str, allowed: Callable[[int], bool]) -> Query:
    id, text, stated = given["Id"], given.get("Expression"), given.get("MetricStat")
    if _ID.fullmatch(id) is None:
        raise ValidationError(
            f"The value {id} for parameter {where}.Id is invalid: it begins with a small letter, and has letters, digits and underscores only."
        )
    if given.get("AccountId", account) != account:
        raise InvalidParameterValue(
            f"The value for parameter {where}.AccountId is invalid: no account shares metrics with another."
        )
    if text is None and stated is None:
        raise ValidationError(f"The parameter {where}.MetricStat is required.\n")
    if text is not None and stated is not None:
        raise ValidationError(
            f"The parameters {where}.Expression and {where}.MetricStat are mutually exclusive and you have specified both."
        )
    label, period = given.get("Label"), given.get("Period")
    if label is not None:
        labels.check(label, f"{where}.Label")
    if period is not None:
        if stated is not None:
            raise ValidationError(
                f"The parameters {where}.Period and {where}.MetricStat are mutually exclusive and you have specified both."
            )
        _check_period(period, f"{where}.Period", allowed)
    common: dict[str, Any] = {"id": id, "label": label, "returned": given.get("ReturnData", True), "period": period}
    if stated is not None:
        return Query(**common, measured=_measured(stated, f"{where}.MetricStat", allowed))
    assert text is not None
    with _Of(id):
        node = parse(text)
        return Query(**common, measured=None, text=text, expression=node, needs=needs_of(node))


def _measured(stated: Mapping[str, Any], where: str, allowed: Callable[[int], bool]) -> Measured:
    metric = stated["Metric"]
    for member in ("Namespace", "MetricName"):
        if not metric.get(member):
            raise ValidationError(f"The parameter {where}.Metric.{member} is required.\n")
    names = [one["Name"] for one in metric.get("Dimensions") or ()]
    if len(set(names)) != len(names):
        raise InvalidParameterValue(f"No dimension name may be given more than once in {where}.Metric.Dimensions.")
    _check_period(stated["Period"], f"{where}.Period", allowed)
    _check_statistic(stated["Stat"], f"parameter {where}.Stat")
    return Measured(
        metric=metric_of(metric), statistic=stated["Stat"], period=stated["Period"], unit=stated.get("Unit", "")
    )


def _check_period(period: int, where: str, allowed: Callable[[int], bool]) -> None:
    if not allowed(period):
        raise InvalidParameterValue(
            f"The parameter {where} must be a value in the set [ 1, 5, 10, 20, 30 ], or any multiple of 60."
        )


def _check_statistic(name: str, what: str) -> None:
    try:
        statistic(name)
    except UnknownStatistic:
        raise InvalidParameterValue(f"The value {name} for {what} is not supported.") from None


class _Of:
    """Says in errors which expression they are about."""

    def __init__(self, id: str) -> None:
        self._id = id

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, ExpressionError):
            raise ValidationError(f"Error in expression '{self._id}': {error}") from None
        if isinstance(error, TooMuch):
            raise ValidationError(
                f"Error in expression '{self._id}': the request would compute too many data points. Ask for a shorter time, longer periods or"
                " fewer metrics."
            ) from None


def checked_searches(queries: Sequence[Query]) -> dict[Search, searching.Query]:
    """What the expressions search for. Raises the service's errors."""
    found: dict[Search, searching.Query] = {}
    for query in queries:
        with _Of(query.id):
            for search in query.needs.searches:
                found[search] = searching.parse(search.query)
                _check_statistic(search.statistic, f"the statistic of SEARCH in expression '{query.id}'")
    return found


class Plan:
    """In which order queries are computed, each from what, and by which periods."""

    def __init__(self, queries: Sequence[Query]) -> None:
        """Raises ValidationError for what is missing, needs itself, or has a type that does not fit."""
        self.queries = {query.id: query for query in queries}
        self._metrics = [query.id for query in queries if query.measured is not None]
        self._needed: dict[str, frozenset[str]] = {}  # id → all ids that it is computed from, itself included
        self.order: list[str] = []
        for query in queries:
            self._visit(query.id)
        self._places = {id: place for place, id in enumerate(self.order)}
        self.periods = {id: self._period(id) for id in self.order}
        self.kinds = self._kinds()

    def needed(self, id: str) -> list[Query]:
        """The queries that one is computed from, itself included, each after those that it needs."""
        return [self.queries[one] for one in sorted(self._needed[id], key=self._places.__getitem__)]

    def _visit(self, start: str) -> None:
        """Order what a query needs. Without recursion, since expressions may need each other in a long chain."""
        begun: dict[str, None] = {}
        left = [(start, False)]
        while left:
            id, over = left.pop()
            if over:
                direct = self._direct(self.queries[id])
                self._needed[id] = frozenset({id}).union(*(self._needed[one] for one in direct))
                self.order.append(id)
                del begun[id]
            elif id in begun:
                raise ValidationError(f"Error in expression '{id}': the expression is computed from itself.")
            elif id not in self._needed:
                begun[id] = None
                left.append((id, True))
                left += [(one, False) for one in self._direct(self.queries[id]) if one not in self._needed]

    def _direct(self, query: Query) -> list[str]:
        for name in query.needs.names:
            if name not in self.queries:
                raise ValidationError(
                    f"Error in expression '{query.id}': there is no metric or expression with the Id '{name}'."
                )
        texts = query.needs.containing
        # Each once: thousands of texts may be in every one of hundreds of ids.
        return [*query.needs.names, *(id for id in self._metrics if any(text in id for text in texts))]

    def _period(self, id: str) -> int:
        """An expression has the longest period of what it is computed from; what needs none has its own."""
        needed = [self.queries[one] for one in self._needed[id]]
        measured = [query.measured.period for query in needed if query.measured is not None]
        searched = [search.period for query in needed for search in query.needs.searches if search.period is not None]
        return (
            max([*measured, *searched], default=0)
            or max((query.period or 0 for query in needed), default=0)
            or DEFAULT_PERIOD
        )

    def _kinds(self) -> dict[str, str]:
        """The type of each query, by computing it without data."""
        period, budget = DEFAULT_PERIOD, Budget(_CHECKED)
        calculation = Calculation(
            self, budget, read=lambda _measured, period: Series(period=period), found=lambda _search, _period: ()
        )
        span = Span(start=0, end=0, period=period)
        return {id: kind_of(calculation.value(id, span)) for id in self.order}


class Calculation:
    """Computes queries, each once for each period."""

    def __init__(
        self,
        plan: Plan,
        budget: Budget,
        *,
        read: Callable[[Measured, int], Series],
        found: Callable[[Search, int], Sequence[tuple[Measured, str]]],
    ) -> None:
        """`read` says the series of a metric by a period; `found` the metrics that a search finds by a period, with their labels."""
        self._plan = plan
        self._budget = budget
        self._read = read
        self._found = found
        self._known: dict[tuple[str, int], Value] = {}

    def value(self, id: str, span: Span) -> Value:
        """The value of a query. Raises ValidationError when it would take too much."""
        for query in self._plan.needed(id):
            if (query.id, span.period) not in self._known:
                with _Of(query.id):
                    self._known[query.id, span.period] = self._compute(query, span)
        return self._known[id, span.period]

    def _compute(self, query: Query, span: Span) -> Value:
        if query.measured is not None:
            series = self._read(query.measured, span.period)
            self._budget.spend(len(series.points) + 1)
            return replace(series, label=query.label or query.measured.metric.name)
        assert query.expression is not None
        scope = Scope(
            span=span,
            value=lambda name: self._known[name, span.period],
            metrics=lambda text: self._metrics(text, span.period),
            is_metric=lambda name: name in self._plan.queries and self._plan.queries[name].measured is not None,
            found=lambda search: self._searched(search, span.period),
            budget=self._budget,
        )
        return compute(query.expression, scope)

    def _metrics(self, text: str, period: int) -> Array:
        known = (
            self._known.get((id, period))
            for id, query in self._plan.queries.items()
            if query.measured is not None and text in id
        )
        return tuple(series for series in known if isinstance(series, Series))

    def _searched(self, search: Search, period: int) -> Array:
        found: list[Series] = []
        for measured, label in self._found(search, period):
            series = self._read(measured, period)
            self._budget.spend(len(series.points) + 1)
            found.append(replace(series, label=label))
        return tuple(found)


# --- of alarms --------------------------------------------------------------------------------------------------------


STEPS = 300_000
"""What computing the expression of an alarm may take, which happens within a transaction."""


def check_cost(plan: Plan, id: str, periods: int) -> None:
    """Raise ValidationError when a query would take too much over so many periods, all of which have data."""
    period = plan.periods[id]
    span = Span(start=0, end=periods * period, period=period)
    full = Series(points=dict.fromkeys(span.times(), 1.0), period=period)
    Calculation(plan, Budget(STEPS), read=lambda _measured, _period: full, found=lambda _search, _period: ()).value(
        id, span
    )


@functools.lru_cache(maxsize=4096)
def plan_of(text: str) -> Plan:
    """The plan of the queries of an alarm, which were checked when it was made; as JSON."""
    return Plan([_query(one, "Metrics", one.get("AccountId", ""), lambda _period: True) for one in json.loads(text)])


def watched(plan: Plan) -> str:
    """The id of the query whose data an alarm compares with its threshold."""
    return next(query.id for query in plan.queries.values() if query.returned)


def period_of(given: Sequence[Mapping[str, Any]]) -> int:
    """By which period an alarm with these queries is evaluated."""
    plan = plan_of(json.dumps(given))
    return plan.periods[watched(plan)]


def measured_by(given: Sequence[Mapping[str, Any]]) -> list[Measured]:
    """The metrics among the queries of an alarm."""
    return [query.measured for query in plan_of(json.dumps(given)).queries.values() if query.measured is not None]
