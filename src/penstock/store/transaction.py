"""What belongs to one transaction beside its statements: whom to wake and what to run once it is durable."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import sqlalchemy as sa

from penstock.store.clock import Clock

if TYPE_CHECKING:
    from penstock.store.fanout import Subscribers

EVERY = "*"
"""The hint that wakes every topic: sent after a lost connection, or when a list of topics is too long."""

_KEY = "penstock.transaction"


class LocalDispatch(Protocol):
    """A worker of this process that may take a job over in the transaction that makes it."""

    lease_ms: int

    def refill(self, conn: sa.Connection, ended: Sequence[str]) -> None:
        """Lease jobs, with the last statements of a transaction, for the slots of the jobs that it ends."""
        ...

    def reserve(self, kind: str, region: str) -> str | None:
        """Keep a slot free; the worker's name, or None when it cannot take the job now. From any thread."""
        ...

    def accept(self, job: Any) -> None:
        """The transaction is durable: run the job. On the loop."""
        ...

    def release(self, kind: str) -> None:
        """The transaction was rolled back: the slot is free again. From any thread."""
        ...

    def withdraw(self, kind: str, about: Mapping[str, str]) -> None:
        """See `jobs.withdraw`. On the loop."""
        ...


@dataclass(frozen=True, slots=True)
class Later:
    """A write that was put off; see penstock.store.statement."""

    text: bytes
    values: list[Any]  # in the order of the text's marks
    check: Callable[[int], None] | None  # called with the number of rows it touched, before the COMMIT
    on_rows: Callable[[list[Any]], None] | None  # called with the rows that it returns


class Transaction:
    """Collected while a transaction function runs; acted upon only after its COMMIT is durable."""

    __slots__ = (
        "clock",
        "dispatch",
        "dispatched",
        "emitted",
        "ended",
        "finishing",
        "hooks",
        "subscribers",
        "topics",
        "waiting",
    )

    def __init__(self, clock: Clock, subscribers: Subscribers, dispatch: LocalDispatch | None = None) -> None:
        self.clock = clock
        self.subscribers = subscribers
        self.dispatch = dispatch
        self.dispatched: list[
            Any
        ] = []  # jobs that this process leased while it made them, or in place of those that ended
        self.ended: list[str] = []  # kinds of the jobs that it ended
        self.topics: dict[str, None] = {}
        self.hooks: list[Callable[[], object]] = []
        self.emitted: list[Any] = []  # events, written together at the end, and then for the live taps of this process
        self.finishing: Callable[[sa.Connection], None] | None = None  # its last statements
        self.waiting: list[Later] = []  # writes to be sent with the next statement, or with the COMMIT

    def finish(self, conn: sa.Connection) -> None:
        """Run what was left for the end of the transaction."""
        if self.finishing is not None:
            self.finishing(conn)
        if self.ended and self.dispatch is not None:
            self.dispatch.refill(conn, self.ended)

    def abandon(self) -> None:
        """Forget what was collected, since the transaction was rolled back."""
        for job in self.dispatched:
            if self.dispatch is not None:
                self.dispatch.release(job.kind)
        self.dispatched.clear()
        self.ended.clear()
        self.topics.clear()
        self.hooks.clear()
        self.emitted.clear()
        self.finishing = None
        self.waiting.clear()


def bind(conn: sa.Connection, transaction: Transaction | None) -> None:
    """Make `transaction` the one that `wake` and `after_commit` find on `conn`."""
    conn.info[_KEY] = transaction


def transaction_of(conn: sa.Connection) -> Transaction:
    """The transaction that runs on `conn`. Raises RuntimeError outside of Store.write."""
    transaction = conn.info.get(_KEY)
    if transaction is None:
        raise RuntimeError("this needs a transaction: call it from a function that runs in Store.write")
    return transaction


def waiting_on(conn: sa.Connection) -> list[Later]:
    """The writes that were put off on `conn`; empty outside of a transaction."""
    transaction = conn.info.get(_KEY)
    return [] if transaction is None else transaction.waiting


def wake(conn: sa.Connection, topic: str) -> None:
    """Wake who waits for `topic`, in every process, once this transaction is durable."""
    transaction_of(conn).topics[topic] = None


def elsewhere(topic: str) -> str:
    """The topic that is woken when another process has woken `topic`, and not by this one's own."""
    return f"{topic}@elsewhere"


def after_commit(conn: sa.Connection, fn: Callable[[], object]) -> None:
    """Run `fn()` on the loop of this process once this transaction is durable; never when it rolls back."""
    transaction_of(conn).hooks.append(fn)


class Wakeup:
    """A latch for one topic: a wake that comes between two waits is not lost.

    Make it first, then look into the store, then wait. It needs no closing.
    """

    __slots__ = ("__weakref__", "_set", "_waiters")

    def __init__(self) -> None:
        self._set = False
        self._waiters: list[asyncio.Future[None]] = []

    def set(self) -> None:
        """Wake. On the loop only."""
        self._set = True
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    def taken(self) -> bool:
        """Whether it was woken since the last wait or the last time this was asked; does not wait."""
        woken, self._set = self._set, False
        return woken

    async def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for a wake since the last wait returned: True when woken, False after `timeout_s` seconds."""
        if not self._set:
            loop = asyncio.get_running_loop()
            waiter = loop.create_future()
            self._waiters.append(waiter)
            alarm = None if timeout_s is None else loop.call_later(timeout_s, _resolve, waiter)
            try:
                await waiter
            finally:
                self._waiters.remove(waiter)
                if alarm is not None:
                    alarm.cancel()
        woken, self._set = self._set, False
        return woken


def _resolve(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


class Wakeups:
    """Who waits in this process, by topic."""

    def __init__(self) -> None:
        # Thousands of hosts wait, each for a topic of its own: a WeakSet for each would weigh more than all the rest.
        self._by_topic: dict[str, tuple[weakref.ref[Wakeup], ...]] = {}

    def wakeup(self, topic: str) -> Wakeup:
        """A new latch for `topic`; forgotten when nobody holds it."""
        wakeup = Wakeup()
        known = self._by_topic.get(topic, ())
        self._by_topic[topic] = (*(one for one in known if one() is not None), weakref.ref(wakeup))
        if not known and len(self._by_topic) % 1024 == 0:
            self._by_topic = {name: held for name, held in self._by_topic.items() if any(one() for one in held)}
        return wakeup

    def signal(self, topic: str) -> None:
        """Wake one topic, or all of them for EVERY. On the loop only."""
        if topic == EVERY:
            for name in tuple(self._by_topic):
                self.signal(name)
            return
        held = self._by_topic.get(topic, ())
        waiting = [wakeup for one in held if (wakeup := one()) is not None]
        for wakeup in waiting:
            wakeup.set()
        if held and not waiting:
            del self._by_topic[topic]
