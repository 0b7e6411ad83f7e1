"""PutMetricData: what applications measure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from penstock.application import App, Call
from penstock.monitoring.errors import (
    InvalidParameterCombination,
    InvalidParameterValue,
    MissingParameter,
)
from penstock.monitoring.operations import cloudwatch, place
from penstock.monitoring.series import NEWEST, OLDEST, metric_of, seconds
from penstock.monitoring.statistics import Summary
from penstock.monitoring.writing import Batch
from penstock.wire.call import Input, PrincipalKind
from penstock.wire.registry import Recorded

# AWS: PutMetricData
_DATUMS = 1000
_VALUES = 150
_LARGEST = 2.0**360
_FEWEST = 1 / _LARGEST  # samples, if any: a sum by fewer is no number


def _keys(_call: Call, input: Input) -> Mapping[str, str]:
    return {"cloudwatch:namespace": input["Namespace"]}


def _measured(call: Call, _input: Input) -> str:
    """What a service of ours measures for a resource of its own is asked of the account's metrics: a policy there lets it."""
    return call.arn("cloudwatch", "metrics") if call.session.kind is PrincipalKind.SERVICE else "*"


@cloudwatch("PutMetricData", resource=_measured, keys=_keys, recorded=Recorded.DATA)
async def put_metric_data(app: App, call: Call, input: Input) -> None:
    """Count data points. What is answered is durable; a call that fails has counted none."""
    datums = list(_datums(input))
    if not datums:
        raise MissingParameter(name="MetricData")
    batch = Batch(place(call), call.now)
    for where, datum in datums:
        summary, at = _summary(where, datum), _moment(where, datum, seconds(call.now))
        batch.add(
            metric_of({**datum, "Namespace": input["Namespace"]}),
            at,
            summary,
            unit=datum.get("Unit", "None"),
            resolution=_resolution(where, datum),
        )
    await app.store.write(batch.write)


def _datums(input: Input) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The data points, each with how a message calls it."""
    lists = [("MetricData", input.get("MetricData") or [])]
    for number, entity in enumerate(input.get("EntityMetricData") or [], 1):
        lists.append((f"EntityMetricData.member.{number}.MetricData", entity.get("MetricData") or []))
    if sum(len(listed) for _, listed in lists) > _DATUMS:
        raise InvalidParameterValue(f"The collection MetricData must not have a size greater than {_DATUMS}.")
    for name, listed in lists:
        for number, datum in enumerate(listed, 1):
            yield f"{name}.member.{number}", datum


def _summary(where: str, datum: Mapping[str, Any]) -> Summary:
    """What a data point says. Raises InvalidParameterCombination or InvalidParameterValue."""
    value, values, given_set = datum.get("Value"), datum.get("Values") or [], datum.get("StatisticValues")
    present = {"Value": value is not None, "Values": bool(values), "StatisticValues": given_set is not None}
    names = [name for name, there in present.items() if there]
    if len(names) > 1:
        raise InvalidParameterCombination(
            f"The parameters {where}.{names[0]} and {where}.{names[1]} are mutually exclusive and you have specified both."
        )
    if not names:
        raise InvalidParameterCombination(
            f"At least one of the parameters {where}.Value, {where}.Values and {where}.StatisticValues must be specified."
        )
    _dimensions(where, datum)
    if given_set is not None:
        return _statistics_set(f"{where}.StatisticValues", given_set)
    summary = Summary()
    if value is not None:
        summary.add(_number(f"{where}.Value", value))
        return summary
    counts = datum.get("Counts")
    if len(values) > _VALUES:
        raise InvalidParameterValue(f"The collection {where}.Values must not have a size greater than {_VALUES}.")
    if counts is not None and len(counts) != len(values):
        raise InvalidParameterValue(f"The parameters {where}.Values and {where}.Counts must be of the same size.")
    for index, one in enumerate(values):
        count = 1.0 if counts is None else _count(f"{where}.Counts.member.{index + 1}", counts[index])
        if count:
            summary.add(_number(f"{where}.Values.member.{index + 1}", one), count)
    if not summary.count:
        raise InvalidParameterValue(f"The parameter {where}.Counts must have a count that is greater than 0.")
    return summary


def _statistics_set(where: str, given: Mapping[str, float]) -> Summary:
    count = _count(f"{where}.SampleCount", given["SampleCount"])
    total, minimum, maximum = (_number(f"{where}.{name}", given[name]) for name in ("Sum", "Minimum", "Maximum"))
    if not count:
        raise InvalidParameterValue(f"The parameter {where}.SampleCount must be greater than 0.")
    if minimum > maximum:
        raise InvalidParameterValue(f"The parameter {where}.Maximum must be greater than {where}.Minimum.")
    return Summary.of_set(count, total, minimum, maximum)


def _count(where: str, value: float) -> float:
    return _number(where, value, least=_FEWEST if value else 0.0)


def _number(where: str, value: float, *, least: float = -_LARGEST) -> float:
    if not math.isfinite(value) or not least <= value <= _LARGEST:
        text = "NaN" if math.isnan(value) else str(value).replace("inf", "Infinity")
        raise InvalidParameterValue(f"The value {text} for parameter {where} is invalid.")
    return float(value)


def _dimensions(where: str, datum: Mapping[str, Any]) -> None:
    dimensions = datum.get("Dimensions") or ()
    names = [one["Name"] for one in dimensions]
    if len(set(names)) != len(names):
        raise InvalidParameterValue(f"No dimension name may be given more than once in {where}.Dimensions.")
    for number, one in enumerate(dimensions, 1):
        for part in ("Name", "Value"):
            text = one[part]
            # AWS: "Dimension": only ASCII without control characters, and something beside spaces.
            if (
                (part == "Name" and text.startswith(":"))
                or not text.isascii()
                or not text.isprintable()
                or not text.strip()
            ):
                raise InvalidParameterValue(
                    f"The value {text} for parameter {where}.Dimensions.member.{number}.{part} is invalid."
                )


def _moment(where: str, datum: Mapping[str, Any], now: int) -> int:
    """Seconds. Raises InvalidParameterValue."""
    at = datum.get("Timestamp")
    if at is None:
        return now
    at = seconds(at)
    if at < now - OLDEST:
        raise InvalidParameterValue(f"The parameter {where}.Timestamp must specify a time within the past two weeks.")
    if at > now + NEWEST:
        raise InvalidParameterValue(
            f"The parameter {where}.Timestamp must specify a time no more than two hours in the future."
        )
    return at


def _resolution(where: str, datum: Mapping[str, Any]) -> int:
    resolution = datum.get("StorageResolution", 60)
    if resolution not in (1, 60):
        raise InvalidParameterValue(f"The value {resolution} for parameter {where}.StorageResolution is invalid.")
    return resolution
