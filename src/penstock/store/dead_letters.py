"""Jobs that were given up: they stay until an operator revives them, or their time to be kept is over.

All functions run inside a transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa

from penstock.store.jobs import WORK, Job, JobState, job_of
from penstock.store.keysets import rows_behind
from penstock.store.records import LIVE, jobs
from penstock.store.transaction import transaction_of, wake


def revive(conn: sa.Connection, id: str, *, accounts: Collection[str], region: str) -> bool:
    """Make a dead job of these accounts ready again, with a clean slate.

    False when it does not exist, is not dead, or a live twin has taken its place.
    """
    now = transaction_of(conn).clock.now()
    twin = jobs.alias("twin")
    revived = conn.execute(
        jobs.update()
        .where(jobs.c.id == id, jobs.c.state == JobState.DEAD, *_of(accounts, region))
        .where(
            ~sa.exists().where(
                twin.c.kind == jobs.c.kind, twin.c.dedup == jobs.c.dedup, twin.c.state.in_(LIVE), twin.c.id != id
            )
        )
        .values(state=JobState.READY, due=now, failures=0, ended=None, fence=None)
    )
    wake(conn, WORK)
    return revived.rowcount == 1


def dead(
    conn: sa.Connection,
    *,
    accounts: Collection[str],
    region: str,
    after: Sequence[Any] | None = None,
    limit: int = 100,
) -> list[Job]:
    """What was given up of these accounts, latest first; further pages begin `after` the (ended, id) of the last one."""
    query = sa.select(jobs).where(jobs.c.state == JobState.DEAD, *_of(accounts, region))
    rows = conn.execute(rows_behind(query, [jobs.c.ended, jobs.c.id], after, limit=limit, descending=True))
    return [job_of(row) for row in rows.mappings()]


def _of(accounts: Collection[str], region: str) -> tuple[sa.ColumnElement[bool], ...]:
    return jobs.c.account.in_(accounts), jobs.c.region == region


def count_dead(conn: sa.Connection) -> int:
    """How many jobs were given up."""
    return conn.execute(sa.select(sa.func.count()).where(jobs.c.state == JobState.DEAD)).scalar_one()
