"""The details of the events that a pipeline emits, in EventBridge's form. AWS: detect-state-changes-cloudwatch-events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from penstock.pipelines.effects import ActionEnded, ActionStarted, EventState, ExecutionChanged, StageChanged
from penstock.pipelines.model import ActionTypeId, Trigger
from penstock.pipelines.state import Execution

Detail = dict[str, Any]


@lru_cache(1024)  # an action's events say again when its stage and its execution began
def iso(moment: int) -> str:
    """A time (ms) as events write it."""
    return datetime.fromtimestamp(moment / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _shared(pipeline: str, execution: Execution, start: int, state: EventState) -> Detail:
    return {
        "pipeline": pipeline,
        "execution-id": execution.id,
        "start-time": iso(start),
        "state": str(state),
        "version": float(execution.version),
        "pipeline-execution-attempt": float(execution.attempt),
    }


def execution_detail(
    pipeline: str, execution: Execution, effect: ExecutionChanged, trigger: Trigger | None = None
) -> Detail:
    """Of a pipeline execution; the trigger belongs to STARTED only."""
    detail = _shared(pipeline, execution, execution.started, effect.state)
    if trigger is not None:
        detail["execution-trigger"] = {"trigger-type": str(trigger.type), "trigger-detail": trigger.detail}
    if effect.state is EventState.STOPPING and execution.stop_reason:
        detail["stop-execution-comments"] = execution.stop_reason
    return detail


def stage_detail(pipeline: str, execution: Execution, effect: StageChanged) -> Detail:
    """Of a stage execution."""
    detail = _shared(pipeline, execution, effect.entered, effect.state) | {"stage": effect.stage}
    if execution.retried is not None and execution.stage == effect.stage:
        detail["stage-last-retry-attempt-time"] = iso(execution.retried)
    return detail


def action_detail(
    pipeline: str,
    execution: Execution,
    effect: ActionStarted | ActionEnded,
    *,
    type: ActionTypeId,
    region: str,
    started: int,
    row: Mapping[str, Any],
) -> Detail:
    """Of an action execution; `row` is what is known of it beside."""
    state = effect.state if isinstance(effect, ActionEnded) else EventState.STARTED
    detail = _shared(pipeline, execution, started, state) | {
        "stage": effect.stage,
        "action": effect.name,
        "action-execution-id": effect.action,
        "region": region,
        "type": _type(type),
    }
    if isinstance(effect, ActionEnded):
        if row.get("inputs"):
            detail["input-artifacts"] = _artifacts(row["inputs"])
        if state is EventState.SUCCEEDED and row.get("outputs"):
            detail["output-artifacts"] = _artifacts(row["outputs"])
        result = {
            "external-execution-url": row.get("external_url"),
            "external-execution-summary": row.get("error_message") or row.get("summary"),
            "external-execution-id": row.get("external_id"),
            "error-code": row.get("error_code"),
        }
        result = {key: value for key, value in result.items() if value}
        if result:
            detail["execution-result"] = result
    return detail


def _type(type_id: ActionTypeId) -> dict[str, str]:
    return {
        "owner": type_id.owner,
        "category": type_id.category,
        "provider": type_id.provider,
        "version": type_id.version,
    }


def _artifacts(artifacts: Sequence[Mapping[str, str]]) -> list[Detail]:
    return [{"name": a["name"], "s3location": {"bucket": a["bucket"], "key": a["key"]}} for a in artifacts]
