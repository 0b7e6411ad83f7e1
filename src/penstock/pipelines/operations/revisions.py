"""PutActionRevision: a new revision of a source starts its pipeline."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from penstock.application import Call
from penstock.pipelines import worker_records
from penstock.pipelines.aggregate import PipelineAggregate
from penstock.pipelines.approval_rules import person_of
from penstock.pipelines.declaration import declared_action
from penstock.pipelines.errors import ActionNotFoundException, ValidationException
from penstock.pipelines.idempotent_start import start_idempotently
from penstock.pipelines.inputs import StartRequested
from penstock.pipelines.model import Category, Trigger, TriggerType
from penstock.pipelines.operations import operation
from penstock.pipelines.operations.addressing import action_arn, declaration_of, key_of, locked, require_stage
from penstock.pipelines.service import PipelineService
from penstock.wire.call import Input, Output


@operation("PutActionRevision", resource=action_arn)
async def put_action_revision(service: PipelineService, call: Call, input: Input) -> Output:
    """One execution for each change to a revision: the same one again answers the execution that it started."""
    new, execution = await call.app.store.write(_put, service, call, input, call.app.ids.seed())
    return {"newRevision": new, "pipelineExecutionId": execution}


def _put(conn: sa.Connection, service: PipelineService, call: Call, input: Input, seed: int) -> tuple[bool, str]:
    pipeline = locked(service, conn, key_of(call, input["pipelineName"]))
    _check_action(conn, service, pipeline, input)
    revision = input["actionRevision"]
    digest = worker_records.revision_digest(revision["revisionId"], revision["revisionChangeId"])
    found = worker_records.put_revision(conn, pipeline.key.id, input["actionName"], digest)
    if found is not None:
        return False, found
    asked = StartRequested(
        trigger=Trigger(type=TriggerType.PUT_REVISION, detail=call.session.arn), starter=person_of(call.session)
    )
    by, cause = call.session.arn, call.request_id
    execution = start_idempotently(conn, pipeline, asked, token=None, now=call.now, seed=seed, actor=by, cause=cause)
    worker_records.note_revision(conn, pipeline.key, input["actionName"], digest, execution=execution, now=call.now)
    return True, execution


def _check_action(conn: sa.Connection, service: PipelineService, pipeline: PipelineAggregate, input: Input) -> None:
    stage, name = input["stageName"], input["actionName"]
    require_stage(pipeline, stage)
    declaration = declaration_of(service, conn, pipeline.key, pipeline.key.id, pipeline.state.version)
    action: Any = declared_action(declaration, stage, name)
    if not action:
        raise ActionNotFoundException(name=pipeline.key.name, stage=stage, action=name)
    if action["actionTypeId"]["category"] != Category.SOURCE:
        raise ValidationException(f"Action '{name}' is no source action, so it has no revisions of its own.")
