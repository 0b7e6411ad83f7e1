"""Leases: how a worker of ours takes jobs, keeps them, and how what ran out is taken back.

All functions run inside a transaction; times are milliseconds UTC.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from penstock.store.jobs import WORK, Job, JobState, job_of, taken_by
from penstock.store.records import OUTSIDE, jobs
from penstock.store.transaction import wake

_LEASE = (
    jobs.update()
    .where(jobs.c.id.in_(sa.bindparam("ids", expanding=True)))
    .values(
        state=JobState.LEASED,
        attempt=jobs.c.attempt + 1,
        fence=sa.literal("").concat(sa.bindparam("worker")).concat(":").concat(sa.cast(jobs.c.attempt + 1, sa.String)),
        until=sa.bindparam("end"),
    )
    .returning(*jobs.c)
)
_CANDIDATES = (
    sa.select(jobs.c.id, jobs.c.kind)
    .where(jobs.c.state == JobState.READY, jobs.c.kind.in_(sa.bindparam("kinds", expanding=True)))
    .where(jobs.c.due <= sa.bindparam("now"))
    .order_by(jobs.c.due, jobs.c.id)
    .limit(sa.bindparam("n"))
    .with_for_update(skip_locked=True)
)
_CANDIDATES_HERE = _CANDIDATES.where(jobs.c.region.in_(sa.bindparam("regions", expanding=True)))
_NEXT_DUE = sa.select(sa.func.min(jobs.c.due)).where(
    jobs.c.state == JobState.READY, jobs.c.kind.in_(sa.bindparam("kinds", expanding=True))
)
_NEXT_DUE_HERE = _NEXT_DUE.where(jobs.c.region.in_(sa.bindparam("regions", expanding=True)))
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


def claim(
    conn: sa.Connection,
    *,
    pools: Mapping[tuple[str, ...], int],
    worker: str,
    lease_ms: int,
    now: int,
    regions: Sequence[str] = (),
) -> list[Job]:
    """Lease due jobs to `worker`, oldest first.

    `pools` says for kinds that share slots how many of these are free. `regions` narrows it to a site; empty takes all.
    """
    pool_of = {kind: kinds for kinds in pools for kind in kinds}
    free = dict(pools)
    taken: list[Job] = []
    while wanted := sum(left for left in free.values() if left > 0):
        values: dict[str, Any] = {
            "kinds": [kind for kind, pool in pool_of.items() if free[pool] > 0],
            "now": now,
            "n": wanted,
        }
        if regions:
            values["regions"] = list(regions)
        candidates = conn.execute(_CANDIDATES_HERE if regions else _CANDIDATES, values).all()
        chosen: list[str] = []
        for id_, kind in candidates:
            if free[pool_of[kind]] > 0:
                free[pool_of[kind]] -= 1
                chosen.append(id_)
        if chosen:
            rows = conn.execute(_LEASE, {"ids": chosen, "worker": worker, "end": now + lease_ms}).mappings()
            taken.extend(sorted((job_of(row) for row in rows), key=lambda job: (job.due, job.id)))
        if len(candidates) < wanted:
            break
    return taken


def next_due(conn: sa.Connection, kinds: Iterable[str], *, regions: Sequence[str] = ()) -> int | None:
    """When the next ready job of these kinds falls due (perhaps long past); None without any."""
    if regions:
        return conn.execute(_NEXT_DUE_HERE, {"kinds": list(kinds), "regions": list(regions)}).scalar()
    return conn.execute(_NEXT_DUE, {"kinds": list(kinds)}).scalar()


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
