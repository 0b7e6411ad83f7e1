"""Jobs that were given up: operations of our own service, since nothing at AWS is like them."""

from __future__ import annotations

from typing import Any

from penstock.application import Call
from penstock.fleet import errors
from penstock.fleet.health import Health
from penstock.fleet.operations import PAGES, operation
from penstock.store import dead_letters
from penstock.store.jobs import Job
from penstock.wire.call import Input, Output

_PAGE = 100


@operation("ListDeadJobs")
async def list_dead_jobs(health: Health, call: Call, input: Input) -> Output:
    """What was given up after too many failures, latest first."""
    after = PAGES.after(call, input)
    found = await call.app.store.read(
        dead_letters.dead, accounts=_accounts(call), region=call.region, after=after, limit=_PAGE + 1
    )
    page = PAGES.page(call, input, found, limit=_PAGE, keyset=lambda job: [job.ended, job.id])
    return {"jobs": [_to_api(job) for job in page.rows], **page.more}


@operation("ReviveJob", resource=lambda call, given: call.arn("penstock", f"job/{given['jobId']}"))
async def revive_job(health: Health, call: Call, input: Input) -> Output:
    """Let a job that was given up run again, from a clean slate."""
    id_ = input["jobId"]
    if not await call.app.store.write(dead_letters.revive, id_, accounts=_accounts(call), region=call.region):
        raise errors.JobNotFoundException(id=id_)
    return {}


def _accounts(call: Call) -> tuple[str, ...]:
    """Accounts are isolated; what belongs to no account belongs to the first one."""
    return (call.account, "") if call.account == call.app.settings.account else (call.account,)


def _to_api(job: Job) -> dict[str, Any]:
    return {
        "jobId": job.id,
        "kind": job.kind,
        "error": job.error,
        "failures": job.failures,
        "createTime": job.created,
        "endTime": job.ended,
    }
