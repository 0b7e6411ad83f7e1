"""PostgreSQL: a few connections that fibers of the event loop use, two for threads that read much, and one that listens for hints."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import psycopg
import sqlalchemy as sa
from sqlalchemy import event as sa_event

from penstock.loops import Loop, Loops
from penstock.pools import FILES, SCANS
from penstock.store import metrics
from penstock.store.backend import Outcome, Write
from penstock.store.connections import Connection
from penstock.store.errors import (
    REPEATABLE,
    StoreClosed,
    StoreUnavailable,
    StoreUnsuited,
    explain,
    lost,
    raise_explained,
    sqlstate,
)
from penstock.store.failpoints import failpoint
from penstock.store.fibers import Fibers, Held, Readers, Sockets
from penstock.store.hints import Hints
from penstock.store.statement import Statement, commit, flush, raw_of, rollback, settle
from penstock.store.transaction import EVERY, bind, elsewhere

_log = logging.getLogger("penstock.store")
_CHANNEL = "penstock"
_ATTEMPTS = 4
# A server whose machine is gone says nothing: without these a question would wait two hours for its answer, and one that cannot be
# sent a quarter of an hour.
_NOTICE = {"keepalives_idle": "30", "keepalives_interval": "10", "keepalives_count": "3", "tcp_user_timeout": "60000"}
_PATIENCE_S = 10.0  # for an answer, while the process ends
_TOGETHER = 32  # writes of one key in a transaction: others' wait for it


class PostgresqlBackend:
    """The database server behind a Store."""

    dialect = "postgresql"

    def __init__(
        self,
        url: sa.URL,
        deliver: Callable[[list[Outcome]], None],
        signal: Callable[[str], None],
        loops: Loops,
        *,
        notify: bool,
        connections: int,
    ) -> None:
        self._url = url.set(drivername="postgresql+psycopg", query={**_NOTICE, **url.query})
        self._deliver = deliver
        self._signal = signal
        self._loops = loops
        self._notify = notify
        self._name = secrets.token_hex(8)  # marks our own hints, which need no second wake
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self._hurrying: asyncio.TimerHandle | None = None
        self._engine = sa.create_engine(
            self._url,
            pool_size=connections + SCANS.threads,
            max_overflow=0,
            pool_timeout=30,
            pool_reset_on_return=None,
            connect_args={
                "connect_timeout": 10,
                # A savepoint's end makes psycopg deallocate all that is prepared, ours too.
                "prepare_threshold": None,
                "application_name": "penstock",
                "client_encoding": "utf8",
            },
        )
        # What waits comes first, whoever asks the next question.
        sa_event.listen(self._engine, "before_cursor_execute", lambda conn, *_: flush(conn))
        self._sockets = Sockets()
        sa_event.listen(self._engine, "do_connect", self._connect)
        self._readers = Readers(self._engine)
        self._fibers = Fibers(self._engine, self._sockets, connections)
        self._together: dict[str, list[Write]] = {}  # what waits for a write of its key that runs
        dsn = self._url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._hints = Hints(dsn, _CHANNEL, self._name)
        self._hinting: Loop | None = None
        self._listener: Loop | None = None
        self._listening = asyncio.Event()

    def _connect(self, _dialect: Any, _record: Any, values: list[Any], named: dict[str, Any]) -> Connection:
        conn = Connection.connect(*values, **named)
        try:
            conn.look_for_pooler()
        except BaseException:
            conn.close()
            raise
        conn.waits = self._sockets
        return conn

    async def open(self) -> None:
        """Connect once, so that a wrong address or encoding is an error at the start, and begin to listen."""
        try:
            await self._require_utf_8()
            if self._notify:
                self._hinting = self._loops.start("store.hint", self._hint, lambda: asyncio.sleep(0))
                self._listener = self._loops.start("store.listen", self._listen, lambda: asyncio.sleep(0))
                await self._until_listening()
        except BaseException:
            await self.close()
            raise

    async def _require_utf_8(self) -> None:
        encoding = await self.read(lambda conn: conn.execute(sa.text("SHOW server_encoding")).scalar())
        if encoding != "UTF8":
            raise StoreUnsuited(
                f"The database {self._url.database} keeps text as {encoding}, and Penstock needs UTF8. Make another one: "
                "createdb --encoding UTF8 --template template0 NAME"
            )

    async def _until_listening(self) -> None:
        try:
            async with asyncio.timeout(15):
                await self._listening.wait()
        except TimeoutError:
            raise StoreUnavailable("PostgreSQL answered, but would not LISTEN") from None

    def hurry(self) -> None:
        """Wait for each answer for ten seconds at most from now on."""
        before = time.monotonic() - _PATIENCE_S
        self._fibers.give_up(before)
        self._readers.give_up(before)
        self._hurrying = self._loop.call_later(_PATIENCE_S / 10, self.hurry)

    async def close(self) -> None:
        """Finish what is running and disconnect."""
        if self._closed:
            return
        self._closed = True
        await self._loops.stop(self._listener)
        await self._fibers.close()
        await FILES.run(self._readers.close)
        if self._hinting is not None:
            await self._hints.sent()
            await self._loops.stop(self._hinting)
        if self._hurrying is not None:
            self._hurrying.cancel()
        self._engine.dispose()
        self._sockets.close()

    def submit(self, write: Write) -> None:
        """Run a transaction on a fiber; its outcome goes to `deliver` on the loop."""
        self._require_open()
        if write.together:
            waiting = self._together.get(write.together)
            if waiting is not None:
                waiting.append(write)
                return
            self._together[write.together] = []
        self._fibers.submit(partial(self._write, [write]))

    async def read(self, fn: Callable[[sa.Connection], Any]) -> Any:
        """Run `fn` on a fiber; each statement sees what is committed when it starts."""
        self._require_open()
        return await self._fibers.ask(partial(_with, fn, autocommit=True))

    async def lookup(self, lookup: Statement, parameters: dict[str, Any]) -> Any:
        """Its first row."""
        return await self.read(lambda conn: lookup.first(conn, parameters))

    async def scan(self, fn: Callable[[sa.Connection], Any]) -> Any:
        """Run `fn` on a thread, over one snapshot."""
        self._require_open()
        return await self._readers.ask(partial(_with, partial(_over_snapshot, fn), autocommit=False))

    def _require_open(self) -> None:
        if self._closed:
            raise StoreClosed(str(StoreClosed.__doc__))

    def _write(self, writes: list[Write], held: Held) -> Callable[[], None]:
        now = time.monotonic()
        for write in writes:
            metrics.WAITING_SECONDS.observe(now - write.asked)
        outcomes = self._outcomes(writes, held)
        if writes[0].together:
            self._go_on(writes[0].together)
        return partial(self._answer, outcomes)

    def _go_on(self, key: str) -> None:
        """Let those be next that waited for a write of their key."""
        waiting = self._together[key]
        taken, waiting[:_TOGETHER] = waiting[:_TOGETHER], ()
        if not taken:
            del self._together[key]
            return
        self._fibers.submit(partial(self._write, taken))

    def _answer(self, outcomes: list[Outcome]) -> None:
        for outcome in outcomes:
            if outcome.error is None and self._notify:
                self._hints.add(outcome.write.transaction.topics)
        self._deliver(outcomes)

    def _outcomes(self, writes: list[Write], held: Held) -> list[Outcome]:
        """Run writes as one transaction, which is that of the first; each by itself when it fails."""
        transaction = writes[0].transaction
        attempt = 0
        while True:
            attempt += 1
            committing = False
            try:
                conn = held.connection(autocommit=False)
                try:
                    conn.begin()
                    bind(conn, transaction)
                    values = [write.fn(conn) for write in writes]
                    transaction.finish(conn)
                    settle(conn)
                    failpoint("store.before_commit")
                    committing = True
                    commit(conn)
                    failpoint("store.after_commit")
                except BaseException:
                    if not conn.invalidated:
                        rollback(conn)
                    raise
                finally:
                    if not conn.invalidated:
                        bind(conn, None)
                metrics.COMMITS.inc()
                metrics.TOGETHER.observe(len(writes))
                return [Outcome(write, value, None) for write, value in zip(writes, values, strict=True)]
            except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to who asked
                if lost(error) and committing:  # nobody knows whether it is there
                    return [Outcome(write, None, explain(error)) for write in writes]
                if len(writes) > 1:
                    transaction.abandon()
                    return [outcome for write in writes for outcome in self._outcomes([write], held)]
                again = sqlstate(error) in REPEATABLE or (lost(error) and attempt == 1)
                if not again or attempt == _ATTEMPTS:
                    return [Outcome(writes[0], None, explain(error))]
                transaction.abandon()

    async def _hint(self) -> None:
        await self._hints.run(lambda: self._hinting.succeeded() if self._hinting is not None else None)

    async def _listen(self) -> None:
        dsn = self._url.set(drivername="postgresql").render_as_string(hide_password=False)
        async with await psycopg.AsyncConnection.connect(
            dsn, autocommit=True, connect_timeout=10, application_name="penstock listen"
        ) as conn:
            await conn.execute(f"LISTEN {_CHANNEL}".encode())
            if self._listening.is_set():
                metrics.LISTENER_RECONNECTS.inc()
            self._listening.set()
            if self._listener is not None:
                self._listener.succeeded()
            self._signal(EVERY)  # whatever was said while nobody listened
            async for hint in conn.notifies():
                sender, *topics = hint.payload.split("\n")
                if sender != self._name:
                    for topic in topics:
                        self._signal(topic)
                        self._signal(elsewhere(topic))


def _with(fn: Callable[[sa.Connection], Any], held: Held, *, autocommit: bool) -> Any:
    for attempt in range(_ATTEMPTS):
        try:
            conn = held.connection(autocommit=autocommit)
            try:
                return fn(conn)
            finally:
                if not conn.invalidated:
                    conn.rollback()
        except Exception as error:  # noqa: BLE001 - explained, or raised again
            if lost(error) and attempt == 0:
                continue  # a connection that had died meanwhile; the next one is fresh
            raise_explained(error)
    raise AssertionError


def _over_snapshot(fn: Callable[[sa.Connection], Any], conn: sa.Connection) -> Any:
    raw = raw_of(conn)
    raw.isolation_level, raw.read_only = psycopg.IsolationLevel.REPEATABLE_READ, True
    try:
        return fn(conn)
    finally:
        if not conn.invalidated:
            conn.rollback()
            raw.isolation_level, raw.read_only = None, None
