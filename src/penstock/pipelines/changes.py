"""Starting the pipelines whose sources changed."""

from __future__ import annotations

import logging

import sqlalchemy as sa

from penstock.pipelines import records
from penstock.pipelines.aggregate import PipelineAggregate
from penstock.pipelines.approval_rules import starter_of
from penstock.pipelines.errors import ConcurrentPipelineExecutionsLimitExceededException
from penstock.pipelines.idempotent_start import start_idempotently
from penstock.pipelines.inputs import StartRequested
from penstock.pipelines.model import Key
from penstock.pipelines.service import PipelineService
from penstock.pipelines.triggers import Wanted, Watcher, wanted
from penstock.store.events import Event

log = logging.getLogger("penstock.pipelines")


def concerns(service: PipelineService, conn: sa.Connection, event: Event) -> bool:
    """Whether any pipeline watches what changed: most objects that are written are nobody's source."""
    subjects = service.providers.news(event.type, event.payload)
    return any(records.watched(conn, event.account, event.region, subject) for subject in subjects)


async def start_watchers(service: PipelineService, event: Event) -> None:
    """One change, one execution of every pipeline that watches it, however often the event is delivered."""
    subjects = service.providers.news(event.type, event.payload)
    if not subjects:
        return
    app = service.app
    watchers = await app.store.read(_watchers, event, subjects)
    for start in wanted(event.id, watchers):
        key = Key(account=event.account, region=event.region, name=start.name, id=start.pipeline_id)
        now, seed = app.clock.now(), app.ids.seed()
        try:
            await app.store.write_together(key.lock, _start, service, key, start, event, now=now, seed=seed)
        except ConcurrentPipelineExecutionsLimitExceededException:
            log.warning("pipelines.trigger_over_limit", extra={"pipeline": start.name, "event_id": event.id})


def _start(
    conn: sa.Connection, service: PipelineService, key: Key, start: Wanted, event: Event, *, now: int, seed: int
) -> None:
    pipeline = PipelineAggregate.find(conn, service.versions, key)
    if pipeline is None:
        return
    input = StartRequested(trigger=start.trigger, starter=starter_of(event.actor))
    start_idempotently(conn, pipeline, input, token=start.token, now=now, seed=seed, actor=event.actor, cause=event.id)


def _watchers(conn: sa.Connection, event: Event, subjects: list[str]) -> list[Watcher]:
    """Who watches one of the subjects, without those that were made later than the event: their first run has seen it."""
    table, pipelines = records.sources, records.pipelines
    rows = conn.execute(
        sa.select(table.c.pipeline_id, table.c.name, table.c.action)
        .join(pipelines, pipelines.c.id == table.c.pipeline_id)
        .where(table.c.account == event.account, table.c.region == event.region, table.c.subject.in_(subjects))
        .where(pipelines.c.created <= event.at)
    )
    return [Watcher(pipeline_id=row.pipeline_id, name=row.name, action=row.action) for row in rows]
