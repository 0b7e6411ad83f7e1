"""What the metrics say of deployments and hosts."""

from __future__ import annotations

import sqlalchemy as sa

from penstock.deployments import progress, records
from penstock.deployments.server.model import DeploymentStatus
from penstock.metrics import Reading, Values, gauge
from penstock.store.records import LIVE, jobs

RUNNING = gauge("penstock_deployments_running", "Deployments that work on their hosts.")
HOSTS = gauge(
    "penstock_hosts",
    "Registered hosts whose agent asked within the last three minutes (connected), or did not (silent).",
    "state",
)
_SCAN_SECONDS = 30.0  # the hosts of all accounts are read


def _running(conn: sa.Connection, _now: int) -> tuple[Values]:
    d = records.deployments.c
    watched = (
        sa.select(sa.func.count())
        .select_from(jobs.join(records.deployments, d.id == jobs.c.dedup))
        .where(jobs.c.kind == progress.WATCH, jobs.c.state.in_(LIVE), jobs.c.dedup.is_not(None))
        .where(d.status == DeploymentStatus.IN_PROGRESS.value)
    )
    return ({(): conn.execute(watched).scalar_one()},)


def _hosts(conn: sa.Connection, now: int) -> tuple[Values]:
    i = records.instances.c
    connected = sa.func.coalesce(i.seen, 0) >= now - progress.SEEN_LATELY_MS
    counted = sa.select(connected.label("connected"), sa.func.count()).where(i.deregistered.is_(None))
    found = {bool(is_connected): count for is_connected, count in conn.execute(counted.group_by("connected"))}
    return ({("connected",): found.get(True, 0), ("silent",): found.get(False, 0)},)


READINGS = (
    Reading(gauges=(RUNNING,), read=_running),
    Reading(gauges=(HOSTS,), read=_hosts, every=_SCAN_SECONDS),
)
