"""PostgreSQL: a small pool of threads with a connection each, and one connection that listens for hints."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import sqlalchemy as sa
from sqlalchemy import event as sa_event

from penstock.loops import Loop, Loops
from penstock.pools import FILES
from penstock.store import metrics
from penstock.store.backend import Outcome, Write
from penstock.store.crash import point
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
from penstock.store.hints import Hints
from penstock.store.statement import Statement, commit, flush, rollback, settle
from penstock.store.transaction import EVERY, bind, elsewhere

_log = logging.getLogger("penstock.store")
_CHANNEL = "penstock"
_ATTEMPTS = 4


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
        connections: int = 8,
    ) -> None:
        self._url = url.set(drivername="postgresql+psycopg")
        self._deliver = deliver
        self._signal = signal
        self._loops = loops
        self._notify = notify
        self._name = secrets.token_hex(8)  # marks our own hints, which need no second wake
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self._engine = sa.create_engine(
            self._url,
            pool_size=connections,
            max_overflow=0,
            pool_timeout=30,
            pool_reset_on_return=None,
            pool_use_lifo=True,
            connect_args={"connect_timeout": 10, "application_name": "penstock", "client_encoding": "utf8"},
        )
        # What waits comes first, whoever asks the next question.
        sa_event.listen(self._engine, "before_cursor_execute", lambda conn, *_: flush(conn))
        self._reading = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        self._scanning = self._engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        self._threads = ThreadPoolExecutor(connections, thread_name_prefix="penstock-pg")
        dsn = self._url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._hints = Hints(dsn, _CHANNEL, self._name)
        self._hinting: Loop | None = None
        self._listener: Loop | None = None
        self._listening = asyncio.Event()

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

    async def close(self) -> None:
        """Finish what is running and disconnect."""
        if self._closed:
            return
        self._closed = True
        await self._loops.stop(self._listener)
        await FILES.run(self._threads.shutdown)
        if self._hinting is not None:
            await self._hints.sent()
            await self._loops.stop(self._hinting)
        self._engine.dispose()

    def submit(self, write: Write) -> None:
        """Run a transaction on a thread; its outcome goes to `deliver` on the loop."""
        if self._closed:
            raise StoreClosed(str(StoreClosed.__doc__))
        self._threads.submit(self._write, write)

    async def read(self, fn: Callable[[sa.Connection], Any]) -> Any:
        """Run `fn` on a thread; each statement sees what is committed when it starts."""
        return await self._on_thread(self._reading, fn)

    async def lookup(self, lookup: Statement, parameters: dict[str, Any]) -> Any:
        """Its first row."""
        return await self.read(lambda conn: lookup.first(conn, parameters))

    async def scan(self, fn: Callable[[sa.Connection], Any]) -> Any:
        """Run `fn` on a thread, over one snapshot."""
        return await self._on_thread(self._scanning, fn)

    async def _on_thread(self, engine: sa.Engine, fn: Callable[[sa.Connection], Any]) -> Any:
        if self._closed:
            raise StoreClosed(str(StoreClosed.__doc__))
        return await self._loop.run_in_executor(self._threads, self._read, engine, fn)

    def _read(self, engine: sa.Engine, fn: Callable[[sa.Connection], Any]) -> Any:
        for attempt in range(_ATTEMPTS):
            try:
                with engine.connect() as conn:
                    try:
                        return fn(conn)
                    finally:
                        if not conn.invalidated:
                            conn.rollback()
            except Exception as error:  # noqa: BLE001 - explained, or raised again
                if lost(error) and attempt == 0:
                    continue  # a pooled connection that had died meanwhile; the next one is fresh
                raise_explained(error)
        raise AssertionError

    def _write(self, write: Write) -> None:
        outcome = self._attempts(write)
        self._loop.call_soon_threadsafe(self._answer, outcome)

    def _answer(self, outcome: Outcome) -> None:
        if outcome.error is None and self._notify:
            self._hints.add(outcome.write.transaction.topics)
        self._deliver([outcome])

    def _attempts(self, write: Write) -> Outcome:
        for attempt in range(1, _ATTEMPTS + 1):
            committing = False
            try:
                with self._engine.connect() as conn:
                    try:
                        conn.begin()
                        bind(conn, write.transaction)
                        value = write.fn(conn)
                        write.transaction.finish(conn)
                        settle(conn)
                        point("store.before_commit")
                        committing = True
                        commit(conn)
                        point("store.after_commit")
                    except BaseException:
                        if not conn.invalidated:
                            rollback(conn)
                        raise
                    finally:
                        if not conn.invalidated:
                            bind(conn, None)
                metrics.COMMITS.inc()
                return Outcome(write, value, None)
            except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to who asked
                again = sqlstate(error) in REPEATABLE or (lost(error) and not committing and attempt == 1)
                if not again or attempt == _ATTEMPTS:
                    return Outcome(write, None, explain(error))
                write.transaction.abandon()
        raise AssertionError

    async def _hint(self) -> None:
        await self._hints.run(lambda: self._hinting.succeeded() if self._hinting is not None else None)

    async def _listen(self) -> None:
        dsn = self._url.set(drivername="postgresql").render_as_string(hide_password=False)
        async with await psycopg.AsyncConnection.connect(
            dsn, autocommit=True, connect_timeout=10, application_name="penstock listen",
            keepalives_idle=30, keepalives_interval=10, keepalives_count=3,
        ) as conn:  # fmt: skip
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
