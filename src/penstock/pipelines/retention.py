"""Retention: executions are kept for twelve months, or as --keep-history says. AWS: history of executions."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from penstock.application import App
from penstock.pipelines import records, worker_records
from penstock.pipelines.model import HOUR
from penstock.pipelines.service import PipelineService
from penstock.store import jobs
from penstock.store.jobs import Job
from penstock.store.work import Retry

SWEEP_JOB = "pipelines.sweep"
EVERY = 6 * HOUR
BATCH = 500  # executions per transaction


async def begin(app: App) -> None:
    """Have it swept now and then, for ever, in one place of the installation at a time."""
    await app.store.write(_enqueue, app.settings.account, app.settings.region)


def _enqueue(conn: sa.Connection, account: str, region: str) -> None:
    jobs.enqueue(conn, kind=SWEEP_JOB, payload={}, account=account, region=region, dedup="sweep")


async def sweep_all(service: PipelineService, job: Job) -> None:  # noqa: ARG001 - the job continues for ever
    """Remove everything whose time is over, and do it again later."""
    app = service.app
    while await app.store.write(sweep, app.clock.now(), app.settings.keep_history_ms) == BATCH:
        pass
    raise Retry(EVERY, counts=False)


def sweep(conn: sa.Connection, now: int, kept: int) -> int:
    """Remove a batch of executions that ended more than `kept` ms ago, with their actions, and of declarations; how many of either.

    The newest of each pipeline stays: it is what the pipeline shows, and what its numbers continue from.
    """
    table = records.executions
    later = table.alias("later")
    newer = sa.exists().where(later.c.pipeline_id == table.c.pipeline_id, later.c.number > table.c.number)
    over = conn.execute(
        sa.select(table.c.id).where(table.c.live.is_(sa.false()), table.c.updated < now - kept, newer).limit(BATCH)
    )
    ids: list[Any] = list(over.scalars())
    if ids:
        conn.execute(records.actions.delete().where(records.actions.c.execution_id.in_(ids)))
        conn.execute(table.delete().where(table.c.id.in_(ids)))
    tokens = records.start_tokens
    conn.execute(tokens.delete().where(tokens.c.expires <= now))
    conn.execute(worker_records.revisions.delete().where(worker_records.revisions.c.put < now - kept))
    return max(len(ids), _sweep_versions(conn, now - kept))


def _sweep_versions(conn: sa.Connection, before: int) -> int:
    """Remove a batch of declarations that another took the place of before a time (ms), unless an execution is left that began before; how many."""
    table, executions = records.versions, records.executions
    next_one = table.alias("next_one")
    key = (table.c.pipeline_id, table.c.version)
    over = (
        sa.select(*key)
        .join(next_one, (next_one.c.pipeline_id == table.c.pipeline_id) & (next_one.c.version == table.c.version + 1))
        .where(
            next_one.c.created < before,
            ~sa.exists().where(
                executions.c.pipeline_id == table.c.pipeline_id, executions.c.started <= next_one.c.created
            ),
        )
        .limit(BATCH)
    )
    found = [tuple(row) for row in conn.execute(over)]
    if found:
        conn.execute(table.delete().where(sa.tuple_(*key).in_(found)))
        secrets = worker_records.secrets
        conn.execute(secrets.delete().where(sa.tuple_(secrets.c.pipeline_id, secrets.c.version).in_(found)))
    return len(found)
