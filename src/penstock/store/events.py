"""Events: what happened, written in the transaction in which it did, and delivered to whoever subscribed.

The same transaction writes one delivery per subscription (`store.fanout`); the deliveries of one subscription and aggregate are handed
over in order, at least once, by one job.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import orjson
import sqlalchemy as sa

from penstock.loops import Loop
from penstock.store import fanout, jobs, metrics
from penstock.store.catalogue import EventType
from penstock.store.database import Store
from penstock.store.failpoints import failpoint
from penstock.store.fanout import DELIVER, Concerns
from penstock.store.jobs import Job
from penstock.store.records import deliveries, event_sequences, events, subscriptions
from penstock.store.statement import Statement
from penstock.store.transaction import after_commit, elsewhere, transaction_of
from penstock.store.upsert import insert, upsert
from penstock.store.work import Work, backoff_ms

_log = logging.getLogger("penstock.events")

EMITTED = "events"
"""The topic that is woken when an event was emitted."""

_BATCH = 200
_MAX_FAILURES = 20
_TAP_SIZE = 1000
_SEEN = 4096
_GAP_MS = 30_000  # a transaction that takes longer is not shown live


@dataclass(slots=True, kw_only=True)  # not frozen: each transition makes several, which would take three times as long
class Event:
    """Something that happened to an aggregate."""

    type: str  # dotted, such as codecommit.reference.updated
    account: str
    region: str
    aggregate: str  # such as deployment/d-ABCDEF123
    payload: dict[str, Any]
    actor: str = ""  # ARN of the caller who did it
    cause: str = ""  # id of the event or request that led to it
    correlation: str = ""  # shared by all that belongs to one run
    version: int = 1  # of the payload's schema
    id: str = ""
    sequence: int = 0  # within the aggregate, from 1
    at: int = 0  # ms UTC
    position: int = 0  # in the table; 0 for one that was not read from it


EventHandler = Callable[[Any, Event], Awaitable[None]]

_INSERT = Statement(
    events.insert().values(
        id=sa.bindparam("id"), sequence=fanout.SEQUENCE, at=sa.bindparam("at"), content=sa.bindparam("content")
    )
)
_NEXT = Statement(
    lambda dialect: (
        insert(dialect, event_sequences)
        .values(
            aggregate=sa.bindparam("aggregate"),
            account=sa.bindparam("account"),
            region=sa.bindparam("region"),
            sequence=sa.bindparam("n"),
            at=sa.bindparam("at"),
        )
        .on_conflict_do_update(
            index_elements=["aggregate", "account", "region"],
            set_={"sequence": event_sequences.c.sequence + sa.bindparam("n"), "at": sa.bindparam("at")},
        )
        .returning(event_sequences.c.sequence)
    )
)
_ORDERING_KEY = (
    (deliveries.c.subscription == sa.bindparam("s"))
    & (deliveries.c.aggregate == sa.bindparam("g"))
    & (deliveries.c.account == sa.bindparam("a"))
    & (deliveries.c.region == sa.bindparam("r"))
)
_HEAD = Statement(
    sa.select(events, deliveries.c.failures)
    .join(deliveries, deliveries.c.position == events.c.position)
    .where(_ORDERING_KEY, deliveries.c.state == "pending")
    .order_by(deliveries.c.sequence)
    .limit(1)
)
_DELIVERED = Statement(deliveries.delete().where(_ORDERING_KEY, deliveries.c.sequence == sa.bindparam("n")))


def emit(conn: sa.Connection, event: Event, *, now: int, id: str) -> None:
    """Let an event be written with this transaction.

    All of a transaction's events are written together as its last statements, where they get their sequence. The event is the
    transaction's from here on.
    """
    transaction = transaction_of(conn)
    transaction.subscribers.catalogue.check(event.type, event.aggregate, event.version)
    # Subscribers of this process see what those of others read: JSON. A member of an enumeration is not of the type of a text.
    event.payload = orjson.loads(orjson.dumps(event.payload))
    event.id, event.at = id, now
    transaction.emitted.append(event)
    transaction.topics[EMITTED] = None
    transaction.finishing = _write


def _write(conn: sa.Connection) -> None:
    emitted = transaction_of(conn).emitted
    ordering_keys: dict[tuple[str, str, str], list[int]] = {}
    for place, event in enumerate(emitted):
        ordering_keys.setdefault((event.aggregate, event.account, event.region), []).append(place)
    back = {place: back for places in ordering_keys.values() for back, place in enumerate(reversed(places))}
    # In one order everywhere, so that two transactions never wait for each other's counters.
    for (aggregate, account, region), places in sorted(ordering_keys.items()):

        def number(rows: list[Any], places: list[int] = places) -> None:
            for sequence, place in enumerate(places, rows[0][0] - len(places) + 1):
                emitted[place].sequence = sequence

        last = max(emitted[place].at for place in places)
        where = {"aggregate": aggregate, "account": account, "region": region, "n": len(places), "at": last}
        _NEXT.later(conn, where, on_rows=number)
    owed: fanout.Owed = {}
    for place, event in enumerate(tuple(emitted)):
        ordering_key = {"g": event.aggregate, "a": event.account, "r": event.region}
        row = {"id": event.id, "at": event.at, "content": _content(event)}
        _INSERT.later(conn, {**row, **ordering_key, "back": back[place]})
        owed |= fanout.write(conn, event, back[place])
    if len(emitted) > len(back):
        raise RuntimeError("`concerns` of a subscription has emitted an event; it only reads")
    fanout.hand_over(conn, owed)


def _content(event: Event) -> list[Any]:
    # What the payload names already, such as the run that it belongs to, takes next to nothing behind it.
    about = [event.aggregate, event.actor, event.cause, event.correlation, event.version]
    return [event.payload, *about, event.type, event.account, event.region]


def after(conn: sa.Connection, position: int, *, limit: int = 500) -> list[Event]:
    """What stands after a position, in order. A transaction still under way may fill in an earlier one later."""
    rows = conn.execute(sa.select(events).where(events.c.position > position).order_by(events.c.position).limit(limit))
    return [event_of(row) for row in rows]


def event_of(row: Any) -> Event:
    """A row as an Event."""
    payload, aggregate, actor, cause, correlation, version, type, account, region = row.content
    return Event(
        type=type,
        account=account,
        region=region,
        aggregate=aggregate,
        payload=payload,
        actor=actor,
        cause=cause,
        correlation=correlation,
        version=version,
        id=row.id,
        sequence=row.sequence,
        at=row.at,
        position=row.position,
    )


class Events:
    """The subscriptions and taps of this process."""

    def __init__(self, store: Store, work: Work, *, poll_ms: int = 2_000) -> None:
        self._store = store
        self._poll_ms = poll_ms
        self._handlers: dict[str, EventHandler] = {}
        self._types: dict[str, tuple[str, ...]] = {}
        self._taps: set[asyncio.Queue[Event]] = set()
        self._tapping = asyncio.Lock()
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._loops: list[Loop] = []
        self._last = 0  # the position up to which the taps have been fed with what other processes emit
        self._gaps: dict[int, int] = {}  # positions that were not there yet when later ones were → when to give them up
        work.handler(DELIVER)(self._deliver)

    def declare(self, type: EventType) -> None:
        """Let events of a type be emitted."""
        self._store.subscribers.catalogue.declare(type)

    def type(self, name: str) -> EventType:
        """The declaration of a type."""
        return self._store.subscribers.catalogue.of(name)

    def subscribe(
        self, name: str, types: Sequence[str], handler: EventHandler, *, concerns: Concerns | None = None
    ) -> None:
        """Hand every event of `types` (exact, "prefix.*", or "*") to `async def handler(app, event)`.

        Durable, at least once, in order per aggregate. `name` is the subscription's identity for ever: what was emitted while
        no process was up is delivered later. An event whose handler fails 20 times is set aside, and the next one's turn comes.
        `concerns(conn, event)` is asked in the event's own transaction; where it says no, there is nothing to deliver.
        """
        if name in self._handlers:
            raise ValueError(f"two subscriptions are named {name}")
        self._handlers[name] = handler
        self._types[name] = tuple(types)
        if concerns is not None:
            self._store.subscribers.concerns[name] = concerns

    async def start(self) -> None:
        """Make the subscriptions known, and begin to follow what other processes emit."""
        await self._store.write(self._declare)
        self._store.taps.add(self._publish)
        if self._store.dialect == "postgresql":
            elsewhere_emitted = self._store.wakeup(elsewhere(EMITTED))  # made before anybody can tap
            self._loops.append(
                self._store.loops.start(
                    "events.follow", self._follow, lambda: elsewhere_emitted.wait(self._poll_ms / 1000)
                )
            )

    async def stop(self) -> None:
        """Stop following."""
        self._store.taps.discard(self._publish)
        for loop in self._loops:
            await self._store.loops.stop(loop)
        self._loops = []

    @asynccontextmanager
    async def tap(self) -> AsyncGenerator[asyncio.Queue[Event]]:
        """Events as they are committed, from now on. Lossy: who falls 1,000 behind loses the oldest."""
        queue: asyncio.Queue[Event] = asyncio.Queue(_TAP_SIZE)
        async with self._tapping:
            if not self._taps and self._store.dialect == "postgresql":
                self._last, missing = await self._store.read(_beginning)
                self._gaps = dict.fromkeys(missing, self._store.clock.now() + _GAP_MS)
            self._taps.add(queue)
        try:
            yield queue
        finally:
            self._taps.discard(queue)

    def _declare(self, conn: sa.Connection) -> None:
        now = self._store.clock.now()
        for name, types in sorted(self._types.items()):
            on_rows = {"types": list(types)}
            upsert(conn, subscriptions, {"name": name, "since": now, **on_rows}, on_rows)
        after_commit(conn, self._store.subscribers.reread)

    # --- delivering -------------------------------------------------------------------------------------------------

    async def _deliver(self, app: Any, job: Job) -> None:
        subscription: str = job.payload["subscription"]
        handler = self._handlers.get(subscription)
        if handler is None:
            metrics.DELIVERIES(subscription, "unknown").inc()
            due = self._store.clock.now() + 60_000
            await self._store.write(
                jobs.retry, job, due=due, error="no such subscription in this process", counts=False
            )
            return
        head = await self._store.read(_head, job.payload)
        if head is None:
            head = await self._store.write(self._advance, job, None)
        while head is not None:
            event, failures = head
            try:
                await handler(app, self._present(event))
            except Exception as error:  # noqa: BLE001 - a handler may fail with anything; its event must not be lost
                _log.warning(
                    "events.delivery_failed", exc_info=True, extra={"subscription": subscription, "event_id": event.id}
                )
                metrics.DELIVERIES(subscription, "failed").inc()
                message = f"{type(error).__name__}: {error}"
                await self._store.write(self._set_back, job, event, failures=failures + 1, error=message)
                return
            failpoint("events.after_delivery")
            metrics.DELIVERIES(subscription, "delivered").inc()
            metrics.DELIVERY_SECONDS(subscription).observe(max(0, self._store.clock.now() - event.at) / 1000)
            head = await self._store.write(self._advance, job, event)

    def _present(self, event: Event) -> Event:
        """The event with its payload in this release's form: an earlier release may have emitted it. Raises UnknownForm."""
        payload = self._store.subscribers.catalogue.present(event.type, event.payload, event.version)
        return event if payload is event.payload else replace(event, payload=payload)

    def _advance(self, conn: sa.Connection, job: Job, delivered: Event | None) -> tuple[Event, int] | None:
        """Strike a delivery off; returns the next of its ordering key. Without one, the job is done.

        The job's row is locked before the ordering key is read, as an emitting transaction does, so that a delivery it adds meanwhile
        finds either this job alive or makes one.
        """
        jobs.lock(conn, job)
        if delivered is not None:
            _DELIVERED.later(conn, {**_ordering_key(job.payload), "n": delivered.sequence})
        head = _head(conn, job.payload)
        if head is None:
            jobs.complete(conn, job)
        return head

    def _set_back(self, conn: sa.Connection, job: Job, event: Event, *, failures: int, error: str) -> None:
        dead = failures >= _MAX_FAILURES
        conn.execute(
            deliveries.update()
            .where(_ORDERING_KEY, deliveries.c.sequence == sa.bindparam("n"))
            .values(failures=failures, error=error, state="dead" if dead else "pending"),
            {**_ordering_key(job.payload), "n": event.sequence},
        )
        due = self._store.clock.now() + (0 if dead else backoff_ms(failures, job.id))
        jobs.retry(conn, job, due=due, error=error, counts=False)
        if dead:
            metrics.DELIVERIES(job.payload["subscription"], "dead").inc()
            _log.error(
                "events.delivery_dead", extra={"subscription": job.payload["subscription"], "event_id": event.id}
            )

    # --- live -------------------------------------------------------------------------------------------------------

    def _publish(self, event: Event) -> None:
        self._seen[event.id] = None
        if len(self._seen) > _SEEN:
            self._seen.popitem(last=False)
        for queue in self._taps:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(event)

    async def _follow(self) -> None:
        """Feed the taps with what other processes emit."""
        full = True
        while full:
            if not self._taps:
                self._gaps = {}  # nobody looks; the next tap reads where it begins
                return
            fresh = await self._store.read(_fresh, self._last, sorted(self._gaps))
            full = len(fresh) == _TAP_SIZE
            now = self._store.clock.now()
            for event in fresh:
                if event.position > self._last:
                    missing = range(max(self._last + 1, event.position - _BATCH), event.position)
                    self._gaps.update(dict.fromkeys(missing, now + _GAP_MS))
                    self._last = event.position
                self._gaps.pop(event.position, None)
                if event.id not in self._seen:
                    self._publish(event)
            self._gaps = {position: end for position, end in self._gaps.items() if end > now}


def _fresh(conn: sa.Connection, last: int, gaps: list[int]) -> list[Event]:
    rows = conn.execute(
        sa.select(events)
        .where((events.c.position > last) | events.c.position.in_(gaps))
        .order_by(events.c.position)
        .limit(_TAP_SIZE)
    )
    return [event_of(row) for row in rows]


def _beginning(conn: sa.Connection) -> tuple[int, set[int]]:
    """The last position, and those shortly before it that are not there: a transaction under way may fill them in."""
    newest = sa.select(events.c.position).order_by(events.c.position.desc()).limit(_BATCH)
    there = conn.execute(newest).scalars().all()
    last = max(there, default=0)
    return last, set(range(max(1, last - _BATCH), last)) - set(there)


def _ordering_key(payload: dict[str, Any]) -> dict[str, Any]:
    return {"s": payload["subscription"], "g": payload["aggregate"], "a": payload["account"], "r": payload["region"]}


def _head(conn: sa.Connection, payload: dict[str, Any]) -> tuple[Event, int] | None:
    row = _HEAD.first(conn, _ordering_key(payload))
    return None if row is None else (event_of(row), row.failures)
