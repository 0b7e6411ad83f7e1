"""Jobs for workers outside: one for each action of theirs, and a new one whenever a worker has it continued.

They are jobs of the store that are offered by topic: the type, and the value by which workers ask. Functions with a `conn` are parts of
transactions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from penstock.pipelines import worker_records
from penstock.pipelines.custom_types import CUSTOM, query_of, queryable_value
from penstock.pipelines.model import ActionType, ActionTypeId
from penstock.store import jobs, outside
from penstock.store.jobs import Job, JobState
from penstock.store.transaction import transaction_of

WORKER_JOB = "pipelines.action.worker"
TIMEOUT_JOB = "pipelines.action.worker.timeout"
OFFER_MS = 60_000  # that a worker has to acknowledge a job before it is offered again


def topic_of(account: str, region: str, id: ActionTypeId, query: str = "") -> str:
    """By what jobs of a type are offered. Custom types are an account's own, all others are known to everybody by one name."""
    whose = account if id.owner == CUSTOM else ""
    return f"{whose}/{region}/{id.category}/{id.owner}/{id.provider}/{id.version}/{query}"


def type_of_topic(topic: str) -> ActionTypeId:
    """The type whose jobs are offered by a topic."""
    _, _, category, owner, provider, version, _ = topic.split("/")
    return ActionTypeId(category=category, owner=owner, provider=provider, version=version)


def refused(known: ActionType, configuration: Mapping[str, str]) -> str | None:
    """Why no job can be made of a configuration whose variables are resolved; None when it can."""
    query = query_of(known, configuration)
    if query and not queryable_value(query):
        return f"Job workers cannot ask for the value '{query[:100]}': it must be 1 to 50 letters, digits, '_' and '-'."
    return None


def make(conn: sa.Connection, row: Any, known: ActionType, configuration: Mapping[str, str]) -> str:
    """Offer the first job of an action; its id. `row` is that of the action execution."""
    payload = {
        "pipeline": row.pipeline,
        "id": row.pipeline_id,
        "execution": row.execution_id,
        "action": row.id,
        "owner": known.id.owner,
        "client": "",
        "number": 1,
        "timeout": known.job_timeout,
        "lease": known.job_lease,
    }
    if known.of_partner:
        client = worker_records.find_client(conn, row.account, row.region, known.id)
        payload["client"] = "" if client is None else client.id
    topic = topic_of(row.account, row.region, known.id, query_of(known, configuration))
    return _enqueue(conn, payload, account=row.account, region=row.region, topic=topic)


def make_next(conn: sa.Connection, job: Job, token: str) -> str:
    """Offer the job after one that has ended with a continuation token; its id."""
    payload = {**job.payload, "number": job.payload["number"] + 1, "token": token}
    return _enqueue(conn, payload, account=job.account, region=job.region, topic=job.topic)


def _enqueue(conn: sa.Connection, payload: Mapping[str, Any], *, account: str, region: str, topic: str) -> str:
    # Whoever knows a job's id and may ask for its details gets its secrets, so that no id can be told from another one.
    made = jobs.enqueue(
        conn,
        kind=WORKER_JOB,
        payload=payload,
        account=account,
        region=region,
        topic=topic,
        dedup=payload["action"],
    )
    if payload["timeout"] is not None:
        due = transaction_of(conn).clock.now() + payload["timeout"]
        about = {"job": made, **{name: payload[name] for name in ("pipeline", "id", "execution", "action")}}
        jobs.enqueue(
            conn, kind=TIMEOUT_JOB, payload=about, account=account, region=region, due=due, dedup=payload["action"]
        )
    return made


def end(conn: sa.Connection, job: Job) -> bool:
    """End a job well; False when it was over already."""
    if not jobs.finish(conn, job.id):
        return False
    if job.payload["timeout"] is not None:
        jobs.cancel(conn, kind=TIMEOUT_JOB, dedup=job.payload["action"])
    return True


def withdraw(conn: sa.Connection, action: str) -> None:
    """Nobody is to work on an action any more."""
    jobs.cancel(conn, kind=WORKER_JOB, dedup=action)
    jobs.cancel(conn, kind=TIMEOUT_JOB, dedup=action)


def waiting(conn: sa.Connection, topic: str, *, now: int) -> bool:
    """Whether a job is to be offered: workers ask all the time, and mostly there is nothing."""
    return outside.waits(conn, kind=WORKER_JOB, topic=topic, now=now)


def offer(conn: sa.Connection, topic: str, *, most: int, now: int) -> list[Job]:
    """Offer up to so many jobs of a topic, the oldest first."""
    return outside.offer_several(conn, kind=WORKER_JOB, topic=topic, most=most, offer_ms=OFFER_MS, now=now)


def acknowledge(conn: sa.Connection, job: Job, nonce: str, *, now: int) -> bool:
    """Take an offered job, or renew its lease; False when the nonce is not that of the newest offer."""
    return bool(outside.acknowledge(conn, [(job.id, nonce)], lease_ms=job.payload["lease"], now=now))


def acknowledged(job: Job) -> bool:
    """Whether a worker has the job, or had it and was silent for too long: what it did counts all the same."""
    return job.state is JobState.LEASED or (job.state in (JobState.READY, JobState.OFFERED) and job.failures > 0)


def live(job: Job) -> bool:
    """Whether a job is still to be done."""
    return job.state in (JobState.READY, JobState.OFFERED, JobState.LEASED)
