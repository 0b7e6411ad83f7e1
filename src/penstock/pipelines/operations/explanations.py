"""ExplainExecution: why a run waits, or how it ended. Ours, since AWS has no operation for it."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from penstock.application import Call
from penstock.pipelines import offers, records
from penstock.pipelines.errors import PipelineExecutionNotFoundException, ValidationException
from penstock.pipelines.explaining import Reason, Situation, reasons
from penstock.pipelines.model import ExecutionMode
from penstock.pipelines.operations import ours
from penstock.pipelines.operations.addressing import any_pipeline_arn, key_of, pipeline_row, without_nones
from penstock.pipelines.service import PipelineService
from penstock.store.records import LIVE
from penstock.store.records import jobs as job_table
from penstock.wire.call import Input, Output


@ours("ExplainExecution", resource=any_pipeline_arn)
async def explain_execution(service: PipelineService, call: Call, input: Input) -> Output:
    """A run by its id, or the newest one of a pipeline."""
    if not input.keys() & {"pipelineExecutionId", "pipelineName"}:
        raise ValidationException("Give pipelineExecutionId, or pipelineName for the newest execution of a pipeline.")
    return await call.app.store.read(_explain, service, call, input)


def _explain(conn: sa.Connection, service: PipelineService, call: Call, input: Input) -> Output:
    id, named = input.get("pipelineExecutionId"), input.get("pipelineName")
    run = _run(conn, call, id, named)
    pipeline = conn.execute(sa.select(records.pipelines).where(records.pipelines.c.id == run.pipeline_id)).first()
    if pipeline is None:  # it was deleted
        raise PipelineExecutionNotFoundException(name=named or "", execution=run.id)
    execution = records.EXECUTION_STATE.load(run.state)
    slots = {} if execution.mode is ExecutionMode.PARALLEL else records.STATE.load(pipeline.state).slots
    table = records.actions
    ids = [one.id for one in execution.actions.values()]
    rows = {row.id: row for row in conn.execute(sa.select(table).where(table.c.id.in_(ids)))} if ids else {}
    find = service.types.at(conn, call.account, call.region)
    plan = service.versions.plan(conn, pipeline.id, execution.version)
    regions = {(stage.name, one.name): one.region for stage in plan.stages for group in stage.groups for one in group}
    found = reasons(
        Situation(
            pipeline=pipeline.name,
            execution=execution,
            plan=plan,
            newest=pipeline.version,
            slots=slots,
            numbers=_numbers(conn, pipeline.id, slots.get(execution.stage)),
            updated=run.updated,
            site=call.app.public_url,
            rows=rows,
            jobs=_jobs(conn, ids),
            urls={
                row.id: service.links.execution(find, row, region=regions.get((row.stage, row.action), "")) or ""
                for row in rows.values()
            },
        )
    )
    return {
        "pipelineName": pipeline.name,
        "pipelineExecutionId": run.id,
        "executionNumber": run.number,
        "status": str(execution.status),
        "startTime": run.started,
        "reasons": [_to_api(reason) for reason in found],
    }


def _run(conn: sa.Connection, call: Call, id: str | None, named: str | None) -> Any:
    """The row of the execution that is meant. Raises PipelineNotFoundException and PipelineExecutionNotFoundException."""
    pipeline = None if named is None else pipeline_row(conn, key_of(call, named)).id
    e = records.executions.c
    query = sa.select(records.executions).where(e.account == call.account, e.region == call.region)
    if id is not None:
        query = query.where(e.id == id)
    if pipeline is not None or id is None:
        query = query.where(e.pipeline_id == pipeline).order_by(e.number.desc()).limit(1)
    row = conn.execute(query).first()
    if row is None:
        raise PipelineExecutionNotFoundException(name=named or "", execution=id or "")
    return row


def _numbers(conn: sa.Connection, pipeline: str, slot: Any) -> dict[str, int]:
    """The numbers of the runs in and before a stage."""
    if slot is None:
        return {}
    e = records.executions.c
    wanted = [one for one in (slot.holder, *slot.waiting[:1]) if one is not None]
    found = conn.execute(sa.select(e.id, e.number).where(e.pipeline_id == pipeline, e.id.in_(wanted)))
    return {row.id: row.number for row in found}


def _jobs(conn: sa.Connection, actions: list[str]) -> dict[str, str]:
    """The states of the jobs that workers have to take, by action execution."""
    if not actions:
        return {}
    j = job_table.c
    query = sa.select(j.dedup, j.state).where(j.kind == offers.WORKER_JOB, j.dedup.in_(actions), j.state.in_(LIVE))
    return {row.dedup: row.state for row in conn.execute(query)}


def _to_api(reason: Reason) -> Output:
    return without_nones(
        {
            "kind": str(reason.kind),
            "text": reason.text,
            "stageName": reason.stage or None,
            "actionName": reason.action or None,
            "since": reason.since,
            "until": reason.until,
            "pipelineExecutionId": reason.execution or None,
            "url": reason.url or None,
            "command": reason.command or None,
        }
    )
