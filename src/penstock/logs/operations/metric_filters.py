"""Metric filters: what patterns find in log groups, as data points of CloudWatch; and what a pattern finds in sample messages."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from penstock.application import Call
from penstock.logfiles.measuring import countable, value_of
from penstock.logfiles.patterns import BadPattern, Pattern
from penstock.logfiles.patterns.conditions import number_of
from penstock.logs import filter_rows, records
from penstock.logs.errors import InvalidParameterException, LimitExceededException, ResourceNotFoundException
from penstock.logs.logstore import LogStore
from penstock.logs.operations import PAGES, check_pattern, operation
from penstock.logs.operations.groups import any_group_arn, existing_group, group_arn
from penstock.wire.call import Input, Output

_PAGE = 50
# Of a group. AWS: CloudWatch Logs quotas
_FILTERS = 100
_REGULAR_EXPRESSIONS = 5
_DIMENSIONS = 3


def _described(call: Call, input: Input) -> str:
    return group_arn(call, input) if input.get("logGroupName") else any_group_arn(call, input)


@operation("PutMetricFilter", resource=group_arn)
async def put_metric_filter(logs: LogStore, call: Call, input: Input) -> Output:
    """Count what a pattern finds in a group from now on. A filter of the same name is replaced."""
    pattern = check_pattern(input["filterPattern"])
    (transformation,) = input["metricTransformations"]
    _check(pattern, transformation)
    if (
        input.get("applyOnTransformedLogs")
        or input.get("fieldSelectionCriteria")
        or input.get("emitSystemFieldDimensions")
    ):
        raise InvalidParameterException(
            "Log transformers and fields of the system are not served: leave applyOnTransformedLogs, fieldSelectionCriteria and "
            "emitSystemFieldDimensions out."
        )
    group = (call.account, call.region, input["logGroupName"])
    row = {
        "account": call.account,
        "region": call.region,
        "group": input["logGroupName"],
        "name": input["filterName"],
        "pattern": input["filterPattern"],
        "transformation": transformation,
        "namespace": transformation["metricNamespace"],
        "metric": transformation["metricName"],
        "created": call.now,
    }

    def put(conn: sa.Connection) -> None:
        if records.find_group(conn, *group, lock=True) is None:
            raise ResourceNotFoundException(what="log group")
        others = [one for one in filter_rows.of_group(conn, group) if one.name != row["name"]]
        with_regexes = sum(check_pattern(one.pattern).regular_expressions > 0 for one in others)
        if len(others) >= _FILTERS or (pattern.regular_expressions and with_regexes >= _REGULAR_EXPRESSIONS):
            raise LimitExceededException
        filter_rows.put(conn, row)

    await call.app.store.write(put)
    return {}


@operation("DeleteMetricFilter", resource=group_arn)
async def delete_metric_filter(logs: LogStore, call: Call, input: Input) -> Output:
    """Count no more of what a filter finds. The data points that there are stay."""
    group = (call.account, call.region, input["logGroupName"])
    await existing_group(call, input["logGroupName"])
    if not await call.app.store.write(filter_rows.delete, group, input["filterName"]):
        raise ResourceNotFoundException(what="metric filter")
    return {}


@operation("DescribeMetricFilters", resource=_described)
async def describe_metric_filters(logs: LogStore, call: Call, input: Input) -> Output:
    """Filters of a group or of all, by name."""
    name, namespace = input.get("metricName"), input.get("metricNamespace")
    if bool(name) is not bool(namespace):
        raise InvalidParameterException("metricName and metricNamespace belong together: give both or neither.")
    group = input.get("logGroupName", "")
    if group:
        await existing_group(call, group)
    limit = input.get("limit", _PAGE)
    rows = await call.app.store.scan(
        filter_rows.page,
        call.account,
        call.region,
        group=group,
        prefix=input.get("filterNamePrefix", ""),
        metric=(namespace, name) if name and namespace else None,
        after=PAGES.after(call, input),
        limit=limit + 1,
    )
    page = PAGES.page(call, input, rows, limit=limit, keyset=lambda row: [row.name, row.group])
    return {"metricFilters": [_to_api(row) for row in page.rows], **page.more}


@operation("TestMetricFilter", abandonable=True)
async def test_metric_filter(logs: LogStore, call: Call, input: Input) -> Output:
    """Which of up to 50 messages match a pattern, and what it extracts from them."""
    check_pattern(input["filterPattern"])
    return {"matches": (await logs.test(input["filterPattern"], input["logEventMessages"]))["events"]}


def _check(pattern: Pattern, transformation: Input) -> None:
    """Raises InvalidParameterException for what the pattern cannot give."""
    if not transformation["metricName"] or not transformation["metricNamespace"]:
        raise InvalidParameterException(
            "A metric has a name and a namespace: metricName and metricNamespace are not empty."
        )
    dimensions = transformation.get("dimensions") or {}
    if dimensions and not pattern.named:
        raise InvalidParameterException("The specified filter pattern does not support dimensions")
    if dimensions and transformation.get("defaultValue") is not None:
        raise InvalidParameterException(
            "Invalid metric transformation: dimensions and default value are mutually exclusive properties."
        )
    if len(dimensions) > _DIMENSIONS:
        raise InvalidParameterException(f"A metric filter has {_DIMENSIONS} dimensions at most.")
    values = [*dimensions.values()]
    if number_of(transformation["metricValue"]) is None:
        values.append(transformation["metricValue"])
    elif countable(transformation["metricValue"]) is None:
        raise _not_countable("metricValue")
    if transformation.get("defaultValue") is not None and countable(transformation["defaultValue"]) is None:
        raise _not_countable("defaultValue")
    for said in values:
        try:
            value_of(pattern, said)
        except BadPattern as bad:
            raise InvalidParameterException(
                f"Invalid metric transformation: {bad}. A value is a number, a property selector such as $.size where the filter pattern is "
                "one of JSON, or a field such as $size where it is space-delimited."
            ) from None


def _not_countable(member: str) -> InvalidParameterException:
    return InvalidParameterException(
        f"Invalid metric transformation: {member} is a number from -2^360 to 2^360, as metrics take it."
    )


def _to_api(row: sa.Row[Any]) -> Output:
    return {
        "filterName": row.name,
        "filterPattern": row.pattern,
        "metricTransformations": [row.transformation],
        "creationTime": row.created,
        "logGroupName": row.group,
        "applyOnTransformedLogs": False,
    }
