"""What workers outside say of their jobs, whichever kind of type they are for: custom ones or partners'."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from penstock.application import Call
from penstock.pipelines import hand_outs, offers
from penstock.pipelines.aggregate import PipelineAggregate
from penstock.pipelines.errors import (
    InvalidJobStateException,
    InvalidNonceException,
    JobNotFoundException,
    OutputVariablesSizeExceededException,
    ValidationException,
)
from penstock.pipelines.inputs import ActionFailed, ActionReported, ActionSucceeded
from penstock.pipelines.model import ArtifactLocation, Category, Details, Key, Revision
from penstock.pipelines.offers import WORKER_JOB
from penstock.pipelines.preparation import Prepared, prepare
from penstock.pipelines.records import type_of
from penstock.pipelines.roles import RoleRefused
from penstock.pipelines.service import PipelineService
from penstock.pipelines.work import VARIABLES_LIMIT, size_of
from penstock.store import jobs
from penstock.store.failpoints import failpoint
from penstock.store.jobs import Job
from penstock.wire.call import Input
from penstock.wire.errors import AccessDenied, ServiceError, passes

IN_PROGRESS = "InProgress"


def not_found(id: str) -> JobNotFoundException:
    """The error for a job that is not there, or not the caller's to see."""
    return JobNotFoundException(f"The job '{id}' does not exist.")


async def job_of(call: Call, id: str, *, owner: str, account: str = "") -> Job:
    """A job of types of an owner, of an account's pipelines or ("") of anybody's. Raises JobNotFoundException."""
    job = await call.app.store.read(jobs.get, id)
    if job is None or job.kind != WORKER_JOB or (job.region, job.payload["owner"]) != (call.region, owner):
        raise not_found(id)
    if account and job.account != account:
        raise not_found(id)
    # Policies are asked about no resource, and the record names the pipeline.
    call.memo["resources"] = (
        f"arn:{call.partition}:codepipeline:{job.region}:{job.account}:{job.payload['pipeline']}",
    )
    return job


async def acknowledge(call: Call, job: Job, nonce: str) -> str:
    """Take the job, or renew its lease by the same nonce; its status. Raises InvalidNonceException."""
    if not await call.app.store.write(offers.acknowledge, job, nonce, now=call.now):
        raise InvalidNonceException(job=job.id)
    failpoint("workers.acknowledged")
    return IN_PROGRESS


async def succeed(service: PipelineService, call: Call, job: Job, input: Input) -> None:
    """The result of a job, which ends its action, or has it continued by a further job. Raises InvalidJobStateException."""
    details, token = input.get("executionDetails", {}), input.get("continuationToken")
    variables = input.get("outputVariables")
    if variables:
        if token is not None:
            raise ValidationException(
                "Output variables are given with the last result of an action: there is a continuationToken."
            )
        size = size_of(variables)
        if size > VARIABLES_LIMIT:
            raise OutputVariablesSizeExceededException(size=size, limit=VARIABLES_LIMIT)
    said = Details(
        external_id=details.get("externalExecutionId"),
        summary=details.get("summary"),
        percent=details.get("percentComplete"),
        variables=variables or None,
    )
    prepared = await _prepared(service, job)
    current = input.get("currentRevision")
    if current is not None and type_of(prepared.row).category == Category.SOURCE:
        revision = Revision(
            id=current["revision"],
            change_id=current["changeIdentifier"],
            summary=current.get("revisionSummary", ""),
            created=current.get("created"),
        )
        said = replace(said, revision=revision)
    if token is None:
        said = replace(said, outputs=await _outputs(service, prepared, current) or None)
        result = ActionSucceeded(execution=prepared.row.execution_id, action=prepared.row.id, details=said)
    else:
        result = ActionReported(execution=prepared.row.execution_id, action=prepared.row.id, details=said)
    await _put(service, call, _Result(job=job, input=result, key=prepared.key, token=token))


async def fail(service: PipelineService, call: Call, job: Job, input: Input) -> None:
    """The failure of a job, which ends its action. Raises InvalidJobStateException."""
    prepared, details = await _prepared(service, job), input["failureDetails"]
    result = ActionFailed(
        execution=prepared.row.execution_id,
        action=prepared.row.id,
        code=details["type"],
        message=details["message"],
        details=Details(external_id=details.get("externalExecutionId")),
    )
    await _put(service, call, _Result(job=job, input=result, key=prepared.key))


async def _prepared(service: PipelineService, job: Job) -> Prepared:
    """The action of a job that takes a result. Raises InvalidJobStateException."""
    check_state(job)
    prepared = await service.app.store.read(prepare, service.versions, job.payload["action"])
    if prepared is None:
        raise InvalidJobStateException(job=job.id, why="its action has ended")
    return prepared


def check_state(job: Job) -> None:
    """Raises InvalidJobStateException for a job that takes no result."""
    if not offers.live(job):
        raise InvalidJobStateException(job=job.id, why="it has a result, or its action has ended")
    if not offers.acknowledged(job):
        raise InvalidJobStateException(job=job.id, why="no worker has acknowledged it")


async def _outputs(
    service: PipelineService, prepared: Prepared, current: dict[str, Any] | None
) -> tuple[ArtifactLocation, ...]:
    revision = "" if current is None else current["revision"]
    try:
        return await hand_outs.outputs_of(service, prepared, revision)
    except RoleRefused:
        return prepared.outputs
    except (AccessDenied, ServiceError) as error:
        if passes(error):
            raise
        return prepared.outputs


@dataclass(frozen=True, slots=True, kw_only=True)
class _Result:
    job: Job
    input: ActionSucceeded | ActionReported | ActionFailed
    key: Key
    token: str | None = None


async def _put(service: PipelineService, call: Call, result: _Result) -> None:
    await call.app.store.write_together(result.key.lock, _write, service, call, result, call.app.ids.seed())
    failpoint("workers.result_put")


def _write(conn: sa.Connection, service: PipelineService, call: Call, result: _Result, seed: int) -> None:
    # The pipeline's row is locked before the job's, as whatever ends an action does.
    pipeline = PipelineAggregate.find(conn, service.versions, result.key, own=result.input.execution)
    job = jobs.get(conn, result.job.id)
    if pipeline is None or job is None:
        raise InvalidJobStateException(job=result.job.id, why="its action has ended")
    check_state(job)
    if not offers.end(conn, job):
        raise InvalidJobStateException(job=job.id, why="it has a result, or its action has ended")
    with pipeline:
        pipeline.apply(result.input, now=call.now, seed=seed, actor=call.session.arn, cause=call.request_id)
    if result.token is not None:
        offers.make_next(conn, job, result.token)
    failpoint("workers.before_result_commit")
