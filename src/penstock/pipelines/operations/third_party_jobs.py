"""PollForThirdPartyJobs and its family: how a partner's workers do actions of pipelines of other accounts.

A poll says no more than that there is a job, and of which client. Whoever shows the client's token gets the job; the token is between the
client and the provider. AWS: the integration model reference.
"""

from __future__ import annotations

import hmac

from penstock.application import Call
from penstock.pipelines import offers, worker_records
from penstock.pipelines.errors import InvalidClientTokenException, InvalidJobException, ValidationException
from penstock.pipelines.hand_outs import hand_out
from penstock.pipelines.operations import operation, worker_results
from penstock.pipelines.operations.partner_types import OWNER, not_found, token_of
from penstock.pipelines.operations.worker_jobs import data_of, offered, polled_arn
from penstock.pipelines.plan import id_named
from penstock.pipelines.service import PipelineService
from penstock.pipelines.types import may_poll, partner_row
from penstock.store.jobs import Job
from penstock.wire.call import Input, Output
from penstock.wire.registry import Recorded

_OF_CUSTOM_JOBS = ("pipelineArn", "pipelineExecutionId")  # of a job's context, which partners do not get


@operation("PollForThirdPartyJobs", resource=polled_arn, recorded=Recorded.DATA)
async def poll_for_third_party_jobs(service: PipelineService, call: Call, input: Input) -> Output:
    """Jobs that wait, each with the id of its client alone. One that is not acknowledged within a minute is offered again."""
    id = id_named(input["actionTypeId"])
    if id.owner != OWNER:
        raise ValidationException(
            f"PollForThirdPartyJobs is for action types of owner {OWNER}, and this one's owner is {id.owner}."
        )
    row = await call.app.store.read(partner_row, call.region, id)
    if row is None or row.deleted is not None or not may_poll(row, call.account):
        raise not_found(id)
    found = await offered(call, input, offers.topic_of("", call.region, id))
    return {"jobs": [{"jobId": job.id, "clientId": job.payload["client"]} for job in found]}


async def _job(call: Call, input: Input) -> Job:
    """The job, for a worker of the type's provider that shows the client's token."""
    job = await worker_results.job_of(call, input["jobId"], owner=OWNER)
    id = offers.type_of_topic(job.topic)
    row = await call.app.store.read(partner_row, call.region, id)
    if row is None or not may_poll(row, call.account):
        raise worker_results.not_found(job.id)
    client = await call.app.store.read(worker_records.find_client, job.account, job.region, id)
    known = "" if client is None else token_of(call, client)
    if not known or not hmac.compare_digest(known.encode(), input["clientToken"].encode()):
        raise InvalidClientTokenException(job=job.id)
    return job


@operation("GetThirdPartyJobDetails")
async def get_third_party_job_details(service: PipelineService, call: Call, input: Input) -> Output:
    """What there is to do, with credentials, and the nonce with which it is acknowledged."""
    job = await _job(call, input)
    given = await hand_out(service, job) if offers.live(job) and job.nonce else None
    if given is None:
        raise InvalidJobException(job=job.id)
    data = data_of(given)
    context = {name: value for name, value in data["pipelineContext"].items() if name not in _OF_CUSTOM_JOBS}
    return {"jobDetails": {"id": job.id, "data": {**data, "pipelineContext": context}, "nonce": job.nonce}}


@operation("AcknowledgeThirdPartyJob")
async def acknowledge_third_party_job(service: PipelineService, call: Call, input: Input) -> Output:
    """Take a job with the nonce of its details."""
    return {"status": await worker_results.acknowledge(call, await _job(call, input), input["nonce"])}


@operation("PutThirdPartyJobSuccessResult")
async def put_third_party_job_success_result(service: PipelineService, call: Call, input: Input) -> None:
    """End a job well. With a continuation token its action stays in progress, and a new job is offered with the token."""
    await worker_results.succeed(service, call, await _job(call, input), input)


@operation("PutThirdPartyJobFailureResult")
async def put_third_party_job_failure_result(service: PipelineService, call: Call, input: Input) -> None:
    """End a job badly, and its action with it."""
    await worker_results.fail(service, call, await _job(call, input), input)
