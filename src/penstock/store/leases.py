"""Leases: how a worker of ours takes jobs, keeps them, and how what ran out is taken back.

All functions run inside a transaction; times are milliseconds UTC.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import sqlalchemy as sa

from penstock.store.jobs import WORK, Job, JobState, job_of, taken_by
from penstock.store.records import OUTSIDE, jobs
from penstock.store.statement import Statement, among
from penstock.store.transaction import wake


def _due_here(dialect: str, *, narrowed: bool) -> sa.ColumnElement[bool]:
    ready = (jobs.c.state == JobState.READY) & ~OUTSIDE & among(dialect, jobs.c.kind, "kinds")
    return ready & among(dialect, jobs.c.region, "regions") if narrowed else ready


def _lease_of(dialect: str, *, narrowed: bool) -> sa.Executable:
    chosen = (
        sa.select(jobs.c.id)
        .where(_due_here(dialect, narrowed=narrowed), jobs.c.due <= sa.bindparam("now"))
        .order_by(jobs.c.due, jobs.c.id)
        .limit(sa.bindparam("n"))
        .with_for_update(skip_locked=True)
        .cte("chosen")  # PostgreSQL looks it up once, since it locks; a plain subquery it might repeat, and lock more
    )
    attempt = jobs.c.attempt + 1
    return (
        jobs.update()
        .where(jobs.c.id.in_(sa.select(chosen.c.id)))
        .values(
            state=JobState.LEASED,
            attempt=attempt,
            fence=sa.literal("").concat(sa.bindparam("worker")).concat(":").concat(sa.cast(attempt, sa.String)),
            until=sa.bindparam("end"),
        )
        .returning(*jobs.c)
    )


def _next_due_of(dialect: str, *, narrowed: bool) -> sa.Executable:
    return sa.select(sa.func.min(jobs.c.due)).where(_due_here(dialect, narrowed=narrowed))


# By whether they are narrowed to regions.
_LEASE = {narrowed: Statement(partial(_lease_of, narrowed=narrowed)) for narrowed in (False, True)}
_NEXT_DUE = {narrowed: Statement(partial(_next_due_of, narrowed=narrowed)) for narrowed in (False, True)}
_RENEW = (
    jobs.update()
    .where(jobs.c.state == JobState.LEASED, jobs.c.fence.in_(sa.bindparam("fences", expanding=True)))
    .where(jobs.c.id.in_(sa.bindparam("ids", expanding=True)))
    .values(until=sa.bindparam("end"))
    .returning(jobs.c.id, jobs.c.fence)
)
_LAPSED = (
    sa.select(jobs.c.id, jobs.c.kind, jobs.c.topic, jobs.c.state)
    .where(jobs.c.state.in_([JobState.OFFERED, JobState.LEASED]), jobs.c.until <= sa.bindparam("now"))
    .limit(500)
    .with_for_update(skip_locked=True)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimant:
    """A worker that leases jobs for `lease_ms`. `regions` narrows it to a site; empty takes all."""

    worker: str
    lease_ms: int
    regions: Sequence[str] = ()

    def claim(self, conn: sa.Connection, pools: Mapping[tuple[str, ...], int], *, now: int) -> list[Job]:
        """Lease due jobs, oldest first. `pools` says for kinds that share slots how many of these are free."""
        taken: list[Job] = []
        for kinds, free in pools.items():
            if free > 0:
                statement, values = self._lease(kinds, free, now)
                taken.extend(job_of(row._asdict()) for row in statement.all(conn, values))
        return sorted(taken, key=_age)

    def claim_later(
        self, conn: sa.Connection, kinds: Sequence[str], free: int, *, now: int, on_rows: Callable[[list[Job]], None]
    ) -> None:
        """`claim` with the transaction's last statements; `on_rows` gets the jobs before the transaction is answered."""
        statement, values = self._lease(kinds, free, now)
        statement.later(
            conn, values, on_rows=lambda rows: on_rows(sorted((job_of(row._asdict()) for row in rows), key=_age))
        )

    def _lease(self, kinds: Sequence[str], free: int, now: int) -> tuple[Statement, dict[str, Any]]:
        values = {"worker": self.worker, "end": now + self.lease_ms, "now": now, "n": free}
        return _LEASE[bool(self.regions)], values | self._where(kinds)

    def next_due(self, conn: sa.Connection, kinds: Sequence[str]) -> int | None:
        """When the next ready job of these kinds falls due (perhaps long past); None without any."""
        row = _NEXT_DUE[bool(self.regions)].first(conn, self._where(kinds))
        return row[0]

    def _where(self, kinds: Sequence[str]) -> dict[str, Any]:
        return {"kinds": list(kinds)} | ({"regions": list(self.regions)} if self.regions else {})


def _age(job: Job) -> tuple[int, str]:
    return job.due, job.id


def renew(conn: sa.Connection, held: Sequence[Job], *, lease_ms: int, now: int) -> set[str]:
    """Extend the leases of `held`; the ids of those that were still ours."""
    values = {"fences": [job.fence for job in held], "ids": [job.id for job in held], "end": now + lease_ms}
    ours = {(id_, fence) for id_, fence in conn.execute(_RENEW, values)}
    return {job.id for job in held if (job.id, job.fence) in ours}


def lapse(conn: sa.Connection, *, now: int, held: Collection[str] = (), worker: str | None = None) -> int:
    """Take back what was offered or leased for longer than agreed; how many. A lost lease counts as a failure.

    Whoever asks is alive: the ids in `held`, and with `worker` all of that worker's leases, are left alone even when the
    clock has leapt past their end.
    """
    lapsed = _LAPSED
    if held:
        lapsed = lapsed.where(jobs.c.id.not_in(held))
    if worker:
        lapsed = lapsed.where(~jobs.c.fence.startswith(f"{worker}:", autoescape=True))
    rows = conn.execute(lapsed, {"now": now}).all()
    if not rows:
        return 0
    for state, failed in ((JobState.OFFERED, 0), (JobState.LEASED, 1)):
        ids = [row.id for row in rows if row.state == state]
        if ids:
            change: dict[str, Any] = {
                "state": JobState.READY,
                "until": None,
                "failures": jobs.c.failures + failed,
            }
            if failed:
                change["fence"] = None  # of an offer it stays: until the next one its acknowledgement still counts
                change["error"] = "its lease ran out: the worker died or lost its connection"
            conn.execute(jobs.update().where(jobs.c.id.in_(ids)).values(change))
    for row in rows:
        wake(conn, taken_by(row.kind, row.topic))
    return len(rows)


def take_back_all(conn: sa.Connection) -> int:
    """Take back every lease of our workers, at the start of a process that knows itself to be alone; how many.

    On SQLite the file lock proves that whoever held them is dead: nothing has to wait for the leases to run out. What
    outside workers hold (jobs with a topic) stays theirs.
    """
    taken = conn.execute(
        jobs.update()
        .where(jobs.c.state == JobState.LEASED, ~OUTSIDE)
        .values(
            state=JobState.READY,
            until=None,
            fence=None,
            failures=jobs.c.failures + 1,
            error="its worker died",
        )
    ).rowcount
    if taken:
        wake(conn, WORK)
    return taken


def unknown(conn: sa.Connection, known: Iterable[str], *, now: int) -> dict[str, int]:
    """How many due jobs, by kind, are for workers of ours but of a kind that is not in `known`."""
    return {
        row.kind: row.waiting
        for row in conn.execute(
            sa.select(jobs.c.kind, sa.func.count().label("waiting"))
            .where(jobs.c.state == JobState.READY, jobs.c.due <= now, ~OUTSIDE, jobs.c.kind.not_in(list(known)))
            .group_by(jobs.c.kind)
        )
    }
