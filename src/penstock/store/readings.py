"""What the metrics say of the store's tables: jobs that wait, and events that are not delivered yet.

Each question looks at the 10,000 that have waited longest, so that a backlog makes no question expensive.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from penstock.metrics import Reading, Values, gauge
from penstock.store.jobs import JobState
from penstock.store.records import OUTSIDE, deliveries, events, jobs

MOST = 10_000

_DUE = gauge(
    "penstock_jobs_due", "Jobs that are due and that no worker has taken, 10,000 of all kinds at most.", "kind"
)
_DUE_SECONDS = gauge("penstock_jobs_oldest_due_seconds", "For how long the oldest of them has been due.", "kind")
_OFFERED = gauge(
    "penstock_jobs_offered",
    "Jobs that wait for somebody outside, such as commands to hosts, 10,000 of all kinds at most.",
    "kind",
)
_OFFERED_SECONDS = gauge("penstock_jobs_oldest_offered_seconds", "For how long the oldest of them has waited.", "kind")
_PENDING = gauge(
    "penstock_event_deliveries_pending",
    "Deliveries of events that are still to be made, 10,000 of all subscriptions at most.",
    "subscription",
)
_PENDING_SECONDS = gauge(
    "penstock_event_deliveries_oldest_seconds",
    "Age of the oldest event of them: the lag of a subscription.",
    "subscription",
)


def _due(conn: sa.Connection, now: int) -> tuple[Values, Values]:
    ready = (
        sa.select(jobs.c.kind.label("name"), jobs.c.due.label("since"))
        .where(jobs.c.state == JobState.READY, ~OUTSIDE, jobs.c.due <= now)
        .order_by(jobs.c.due)
    )
    return _counted(conn, ready, now)


def _offered(conn: sa.Connection, now: int) -> tuple[Values, Values]:
    waiting = sa.select(jobs.c.kind.label("name"), jobs.c.due.label("since")).where(
        jobs.c.state.in_([JobState.READY, JobState.OFFERED]), OUTSIDE
    )
    return _counted(conn, waiting, now)


def _pending(conn: sa.Connection, now: int) -> tuple[Values, Values]:
    oldest = (
        sa.select(deliveries.c.subscription, deliveries.c.position)
        .where(deliveries.c.state == "pending")
        .order_by(deliveries.c.position)
        .limit(MOST)
        .subquery()
    )
    pending = sa.select(oldest.c.subscription.label("name"), events.c.at.label("since")).join(
        events, events.c.position == oldest.c.position
    )
    return _counted(conn, pending, now)


def _counted(conn: sa.Connection, waiting: sa.Select[Any, Any], now: int) -> tuple[Values, Values]:
    """How many wait by name, and for how many seconds the first of each."""
    some = waiting.limit(MOST).subquery()
    counted = sa.select(some.c.name, sa.func.count(), sa.func.min(some.c.since)).group_by(some.c.name)
    rows: Iterable[tuple[str, int, int]] = [(name, count, since) for name, count, since in conn.execute(counted)]
    return (
        {(name,): count for name, count, _ in rows},
        {(name,): max(0, now - since) / 1000 for name, _, since in rows},
    )


READINGS = (
    Reading(gauges=(_DUE, _DUE_SECONDS), read=_due),
    Reading(gauges=(_OFFERED, _OFFERED_SECONDS), read=_offered),
    Reading(gauges=(_PENDING, _PENDING_SECONDS), read=_pending),
)
