"""The job table: everything that is to be done at least once, by a worker of ours or by somebody outside.

    ready → offered → leased → done | cancelled | dead

A worker of ours (`store.work`) leases ready jobs by kind (`store.leases`). Who works outside (a host's agent, a custom action's job worker) is
offered jobs by topic and acknowledges with the nonce of the offer (`store.outside`). An offer or lease that runs out falls back to ready, and
what its former holder says afterwards is refused by the fence. All functions run inside a transaction; times are milliseconds UTC.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa

from penstock.store.ids import ordered_uuid
from penstock.store.records import LIVE, jobs
from penstock.store.statement import Statement, among
from penstock.store.transaction import Transaction, after_commit, transaction_of, wake
from penstock.store.upsert import insert

WORK = "jobs"
"""The topic that is woken when a job for workers of ours becomes ready."""


class JobState(StrEnum):
    """Where a job is in its life."""

    READY = "ready"  # to be handed out once due
    OFFERED = "offered"  # shown to somebody outside, who has not acknowledged yet
    LEASED = "leased"  # in somebody's hands
    DONE = "done"
    CANCELLED = "cancelled"  # nobody wants it any more
    DEAD = "dead"  # given up after too many failures; waits for an operator


class Fenced(Exception):
    """The lease of this job was lost: another has it, or it is over."""


@dataclass(slots=True)
class Hold:
    """What the holder of a job knows beside its row. Changed on the loop only, after the commit that it is about."""

    settled: bool = False  # the holder has ended the job
    handed: Any = None  # what its maker handed over with it; see `enqueue` and `withdraw`


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A row of the table."""

    id: str
    kind: str
    topic: str
    account: str
    region: str
    payload: dict[str, Any]
    state: JobState
    attempt: int  # how often it was handed out, this time included
    failures: int  # how often that went wrong
    fence: str  # of the newest offer (its nonce) or the present lease; "" when there is neither
    due: int
    until: int | None  # end of the offer or lease
    dedup: str | None
    error: str | None
    created: int
    ended: int | None
    hold: Hold = field(default_factory=Hold, compare=False, repr=False)

    @property
    def nonce(self) -> str:
        """What an outside worker acknowledges an offer with."""
        return self.fence


_LIVE = jobs.c.state.in_(LIVE)
_INSERT = Statement(jobs.insert())
_BY_ID = sa.select(jobs).where(jobs.c.id == sa.bindparam("i"))
_LOCK = Statement(sa.select(jobs.c.id).where(jobs.c.id == sa.bindparam("i")).with_for_update())
_HELD = (jobs.c.id == sa.bindparam("i")) & (jobs.c.state == JobState.LEASED) & (jobs.c.fence == sa.bindparam("f"))
_COMPLETE = Statement(jobs.update().where(_HELD).values(state=JobState.DONE, until=None, ended=sa.bindparam("now")))
_RETRY = (
    jobs.update()
    .where(_HELD)
    .values(
        state=JobState.READY,
        until=None,
        fence=None,
        due=sa.bindparam("at"),
        error=sa.bindparam("e"),
        failures=jobs.c.failures + sa.bindparam("counted"),
    )
)
_DEAD_LETTER = (
    jobs.update()
    .where(_HELD)
    .values(
        state=JobState.DEAD,
        until=None,
        error=sa.bindparam("e"),
        failures=jobs.c.failures + 1,
        ended=sa.bindparam("now"),
    )
)
_FINISH = Statement(
    jobs.update()
    .where(jobs.c.id == sa.bindparam("i"), _LIVE)
    .values(state=sa.bindparam("s"), until=None, ended=sa.bindparam("now"))
    .returning(jobs.c.id)
)
_FINISH_ALL = Statement(
    lambda dialect: (
        jobs.update()
        .where(among(dialect, jobs.c.id, "ids"), _LIVE)
        .values(state=JobState.DONE, until=None, ended=sa.bindparam("now"))
    )
)
_PUT_BACK = (
    jobs.update()
    .where(jobs.c.id == sa.bindparam("i"), _LIVE)
    .values(state=JobState.READY, until=None, fence=None, due=sa.bindparam("now"))
    .returning(jobs.c.kind, jobs.c.topic)
)
_CANCEL = Statement(
    jobs.update()
    .where(jobs.c.kind == sa.bindparam("k"), jobs.c.dedup == sa.bindparam("d"), jobs.c.dedup.is_not(None), _LIVE)
    .values(state=JobState.CANCELLED, until=None, ended=sa.bindparam("now"))
    .returning(jobs.c.id)
)


def enqueue(
    conn: sa.Connection,
    *,
    kind: str,
    payload: Mapping[str, Any],
    account: str,
    region: str,
    due: int | None = None,
    topic: str = "",
    dedup: str | None = None,
    id: str | None = None,
    handed: Any = None,
) -> str:
    """Put a job into the table; its id. It becomes ready at `due` (None: at once).

    `handed` is what its handler would read first, as this transaction leaves it. A worker of this process that takes the job with the
    COMMIT finds it in `Job.hold`, unless another decision of this process has withdrawn it by then; all others find None, and read.
    What other processes commit meanwhile is not noticed, as if the handler had read right after the COMMIT.

    While a job of the same `kind` and `dedup` is live, that one is kept as it is and its id returned. A job for somebody
    outside has a `topic`, by which it is offered; its waiters are woken through the topic of `outside(kind, topic)`.
    """
    transaction = transaction_of(conn)
    row = row_of(
        transaction,
        kind=kind,
        payload=payload,
        account=account,
        region=region,
        due=due,
        topic=topic,
        dedup=dedup,
        id=id,
    )
    dispatched = _dispatch(conn, transaction, row, handed)
    if dedup is None:
        _INSERT.later(conn, row)
        _wake_unless_dispatched(transaction, row, dispatched=dispatched)
        return row["id"]
    live = _INSERT_UNLESS_LIVE.first(conn, row)
    _settle_insert(transaction, row, live, dispatched=dispatched)
    return live.id


def withdraw(conn: sa.Connection, *, kind: str, **about: str) -> None:
    """What was handed over with jobs of `kind` whose payload has the members `about` is out of date once this transaction is durable."""
    dispatch = transaction_of(conn).dispatch
    if dispatch is not None:
        after_commit(conn, lambda: dispatch.withdraw(kind, about))


def enqueue_later(
    conn: sa.Connection, *, kind: str, payload: Mapping[str, Any], account: str, region: str, dedup: str
) -> None:
    """`enqueue` for callers that do not need the id: it is sent with the transaction's next statement, or with its COMMIT."""
    transaction = transaction_of(conn)
    row = row_of(transaction, kind=kind, payload=payload, account=account, region=region, dedup=dedup)
    dispatched = _dispatch(conn, transaction, row)

    def on_rows(rows: list[Any]) -> None:
        _settle_insert(transaction, row, _Live(*rows[0]), dispatched=dispatched)

    _INSERT_UNLESS_LIVE.later(conn, row, on_rows=on_rows)


def row_of(
    transaction: Transaction,
    *,
    kind: str,
    payload: Mapping[str, Any],
    account: str,
    region: str,
    dedup: str | None,
    due: int | None = None,
    topic: str = "",
    id: str | None = None,
) -> dict[str, Any]:
    """The row of a job that is being made. See `enqueue`."""
    now = transaction.clock.now()
    return {
        "id": id or ordered_uuid(),
        "kind": kind,
        "topic": topic,
        "account": account,
        "region": region,
        "payload": payload,
        "state": JobState.READY,
        "attempt": 0,
        "failures": 0,
        "fence": None,
        "due": now if due is None else due,
        "until": None,
        "dedup": dedup,
        "created": now,
    }


def _dispatch(conn: sa.Connection, transaction: Transaction, row: dict[str, Any], handed: Any = None) -> Job | None:
    """Lease the job to this process's own worker while it is made, which saves the transaction that would claim it.

    Not below a savepoint: after its rollback the worker would hold a job that does not exist.
    """
    dispatch = transaction.dispatch
    if dispatch is None or row["due"] > row["created"] or row["topic"] or conn.in_nested_transaction():
        return None
    worker = dispatch.reserve(row["kind"], row["region"])
    if worker is None:
        return None
    row.update(state=JobState.LEASED, attempt=1, fence=f"{worker}:1", until=row["created"] + dispatch.lease_ms)
    payload = orjson.loads(orjson.dumps(row["payload"]))
    dispatched = job_of({**row, "payload": payload, "error": None, "ended": None})
    dispatched.hold.handed = handed
    transaction.dispatched.append(dispatched)
    return dispatched


def _wake_unless_dispatched(transaction: Transaction, row: Mapping[str, Any], *, dispatched: Job | None) -> None:
    if dispatched is None:
        transaction.topics[taken_by(row["kind"], row["topic"])] = None


def _settle_insert(transaction: Transaction, row: Mapping[str, Any], live: _Live, *, dispatched: Job | None) -> None:
    """`live` is what is in the table now: the job of `row`, or the one that was there, locked until the transaction ends."""
    if live.id == row["id"]:
        _wake_unless_dispatched(transaction, row, dispatched=dispatched)
        return
    if live.state == JobState.READY:
        # A worker that claims meanwhile passes over the locked row.
        transaction.topics[taken_by(row["kind"], row["topic"])] = None
    if dispatched is not None and transaction.dispatch is not None:
        transaction.dispatch.release(dispatched.kind)
        transaction.dispatched.remove(dispatched)


class _Live(NamedTuple):
    id: str
    state: str


_INSERT_UNLESS_LIVE = Statement(
    lambda dialect: (
        insert(dialect, jobs)
        .on_conflict_do_update(
            index_elements=[jobs.c.kind, jobs.c.dedup],
            index_where=_LIVE & jobs.c.dedup.is_not(None),
            set_={"due": jobs.c.due},
        )
        .returning(jobs.c.id, jobs.c.state)
    )
)
"""Inserts a job, or locks the live one of its kind and dedup key; gives back the id and state of what is there."""


def outside(kind: str, topic: str) -> str:
    """The wake-up topic of those outside who are offered jobs of `kind` by `topic`."""
    return f"{kind}:{topic}"


def taken_by(kind: str, topic: str) -> str:
    """The wake-up topic of whoever takes a job: our workers are not woken for what is offered outside."""
    return outside(kind, topic) if topic else WORK


def get(conn: sa.Connection, id: str) -> Job | None:
    """A job by its id."""
    row = conn.execute(_BY_ID, {"i": id}).mappings().first()
    return None if row is None else job_of(row)


def lock(conn: sa.Connection, job: Job) -> None:
    """Lock a job's row with the transaction's next statement: before it is read whether anything is left for the job to do.

    Whoever adds to that locks the row too, by `enqueue_later`, and then finds either this job alive or makes one.
    """
    _LOCK.later(conn, {"i": job.id})


def complete(conn: sa.Connection, job: Job) -> None:
    """End a leased job well. When the lease was lost, the transaction raises Fenced at its next statement or its end."""
    transaction = transaction_of(conn)
    now = transaction.clock.now()
    _COMPLETE.later(conn, {"i": job.id, "f": job.fence, "now": now}, check=lambda rows: _settle(conn, job, rows))
    transaction.ended.append(job.kind)


def retry(conn: sa.Connection, job: Job, *, due: int, error: str | None = None, counts: bool = True) -> None:
    """Put a leased job back, to be handed out again at `due`. Raises Fenced when the lease was lost.

    `counts` says whether that was a failure, of which a kind has a limited number.
    """
    _settle(
        conn,
        job,
        conn.execute(_RETRY, {"i": job.id, "f": job.fence, "at": due, "e": error, "counted": int(counts)}).rowcount,
    )
    wake(conn, taken_by(job.kind, job.topic))


def dead_letter(conn: sa.Connection, job: Job, *, error: str) -> None:
    """Give a leased job up: it stays, dead, until an operator revives it. Raises Fenced when the lease was lost."""
    now = transaction_of(conn).clock.now()
    _settle(conn, job, conn.execute(_DEAD_LETTER, {"i": job.id, "f": job.fence, "e": error, "now": now}).rowcount)


def _settle(conn: sa.Connection, job: Job, rows: int) -> None:
    if rows != 1:
        raise Fenced(f"job {job.id} ({job.kind}) is no longer held under attempt {job.attempt}")
    hold = job.hold
    after_commit(conn, lambda: setattr(hold, "settled", True))


def finish(conn: sa.Connection, id: str) -> bool:
    """End a live job well whoever holds it; False when it was over already."""
    return _end(conn, id, JobState.DONE)


def finish_all(conn: sa.Connection, ids: Sequence[str]) -> None:
    """`finish` for several jobs, whatever they are."""
    if ids:
        _FINISH_ALL.later(conn, {"ids": list(ids), "now": transaction_of(conn).clock.now()})


def put_back(conn: sa.Connection, id: str) -> bool:
    """Make a live job ready at once whoever holds it, to be handed out again; False when it was over already."""
    now = transaction_of(conn).clock.now()
    row = conn.execute(_PUT_BACK, {"i": id, "now": now}).first()
    if row is None:
        return False
    wake(conn, taken_by(row.kind, row.topic))
    return True


def cancel_id(conn: sa.Connection, id: str) -> bool:
    """Cancel a live job; False when it was over already. Who works on it learns by being fenced off."""
    return _end(conn, id, JobState.CANCELLED)


def _end(conn: sa.Connection, id: str, state: JobState) -> bool:
    now = transaction_of(conn).clock.now()
    return _FINISH.first(conn, {"i": id, "s": state, "now": now}) is not None


def cancel(conn: sa.Connection, *, kind: str, dedup: str) -> bool:
    """Cancel the live job of `kind` and `dedup`, or False when it is missing."""
    now = transaction_of(conn).clock.now()
    return _CANCEL.first(conn, {"k": kind, "d": dedup, "now": now}) is not None


def job_of(row: Mapping[Any, Any]) -> Job:
    """A row as a Job."""
    return Job(
        id=row["id"],
        kind=row["kind"],
        topic=row["topic"],
        account=row["account"],
        region=row["region"],
        payload=row["payload"],
        state=JobState(row["state"]),
        attempt=row["attempt"],
        failures=row["failures"],
        fence=row["fence"] or "",
        due=row["due"],
        until=row["until"],
        dedup=row["dedup"],
        error=row["error"],
        created=row["created"],
        ended=row["ended"],
    )
