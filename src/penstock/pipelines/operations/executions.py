"""StartPipelineExecution, StopPipelineExecution, RetryStageExecution, RollbackStage, OverrideStageCondition, GetPipelineExecution, ListPipelineExecutions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from penstock.application import Call
from penstock.pipelines import records
from penstock.pipelines.actions import Providers
from penstock.pipelines.chains import starter_within
from penstock.pipelines.declaration import check_started_variables
from penstock.pipelines.effects import ExecutionCreated
from penstock.pipelines.errors import (
    PipelineExecutionNotFoundException,
    ValidationException,
)
from penstock.pipelines.idempotent_start import start_idempotently
from penstock.pipelines.inputs import (
    OverrideRequested,
    RetryRequested,
    RollbackRequested,
    StartRequested,
    StopRequested,
)
from penstock.pipelines.links import Links
from penstock.pipelines.model import ConditionType, Key, RetryMode, Trigger, TriggerType
from penstock.pipelines.operations import PAGES, operation
from penstock.pipelines.operations.addressing import (
    PAGE,
    apply_asked,
    declaration_of,
    key_of,
    locked,
    pipeline_arn,
    pipeline_row,
    require_stage,
    stage_arn,
    without_nones,
)
from penstock.pipelines.plan import type_of
from penstock.pipelines.service import PipelineService
from penstock.pipelines.state import Execution
from penstock.pipelines.types import Find
from penstock.store.keysets import rows_behind
from penstock.wire.call import Input, Output


@operation("StartPipelineExecution", resource=pipeline_arn)
async def start_pipeline_execution(service: PipelineService, call: Call, input: Input) -> Output:
    """Start an execution; a token that was used within a day answers the execution that it started."""
    key = key_of(call, input["name"])
    execution = await call.app.store.write_together(
        key.lock, _start, service, call, key, input, seed=call.app.ids.seed()
    )
    return {"pipelineExecutionId": execution}


def _start(conn: sa.Connection, service: PipelineService, call: Call, key: Key, input: Input, *, seed: int) -> str:
    pipeline = locked(service, conn, key)  # what is checked is what is started
    declaration = declaration_of(service, conn, key, pipeline.key.id, pipeline.state.version)
    asked = StartRequested(
        trigger=Trigger(type=TriggerType.START, detail=call.session.arn),
        starter=starter_within(conn, service.versions, call),
        variables=check_started_variables(declaration, input.get("variables", [])),
        overrides=source_overrides(declaration, input.get("sourceRevisions", []), service.providers),
    )
    return start_idempotently(
        conn,
        pipeline,
        asked,
        token=input.get("clientRequestToken"),
        now=call.now,
        seed=seed,
        actor=call.session.arn,
        cause=call.request_id,
    )


@operation("StopPipelineExecution", resource=pipeline_arn)
async def stop_pipeline_execution(service: PipelineService, call: Call, input: Input) -> Output:
    """Stop an execution, waiting for its actions or abandoning them."""
    asked = StopRequested(
        execution=input["pipelineExecutionId"],
        abandon=input.get("abandon", False),
        reason=input.get("reason", ""),
    )
    key, seed = key_of(call, input["pipelineName"]), call.app.ids.seed()

    def stop(conn: sa.Connection) -> None:
        apply_asked(locked(service, conn, key), call, asked, seed)

    await call.app.store.write_together(key.lock, stop)
    return {"pipelineExecutionId": input["pipelineExecutionId"]}


@operation("RetryStageExecution", resource=stage_arn)
async def retry_stage_execution(service: PipelineService, call: Call, input: Input) -> Output:
    """Run a failed or stopped stage of an execution again."""
    await call.app.store.write(_retry, service, call, input, call.app.ids.seed())
    return {"pipelineExecutionId": input["pipelineExecutionId"]}


def _retry(conn: sa.Connection, service: PipelineService, call: Call, input: Input, seed: int) -> None:
    pipeline = locked(service, conn, key_of(call, input["pipelineName"]))
    require_stage(pipeline, input["stageName"])
    asked = RetryRequested(
        execution=input["pipelineExecutionId"],
        stage=input["stageName"],
        mode=RetryMode(input["retryMode"]),
    )
    apply_asked(pipeline, call, asked, seed)


@operation("RollbackStage", resource=stage_arn)
async def rollback_stage(service: PipelineService, call: Call, input: Input) -> Output:
    """Run a stage again with what an earlier execution brought to it; the id of the execution that does."""
    execution = await call.app.store.write(_roll_back, service, call, input, call.app.ids.seed())
    return {"pipelineExecutionId": execution}


def _roll_back(conn: sa.Connection, service: PipelineService, call: Call, input: Input, seed: int) -> str:
    stage, target = input["stageName"], input["targetPipelineExecutionId"]
    pipeline = locked(service, conn, key_of(call, input["pipelineName"]))
    require_stage(pipeline, stage)
    row = records.EXECUTION.first(conn, {"x": target, "i": pipeline.key.id})
    if row is None:
        raise PipelineExecutionNotFoundException(name=pipeline.key.name, execution=target)
    asked = RollbackRequested(stage=stage, target=target, succeeded=f"/{stage}/" in row.succeeded, by=call.session.arn)
    effects = apply_asked(pipeline, call, asked, seed)
    return next(effect.execution for effect in effects if isinstance(effect, ExecutionCreated))


@operation("OverrideStageCondition", resource=stage_arn)
async def override_stage_condition(service: PipelineService, call: Call, input: Input) -> Output:
    """Let an execution continue whatever a condition of its stage says."""
    await call.app.store.write(_override, service, call, input, call.app.ids.seed())
    return {}


def _override(conn: sa.Connection, service: PipelineService, call: Call, input: Input, seed: int) -> None:
    pipeline = locked(service, conn, key_of(call, input["pipelineName"]))
    require_stage(pipeline, input["stageName"])
    asked = OverrideRequested(
        execution=input["pipelineExecutionId"],
        stage=input["stageName"],
        condition=ConditionType(input["conditionType"]),
    )
    apply_asked(pipeline, call, asked, seed)


@operation("GetPipelineExecution", resource=pipeline_arn)
async def get_pipeline_execution(service: PipelineService, call: Call, input: Input) -> Output:
    """One execution with what it fetched."""
    key = key_of(call, input["pipelineName"])
    return await call.app.store.read(_get, service, key, input["pipelineExecutionId"])


def _get(conn: sa.Connection, service: PipelineService, key: Key, execution_id: str) -> Output:
    pipeline = pipeline_row(conn, key)
    row = records.EXECUTION.first(conn, {"x": execution_id, "i": pipeline.id})
    if row is None:
        raise PipelineExecutionNotFoundException(name=key.name, execution=execution_id)
    run = records.EXECUTION_STATE.load(row.state)
    fetched = _fetched(conn, {execution_id: run.target or execution_id})[execution_id]
    declaration = declaration_of(service, conn, key, pipeline.id, run.version)
    find = service.types.at(conn, key.account, key.region)
    return {
        "pipelineExecution": without_nones(
            {
                "pipelineName": key.name,
                "pipelineVersion": run.version,
                "pipelineExecutionId": execution_id,
                "executionNumber": row.number,
                "status": str(run.status),
                "statusSummary": run.summary or None,
                "artifactRevisions": [
                    _artifact_revision(service.links, find, action) for action in fetched if action.outputs
                ],
                "variables": [
                    {"name": variable["name"], "resolvedValue": row.variables[variable["name"]]}
                    for variable in declaration.get("variables", ())
                    if variable["name"] in row.variables
                ],
                "trigger": {"triggerType": row.trigger_type, "triggerDetail": row.trigger_detail},
                "executionMode": str(run.mode),
                "executionType": str(run.type),
                "rollbackMetadata": _rollback(run),
            }
        )
    }


@operation("ListPipelineExecutions", resource=pipeline_arn)
async def list_pipeline_executions(service: PipelineService, call: Call, input: Input) -> Output:
    """The executions of a pipeline, newest first."""
    limit = input.get("maxResults", PAGE)
    stage = input.get("filter", {}).get("succeededInStage", {}).get("stageName")
    key = key_of(call, input["pipelineName"])
    after = PAGES.after(call, input)
    rows, fetched, find = await call.app.store.scan(_list, service, key, after, stage=stage, limit=limit + 1)
    page = PAGES.page(call, input, rows, limit=limit, keyset=lambda row: [row.number])
    return {
        "pipelineExecutionSummaries": [
            _summary(service.links, find, row, fetched.get(row.id, [])) for row in page.rows
        ],
        **page.more,
    }


def _artifact_revision(links: Links, find: Find, action: Any) -> Output:
    revision = action.revision
    return without_nones(
        {
            "name": action.outputs[0]["name"],
            "revisionId": revision["id"],
            "revisionChangeIdentifier": revision.get("change_id") or None,
            "revisionSummary": revision.get("summary") or None,
            "created": revision.get("created"),
            "revisionUrl": links.revision(find, action),
        }
    )


def _summary(links: Links, find: Find, row: Any, fetched: list[Any]) -> Output:
    run = records.EXECUTION_STATE.load(row.state)
    return without_nones(
        {
            "pipelineExecutionId": row.id,
            "executionNumber": row.number,
            "status": str(run.status),
            "statusSummary": run.summary or None,
            "startTime": row.started,
            "lastUpdateTime": row.updated,
            "sourceRevisions": [
                without_nones(
                    {
                        "actionName": action.action,
                        "revisionId": action.revision["id"],
                        "revisionSummary": action.revision.get("summary") or None,
                        "revisionUrl": links.revision(find, action),
                    }
                )
                for action in fetched
            ],
            "trigger": {"triggerType": row.trigger_type, "triggerDetail": row.trigger_detail},
            "stopTrigger": None if run.stop_reason is None else {"reason": run.stop_reason},
            "executionMode": str(run.mode),
            "executionType": str(run.type),
            "rollbackMetadata": _rollback(run),
        }
    )


def _rollback(run: Execution) -> Output | None:
    return None if run.target is None else {"rollbackTargetPipelineExecutionId": run.target}


def source_overrides(
    declaration: Mapping[str, Any], revisions: Iterable[Mapping[str, str]], providers: Providers
) -> dict[str, dict[str, str]]:
    """Source action → revision type → value. Raises ValidationException for what does not fit the action."""
    sources = {action["name"]: action for action in declaration["stages"][0]["actions"]}
    overrides: dict[str, dict[str, str]] = {}
    for revision in revisions:
        name, kind = revision["actionName"], revision["revisionType"]
        action = sources.get(name)
        if action is None:
            raise ValidationException(f"The pipeline does not have a source action with the name '{name}'")
        found = providers.find(type_of(action))
        if found is None or kind not in found[1].revision_types:
            raise ValidationException(
                f"The revision type {kind} cannot be used for source action '{name}' of provider "
                f"{action['actionTypeId']['provider']}"
            )
        refusal = found[0].refuse_revision(kind, action)
        if refusal is not None:
            raise ValidationException(refusal)
        given = overrides.setdefault(name, {})
        if kind in given:
            raise ValidationException(f"The revision type {kind} is given twice for source action '{name}'")
        given[kind] = revision["revisionValue"]
    return overrides


def _list(
    conn: sa.Connection, service: PipelineService, key: Key, after: list[Any] | None, *, stage: str | None, limit: int
) -> tuple[Sequence[Any], dict[str, list[Any]], Find]:
    """Executions, what they fetched, and the types of what fetched it, which are at hand when the transaction is over."""
    pipeline = pipeline_row(conn, key)
    table = records.executions
    query = sa.select(table).where(table.c.pipeline_id == pipeline.id)
    if stage is not None:
        query = query.where(table.c.succeeded.contains(f"/{stage}/", autoescape=True))
    rows = conn.execute(rows_behind(query, [table.c.number], after, limit=limit, descending=True)).all()
    fetched = _fetched(conn, {row.id: row.state.get("target") or row.id for row in rows})
    find = service.types.at(conn, key.account, key.region)
    for actions in fetched.values():
        for action in actions:
            find(records.type_of(action))
    return rows, fetched, find


def _fetched(conn: sa.Connection, executions: Mapping[str, str]) -> dict[str, list[Any]]:
    """What the source actions of executions fetched, the latest attempt of each; `executions` maps each to whose revisions it runs."""
    table = records.actions
    found: dict[str, dict[str, Any]] = {fetcher: {} for fetcher in executions.values()}
    rows = conn.execute(
        sa.select(
            table.c.execution_id,
            table.c.action,
            table.c.provider,
            table.c.resolved,
            table.c.revision,
            table.c.outputs,
        )
        .where(table.c.execution_id.in_(found), table.c.revision.is_not(None))
        .order_by(table.c.ordinal)
    )
    for row in rows:
        found[row.execution_id][row.action] = row
    return {execution: list(found[fetcher].values()) for execution, fetcher in executions.items()}
