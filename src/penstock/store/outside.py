"""Jobs for those outside, such as the agents of hosts: offered by topic, taken with the nonce of the offer.

All functions run inside a transaction, and serve many topics with one statement each: a fleet asks, and answers, in the same second.
Times are milliseconds UTC.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from penstock.store.jobs import Job, JobState, job_of, outside, row_of
from penstock.store.records import LIVE, jobs
from penstock.store.rows import Rows
from penstock.store.statement import Statement, among, listed
from penstock.store.transaction import transaction_of

_NONCE_BYTES = 16


class Outside(NamedTuple):
    """A job for somebody outside, as it is made."""

    id: str
    kind: str
    payload: Mapping[str, Any]
    account: str
    region: str
    topic: str


def _next_of(dialect: str) -> sa.Executable:
    """The oldest due job of each topic of a list."""
    topics, waiting = listed(dialect, jobs.c.topic, "topics"), jobs.alias("waiting")
    c, now = waiting.c, sa.bindparam("now")
    oldest = (
        sa.select(waiting)
        .where(c.topic == topics, c.kind == sa.bindparam("k"), c.topic != sa.literal_column("''"))
        .where(c.state.in_([JobState.READY, JobState.OFFERED]), c.due <= now)
        .where((c.state == JobState.READY) | (c.until <= now))
        .order_by(c.due, c.id)
        .limit(1)
    )
    if dialect == "sqlite":
        found = sa.select(oldest.with_only_columns(c.id).scalar_subquery()).select_from(topics.table)
        return sa.select(jobs).where(jobs.c.id.in_(found))
    # Of a topic whose oldest job somebody else has locked, the next one.
    found = oldest.with_for_update(skip_locked=True).lateral("found")
    return sa.select(found).select_from(topics.table).join(found, sa.true())


_C, _NOW = jobs.c, sa.bindparam("now")
_WAITING = (
    sa.select(jobs)
    .where(_C.topic == sa.bindparam("topic"), _C.kind == sa.bindparam("k"), _C.topic != sa.literal_column("''"))
    .where(_C.state.in_([JobState.READY, JobState.OFFERED]), _C.due <= _NOW)
    .where((_C.state == JobState.READY) | (_C.until <= _NOW))
)
_WAITS = Statement(_WAITING.with_only_columns(_C.id).limit(1))
_SEVERAL = Statement(_WAITING.order_by(_C.due, _C.id).limit(sa.bindparam("n")).with_for_update(skip_locked=True))
_INSERT = Rows(
    jobs, "id", "kind", "topic", "account", "region", "payload", "state", "attempt", "failures", "due", "created"
)
_NEXT = Statement(_next_of)
_OFFER = Rows(jobs, "state", "attempt", "fence", "until", by=("id",))
_ACKNOWLEDGE = Statement(
    lambda dialect: (
        jobs.update()
        .where(among(dialect, jobs.c.id, "ids"))  # which has an index; the other one knows which belongs to which
        .where(among(dialect, jobs.c.id.concat(".").concat(jobs.c.fence), "offers"))
        .where(jobs.c.state.in_(LIVE))
        .values(state=JobState.LEASED, until=sa.bindparam("end"))
        .returning(*jobs.c)
    )
)


def enqueue_all(conn: sa.Connection, made: Sequence[Outside]) -> None:
    """`jobs.enqueue` for several jobs for outside workers, ready at once."""
    transaction = transaction_of(conn)
    _INSERT.write(conn, [row_of(transaction, dedup=None, **job._asdict()) for job in made])
    for job in made:
        transaction.topics[outside(job.kind, job.topic)] = None


def offer(conn: sa.Connection, *, kind: str, topics: Iterable[str], offer_ms: int, now: int) -> dict[str, Job]:
    """Offer each of some topics its oldest due job for `offer_ms`; by topic, with the nonce to acknowledge with.

    An offer nobody acknowledged in time is made again, with a new nonce.
    """
    given = {"topics": list(dict.fromkeys(topics)), "k": kind, "now": now}
    return {job.topic: job for job in _offer(conn, _NEXT.all(conn, given), offer_ms=offer_ms, now=now)}


def waits(conn: sa.Connection, *, kind: str, topic: str, now: int) -> bool:
    """Whether there is a job to offer."""
    return _WAITS.first(conn, {"topic": topic, "k": kind, "now": now}) is not None


def offer_several(conn: sa.Connection, *, kind: str, topic: str, most: int, offer_ms: int, now: int) -> list[Job]:
    """`offer` for one topic: up to `most` of its due jobs, the oldest first."""
    rows = _SEVERAL.all(conn, {"topic": topic, "k": kind, "now": now, "n": most})
    return _offer(conn, rows, offer_ms=offer_ms, now=now)


def _offer(conn: sa.Connection, rows: Sequence[Any], *, offer_ms: int, now: int) -> list[Job]:
    if not rows:
        return []
    nonces = secrets.token_hex(_NONCE_BYTES * len(rows))
    offers = [
        {
            "id": row.id,
            "state": JobState.OFFERED,
            "attempt": row.attempt + 1,
            "fence": nonces[2 * _NONCE_BYTES * place :][: 2 * _NONCE_BYTES],
            "until": now + offer_ms,
        }
        for place, row in enumerate(rows)
    ]
    _OFFER.write(conn, offers)
    return [job_of({**row._asdict(), **offer}) for row, offer in zip(rows, offers, strict=True)]


def acknowledge(
    conn: sa.Connection, offers: Iterable[tuple[str, str]], *, lease_ms: int | None, now: int
) -> dict[str, Job]:
    """Take offered jobs, each given by its id and the nonce of its offer, for `lease_ms` (None: until it is finished or cancelled).

    By id those that were taken: the others' nonce is not that of the newest offer. One that has run out counts until it is made
    again: under load an acknowledgement may wait longer than the offer lasts, and offering the job once more would only add to the
    load. Saying it again with the same nonce answers the job again (and renews the lease), since the first answer may have been lost
    on its way.
    """
    nonces = dict(offers)
    if not nonces:
        return {}
    given = {
        "ids": list(nonces),
        "offers": [f"{id}.{nonce}" for id, nonce in nonces.items()],
        "end": None if lease_ms is None else now + lease_ms,
    }
    return {row.id: job_of(row._asdict()) for row in _ACKNOWLEDGE.all(conn, given)}
