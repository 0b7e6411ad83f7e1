"""From a declaration to the plan that the engine runs, and the plan's stored form."""

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
    ExecutionMode,
    Plan,
    RetryMode,
    StagePlan,
)

ActionTypes = Callable[[ActionTypeId], ActionType | None]


def type_of(action: Mapping[str, Any]) -> ActionTypeId:
    """The action type that a declared action names."""
    named = action["actionTypeId"]
    return ActionTypeId(
        category=named["category"], owner=named["owner"], provider=named["provider"], version=named["version"]
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
    )


def _action(action: Mapping[str, Any], types: ActionTypes) -> ActionPlan:
    type_id = type_of(action)
    known = types(type_id)
    timeout = known.timeout if known else HOUR
    if "timeoutInMinutes" in action:
        timeout = action["timeoutInMinutes"] * MINUTE
    return ActionPlan(name=action["name"], type=type_id, run_order=action.get("runOrder", 1), timeout=timeout)


def plan_to_payload(plan: Plan) -> dict[str, Any]:
    """The plan as JSON members."""
    return {
        "version": plan.version,
        "mode": str(plan.mode),
        "required": list(plan.required),
        "defaults": dict(plan.defaults),
        "stages": [
            {
                "name": stage.name,
                "retry": str(stage.automatic_retry) if stage.automatic_retry else None,
                "groups": [
                    [
                        {
                            "name": action.name,
                            "type": [
                                action.type.category,
                                action.type.owner,
                                action.type.provider,
                                action.type.version,
                            ],
                            "order": action.run_order,
                            "timeout": action.timeout,
                        }
                        for action in group
                    ]
                    for group in stage.groups
                ],
            }
            for stage in plan.stages
        ],
    }


def plan_from_payload(payload: Mapping[str, Any]) -> Plan:
    """The plan of `plan_to_payload`."""
    return Plan(
        version=payload["version"],
        mode=ExecutionMode(payload["mode"]),
        required=tuple(payload["required"]),
        defaults=payload["defaults"],
        stages=tuple(
            StagePlan(
                name=stage["name"],
                automatic_retry=RetryMode(stage["retry"]) if stage["retry"] else None,
                groups=tuple(tuple(_action_from(action) for action in group) for group in stage["groups"]),
            )
            for stage in payload["stages"]
        ),
    )


def _action_from(payload: Mapping[str, Any]) -> ActionPlan:
    category, owner, provider, version = payload["type"]
    return ActionPlan(
        name=payload["name"],
        type=ActionTypeId(category=category, owner=owner, provider=provider, version=version),
        run_order=payload["order"],
        timeout=payload["timeout"],
    )
