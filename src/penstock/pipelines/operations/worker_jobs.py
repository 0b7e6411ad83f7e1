"""PollForJobs, AcknowledgeJob, GetJobDetails, PutJobSuccessResult, PutJobFailureResult: how workers do actions of custom types.

AWS: actions-create-custom-action.
"""

from __future__ import annotations

from typing import Any

from penstock.application import Call
from penstock.pipelines import offers
from penstock.pipelines.custom_types import CUSTOM
from penstock.pipelines.errors import ActionTypeNotFoundException, ValidationException
from penstock.pipelines.hand_outs import HandOut, hand_out
from penstock.pipelines.model import ActionType, ActionTypeId
from penstock.pipelines.operations import operation, worker_results
from penstock.pipelines.operations.addressing import type_arn
from penstock.pipelines.operations.jobs import job_data
from penstock.pipelines.plan import id_named
from penstock.pipelines.service import PipelineService
from penstock.pipelines.types import row_for, type_of_row
from penstock.store.failpoints import failpoint
from penstock.store.jobs import Job, JobState
from penstock.wire.call import Input, Output
from penstock.wire.registry import Recorded

MOST_JOBS = 20
"""Jobs of one answer, whatever maxBatchSize says: each has credentials of its own."""


def polled_arn(call: Call, input: Input) -> str:
    """Of the type whose jobs are asked for."""
    return type_arn(call, id_named(input["actionTypeId"]))


@operation("PollForJobs", resource=polled_arn, recorded=Recorded.DATA)
async def poll_for_jobs(service: PipelineService, call: Call, input: Input) -> Output:
    """Jobs that wait, with credentials. One that is not acknowledged within a minute is offered again, with another nonce."""
    id = id_named(input["actionTypeId"])
    if id.owner != CUSTOM:
        raise ValidationException(
            f"PollForJobs is for action types of owner {CUSTOM}, and this one's owner is {id.owner}."
        )
    row = await call.app.store.read(row_for, call.account, call.region, id)
    if row is None or row.deleted is not None:
        raise type_not_found(id)
    topic = offers.topic_of(call.account, call.region, id, _query(type_of_row(row), input.get("queryParam") or {}))
    found = [
        _job(job, given)
        for job in await offered(call, input, topic)
        if (given := await hand_out(service, job)) is not None
    ]
    return {"jobs": [{**job, "nonce": nonce} for job, nonce in found]}


def type_not_found(id: ActionTypeId) -> ActionTypeNotFoundException:
    """The error for a type that the account does not have."""
    return ActionTypeNotFoundException(**id.as_output())


async def offered(call: Call, input: Input, topic: str) -> list[Job]:
    """The jobs that a poll gets."""
    store = call.app.store
    if not await store.read(offers.waiting, topic, now=call.now):
        return []
    most = min(input.get("maxBatchSize", 1), MOST_JOBS)
    found = await store.write(offers.offer, topic, most=most, now=call.now)
    failpoint("workers.offered")
    return found


def _query(known: ActionType, given: dict[str, str]) -> str:
    name = next((one.name for one in known.properties if one.queryable), None)
    if name is None:
        if given:
            raise ValidationException("The action type has no queryable property. Leave queryParam out.")
        return ""
    if name not in given:
        raise ValidationException(f"queryParam must have the queryable property '{name}' of the action type.")
    return given[name]


def _job(job: Job, given: HandOut) -> tuple[dict[str, Any], str]:
    return {"id": job.id, "accountId": job.account, "data": data_of(given)}, job.nonce


def data_of(given: HandOut) -> dict[str, Any]:
    """The shape `JobData`."""
    data = job_data(given.prepared, given.configuration) | {"artifactCredentials": given.credentials}
    return data | {"continuationToken": given.token} if given.token else data


async def _own_job(call: Call, id: str) -> Job:
    return await worker_results.job_of(call, id, owner=CUSTOM, account=call.account)


@operation("AcknowledgeJob")
async def acknowledge_job(service: PipelineService, call: Call, input: Input) -> Output:
    """Take a job with the nonce of its newest offer. With the same nonce again it renews the lease, where its type has one."""
    job = await _own_job(call, input["jobId"])
    return {"status": await worker_results.acknowledge(call, job, input["nonce"])}


@operation("GetJobDetails")
async def get_job_details(service: PipelineService, call: Call, input: Input) -> Output:
    """What PollForJobs has answered of a job, with fresh credentials. It renews the lease of a job that is acknowledged."""
    job = await _own_job(call, input["jobId"])
    given = await hand_out(service, job) if offers.live(job) else None
    if given is None:
        raise worker_results.not_found(job.id)
    if job.state is JobState.LEASED and job.until is not None:
        await call.app.store.write(offers.acknowledge, job, job.nonce, now=call.now)
    return {"jobDetails": _job(job, given)[0]}


@operation("PutJobSuccessResult")
async def put_job_success_result(service: PipelineService, call: Call, input: Input) -> None:
    """End a job well. With a continuation token its action stays in progress, and a new job is offered with the token."""
    await worker_results.succeed(service, call, await _own_job(call, input["jobId"]), input)


@operation("PutJobFailureResult")
async def put_job_failure_result(service: PipelineService, call: Call, input: Input) -> None:
    """End a job badly, and its action with it."""
    await worker_results.fail(service, call, await _own_job(call, input["jobId"]), input)
