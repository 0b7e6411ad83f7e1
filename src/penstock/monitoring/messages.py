"""What alarms say to others: details of events, and messages to topics."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from typing import Any

from penstock.monitoring.evaluation import stamp
from penstock.monitoring.model import AlarmState, Transitioned
from penstock.monitoring.queries import period_of

_HISTORY_DATA = 4095  # characters (AWS: HistoryData)
_CUTS = ((1024, 100), (512, 50), (256, 20), (64, 10), (16, 3), (4, 1))  # characters of a text and items of a list
_NAMED = {
    "alarmActions": "AlarmActions",
    "okActions": "OKActions",
    "insufficientDataActions": "InsufficientDataActions",
    "actionsEnabled": "ActionsEnabled",
    "evaluationPeriods": "EvaluationPeriods",
    "datapointsToAlarm": "DatapointsToAlarm",
    "threshold": "Threshold",
    "comparisonOperator": "ComparisonOperator",
    "treatMissingData": "TreatMissingData",
    "evaluateLowSampleCountPercentile": "EvaluateLowSampleCountPercentile",
}
_SUPPRESSION = {
    "alarmRule": "AlarmRule",
    "actionsSuppressor": "ActionsSuppressor",
    "actionsSuppressorWaitPeriod": "ActionsSuppressorWaitPeriod",
    "actionsSuppressorExtensionPeriod": "ActionsSuppressorExtensionPeriod",
}
_STATISTICS = {
    "Average": "AVERAGE",
    "Sum": "SUM",
    "Minimum": "MINIMUM",
    "Maximum": "MAXIMUM",
    "SampleCount": "SAMPLE_COUNT",
}


def history_data(data: Mapping[str, Any]) -> str:
    """The HistoryData of an item: JSON, in which long texts and lists are cut as far as the whole is too long. AWS does not say how it cuts."""
    text = json.dumps(data, separators=(",", ":"))
    for characters, items in _CUTS:
        if len(text) <= _HISTORY_DATA:
            break
        text = json.dumps(_cut(data, characters, items), separators=(",", ":"))
    return text


def _cut(value: Any, characters: int, items: int) -> Any:
    match value:
        case str():
            return value if len(value) <= characters else value[: characters - 1] + "…"
        case list() | tuple():
            return [_cut(one, characters, items) for one in value[:items]]
        case Mapping():
            return {name: _cut(one, characters, items) for name, one in value.items()}
    return value


def _configuration(config: Mapping[str, Any]) -> dict[str, Any]:
    """What EventBridge's events say of the metric of an alarm."""
    if "AlarmRule" in config:
        return {ours: config[theirs] for ours, theirs in _SUPPRESSION.items() if theirs in config}
    described = {"description": config["AlarmDescription"]} if "AlarmDescription" in config else {}
    if config.get("Metrics"):
        return described | {"metrics": [_query(one) for one in config["Metrics"]]}
    dimensions = {one["Name"]: one["Value"] for one in config.get("Dimensions", ())}
    metric = {"namespace": config["Namespace"], "name": config["MetricName"], "dimensions": dimensions}
    measured: dict[str, Any] = {
        "metric": metric,
        "period": config["Period"],
        "stat": config.get("Statistic") or config["ExtendedStatistic"],
    }
    if "Unit" in config:
        measured["unit"] = config["Unit"]
    named = repr((metric, measured["stat"], config["Period"])).encode()
    id = str(uuid.UUID(bytes=hashlib.sha256(named).digest()[:16]))
    found: dict[str, Any] = {"metrics": [{"id": id, "metricStat": measured, "returnData": True}]}
    return described | found


def _query(given: Mapping[str, Any]) -> dict[str, Any]:
    """A query of an alarm on an expression, as events have it."""
    said: dict[str, Any] = {"id": given["Id"], "returnData": given["ReturnData"]}
    said |= {
        ours: given[theirs]
        for ours, theirs in (("expression", "Expression"), ("label", "Label"), ("period", "Period"))
        if theirs in given
    }
    stated = given.get("MetricStat")
    if stated is None:
        return said
    metric = stated["Metric"]
    dimensions = {one["Name"]: one["Value"] for one in metric.get("Dimensions") or ()}
    named = {"namespace": metric["Namespace"], "name": metric["MetricName"], "dimensions": dimensions}
    unit = {"unit": stated["Unit"]} if "Unit" in stated else {}
    return said | {"metricStat": {"metric": named, "period": stated["Period"], "stat": stated["Stat"], **unit}}


def _state(value: str, reason: str, data: str, at: int) -> dict[str, Any]:
    said = {"reason": reason, "timestamp": stamp(at), "value": value}
    return said | ({"reasonData": data} if data else {})


def state_detail(name: str, state: AlarmState, before: Transitioned) -> dict[str, Any]:
    """The detail of `CloudWatch Alarm State Change`."""
    return {
        "alarmName": name,
        "configuration": _configuration(state.config),
        "previousState": _state(before.value, before.reason, before.reason_data, before.updated),
        "state": _suppressed(state) | _state(state.value, state.reason, state.reason_data, state.updated),
    }


def _suppressed(state: AlarmState) -> dict[str, Any]:
    if not state.suppressed_by:
        return {}
    return {"actionsSuppressedBy": state.suppressed_by, "actionsSuppressedReason": suppressed_reason(state)}


def suppressed_reason(state: AlarmState) -> str:
    """Why a composite alarm runs no actions, in AWS's words."""
    return f"Actions suppressed by {state.suppressed_by}"


def configuration_detail(
    name: str, state: AlarmState, previous: Mapping[str, Any], *, operation: str
) -> dict[str, Any]:
    """The detail of `CloudWatch Alarm Configuration Change`."""
    detail: dict[str, Any] = {
        "alarmName": name,
        "operation": operation,
        "configuration": _full(name, state.config, state.configured),
        "state": _suppressed(state) | _state(state.value, state.reason, state.reason_data, state.updated),
    }
    return detail | ({"previousConfiguration": _full(name, previous, None)} if previous else {})


def _full(name: str, config: Mapping[str, Any], at: int | None) -> dict[str, Any]:
    stated = {ours: config[theirs] for ours, theirs in _NAMED.items() if theirs in config}
    when = {} if at is None else {"timestamp": stamp(at)}
    described = {"description": config["AlarmDescription"]} if "AlarmDescription" in config else {}
    return {"alarmName": name, **described, **stated, **when, **_configuration(config)}


def alarm_message(arn: str, state: AlarmState, before: Transitioned) -> dict[str, Any]:
    """What a topic is sent; the long name of the region is for whoever sends it."""
    config = state.config
    name, account = arn.split(":", 6)[6], arn.split(":")[4]
    stated = {"AlarmName": name, "AlarmDescription": config.get("AlarmDescription"), "AWSAccountId": account}
    if state.composite:
        return stated | _of_composite(arn, state, before)
    return {
        **stated,
        "AlarmConfigurationUpdatedTimestamp": stamp(state.configured),
        "NewStateValue": state.value,
        "NewStateReason": state.reason,
        "StateChangeTime": stamp(state.updated),
        "Region": "",
        "AlarmArn": arn,
        "OldStateValue": before.value,
        "OKActions": list(config.get("OKActions", ())),
        "AlarmActions": list(config.get("AlarmActions", ())),
        "InsufficientDataActions": list(config.get("InsufficientDataActions", ())),
        "Trigger": {
            **_measured(config),
            "EvaluationPeriods": config["EvaluationPeriods"],
            **({"DatapointsToAlarm": config["DatapointsToAlarm"]} if "DatapointsToAlarm" in config else {}),
            "ComparisonOperator": config["ComparisonOperator"],
            "Threshold": config["Threshold"],
            "TreatMissingData": config.get("TreatMissingData", "missing"),
            "EvaluateLowSampleCountPercentile": config.get("EvaluateLowSampleCountPercentile", ""),
            **({"Metrics": [_triggering(one) for one in config["Metrics"]]} if config.get("Metrics") else {}),
        },
    }


def _of_composite(arn: str, state: AlarmState, before: Transitioned) -> dict[str, Any]:
    return {
        "NewStateValue": state.value,
        "NewStateReason": state.reason,
        "StateChangeTime": stamp(state.updated),
        "Region": "",
        "AlarmArn": arn,
        "OldStateValue": before.value,
        **{name: list(state.config.get(name, ())) for name in ("OKActions", "AlarmActions", "InsufficientDataActions")},
        "AlarmRule": state.config["AlarmRule"],
        "TriggeringChildren": _triggering_alarms(state.reason_data),
    }


def _triggering_alarms(data: str) -> list[dict[str, Any]]:
    """The alarms that a reason names; none in the data of somebody who has set the state by hand."""
    try:
        listed = json.loads(data)["triggeringAlarms"]
        return [
            {"Arn": one["arn"], "State": {"Value": one["state"]["value"], "Timestamp": one["state"]["timestamp"]}}
            for one in listed
        ]
    except (ValueError, TypeError, KeyError, RecursionError):
        return []


def _measured(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a message says of the metric of an alarm; of an expression only its period."""
    if config.get("Metrics"):
        return {"Period": period_of(config["Metrics"])}
    extended = config.get("ExtendedStatistic")
    statistic = (
        {"StatisticType": "ExtendedStatistic", "ExtendedStatistic": extended}
        if extended
        else {"StatisticType": "Statistic", "Statistic": _STATISTICS[config["Statistic"]]}
    )
    return {
        "MetricName": config["MetricName"],
        "Namespace": config["Namespace"],
        **statistic,
        "Unit": config.get("Unit"),
        "Dimensions": _dimensions(config),
        "Period": config["Period"],
    }


def _dimensions(metric: Mapping[str, Any]) -> list[dict[str, str]]:
    return [{"value": one["Value"], "name": one["Name"]} for one in metric.get("Dimensions") or ()]


def _triggering(given: Mapping[str, Any]) -> dict[str, Any]:
    """A query of an alarm on an expression, as messages have it: with dimensions in their own spelling."""
    stated = given.get("MetricStat")
    if stated is None:
        return dict(given)
    return {
        **given,
        "MetricStat": {**stated, "Metric": {**stated["Metric"], "Dimensions": _dimensions(stated["Metric"])}},
    }
