"""A hundred executions over one connection: what only fails once a statement has been repeated fails here."""

from __future__ import annotations

import asyncio

import sqlalchemy as sa
from pipeline_harness import ADMIN, BUILD, SOURCE, harness

from penstock.pipelines.actions.provider import Running, Succeeded
from penstock.pipelines.records import actions, executions
from penstock.store import records
from penstock.store.clock import SystemClock
from penstock.store.database import Store
from penstock.store.events import Event, emit

PIPELINES = 20
RUNS = 5  # of each; a connection prepares a statement after five times, and has run each of them a hundred times by the end
LOOKUP = 600_000  # ms; by then the test has failed
LIVE = sa.select(executions.c.live, sa.func.count()).group_by(executions.c.live)
OWED = sa.select(sa.func.count()).select_from(records.deliveries)
ELSEWHERE = sa.select(actions.c.external_id).where(actions.c.status == "InProgress", actions.c.external_id.is_not(None))


async def test_a_hundred_executions_over_one_connection(any_url, tmp_path):
    store = await Store.open(any_url, clock=SystemClock(), connections=1)
    async with harness(store, SystemClock(), tmp_path) as opened:
        scripted = opened.scripted
        # The build runs elsewhere and reports by an event, which has to be delivered before the run continues.
        scripted.answers["compile", "start"] = lambda action: Running(
            external_id=f"b:{len(scripted.started)}", check_after=LOOKUP
        )
        scripted.answers["compile", "observe"] = lambda action: Succeeded(outputs=action.outputs)
        names = [f"p{number}" for number in range(PIPELINES)]
        for name in names:
            await opened.create(SOURCE, BUILD, name=name, executionMode="QUEUED", pipelineType="V2")
        for _ in range(RUNS - 1):
            await asyncio.gather(*(opened("StartPipelineExecution", name=name) for name in names))
        reported: set[str] = set()

        def report(conn):
            for id in set(conn.execute(ELSEWHERE).scalars()) - reported:
                event = Event(
                    type="scripted.done",
                    account=ADMIN.account,
                    region="us-east-1",
                    aggregate=f"scripted/{id}",
                    payload={"id": id},
                )
                emit(conn, event, now=opened.app.clock.now(), id=opened.app.ids.uuid())
                reported.add(id)
            return dict(conn.execute(LIVE).all()), conn.execute(OWED).scalar()

        async with asyncio.timeout(100):  # what is not delivered would wait for a lookup
            while await store.write(report) != ({False: PIPELINES * RUNS}, 0):
                await asyncio.sleep(0.02)
    await store.close()
