"""Which metrics there are, and their statistics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.application import App, Call
from penstock.monitoring import records, series
from penstock.monitoring.errors import (
    InvalidParameterCombination,
    InvalidParameterValue,
    MissingParameter,
)
from penstock.monitoring.operations import PAGES, cloudwatch, place
from penstock.monitoring.series import metric_of
from penstock.monitoring.statistics import SIMPLE, UnknownStatistic, statistic
from penstock.wire.call import Input, Output

# AWS: ListMetrics, GetMetricStatistics
_PAGE = 500
_SCANNED = 2_000  # rows that a page reads at most
_POINTS = 1440
_ACTIVE_MS = 3 * 3_600_000


@cloudwatch("ListMetrics")
async def list_metrics(app: App, call: Call, input: Input) -> Output:
    """The metrics that have had data in two weeks, a page at a time. One may be empty and have a next one, since filters read on."""
    names = {
        column: input[member]
        for column, member in (("namespace", "Namespace"), ("name", "MetricName"))
        if member in input
    }
    since = call.now - (_ACTIVE_MS if "RecentlyActive" in input else records.LISTED_MS)
    if input.get("OwningAccount", call.account) != call.account:
        return {"Metrics": []}  # no account shares metrics with another
    after = PAGES.after(call, input)
    read = await app.store.scan(records.page, place(call), after=after, limit=_SCANNED + 1, since=since, **names)
    wanted = [(one["Name"], one.get("Value")) for one in input.get("Dimensions", ())]
    listed: list[Any] = []
    last = None
    for number, row in enumerate(read[:_SCANNED], 1):
        if _fits(dict(row.dimensions), wanted):
            listed.append(row)
        if number < len(read) and (len(listed) == _PAGE or number == _SCANNED):
            last = row
            break
    more = {} if last is None else {"NextToken": PAGES.token(call, input, [last.namespace, last.name, last.id])}
    owners = {"OwningAccounts": [call.account] * len(listed)} if input.get("IncludeLinkedAccounts") else {}
    return {"Metrics": [_to_api(row) for row in listed], **owners, **more}


def _fits(dimensions: Mapping[str, str], wanted: list[tuple[str, str | None]]) -> bool:
    return all(name in dimensions and (value is None or dimensions[name] == value) for name, value in wanted)


def _to_api(row: Any) -> Output:
    dimensions = [{"Name": name, "Value": value} for name, value in row.dimensions]
    return {"Namespace": row.namespace, "MetricName": row.name, "Dimensions": dimensions}


@cloudwatch("GetMetricStatistics")
async def get_metric_statistics(app: App, call: Call, input: Input) -> Output:
    """Statistics of one metric by periods, in no order that clients may count on, each unit by itself."""
    simple, extended = input.get("Statistics"), input.get("ExtendedStatistics")
    if simple and extended:
        raise InvalidParameterCombination("The parameters Statistics and ExtendedStatistics are mutually exclusive.")
    if not simple and not extended:
        raise MissingParameter("Must specify either Statistics or ExtendedStatistics")
    period = checked_period(input["Period"], "Period")
    now = series.seconds(call.now)
    start, end = series.seconds(input["StartTime"]), series.seconds(input["EndTime"], up=True)
    if input["StartTime"] >= input["EndTime"]:
        raise InvalidParameterValue("The parameter StartTime must be less than the parameter EndTime.")
    start = series.rounded(start, period, now)
    points = (end - start) // period
    if points > _POINTS:
        raise InvalidParameterCombination(
            f"You have requested up to {points} datapoints, which exceeds the limit of {_POINTS}. You may reduce the"
            " datapoints requested by increasing Period, or decreasing the time range."
        )
    try:
        wanted = {name: statistic(name) for name in (*(simple or ()), *(extended or ()))}
    except UnknownStatistic as unknown:
        raise InvalidParameterValue(f"The value {unknown} for parameter ExtendedStatistics is not supported.") from None
    id = metric_of(input).id(*place(call))
    span = {"start": start, "end": end, "period": period}
    found = await app.store.scan(records.rows, id, **span, unit=input.get("Unit"))
    datapoints = []
    for unit in dict.fromkeys(key.unit for key, _ in found):
        rows = ((key, points) for key, points in found if key.unit == unit)
        for at, summary in series.by_periods(rows, **span).items():
            computed = {name: compute(summary) for name, compute in wanted.items()}
            values = {name: value for name, value in computed.items() if name in SIMPLE}
            further = {name: value for name, value in computed.items() if name not in SIMPLE and value is not None}
            if values or further:
                own = {"ExtendedStatistics": further} if further else {}
                datapoints.append({"Timestamp": series.wire_time(at), **values, **own, "Unit": unit})
    return {"Label": input["MetricName"], "Datapoints": datapoints}


def checked_period(period: int, name: str) -> int:
    """A period in seconds that there may be data of. Raises InvalidParameterValue."""
    if is_period(period):
        return period
    raise InvalidParameterValue(
        f"The parameter {name} must be a value in the set [ 1, 5, 10, 20, 30 ], or any multiple of 60."
    )


def is_period(period: int) -> bool:
    """Whether there may be data by periods of this length (seconds)."""
    return period in (1, 5, 10, 20, 30) or period % 60 == 0
