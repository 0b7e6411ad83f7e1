"""Statements of deliveries, of what rules have started, and of dead letters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from penstock.events.records import Place, causes, dead_letters, deliveries, envelopes, targets
from penstock.store.statement import Statement
from penstock.store.transaction import transaction_of
from penstock.store.upsert import insert, upsert

_HOUR_MS = 3_600_000


class New(NamedTuple):
    """A delivery that is to be written."""

    id: str
    place: Place
    bus: str
    rule: str
    target: str
    ordering: str
    event: str
    hops: int
    kind: str  # of the job that hands it over


class About(NamedTuple):
    """What a delivery needs: the target as it is now, and the event's JSON."""

    target: Any
    body: str


_HEAD = Statement(
    sa.select(deliveries)
    .where(deliveries.c.ordering == sa.bindparam("o"), deliveries.c.state == "pending")
    .order_by(deliveries.c.id)
    .limit(1)
)


def add_envelope(conn: sa.Connection, id: str, now: int, body: str) -> None:
    """Keep an event; one that is there stays."""
    upsert(conn, envelopes, {"id": id, "at": now, "body": body})


def add(conn: sa.Connection, new: Sequence[New], now: int) -> None:
    """Write deliveries."""
    rows = [
        {
            "id": one.id,
            "account": one.place[0],
            "region": one.place[1],
            "bus": one.bus,
            "rule": one.rule,
            "target": one.target,
            "ordering": one.ordering,
            "event": one.event,
            "state": "pending",
            "attempts": 0,
            "hops": one.hops,
            "since": now,
        }
        for one in new
    ]
    conn.execute(deliveries.insert(), rows)


def head(conn: sa.Connection, ordering: str) -> Any:
    """The delivery whose turn it is, or None."""
    return _HEAD.first(conn, {"o": ordering})


def find(conn: sa.Connection, id: str) -> Any:
    """A delivery, or None."""
    return conn.execute(sa.select(deliveries).where(deliveries.c.id == id)).first()


def about(conn: sa.Connection, row: Any) -> About | None:
    """What a delivery needs; None when its target is gone."""
    c = targets.c
    this = sa.and_(
        c.account == row.account, c.region == row.region, c.bus == row.bus, c.rule == row.rule, c.id == row.target
    )
    target = conn.execute(sa.select(c.content).where(this)).scalar_one_or_none()
    body = conn.execute(sa.select(envelopes.c.body).where(envelopes.c.id == row.event)).scalar_one_or_none()
    return None if target is None or body is None else About(target, body)


def count_waiting(conn: sa.Connection, place: Place, most: int) -> int:
    """How many deliveries of a place wait for their turn, counted up to `most`."""
    c = deliveries.c
    these = sa.select(c.id).where(c.account == place[0], c.region == place[1], c.state == "pending").limit(most)
    return conn.execute(sa.select(sa.func.count()).select_from(these.subquery())).scalar_one()


def now_of(conn: sa.Connection) -> int:
    """The time of a transaction, in ms."""
    return transaction_of(conn).clock.now()


def count_attempt(conn: sa.Connection, id: str) -> None:
    """Note that an attempt failed."""
    conn.execute(deliveries.update().where(deliveries.c.id == id).values(attempts=deliveries.c.attempts + 1))


def step_aside(conn: sa.Connection, id: str) -> None:
    """Let those behind a delivery pass."""
    conn.execute(deliveries.update().where(deliveries.c.id == id).values(state="aside"))


def remove(conn: sa.Connection, id: str) -> None:
    """Forget a delivery: it is done, or nothing will come of it."""
    conn.execute(deliveries.delete().where(deliveries.c.id == id))


# --- what rules have started --------------------------------------------------------------------------------------------


def cause(conn: sa.Connection, place: Place, subject: str, hops: int) -> None:
    """Note that something was started by a rule, and how many rules led to that."""
    now = transaction_of(conn).clock.now()
    row = {"account": place[0], "region": place[1], "subject": subject[:600], "hops": hops, "at": now}
    statement = insert(conn.dialect.name, causes).values(**row)
    # What was started last counts; the same thing again keeps the longer way to it.
    longest = sa.case((causes.c.at < now - _HOUR_MS, hops), (causes.c.hops > hops, causes.c.hops), else_=hops)
    key = ["account", "region", "subject"]
    conn.execute(statement.on_conflict_do_update(index_elements=key, set_={"hops": longest, "at": now}))


def hops(conn: sa.Connection, place: Place, subject: str, *, since: int = 0) -> int:
    """How many rules led to something; 0 for what no rule has started since a moment."""
    c = causes.c
    found = sa.select(c.hops).where(
        c.account == place[0], c.region == place[1], c.subject == subject[:600], c.at >= since
    )
    return conn.execute(found).scalar_one_or_none() or 0


# --- dead letters -------------------------------------------------------------------------------------------------------


def dead_letter(conn: sa.Connection, row: Any, about: About, *, code: str, message: str, exhausted: str | None) -> None:
    """Keep what could not be delivered."""
    letter = {
        "id": row.id,
        "account": row.account,
        "region": row.region,
        "at": transaction_of(conn).clock.now(),
        "bus": row.bus,
        "rule": row.rule,
        "target": row.target,
        "arn": about.target["Arn"],
        "queue": about.target.get("DeadLetterConfig", {}).get("Arn"),
        "event": row.event,
        "body": about.body,
        "code": code,
        "message": message[:4_096],
        "exhausted": exhausted,
        "attempts": row.attempts,
        "hops": row.hops,
    }
    upsert(conn, dead_letters, letter)


def letter_of_invocation(
    conn: sa.Connection, row: Any, *, schedule: str, code: str, message: str, exhausted: str | None
) -> None:
    """Keep what a schedule could not ask. Its input stays with the invocation."""
    letter = {
        "id": row.id,
        "account": row.account,
        "region": row.region,
        "at": transaction_of(conn).clock.now(),
        "bus": "",
        "rule": "",
        "target": "",
        "arn": row.target["Arn"],
        "queue": row.target.get("DeadLetterConfig", {}).get("Arn"),
        "event": row.id,
        "body": "",
        "code": code,
        "message": message[:4_096],
        "exhausted": exhausted,
        "attempts": row.attempts,
        "hops": 0,
        "schedule": schedule,
    }
    upsert(conn, dead_letters, letter)


def letters(conn: sa.Connection, place: Place, *, after: tuple[int, str] | None, limit: int) -> list[Any]:
    """Dead letters of a place, the latest first."""
    c = dead_letters.c
    found = sa.select(dead_letters).where(c.account == place[0], c.region == place[1])
    if after is not None:
        found = found.where(sa.tuple_(c.at, c.id) < sa.tuple_(*map(sa.literal, after)))
    return list(conn.execute(found.order_by(c.at.desc(), c.id.desc()).limit(limit)).all())


def letter(conn: sa.Connection, place: Place, id: str, *, locked: bool = False) -> Any:
    """A dead letter of a place, or None. One that is to be delivered again or removed is locked: of two who ask, one finds it."""
    c = dead_letters.c
    this = sa.select(dead_letters).where(c.id == id, c.account == place[0], c.region == place[1])
    return conn.execute(this.with_for_update() if locked else this).first()


def remove_letter(conn: sa.Connection, id: str) -> None:
    """Forget a dead letter."""
    conn.execute(dead_letters.delete().where(dead_letters.c.id == id))
