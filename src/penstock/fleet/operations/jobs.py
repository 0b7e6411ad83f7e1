"""Jobs that were given up: operations of our own service, since nothing at AWS is like them."""

from __future__ import annotations

from typing import Any

from penstock.application import Call
from penstock.fleet import errors
from penstock.fleet.health import Health
from penstock.fleet.operations import operation
from penstock.store import dead_letters
from penstock.store.jobs import Job
from penstock.wire.call import Input, Output
from penstock.wire.pages import BadPageToken

_PAGE = 100


@operation("ListDeadJobs")
async def list_dead_jobs(health: Health, call: Call, input: Input) -> Output:
    """What was given up after too many failures, latest first."""
    after = _opened(call, input.get("nextToken"))
    found = await call.app.store.read(
        dead_letters.dead, accounts=_accounts(call), region=call.region, after=after, limit=_PAGE + 1
    )
    page = found[:_PAGE]
    more = len(found) > _PAGE
    return {
        "jobs": [_to_api(job) for job in page],
        "nextToken": call.app.page_tokens.seal(call, {}, [page[-1].ended, page[-1].id]) if more else None,
    }


@operation("ReviveJob")
async def revive_job(health: Health, call: Call, input: Input) -> Output:
    """Let a job that was given up run again, from a clean slate."""
    id_ = input["jobId"]
    if not await call.app.store.write(dead_letters.revive, id_, accounts=_accounts(call), region=call.region):
        raise errors.JobNotFoundException(id=id_)
    return {}


def _accounts(call: Call) -> tuple[str, ...]:
    """Accounts are isolated; what belongs to no account belongs to the first one."""
    return (call.account, "") if call.account == call.app.settings.account else (call.account,)


def _opened(call: Call, token: str | None) -> tuple[int, str] | None:
    if not token:
        return None
    try:
        ended, id_ = call.app.page_tokens.open(call, {}, token)
    except BadPageToken as error:
        raise errors.InvalidNextTokenException from error
    return ended, id_


def _to_api(job: Job) -> dict[str, Any]:
    return {
        "jobId": job.id,
        "kind": job.kind,
        "error": job.error,
        "failures": job.failures,
        "createTime": job.created,
        "endTime": job.ended,
    }
