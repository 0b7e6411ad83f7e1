"""GetMetricData: series of many metrics, and what expressions compute from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC
from typing import Any

import sqlalchemy as sa

from penstock.application import App, Call
from penstock.monitoring import labels, queries, records, searching, series
from penstock.monitoring.errors import InvalidParameterValue, ValidationError
from penstock.monitoring.expressions import Budget, Search, Series, Span, series_of
from penstock.monitoring.operations import PAGES, cloudwatch, place
from penstock.monitoring.operations.metrics import is_period
from penstock.monitoring.queries import Calculation, Measured, Plan, Query
from penstock.monitoring.records import Place, Rows
from penstock.monitoring.series import Metric
from penstock.monitoring.statistics import statistic
from penstock.pools import MATH
from penstock.wire.call import Input, Output
from penstock.wire.registry import Recorded

_QUERIES = 500  # AWS: GetMetricData
_POINTS = 100_800
_COMPUTED = 2_000_000  # points and steps of a page
_READ = 400_000  # stored points of a page
_ASKED = 20  # stored points that asking for those of a metric costs as much as, when it has none
_FOUND = 500  # metrics of a search
_SEARCHED = 20_000  # names that a search is asked about
_COMPARED = 4_000_000  # steps of comparing words of searches with texts of metrics, of a request
_READ_NAMES = 2_000  # at a time

Found = dict[Search, list[tuple[Metric, str]]]  # with their labels


@cloudwatch("GetMetricData", recorded=Recorded.DATA)
async def get_metric_data(app: App, call: Call, input: Input) -> Output:
    """Series of metrics and expressions, a page of points at a time. A page may be short and have a next one."""
    given = input["MetricDataQueries"]
    if len(given) > _QUERIES:
        raise ValidationError(f"The collection MetricDataQueries must not have a size greater than {_QUERIES}.")
    if input["StartTime"] >= input["EndTime"]:
        raise ValidationError("The parameter EndTime must be greater than StartTime")
    most = input.get("MaxDatapoints", _POINTS)
    if not 1 <= most <= _POINTS:
        raise InvalidParameterValue(f"The parameter MaxDatapoints must be between 1 and {_POINTS}.")
    zone = labels.zone_of((input.get("LabelOptions") or {}).get("Timezone", "+0000"))
    after = PAGES.after(call, input)
    plan, searches = await MATH.run(_planned, given, call.account)
    found, cut = await _search(app, call, searches)
    asked = _Asked(
        now=series.seconds(call.now),
        start=series.seconds(input["StartTime"]),
        end=series.seconds(input["EndTime"], up=True),
        newest_first=input.get("ScanBy", "TimestampDescending") == "TimestampDescending",
    )
    page = _Page(app, place(call), plan, found=found, asked=asked, most=most)
    reached = await page.fill(after or [0, 0, None])
    results = [page.to_api(one, zone, call) for one in page.results]
    said = {"Messages": [_CUT] if cut else []}
    more = {} if reached is None else {"NextToken": PAGES.token(call, input, reached)}
    return {"MetricDataResults": results, **said, **more}


_TOO_MANY_WORDS = (
    "The searches of the request compare too many words with the metrics of the account. Name a namespace in braces, use fewer words, or ask for"
    " some of the searches in another request."
)
_CUT = {
    "Code": "MaxMetricsExceeded",
    "Value": f"The maximum number of allowed metrics, {_FOUND}, has been exceeded by a search. It has the first ones by namespace and name.",
}


def _planned(given: Sequence[Mapping[str, Any]], account: str) -> tuple[Plan, dict[Search, Any]]:
    read = queries.read(given, "MetricDataQueries", account, allowed=is_period)
    return Plan(read), queries.checked_searches(read)


async def _search(app: App, call: Call, searches: Mapping[Search, searching.Query]) -> tuple[Found, bool]:
    """What searches find, and whether some found more than is allowed. Raises ValidationError when they would compare too much."""
    found: Found = {}
    cut, left = False, _COMPARED
    for search, query in searches.items():
        metrics: list[Metric] = []
        after: list[Any] | None = None
        names = {} if query.namespace is None else {"namespace": query.namespace}
        since = call.now - records.LISTED_MS
        for _ in range(_SEARCHED // _READ_NAMES):
            rows = await app.store.scan(records.page, place(call), after=after, limit=_READ_NAMES, since=since, **names)
            matching, left = await MATH.run(_matching, rows, query, left)
            metrics += matching
            if len(rows) < _READ_NAMES or len(metrics) > _FOUND:
                break
            after = [rows[-1].namespace, rows[-1].name, rows[-1].id]
        cut = cut or len(metrics) > _FOUND
        names_differ = len({metric.name for metric in metrics}) > 1
        found[search] = [(metric, _label_found(metric, names_differ=names_differ)) for metric in metrics[:_FOUND]]
    return found, cut


def _matching(rows: Iterable[Any], query: searching.Query, most: int) -> tuple[list[Metric], int]:
    """Which metrics a search finds, and how much may be compared yet. Raises ValidationError when that is less than nothing."""
    metrics = [Metric(row.namespace, row.name, tuple((name, value) for name, value in row.dimensions)) for row in rows]
    most -= query.words * sum(map(_length, metrics))
    if most < 0:
        raise ValidationError(_TOO_MANY_WORDS)
    return [metric for metric in metrics if query.finds(metric)], most


def _length(metric: Metric) -> int:
    """How long comparing a word with a metric takes: a step for each text, and for each 16 characters of it."""
    texts = [metric.namespace, metric.name, *(text for pair in metric.dimensions for text in pair)]
    return sum(1 + len(text) // 16 for text in texts)


def _label_found(metric: Metric, *, names_differ: bool) -> str:
    values = [value for _, value in metric.dimensions]
    return " ".join([*values, metric.name] if names_differ or not values else values)


class _Asked:
    def __init__(self, *, now: int, start: int, end: int, newest_first: bool) -> None:
        self.now, self._start, self._end, self.newest_first = now, start, end, newest_first

    def span(self, period: int) -> Span:
        return Span(start=series.rounded(self._start, period, self.now), end=self._end, period=period)


class _Result:
    """A series of a page, as far as the page has it."""

    def __init__(
        self, query: Query, of: Series, points: list[tuple[int, float]], *, complete: bool, alone: bool
    ) -> None:
        self.query, self.of, self.points, self.complete, self.alone = query, of, points, complete, alone


class _Page:
    """What one answer has."""

    def __init__(self, app: App, where: Place, plan: Plan, *, found: Found, asked: _Asked, most: int) -> None:
        self._app, self._where, self._plan, self._found, self._asked = app, where, plan, found, asked
        self._left = most
        self._rows: dict[tuple[str, int, str], Rows] = {}
        self._stored = 0
        self._calculation = Calculation(plan, Budget(_COMPUTED), read=self._series, found=self._searched)
        self.results: list[_Result] = []

    async def fill(self, after: Sequence[Any]) -> list[Any] | None:
        """Compute queries from where the last page ended until this one is full; where it ends, None at the very end."""
        number, index, last = after
        returned = [query for query in self._plan.queries.values() if query.returned]
        for place_ in range(number, len(returned)):
            query = returned[place_]
            if self.results and self._stored > _READ:
                return [place_, 0, None]
            ended = await self._add(query, *((index, last) if place_ == number else (0, None)))
            if ended is not None:
                return [place_, *ended]
        return None

    async def _add(self, query: Query, index: int, last: int | None) -> tuple[int, int | None] | None:
        """Add the series of a query; where the page ends within them."""
        period = self._plan.periods[query.id]
        await self._load(query, period)
        value = await MATH.run(self._calculation.value, query.id, self._asked.span(period))
        if isinstance(value, float):
            raise ValidationError(
                f"Error in expression '{query.id}': the expression has to return a time series or an array of time series, not a single number."
            )
        alone = isinstance(value, Series)
        listed = [value] if isinstance(value, Series) else [*series_of(value)] or [Series(period=period)]
        for place_ in range(index, len(listed)):
            points = list(listed[place_].points.items())
            if self._asked.newest_first:
                points.reverse()
            if place_ == index and last is not None:
                points = [
                    point for point in points if (point[0] < last if self._asked.newest_first else point[0] > last)
                ]
            kept = points[: self._left]
            self._left -= len(kept)
            complete = len(kept) == len(points)
            if kept or complete:
                self.results.append(_Result(query, listed[place_], kept, complete=complete, alone=alone))
            if not complete:
                return place_, kept[-1][0] if kept else last if place_ == index else None
        return None

    async def _load(self, query: Query, period: int) -> None:
        """Read the data of everything that a query needs. Raises ValidationError when that is too much."""
        missing = await MATH.run(self._missing, query, period)
        span = self._asked.span(period)
        most = _READ if not self.results else 2 * _READ - self._stored
        found, stored = await self._app.store.scan(_read, missing, span, most)
        if stored > most:
            raise ValidationError(
                f"Error in expression '{query.id}': it needs more than {_READ:,} stored data points, of which each metric counts as {_ASKED} more. Ask for a shorter time or for fewer metrics."
            )
        self._stored += stored
        self._rows |= found

    def _missing(self, query: Query, period: int) -> list[tuple[str, int, str]]:
        """What a query needs and has not been read: many searches find many metrics each."""
        wanted: dict[tuple[str, int, str], None] = {}
        for one in self._plan.needed(query.id):
            measured = [one.measured] if one.measured is not None else []
            measured += [each for search in one.needs.searches for each, _ in self._searched(search, period)]
            wanted |= dict.fromkeys(self._key(each, period) for each in measured)
        return [key for key in wanted if key not in self._rows]

    def _searched(self, search: Search, period: int) -> list[tuple[Measured, str]]:
        """What a search found, by a period: made when it is asked for, since a request may have many searches and periods."""
        return [
            (Measured(metric=metric, statistic=search.statistic, period=period), label)
            for metric, label in self._found[search]
        ]

    def _key(self, measured: Measured, period: int) -> tuple[str, int, str]:
        return measured.metric.id(*self._where), period, measured.unit

    def _series(self, measured: Measured, period: int) -> Series:
        span, compute = self._asked.span(period), statistic(measured.statistic)
        rows = self._rows[self._key(measured, period)]
        summaries = series.by_periods(rows, start=span.start, end=span.end, period=period)
        values = {at: compute(summaries[at]) for at in sorted(summaries)}
        return Series(points={at: value for at, value in values.items() if value is not None}, period=period)

    def to_api(self, result: _Result, zone: Any, call: Call) -> Output:
        """A result as clients see it."""
        return {
            "Id": result.query.id,
            "Label": self._label(result, zone, call),
            "Timestamps": [series.wire_time(at) for at, _ in result.points],
            "Values": [value for _, value in result.points],
            "StatusCode": "Complete" if result.complete else "PartialData",
        }

    def _label(self, result: _Result, zone: Any, call: Call) -> str:
        query, measured = result.query, result.query.measured
        properties: dict[str, str] = {"AccountId": call.account, "Region": call.region}
        if measured is None:
            default = query.id if result.alone else result.of.label or query.id
        else:
            default = _default(measured, self._plan)
            properties |= {
                "MetricName": measured.metric.name,
                "Namespace": measured.metric.namespace,
                "Stat": measured.statistic,
            }
            properties |= {"Period": str(measured.period)} | {
                f"Dim.{name}": value for name, value in measured.metric.dimensions
            }
        if not query.label:
            return default
        subject = labels.Subject(
            default=default, points=result.of.points, properties=properties, now=self._asked.now, zone=zone or UTC
        )
        filled = labels.filled(query.label, subject)
        return filled if result.alone or labels.is_dynamic(query.label) else f"{filled} {default}"


def _default(measured: Measured, plan: Plan) -> str:
    """A metric's name, with its statistic where the request has several of that name (AWS)."""
    same = sum(
        1
        for query in plan.queries.values()
        if query.measured is not None and query.measured.metric.name == measured.metric.name
    )
    return f"{measured.metric.name} {measured.statistic}" if same > 1 else measured.metric.name


def _read(
    conn: sa.Connection, wanted: Sequence[tuple[str, int, str]], span: Span, most: int
) -> tuple[dict[tuple[str, int, str], Rows], int]:
    """Rows of metrics (id, period, unit), and how many points they have: until there are more than `most`."""
    found: dict[tuple[str, int, str], Rows] = {}
    points = 0
    for key in wanted:
        metric, period, unit = key
        found[key] = records.rows(conn, metric, start=span.start, end=span.end, period=period, unit=unit or None)
        points += _ASKED + sum(len(row) for _, row in found[key])
        if points > most:
            break
    return found, points
