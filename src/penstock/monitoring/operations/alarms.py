"""Alarms: made, shown, switched, set by hand and deleted."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from penstock.application import App, Call
from penstock.monitoring import alarm_records
from penstock.monitoring.alarms import (
    COMPOSITE_ALARM,
    METRIC_ALARM,
    Alarm,
    arn_of,
    names_of,
    removed,
    suppressor_of,
)
from penstock.monitoring.composites import is_suppressed
from penstock.monitoring.errors import (
    InvalidFormat,
    InvalidParameterCombination,
    InvalidParameterValue,
    LimitExceededFault,
    MissingParameter,
    ResourceNotFound,
    ValidationError,
)
from penstock.monitoring.evaluation import BEYOND, OPERATORS
from penstock.monitoring.messages import suppressed_reason
from penstock.monitoring.model import ActionsSwitched, AlarmState, Configured, Found, Input, StateValue
from penstock.monitoring.operations import PAGES, cloudwatch, place
from penstock.monitoring.operations.metrics import checked_period
from penstock.monitoring.operations.tags import checked_tags
from penstock.monitoring.queries import Plan, check_cost, read
from penstock.monitoring.records import Place
from penstock.monitoring.rules import RuleError
from penstock.monitoring.series import metric_of
from penstock.monitoring.statistics import SIMPLE, UnknownStatistic, statistic
from penstock.pools import MATH
from penstock.store.deciding import decide_alone
from penstock.store.transaction import wake
from penstock.wire.call import Input as Given
from penstock.wire.call import Output

_PAGE = 50
_LONG = 604_800  # seconds that an alarm may look back, of periods of an hour or more (AWS: PutMetricAlarm)
_SHORT = 86_400  # of shorter ones
_FOR_METRIC = 1_000  # alarms of one metric that are listed
_KEPT = (
    "AlarmDescription", "MetricName", "Namespace", "Statistic", "ExtendedStatistic", "Dimensions", "Period", "Unit",
    "EvaluationPeriods", "DatapointsToAlarm", "Threshold", "ComparisonOperator", "TreatMissingData",
    "EvaluateLowSampleCountPercentile", "Metrics",
)  # fmt: skip
_PERIODS = ("ActionsSuppressorWaitPeriod", "ActionsSuppressorExtensionPeriod")
_LONGEST = 86_400  # seconds of each; AWS's model has no bound
_PARENTS = 150  # AWS: composite alarms that an alarm is in the rule of
_ACTIONS = ("OKActions", "AlarmActions", "InsufficientDataActions")
_OF_METRIC = ("MetricName", "Namespace", "Period")
_REQUIRED = ("EvaluationPeriods", "ComparisonOperator", "Threshold")
_WITHOUT_METRICS = (*_OF_METRIC, "Statistic", "ExtendedStatistic", "Dimensions", "Unit")
_QUERIES = 10  # AWS: metrics of an alarm, and as many expressions
# What alarms are made of that this does not serve: each is refused rather than ignored.
_UNSERVED = (
    "ThresholdMetricId", "EvaluationWindow", "WarmUpConfiguration", "EvaluationCriteria", "EvaluationInterval",
    "ActionConfiguration",
)  # fmt: skip


def _named(call: Call, input: Given) -> str:
    return arn_of(call.account, call.region, input["AlarmName"])


def _all_named(call: Call, input: Given) -> str | list[str]:
    return [arn_of(call.account, call.region, name) for name in input.get("AlarmNames") or ()] or "*"


@cloudwatch("PutMetricAlarm", resource=_named)
async def put_metric_alarm(app: App, call: Call, input: Given) -> None:
    """Make an alarm, or give one another configuration, which keeps its state. Tags are those of a new one only."""
    await _put(
        app, call, input, await MATH.run(_checked, call, input) if input.get("Metrics") else _checked(call, input)
    )


async def _put(app: App, call: Call, input: Given, config: Mapping[str, Any]) -> None:
    tags = checked_tags(input.get("Tags"))
    name = input["AlarmName"]
    if tags:
        await app.identity.authorize(call, "cloudwatch:TagResource", (_named(call, input),))

    def tx(conn: sa.Connection) -> None:
        if "AlarmRule" in config:
            _decide_alone(conn, call)
        made = Alarm.create(conn, *place(call), name)
        alarm = made or Alarm.find(conn, *place(call), name)
        assert alarm is not None
        if made is None and alarm.state.composite is not ("AlarmRule" in config):
            kind = "composite alarm" if alarm.state.composite else "metric alarm"
            raise ValidationError(
                f"The alarm {name} is a {kind}. Give the new one another name, or delete the other first."
            )
        if "AlarmRule" in config:
            _check_alarms(conn, call, name, config)
        with alarm:
            _apply(app, call, alarm, Configured(config=config))
        if made is not None and tags:
            alarm_records.set_tags(conn, place(call), name, tags)
        wake(conn, alarm_records.DUE)

    await app.store.write(tx)


def _decide_alone(conn: sa.Connection, call: Call) -> None:
    """Let nobody else make a composite alarm or delete an alarm: what a rule names is there, and how many rules name it is counted."""
    decide_alone(conn, "composite-alarms", *place(call))


def _check_alarms(conn: sa.Connection, call: Call, name: str, config: Mapping[str, Any]) -> None:
    """Raise ValidationError when alarms that a composite alarm names are not there, or have too many composite alarms already."""
    named = names_of(*place(call), config["AlarmRule"])
    there = {row.id for row in alarm_records.states(conn, place(call), sorted(set(named.values())))}
    missing = [given for given, one in named.items() if one not in there]
    if missing:
        raise ValidationError(
            f"Could not save the composite alarm as alarms [{', '.join(missing)}] in the alarm rule do not exist"
        )
    suppressor = suppressor_of(*place(call), config)
    if suppressor and alarm_records.alarm(conn, place(call), suppressor) is None:
        raise ValidationError(
            f"Could not save the composite alarm as the actions suppressor {suppressor} does not exist"
        )
    parents: dict[str, set[str]] = {}
    for source, parent in alarm_records.looking_at(conn, place(call), [f"alarm/{one}" for one in sorted(there)]):
        parents.setdefault(source, set()).add(parent)
    full = [source for source, found in parents.items() if len(found - {name}) >= _PARENTS]
    if full:
        raise LimitExceededFault(name=full[0].removeprefix("alarm/"), most=_PARENTS)


@cloudwatch("PutCompositeAlarm", resource=_named)
async def put_composite_alarm(app: App, call: Call, input: Given) -> None:
    """Make an alarm whose state follows from those of others, or give one another configuration, which keeps its state."""
    if input.get("ActionConfiguration") is not None:
        raise ValidationError(
            "Alarms with ActionConfiguration are not served by this version of Penstock: notifications have no tags."
        )
    try:
        names_of(*place(call), input["AlarmRule"])
    except RuleError as error:
        raise ValidationError(str(error)) from None
    periods = [name for name in _PERIODS if input.get(name) is not None]
    if input.get("ActionsSuppressor") is None:
        if periods:
            raise ValidationError(f"{periods[0]} can only be given with ActionsSuppressor.")
    elif len(periods) < len(_PERIODS):
        missing = next(name for name in _PERIODS if name not in periods)
        raise ValidationError(f"{missing} is required when ActionsSuppressor is given.")
    for name in periods:
        if not 0 <= input[name] <= _LONGEST:
            raise ValidationError(f"{name} must be between 0 and {_LONGEST} seconds.")
    kept = {
        name: input[name]
        for name in ("AlarmDescription", "AlarmRule", "ActionsSuppressor", *_PERIODS)
        if input.get(name) is not None
    }
    actions = {name: list(input.get(name) or ()) for name in _ACTIONS}
    await _put(app, call, input, {**kept, **actions, "ActionsEnabled": input.get("ActionsEnabled", True)})


def _apply(app: App, call: Call, alarm: Alarm, input: Input) -> None:
    alarm.apply(input, now=call.now, seed=app.ids.seed(), actor=call.session.arn, cause=call.request_id)


def _checked(call: Call, input: Given) -> dict[str, Any]:
    """The configuration of an input. Raises the service's errors."""
    for name in _UNSERVED:
        if input.get(name) is not None:
            raise ValidationError(
                f"Alarms with {name} are not served by this version of Penstock: an alarm compares one metric or expression with a fixed threshold."
            )
    queries = input.get("Metrics")
    for name in _REQUIRED if queries else (*_OF_METRIC, *_REQUIRED):
        if input.get(name) is None:
            raise MissingParameter(name=name)
    if queries:
        _check_periods(input, _checked_queries(call, input))
    else:
        _check_statistic(input)
        _check_periods(input, input["Period"])
    if input["ComparisonOperator"] not in OPERATORS:
        raise ValidationError(
            f"The ComparisonOperator {input['ComparisonOperator']} is about anomaly detection, which is not served."
            f" Use one of {', '.join(OPERATORS)}."
        )
    if not math.isfinite(input["Threshold"]):
        raise InvalidParameterValue("The parameter Threshold must be a number.")
    if input.get("TreatMissingData", "missing") not in ("breaching", "notBreaching", "ignore", "missing"):
        raise ValidationError(
            f"The value {input['TreatMissingData']} is not supported for TreatMissingData. It must be one of: [breaching,"
            " notBreaching, ignore, missing]"
        )
    if input.get("EvaluateLowSampleCountPercentile", "evaluate") not in ("evaluate", "ignore"):
        raise ValidationError(
            f"The value {input['EvaluateLowSampleCountPercentile']} is not supported for EvaluateLowSampleCountPercentile. It must"
            " be one of: [evaluate, ignore]"
        )
    dimensions = [one["Name"] for one in input.get("Dimensions") or ()]
    if len(set(dimensions)) != len(dimensions):
        raise InvalidParameterValue("No dimension name may be given more than once in Dimensions.")
    kept = {name: input[name] for name in _KEPT if input.get(name) is not None}
    kept["Threshold"] = float(input["Threshold"])
    if "Metrics" in kept:
        kept["Metrics"] = [{**one, "ReturnData": one.get("ReturnData", True)} for one in kept["Metrics"]]
    actions = {name: list(input.get(name) or ()) for name in _ACTIONS}
    return {**kept, **actions, "ActionsEnabled": input.get("ActionsEnabled", True)}


def _check_statistic(input: Given) -> None:
    simple, extended = input.get("Statistic"), input.get("ExtendedStatistic")
    if simple is not None and extended is not None:
        raise InvalidParameterCombination("The parameters Statistic and ExtendedStatistic are mutually exclusive.")
    if simple is None and extended is None:
        raise MissingParameter("Exactly one of Statistic and ExtendedStatistic must be specified")
    try:
        statistic(simple or extended or "")
    except UnknownStatistic:
        raise InvalidParameterValue(f"The value {extended} for parameter ExtendedStatistic is not supported.") from None
    if extended in SIMPLE:
        raise InvalidParameterValue(f"The value {extended} for parameter ExtendedStatistic is not supported.")
    if input.get("EvaluateLowSampleCountPercentile") is not None and extended is None:
        raise ValidationError(
            "The parameter EvaluateLowSampleCountPercentile can only be given with a percentile as ExtendedStatistic."
        )


def _checked_queries(call: Call, input: Given) -> int:
    """The period of an alarm with `Metrics`. Raises the service's errors."""
    for name in _WITHOUT_METRICS:
        if input.get(name) is not None:
            raise ValidationError(f"{name} should not be set if list of Metrics is set.")
    if input.get("EvaluateLowSampleCountPercentile") is not None:
        raise ValidationError(
            "The parameter EvaluateLowSampleCountPercentile can only be given with a percentile as ExtendedStatistic."
        )
    given = input["Metrics"]
    measured = sum(one.get("MetricStat") is not None for one in given)
    if measured > _QUERIES or len(given) - measured > _QUERIES:
        raise ValidationError(
            f"Invalid metrics list: it can have {_QUERIES} metrics and {_QUERIES} expressions at most."
        )
    queries = read(given, "Metrics", call.account, allowed=_is_period)
    returned = [query for query in queries if query.returned]
    if len(returned) != 1:
        raise ValidationError("Exactly one element of the metrics list should return data.")
    if any(query.needs.searches for query in queries):
        raise ValidationError("SEARCH is not supported on Metric Alarms.")
    plan = Plan(queries)
    (one,) = returned
    match plan.kinds[one.id]:
        case "Scalar":
            raise ValidationError(f"Error in expression '{one.id}': an alarm needs a time series, not a single number.")
        case "TimeSeries":
            pass
        case _:
            raise ValidationError(
                "Metrics expression that return multi time series are only allowed for MetricsInsights expression with an ORDER BY clause"
            )
    if not any(query.measured is not None or query.period for query in plan.needed(one.id)):
        raise ValidationError("Period must not be null")
    check_cost(plan, one.id, input["EvaluationPeriods"] + BEYOND if input["EvaluationPeriods"] <= _SHORT else _SHORT)
    return plan.periods[one.id]


def _is_period(period: int) -> bool:
    return period in (10, 20, 30) or period % 60 == 0


def _check_periods(input: Given, period: int) -> None:
    periods = input["EvaluationPeriods"]
    if period in (1, 5):
        raise ValidationError("Period must be 10, 20, 30 or a multiple of 60")
    checked_period(period, "Period")
    if period * periods > (_SHORT if period < 3_600 else _LONG):
        raise ValidationError(
            "Metrics cannot be checked across more than "
            + ("a day (EvaluationPeriods * Period must be <= 86400)." if period < 3_600 else
               "seven days (EvaluationPeriods * Period must be <= 604800).")
        )  # fmt: skip
    if input.get("DatapointsToAlarm", 1) > periods:
        raise ValidationError("DatapointsToAlarm must be less than or equal to EvaluationPeriods")


def to_api(row: Any) -> Output:
    """An alarm as clients see it."""
    state: AlarmState = Alarm.states.load(row.state)
    said: Output = {
        "AlarmName": row.id,
        "AlarmArn": arn_of(row.account, row.region, row.id),
        "AlarmConfigurationUpdatedTimestamp": state.configured,
        "StateValue": state.value.value,
        "StateReason": state.reason,
        "StateUpdatedTimestamp": state.updated,
        "StateTransitionedTimestamp": state.transitioned,
        **({} if state.config.get("Metrics") or state.composite else {"Dimensions": []}),
        **state.config,
    }
    if state.suppressed_by:
        said |= {"ActionsSuppressedBy": state.suppressed_by, "ActionsSuppressedReason": suppressed_reason(state)}
    return said | ({"StateReasonData": state.reason_data} if state.reason_data else {})


@cloudwatch("DescribeAlarms", resource=_all_named)
async def describe_alarms(app: App, call: Call, input: Given) -> Output:
    """Alarms by name, a page at a time: of metrics, unless other types are asked for."""
    names, prefix = input.get("AlarmNames"), input.get("AlarmNamePrefix", "")
    if names and prefix:
        raise InvalidParameterCombination("AlarmNamePrefix and AlarmNames cannot be specified together.")
    relatives = [name for name in ("ChildrenOfAlarmName", "ParentsOfAlarmName") if input.get(name)]
    if relatives and len(set(input) - {"MaxRecords", "NextToken"}) > 1:
        raise ValidationError(f"{relatives[0]} can be given with MaxRecords and NextToken only.")
    wanted = input.get("AlarmTypes") or [METRIC_ALARM]
    limit = input.get("MaxRecords", _PAGE)
    (after,) = PAGES.after(call, input) or ("",)
    if relatives:
        wanted = [METRIC_ALARM, COMPOSITE_ALARM]
        related = _children_of if input.get("ChildrenOfAlarmName") else _parents_of
        names = await app.store.scan(related, place(call), input[relatives[0]])
    found = await app.store.scan(
        alarm_records.page,
        place(call),
        after=[after] if after else None,
        limit=limit + 1,
        prefix=prefix,
        names=names if relatives else names or None,
        value=input.get("StateValue", ""),
        kinds=wanted,
    )
    page = PAGES.page(call, input, found, limit=limit, keyset=lambda row: (row.id,))
    if relatives:
        kept = _OF_CHILDREN if input.get("ChildrenOfAlarmName") else _OF_PARENTS
        rows = [(row.kind, {name: value for name, value in to_api(row).items() if name in kept}) for row in page.rows]
        return {
            "MetricAlarms": _of_kind(rows, METRIC_ALARM),
            "CompositeAlarms": _of_kind(rows, COMPOSITE_ALARM),
            **page.more,
        }
    rows = [(row.kind, to_api(row)) for row in page.rows]
    action = input.get("ActionPrefix", "")
    if action:
        rows = [
            (kind, one) for kind, one in rows if any(arn.startswith(action) for name in _ACTIONS for arn in one[name])
        ]
    return {
        "MetricAlarms": _of_kind(rows, METRIC_ALARM),
        "CompositeAlarms": _of_kind(rows, COMPOSITE_ALARM),
        **page.more,
    }


# AWS: what DescribeAlarms says of the alarms of a rule, and of those whose rule an alarm is in.
_OF_CHILDREN = ("AlarmName", "AlarmArn", "StateValue", "StateUpdatedTimestamp")
_OF_PARENTS = ("AlarmName", "AlarmArn")


def _of_kind(rows: Sequence[tuple[str, Output]], wanted: str) -> list[Output]:
    return [one for kind, one in rows if kind == wanted]


def _children_of(conn: sa.Connection, where: Place, name: str) -> list[str]:
    return [
        source.removeprefix("alarm/")
        for source in alarm_records.sources_of(conn, where, [name])
        if source.startswith("alarm/")
    ]


def _parents_of(conn: sa.Connection, where: Place, name: str) -> list[str]:
    return [parent for _, parent in alarm_records.looking_at(conn, where, [f"alarm/{name}"])]


@cloudwatch("DescribeAlarmsForMetric")
async def describe_alarms_for_metric(app: App, call: Call, input: Given) -> Output:
    """The alarms that look at a metric by itself, without those on expressions (AWS)."""
    metric = metric_of(input).id(*place(call))
    found = await app.store.scan(alarm_records.of_metric, place(call), metric, _FOR_METRIC)
    listed = [one for one in (to_api(row) for row in found) if not one.get("Metrics")]
    asked: Mapping[str, Any] = {
        name: input[name] for name in ("Statistic", "ExtendedStatistic", "Period", "Unit") if name in input
    }
    return {"MetricAlarms": [one for one in listed if all(one.get(name) == value for name, value in asked.items())]}


@cloudwatch("DeleteAlarms", resource=_all_named)
async def delete_alarms(app: App, call: Call, input: Given) -> None:
    """Forget alarms: all of them, or none when one is not there or cannot be deleted."""

    def tx(conn: sa.Connection) -> None:
        _decide_alone(conn, call)
        alarms = _locked(conn, call, input["AlarmNames"])
        _check_deletion(conn, call, alarms)
        for alarm in alarms:
            removed(conn, alarm, now=call.now, actor=call.session.arn, cause=call.request_id)

    await app.store.write(tx)


def _check_deletion(conn: sa.Connection, call: Call, alarms: Sequence[Alarm]) -> None:
    """Raise ValidationError for more than one composite alarm, and for alarms that others are composed of."""
    if sum(alarm.state.composite for alarm in alarms) > 1:
        raise ValidationError("Only one composite alarm can be deleted at a time.")
    names = {alarm.id for alarm in alarms}
    found = alarm_records.looking_at(conn, place(call), [f"alarm/{name}" for name in sorted(names)])
    needed = sorted(
        {
            source.removeprefix("alarm/")
            for source, parent in found
            if parent not in names or source == f"alarm/{parent}"
        }
    )
    if needed:
        said = "it" if len(needed) == 1 else "them"
        raise ValidationError(f"Cannot delete {','.join(needed)} as there are composite alarm(s) depending on {said}.")


def _locked(conn: sa.Connection, call: Call, names: Sequence[str]) -> list[Alarm]:
    """Alarms in one order for everybody. Raises ResourceNotFound when one is not there."""
    found = []
    for name in sorted(set(names)):
        alarm = Alarm.find(conn, *place(call), name)
        if alarm is None:
            raise ResourceNotFound
        found.append(alarm)
    return found


@cloudwatch("SetAlarmState", resource=_named)
async def set_alarm_state(app: App, call: Call, input: Given) -> None:
    """Say which state an alarm is in, until it is evaluated the next time. Another state than before runs its actions."""
    data = input.get("StateReasonData", "")
    if data:
        try:
            json.loads(data)
        except (ValueError, RecursionError):
            raise InvalidFormat from None
    given = Found(value=StateValue(input["StateValue"]), reason=input["StateReason"], reason_data=data, by_hand=True)

    def tx(conn: sa.Connection) -> None:
        (alarm,) = _locked(conn, call, [input["AlarmName"]])
        suppressing = is_suppressed(conn, place(call), alarm.state.config)
        with alarm:
            _apply(app, call, alarm, replace(given, suppressing=suppressing))
        wake(conn, alarm_records.DUE)

    await app.store.write(tx)


@cloudwatch("EnableAlarmActions", resource=_all_named)
async def enable_alarm_actions(app: App, call: Call, input: Given) -> None:
    """Let alarms run their actions. Names of no alarm are passed over."""
    await _switch(app, call, input["AlarmNames"], enabled=True)


@cloudwatch("DisableAlarmActions", resource=_all_named)
async def disable_alarm_actions(app: App, call: Call, input: Given) -> None:
    """Let alarms run no actions: what they would have done meanwhile is not done later."""
    await _switch(app, call, input["AlarmNames"], enabled=False)


async def _switch(app: App, call: Call, names: Sequence[str], *, enabled: bool) -> None:
    def tx(conn: sa.Connection) -> None:
        for name in sorted(set(names)):
            alarm = Alarm.find(conn, *place(call), name)
            if alarm is not None:
                with alarm:
                    _apply(app, call, alarm, ActionsSwitched(enabled=enabled))

    await app.store.write(tx)


def _maybe_named(call: Call, input: Given) -> str:
    return _named(call, input) if input.get("AlarmName") else "*"


@cloudwatch("DescribeAlarmHistory", resource=_maybe_named)
async def describe_alarm_history(app: App, call: Call, input: Given) -> Output:
    """What happened to alarms, those that are deleted included, the newest first unless asked otherwise."""
    limit = input.get("MaxRecords", 100)
    equal = {"alarm": input.get("AlarmName"), "item": input.get("HistoryItemType")}
    if input.get("AlarmContributorId"):
        return {"AlarmHistoryItems": []}  # only alarms of several series have contributors
    found = await app.store.scan(
        alarm_records.history_page,
        place(call),
        after=PAGES.after(call, input),
        limit=limit + 1,
        descending=input.get("ScanBy", "TimestampDescending") == "TimestampDescending",
        since=input.get("StartDate"),
        until=input.get("EndDate"),
        kinds=input.get("AlarmTypes") or [METRIC_ALARM],
        **{column: value for column, value in equal.items() if value},
    )
    page = PAGES.page(call, input, found, limit=limit, keyset=lambda row: (row.at, row.alarm, row.id))
    items = [
        {
            "AlarmName": row.alarm,
            "AlarmType": row.kind,
            "Timestamp": row.at,
            "HistoryItemType": row.item,
            "HistorySummary": row.summary,
            "HistoryData": row.data,
        }
        for row in page.rows
    ]
    return {"AlarmHistoryItems": items, **page.more}
