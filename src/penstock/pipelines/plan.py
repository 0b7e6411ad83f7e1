"""From a declaration to the plan that the engine runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import groupby
from typing import Any

from penstock.pipelines.model import (
    HOUR,
    MINUTE,
    ActionPlan,
    ActionType,
    ActionTypeId,
    ConditionPlan,
    ConditionType,
    ExecutionMode,
    Plan,
    Result,
    RetryMode,
    StagePlan,
)

ActionTypes = Callable[[ActionTypeId], ActionType | None]

GATES = {
    "beforeEntry": ConditionType.BEFORE_ENTRY,
    "onSuccess": ConditionType.ON_SUCCESS,
    "onFailure": ConditionType.ON_FAILURE,
}
"""The members of a declared stage that hold its conditions."""


def type_of(action: Mapping[str, Any]) -> ActionTypeId:
    """The action type that a declared action names."""
    return id_named(action["actionTypeId"])


def id_named(named: Mapping[str, str]) -> ActionTypeId:
    """The names of an action type, as the shape `ActionTypeId` has them."""
    return ActionTypeId(
        category=named["category"], owner=named["owner"], provider=named["provider"], version=named["version"]
    )


def type_of_rule(rule: Mapping[str, Any]) -> ActionTypeId:
    """The type that a declared rule names."""
    named = rule["ruleTypeId"]
    return ActionTypeId(
        category=named["category"],
        owner=named.get("owner", "AWS"),
        provider=named["provider"],
        version=named.get("version", "1"),
    )


def plan_of(declaration: Mapping[str, Any], version: int, types: ActionTypes) -> Plan:
    """The plan of a valid declaration (the shape `PipelineDeclaration`)."""
    variables = declaration.get("variables", ())
    return Plan(
        version=version,
        mode=ExecutionMode(declaration.get("executionMode", "SUPERSEDED")),
        stages=tuple(_stage(stage, types) for stage in declaration["stages"]),
        required=tuple(v["name"] for v in variables if "defaultValue" not in v),
        defaults={v["name"]: v["defaultValue"] for v in variables if "defaultValue" in v},
    )


def _stage(stage: Mapping[str, Any], types: ActionTypes) -> StagePlan:
    actions = [_action(action, types) for action in stage["actions"]]
    actions.sort(key=lambda action: action.run_order)  # stable: declared order within a run order
    failure = stage.get("onFailure", {})
    retry = None
    if failure.get("result") == "RETRY":
        retry = RetryMode(failure.get("retryConfiguration", {}).get("retryMode", RetryMode.FAILED_ACTIONS))
    return StagePlan(
        name=stage["name"],
        groups=tuple(tuple(group) for _, group in groupby(actions, key=lambda action: action.run_order)),
        automatic_retry=retry,
        rolls_back=failure.get("result") == "ROLLBACK",
        conditions={
            type.value: ConditionPlan(
                result=Result(condition["result"]),
                rules=tuple(_rule(rule, types) for rule in condition["rules"]),
            )
            for gate, type in GATES.items()
            for condition in stage.get(gate, {}).get("conditions", ())
        },
    )


def _rule(rule: Mapping[str, Any], types: ActionTypes) -> ActionPlan:
    type_id = type_of_rule(rule)
    known = types(type_id)
    timeout = known.timeout if known else HOUR
    if "timeoutInMinutes" in rule:
        timeout = rule["timeoutInMinutes"] * MINUTE
    return ActionPlan(name=rule["name"], type=type_id, timeout=timeout)


def _action(action: Mapping[str, Any], types: ActionTypes) -> ActionPlan:
    type_id = type_of(action)
    known = types(type_id)
    timeout = known.timeout if known else HOUR
    if known is not None and known.time_for is not None:
        timeout = known.time_for(action.get("configuration", {}))
    if "timeoutInMinutes" in action:
        timeout = action["timeoutInMinutes"] * MINUTE
    more: dict[str, Any] = {}
    if known is not None and known.answered_by is not None:
        more["answered_by"] = known.answered_by(action.get("configuration", {}))
    if "region" in action:
        more["region"] = action["region"]
    return ActionPlan(name=action["name"], type=type_id, run_order=action.get("runOrder", 1), timeout=timeout, **more)
