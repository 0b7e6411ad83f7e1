"""PutApprovalResult."""

from __future__ import annotations

import sqlalchemy as sa

from penstock.application import Call
from penstock.pipelines import records
from penstock.pipelines.approval_rules import person_of
from penstock.pipelines.errors import (
    ActionNotFoundException,
    ApprovalAlreadyCompletedException,
    InvalidApprovalTokenException,
)
from penstock.pipelines.inputs import ApprovalAnswered
from penstock.pipelines.model import ActionStatus
from penstock.pipelines.operations import operation
from penstock.pipelines.operations.addressing import action_arn, apply_asked, key_of, locked, require_stage
from penstock.pipelines.service import PipelineService
from penstock.wire.call import Input, Output


@operation("PutApprovalResult", resource=action_arn)
async def put_approval_result(service: PipelineService, call: Call, input: Input) -> Output:
    """Approve or reject; the token says which request is meant."""
    principals = await call.app.identity.principals(call.session)
    await call.app.store.write(_put, service, call, input, principals=principals, seed=call.app.ids.seed())
    return {"approvedAt": call.now}


def _put(
    conn: sa.Connection, service: PipelineService, call: Call, input: Input, *, principals: tuple[str, ...], seed: int
) -> None:
    pipeline = locked(service, conn, key_of(call, input["pipelineName"]))
    stage, name = input["stageName"], input["actionName"]
    table = records.actions
    row = conn.execute(
        sa.select(table).where(
            table.c.pipeline_id == pipeline.key.id,
            table.c.token == input["token"],
            table.c.stage == stage,
            table.c.action == name,
        )
    ).first()
    if row is None:
        require_stage(pipeline, stage)
        if all(s.action(name) is None for s in pipeline.plan.stages if s.name == stage):
            raise ActionNotFoundException(name=pipeline.key.name, stage=stage, action=name)
        raise InvalidApprovalTokenException
    if row.status != ActionStatus.IN_PROGRESS:
        if row.updated_by is not None:
            raise ApprovalAlreadyCompletedException
        if row.version != pipeline.state.version:
            raise InvalidApprovalTokenException(
                f"The pipeline {pipeline.key.name} has been updated, and the approval request you responded to is now "
                "out of date."
            )
        raise InvalidApprovalTokenException
    answered = ApprovalAnswered(
        execution=row.execution_id,
        action=row.id,
        token=input["token"],
        approved=input["result"]["status"] == "Approved",
        summary=input["result"]["summary"],
        by=call.session.arn,
        person=person_of(call.session),
        principals=principals,
    )
    apply_asked(pipeline, call, answered, seed)
