"""What the metrics say of the builds that are there."""

from __future__ import annotations

import sqlalchemy as sa

from penstock.builds.aggregate import RUN
from penstock.metrics import Reading, Values, gauge
from penstock.store.jobs import JobState
from penstock.store.records import LIVE, jobs

BUILDS = gauge("penstock_builds", "Builds that wait for a place (queued) or have one (running).", "state")


def _builds(conn: sa.Connection, _now: int) -> tuple[Values]:
    live = (
        sa.select(jobs.c.state, sa.func.count().label("waiting"))
        .where(jobs.c.kind == RUN, jobs.c.state.in_(LIVE), jobs.c.dedup.is_not(None))
        .group_by(jobs.c.state)
    )
    found = {row.state: row.waiting for row in conn.execute(live)}
    return ({("queued",): found.get(JobState.READY, 0), ("running",): found.get(JobState.LEASED, 0)},)


READINGS = (Reading(gauges=(BUILDS,), read=_builds),)
