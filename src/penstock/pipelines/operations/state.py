"""GetPipelineState."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from penstock.application import Call
from penstock.pipelines import records
from penstock.pipelines.links import Links
from penstock.pipelines.model import (
    ActionStatus,
    ExecutionMode,
    ExecutionStatus,
    ExecutionType,
    Key,
    rule_run,
)
from penstock.pipelines.operations import operation
from penstock.pipelines.operations.addressing import (
    declaration_of,
    key_of,
    pipeline_arn,
    pipeline_row,
    without_nones,
)
from penstock.pipelines.plan import GATES, type_of, type_of_rule
from penstock.pipelines.service import PipelineService
from penstock.pipelines.state import Condition, Slot, Transition
from penstock.pipelines.types import Find
from penstock.wire.call import Input, Output


@operation("GetPipelineState", resource=pipeline_arn)
async def get_pipeline_state(service: PipelineService, call: Call, input: Input) -> Output:
    """Stages in their order. Nothing is shown of PARALLEL executions. AWS: execution-modes."""
    return await call.app.store.read(_get, service, key_of(call, input["name"]))


def _get(conn: sa.Connection, service: PipelineService, key: Key) -> Output:
    row = pipeline_row(conn, key)
    declaration = declaration_of(service, conn, key, row.id, row.version)
    slots = records.STATE.load(row.state).slots
    parallel = row.mode == ExecutionMode.PARALLEL
    latest_actions = {} if parallel else row.latest
    ids = [action for actions in latest_actions.values() for action in actions.values()]
    actions = records.actions
    runs = {run.id: run for run in conn.execute(sa.select(actions).where(actions.c.id.in_(ids)))} if ids else {}
    find = service.types.at(conn, key.account, key.region)
    return {
        "pipelineName": key.name,
        "pipelineVersion": row.version,
        "created": row.created,
        "updated": row.updated,
        "stageStates": [
            _stage(
                service.links,
                find,
                stage,
                Slot(inbound=slots[stage["name"]].inbound) if parallel else slots[stage["name"]],
                {name: runs.get(run) for name, run in latest_actions.get(stage["name"], {}).items()},
            )
            for stage in declaration["stages"]
        ],
    }


def _stage(links: Links, find: Find, stage: dict[str, Any], slot: Slot, runs: dict[str, Any]) -> Output:
    answer: Output = {
        "stageName": stage["name"],
        "inboundExecutions": [_waiting(execution) for execution in slot.waiting],
        "inboundTransitionState": _transition(slot.inbound),
        "actionStates": [_action(links, find, action, runs.get(action["name"])) for action in stage["actions"]],
    }
    if slot.waiting:
        answer["inboundExecution"] = _waiting(slot.waiting[-1])
    if slot.latest is not None and slot.status is not None:
        answer["latestExecution"] = {
            "pipelineExecutionId": slot.latest,
            "status": str(slot.status),
            "type": str(slot.type),
        }
    for gate, type in GATES.items():
        for condition in stage.get(gate, {}).get("conditions", ()):
            answer[f"{gate}ConditionState"] = _condition(
                links, find, condition["rules"], slot.conditions.get(type), runs
            )
    if slot.automatic_retries or slot.manual_retries:
        answer["retryStageMetadata"] = without_nones(
            {
                "autoStageRetryAttempt": slot.automatic_retries or None,
                "manualStageRetryAttempt": slot.manual_retries or None,
                "latestRetryTrigger": "ManualStageRetry" if slot.retried_by_hand else "AutomatedStageRetry",
            }
        )
    return answer


def _condition(
    links: Links, find: Find, rules: list[Mapping[str, Any]], shown: Condition | None, runs: Mapping[str, Any]
) -> Output:
    """The shape `StageConditionState`; what is shown of it is of the stage's latest execution."""
    state: Output = {
        "ruleStates": [
            _rule(links, find, rule, runs.get(rule_run(shown.type, rule["name"])) if shown else None) for rule in rules
        ]
    }
    if shown is None:
        return {"conditionStates": [state]}
    overall = without_nones({"status": str(shown.status), "summary": shown.summary or None})
    return {
        "latestExecution": overall,
        "conditionStates": [{**state, "latestExecution": {**overall, "lastStatusChange": shown.changed}}],
    }


def _rule(links: Links, find: Find, declared: Mapping[str, Any], run: Any) -> Output:
    configuration = declared.get("configuration", {}) if run is None or run.resolved is None else run.resolved
    answer = without_nones(
        {
            "ruleName": declared["name"],
            "entityUrl": links.entity(find, type_of_rule(declared), configuration, region=declared.get("region", "")),
        }
    )
    if run is not None:
        answer["latestExecution"] = without_nones(
            {
                "ruleExecutionId": run.id,
                "status": run.status,
                "summary": run.summary,
                "lastStatusChange": run.updated,
                "externalExecutionId": run.external_id,
                "externalExecutionUrl": links.execution(find, run, region=declared.get("region", "")),
                "errorDetails": {"code": run.error_code, "message": run.error_message} if run.error_code else None,
            }
        )
    return answer


def _action(links: Links, find: Find, declared: Mapping[str, Any], run: Any) -> Output:
    answer: Output = {"actionName": declared["name"]}
    configuration = declared["configuration"] if run is None or run.resolved is None else run.resolved
    entity = links.entity(find, type_of(declared), configuration, region=declared.get("region", ""))
    if entity is not None:
        answer["entityUrl"] = entity
    if run is None:
        return answer
    revision = run.revision
    if revision is not None:
        answer["currentRevision"] = {
            "revisionId": revision["id"],
            "revisionChangeId": revision.get("change_id") or revision["id"],
            "created": run.updated if revision.get("created") is None else revision["created"],
        }
        url = links.revision(find, run)
        if url is not None:
            answer["revisionUrl"] = url
    approval = run.provider.startswith("Approval/")
    # Until its configuration is resolved there is no request yet that somebody could read and answer.
    asked = run.status == ActionStatus.IN_PROGRESS and run.resolved is not None
    answer["latestExecution"] = without_nones(
        {
            "actionExecutionId": run.id,
            "status": run.status,
            "summary": run.summary,
            "lastStatusChange": run.updated,
            "token": run.token if asked else None,
            "lastUpdatedBy": run.updated_by,
            "externalExecutionId": None if approval else run.external_id,
            "externalExecutionUrl": links.execution(find, run, region=declared.get("region", "")),
            "percentComplete": 100 if run.percent and run.status == ActionStatus.SUCCEEDED else run.percent,
            "errorDetails": {"code": run.error_code, "message": run.error_message} if run.error_code else None,
            "logStreamARN": run.log_stream,
        }
    )
    return answer


def _waiting(execution: str) -> Output:
    return {
        "pipelineExecutionId": execution,
        "status": ExecutionStatus.IN_PROGRESS.value,
        "type": ExecutionType.STANDARD.value,
    }


def _transition(transition: Transition) -> Output:
    return without_nones(
        {
            "enabled": transition.enabled,
            "lastChangedBy": transition.by or None,
            "lastChangedAt": transition.at,
            "disabledReason": transition.reason or None,
        }
    )
