"""Fan-out: a delivery for each subscription that an event concerns, written in the event's own transaction.

The deliveries of one subscription and aggregate are handed over by one job, which is made when no live one is there. Its row is locked by
whoever adds a delivery and by whoever ends the job, so that no delivery is left without a job.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from penstock.store import jobs, metrics
from penstock.store.catalogue import Catalogue
from penstock.store.records import deliveries, event_sequences, events, subscriptions
from penstock.store.statement import Statement
from penstock.store.transaction import transaction_of

if TYPE_CHECKING:
    from penstock.store.events import Event

DELIVER = "events.deliver"
"""The kind of the jobs that hand events over."""

Concerns = Callable[[sa.Connection, Any], bool]
"""Asked within the event's transaction whether a subscription needs it. Few rows by key, since every such event pays for it."""

_REREAD_S = 2.0  # until a subscription of another process is noticed
SEQUENCE = sa.select(event_sequences.c.sequence).where(
    event_sequences.c.aggregate == sa.bindparam("g"),
    event_sequences.c.account == sa.bindparam("a"),
    event_sequences.c.region == sa.bindparam("r"),
).scalar_subquery() - sa.bindparam("back")
"""An event's sequence: its aggregate was counted by a statement before, and `back` of that transaction's events came after it."""

_SUBSCRIBED = Statement(sa.select(subscriptions.c.name, subscriptions.c.types).order_by(subscriptions.c.name))


def _written(dialect: str) -> sa.ColumnElement[int]:
    """The position of the event that this transaction wrote last."""
    if dialect == "sqlite":
        return sa.select(sa.func.max(events.c.position)).scalar_subquery()
    return sa.func.currval(sa.literal_column("'events_position_seq'"))


_INSERT = Statement(
    lambda dialect: deliveries.insert().values(
        subscription=sa.bindparam("s"),
        aggregate=sa.bindparam("g"),
        account=sa.bindparam("a"),
        region=sa.bindparam("r"),
        sequence=SEQUENCE,
        position=_written(dialect),
        state="pending",
        failures=0,
    )
)

Owed = dict[str, dict[str, Any]]
"""Ordering keys with a delivery, each by its text."""


def matches(types: Sequence[str], type: str) -> bool:
    """Whether a type is among names and prefixes (`codebuild.*`, or `*` for all)."""
    return any(type.startswith(name[:-1]) if name.endswith("*") else type == name for name in types)


class Subscribers:
    """The subscriptions of all processes, as this one knows them, and the filters of its own."""

    def __init__(self) -> None:
        self.catalogue = Catalogue()
        self.concerns: dict[str, Concerns] = {}
        self._known: list[Any] = []
        self._reread = 0.0  # of the monotonic clock

    def reread(self) -> None:
        """Read them anew at the next event."""
        self._reread = 0.0

    def of(self, conn: sa.Connection, event: Event) -> list[str]:
        """The names of the subscriptions that an event concerns."""
        now = time.monotonic()
        if now >= self._reread:
            self._known = _SUBSCRIBED.all(conn, {})
            self._reread = now + _REREAD_S
        wanted: list[str] = []
        for name, types in self._known:
            if matches(types, event.type):
                concerns = self.concerns.get(name)
                if concerns is None or concerns(conn, event):
                    wanted.append(name)
        return wanted


def write(conn: sa.Connection, event: Event, back: int) -> Owed:
    """Write the deliveries of the event that was written last, and that `back` of its aggregate come after in this transaction."""
    owed: Owed = {}
    for name in transaction_of(conn).subscribers.of(conn, event):
        where = {"s": name, "g": event.aggregate, "a": event.account, "r": event.region}
        _INSERT.later(conn, {**where, "back": back})
        ordering_key = {
            "subscription": name,
            "aggregate": event.aggregate,
            "account": event.account,
            "region": event.region,
        }
        owed["|".join(ordering_key.values())] = ordering_key
    metrics.EVENTS_EMITTED(event.type).inc()
    return owed


def hand_over(conn: sa.Connection, owed: Owed) -> None:
    """Make the jobs that hand deliveries over."""
    # In one order everywhere, so that two transactions never wait for each other's jobs.
    for key, ordering_key in sorted(owed.items()):
        jobs.enqueue_later(
            conn,
            kind=DELIVER,
            payload=ordering_key,
            account=ordering_key["account"],
            region=ordering_key["region"],
            dedup=key[:512],
        )
