"""The jobs that are about the jobs of workers outside."""

from __future__ import annotations

import sqlalchemy as sa

from penstock.pipelines.aggregate import PipelineAggregate
from penstock.pipelines.inputs import ActionFailed
from penstock.pipelines.model import Key
from penstock.pipelines.service import PipelineService
from penstock.store import jobs
from penstock.store.jobs import Job


async def time_out(service: PipelineService, job: Job) -> None:
    """Fail the action whose job has taken longer than its type lets one take."""
    payload = job.payload
    key = Key(account=job.account, region=job.region, name=payload["pipeline"], id=payload["id"])
    now, seed = service.app.clock.now(), service.app.ids.seed()
    message = "No worker has ended the action's job within the time that its type gives one."
    input = ActionFailed(execution=payload["execution"], action=payload["action"], code="JobFailed", message=message)

    def write(conn: sa.Connection) -> None:
        jobs.complete(conn, job)
        pipeline = PipelineAggregate.find(conn, service.versions, key, own=payload["execution"])
        late = jobs.get(conn, payload["job"])
        if pipeline is None or late is None or not jobs.finish(conn, late.id):
            return
        with pipeline:
            pipeline.apply(input, now=now, seed=seed, cause=job.id)

    await service.app.store.write_together(key.lock, write)
