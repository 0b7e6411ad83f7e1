"""The Store: transactions, reads and wake-ups over SQLite or PostgreSQL, from one asyncio loop.

A transaction is a plain function `def tx(conn, …)` with SQLAlchemy Core statements. It runs on a thread (SQLite) or on a fiber of the
loop (PostgreSQL, `store.fibers`): it must not wait for anything but the database. It may be run again from its beginning after a deadlock
or a broken connection: what it does outside the database goes into `after_commit`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

import sqlalchemy as sa
from sqlalchemy import exc

from penstock.loops import Loops
from penstock.pools import SCANS
from penstock.store import metrics
from penstock.store.backend import Backend, Outcome, Write
from penstock.store.clock import Clock
from penstock.store.errors import (
    SchemaMismatch,
    StoreBusy,
    StoreClosed,
    StoreDamaged,
    StoreError,
    StoreFull,
    StoreInUse,
    StoreUnavailable,
    explain,
    raise_explained,
)
from penstock.store.fanout import Subscribers
from penstock.store.sqlite import SqliteBackend
from penstock.store.statement import Statement
from penstock.store.transaction import LocalDispatch, Transaction, Wakeup, Wakeups, after_commit, wake

__all__ = [
    "SchemaMismatch",
    "Statement",
    "Store",
    "StoreBusy",
    "StoreClosed",
    "StoreDamaged",
    "StoreError",
    "StoreFull",
    "StoreInUse",
    "StoreUnavailable",
    "Wakeup",
    "after_commit",
    "wake",
]

_log = logging.getLogger("penstock.store")
P = ParamSpec("P")
T = TypeVar("T")

CONNECTIONS = 6
"""How many transactions and reads PostgreSQL is asked for at a time."""

PROCESS_CONNECTIONS = CONNECTIONS + SCANS.threads + 2
"""How many connections to PostgreSQL a process has at most: of hints one sends and one listens."""


class Store:
    """An open database. Belongs to the loop it was opened on."""

    def __init__(
        self, backend: Backend, clock: Clock, wakeups: Wakeups, taps: set[Callable[[Any], None]], loops: Loops
    ) -> None:
        self._backend = backend
        self.loops = loops  # the background loops of this process
        self.taps = taps  # called on the loop with each event that a commit of this process made known
        self._wakeups = wakeups
        self.clock = clock
        self.subscribers = Subscribers()
        self.dispatch: LocalDispatch | None = None  # the worker of this process, while it runs
        self.dialect: str = backend.dialect

    @classmethod
    async def open(cls, url: str, *, clock: Clock, notify: bool = True, connections: int = CONNECTIONS) -> Store:
        """Open `sqlite:////path` or `postgresql://user:password@host/database`.

        `notify` is about PostgreSQL: whether commits send and this process receives NOTIFY; without, only the slow query
        finds another process's work. `connections` is how many transactions
        and reads PostgreSQL is asked for at a time, beside two scans. Raises StoreInUse when another
        process has the SQLite file, StoreUnavailable when the server does not answer.
        """
        parsed = sa.make_url(url)
        wakeups, loops = Wakeups(), Loops()
        taps: set[Callable[[Any], None]] = set()

        def deliver(outcomes: list[Outcome]) -> None:
            _deliver(wakeups, taps, outcomes)

        backend: Backend
        match parsed.get_backend_name():
            case "sqlite":
                try:
                    backend = SqliteBackend(parsed, deliver)
                except exc.DBAPIError as error:
                    raise_explained(error)
            case "postgresql" | "postgres":
                # With its driver: a tenth of the start of a server that has SQLite.
                from penstock.store.postgresql import PostgresqlBackend  # noqa: PLC0415

                backend = PostgresqlBackend(
                    parsed, deliver, wakeups.signal, loops, notify=notify, connections=connections
                )
            case other:
                raise ValueError(f"{other} is not a database that Penstock knows: sqlite or postgresql")
        await backend.open()
        return cls(backend, clock, wakeups, taps, loops)

    def hurry(self) -> None:
        """The process is about to end: PostgreSQL is given up once it leaves somebody without an answer for ten seconds."""
        self._backend.hurry()

    async def close(self) -> None:
        """Finish what was asked for and let go of the database."""
        await self._backend.close()

    async def write(self, fn: Callable[Concatenate[sa.Connection, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `fn(conn, …)` as one transaction; its value, once the COMMIT is durable.

        Whatever `fn` raises rolls its own changes back and is raised here. Raises StoreFull, StoreBusy or
        StoreUnavailable when the database cannot; the process can continue.
        """
        return await self._write("", _call(fn, args, kwargs))

    async def write_together(
        self, key: str, fn: Callable[Concatenate[sa.Connection, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """`write`, for transactions that begin by locking one row, which `key` names, such as that of an aggregate.

        Those that would wait for each other's lock, and for each other's COMMIT, share one. When one of them fails, each is
        run again by itself.
        """
        return await self._write(key, _call(fn, args, kwargs))

    async def _write(self, together: str, fn: Callable[[sa.Connection], T]) -> T:
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        transaction = Transaction(self.clock, self.subscribers, self.dispatch)
        self._backend.submit(Write(fn, transaction, future, time.monotonic(), together))
        return await future

    async def read(self, fn: Callable[Concatenate[sa.Connection, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `fn(conn, …)` that reads few rows by key. SQLite: at once, on the loop."""
        return await self._backend.read(_call(fn, args, kwargs))

    async def lookup(self, lookup: Statement, /, **parameters: str | int | None) -> Any:
        """The first row that a prepared SELECT finds, with its columns as attributes, or None."""
        return await self._backend.lookup(lookup, parameters)

    async def scan(self, fn: Callable[Concatenate[sa.Connection, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `fn(conn, …)` that reads much, off the loop, over one snapshot."""
        return await self._backend.scan(_call(fn, args, kwargs))

    def wakeup(self, topic: str) -> Wakeup:
        """A latch that `wake(conn, topic)` of any process sets after its commit; forgotten when nobody holds it."""
        return self._wakeups.wakeup(topic)

    def signal(self, topic: str) -> None:
        """Wake who waits for `topic` in this process. On the loop only."""
        self._wakeups.signal(topic)


def _call(fn: Callable[..., T], args: tuple[object, ...], kwargs: dict[str, object]) -> Callable[[sa.Connection], T]:
    return lambda conn: fn(conn, *args, **kwargs)


def _deliver(wakeups: Wakeups, taps: set[Callable[[Any], None]], outcomes: list[Outcome]) -> None:
    """Answer: first what was to happen after the commits, then who asked for them."""
    now = time.monotonic()
    for outcome in outcomes:
        metrics.TRANSACTION_SECONDS.observe(now - outcome.write.asked)
        metrics.TRANSACTIONS("failed" if outcome.error else "committed").inc()
        if outcome.error is not None:
            outcome.write.transaction.abandon()
        else:
            for job in outcome.write.transaction.dispatched:
                assert outcome.write.transaction.dispatch is not None
                outcome.write.transaction.dispatch.accept(job)
            for hook in outcome.write.transaction.hooks:
                try:
                    hook()
                except Exception:  # noqa: BLE001 - the transaction stands whatever a hook does
                    _log.exception("store.after_commit_failed")
            for event in outcome.write.transaction.emitted:
                for tap in tuple(taps):
                    try:
                        tap(event)
                    except Exception:  # noqa: BLE001 - nor does a tap keep the callers behind it from their answers
                        _log.exception("store.tap_failed")
            for topic in outcome.write.transaction.topics:
                wakeups.signal(topic)
        future = outcome.write.future
        if future.done():
            continue
        if outcome.error is None:
            future.set_result(outcome.value)
        else:
            future.set_exception(explain(outcome.error))
