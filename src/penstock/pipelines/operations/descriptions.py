"""DescribePipelineActions: what people are shown of a pipeline's actions. Ours, since AWS has no member for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from penstock.application import Call
from penstock.pipelines import records
from penstock.pipelines.actions.provider import Display
from penstock.pipelines.approval_rules import approved_by, person_of, refusal
from penstock.pipelines.errors import PipelineExecutionNotFoundException
from penstock.pipelines.model import ActionStatus, ArtifactLocation, Key, Plan
from penstock.pipelines.operations import ours
from penstock.pipelines.operations.addressing import (
    declaration_of,
    key_of,
    pipeline_arn,
    pipeline_row,
    without_nones,
)
from penstock.pipelines.operations.jobs import artifact_to_api
from penstock.pipelines.plan import type_of
from penstock.pipelines.service import PipelineService
from penstock.pipelines.state import Execution
from penstock.pipelines.types import Find
from penstock.wire.call import Input, Output


def _permission(_call: Call, input: Input) -> str:
    """Callers learn nothing here that AWS's own operation with the same configuration would not show them."""
    return "codepipeline:ListActionExecutions" if "pipelineExecutionId" in input else "codepipeline:GetPipeline"


@ours("DescribePipelineActions", action=_permission, resource=pipeline_arn)
async def describe_pipeline_actions(service: PipelineService, call: Call, input: Input) -> Output:
    """The actions as declared now; with an execution, as that execution's version declares them, variables resolved."""
    key = key_of(call, input["pipelineName"])
    execution = input.get("pipelineExecutionId")
    if execution is None:
        return await call.app.store.read(_describe, service, key)
    principals = await call.app.identity.principals(call.session)
    visitor = _Visitor(person_of(call.session), principals)
    return await call.app.store.read(_describe, service, key, execution=execution, visitor=visitor)


class _Visitor(NamedTuple):
    person: str  # of `approval_rules`
    principals: tuple[str, ...]


def _describe(
    conn: sa.Connection,
    service: PipelineService,
    key: Key,
    *,
    execution: str | None = None,
    visitor: _Visitor | None = None,
) -> Output:
    pipeline = pipeline_row(conn, key)
    version: int = pipeline.version
    latest: Mapping[tuple[str, str], Any] = {}
    refused: Mapping[tuple[str, str], Output] = {}
    if execution is not None and visitor is not None:
        row = records.EXECUTION.first(conn, {"x": execution, "i": pipeline.id})
        if row is None:
            raise PipelineExecutionNotFoundException(name=key.name, execution=execution)
        state = records.EXECUTION_STATE.load(row.state)
        version = state.version
        latest = _latest(conn, execution)
        refused = _refused(state, service.versions.plan(conn, pipeline.id, version), visitor)
    declaration = declaration_of(service, conn, key, pipeline.id, version)
    find = service.types.at(conn, key.account, key.region)
    return {
        "actions": [
            _action(service, find, stage["name"], action, latest.get((stage["name"], action["name"])))
            | {"region": action.get("region", key.region)}
            | refused.get((stage["name"], action["name"]), {})
            for stage in declaration["stages"]
            for action in stage["actions"]
        ]
    }


def _action(service: PipelineService, find: Find, stage: str, declared: Mapping[str, Any], run: Any) -> Output:
    """`run` is the row of its latest attempt; None without one, or where no execution is named."""
    configuration = declared["configuration"] if run is None or run.resolved is None else run.resolved
    type_id = type_of(declared)
    found = find(type_id)
    display = found[0].shows(found[1], configuration) if found else Display(line=type_id.provider)
    return without_nones(
        {
            "stageName": stage,
            "actionName": declared["name"],
            "summary": display.line,
            "subject": display.subject or None,
            "part": display.part or None,
            "question": display.question or None,
            "needs": display.needs or None,
            "entityUrl": service.links.entity(find, type_id, configuration, region=declared.get("region", "")),
            "entityType": (found[1].works_on if found else "") or None,
            "executionType": (found[1].starts if found else "") or None,
            "inputArtifacts": _artifacts(run and run.inputs),
            "outputArtifacts": _artifacts(run and run.outputs),
        }
    )


def _artifacts(written: Sequence[Mapping[str, Any]] | None) -> list[Output] | None:
    """Those of a row, each with its version and digest; None when it has none."""
    return [artifact_to_api(ArtifactLocation(**one), pinned=True) for one in written or ()] or None


def _refused(execution: Execution, plan: Plan, visitor: _Visitor) -> Mapping[tuple[str, str], Output]:
    """Stage and action of each open approval → why its own rule keeps the visitor from answering it, if it does."""
    stage = next((one for one in plan.stages if one.name == execution.stage), None)
    found: dict[tuple[str, str], Output] = {}
    for name, run in execution.actions.items():
        action = None if stage is None else stage.action(name)
        if action is None or not run.token or run.status is not ActionStatus.IN_PROGRESS:
            continue
        rule, who = action.answered_by, {"person": visitor.person, "principals": visitor.principals}
        approve, reject = (refusal(rule, **who, starter=execution.starter, approved=yes) for yes in (True, False))
        if not approve and approved_by(run.answers, visitor.person):
            approve = f"you have approved it already, and {rule.required} different people have to"
        found[execution.stage, name] = without_nones({"mayNotApprove": approve or None, "mayNotReject": reject or None})
    return found


def _latest(conn: sa.Connection, execution: str) -> dict[tuple[str, str], Any]:
    """Stage and action → what the latest attempt ran with, and made."""
    a = records.actions.c
    rows = conn.execute(
        sa.select(a.stage, a.action, a.resolved, a.inputs, a.outputs)
        .where(a.execution_id == execution, a.resolved.is_not(None), a.condition.is_(None))
        .order_by(a.ordinal)
    )
    return {(row.stage, row.action): row for row in rows}
