"""SQLite: one process, one writer thread, transactions that wait together share one COMMIT."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event as sa_event
from sqlalchemy import exc

from penstock.store import metrics
from penstock.store.backend import Outcome, Write
from penstock.store.errors import StoreClosed, StoreInUse, StoreUnavailable, explain, raise_explained
from penstock.store.failpoints import failpoint
from penstock.store.statement import Statement
from penstock.store.transaction import bind

_GROUP = 256  # transactions that share one COMMIT at most
_GROUP_SECONDS = 0.02  # and how long the first of them waits for the others to run
_SCANNERS = 2
_INHERITED_SECONDS = 10.0  # how long the lock of a process that is gone is waited for


class SqliteBackend:
    """The database file behind a Store."""

    dialect = "sqlite"

    def __init__(self, url: sa.URL, deliver: Callable[[list[Outcome]], None]) -> None:
        if not url.database or url.database == ":memory:":
            raise ValueError("SQLite needs a file: sqlite:////path/to/penstock.db")
        self._path = Path(url.database)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = _lock(self._path)
        self._deliver = deliver
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[Write | None] = queue.SimpleQueue()
        self._closed = False
        self._writer_engine = _engine(url)
        self._reader_engine = _engine(url, readonly=True)
        self._writer = self._writer_engine.connect()
        self._reader = self._reader_engine.connect()
        self._reader_raw = _raw(self._reader)
        self._scanners = ThreadPoolExecutor(_SCANNERS, thread_name_prefix="penstock-scan")
        self._thread = threading.Thread(target=self._write_loop, name="penstock-writer", daemon=True)

    async def open(self) -> None:
        """Start the writer."""
        self._thread.start()

    def hurry(self) -> None:
        """Nothing: it waits for a disk, which no thread can leave."""

    async def close(self) -> None:
        """Finish what is queued, then let go of the file."""
        if self._closed:
            return
        self._closed = True
        self._queue.put(None)
        await self._loop.run_in_executor(self._scanners, self._thread.join)
        self._scanners.shutdown(wait=True)
        for connection in (self._reader, self._writer):
            connection.close()
        for engine in (self._reader_engine, self._writer_engine):
            engine.dispose()
        os.close(self._lock)

    def submit(self, write: Write) -> None:
        """Queue a transaction; its outcome goes to `deliver` on the loop."""
        if self._closed:
            raise StoreClosed(str(StoreClosed.__doc__))
        self._queue.put(write)

    async def read(self, fn: Callable[[sa.Connection], Any]) -> Any:
        """Run `fn` at once, on the loop's own connection, over one snapshot."""
        if self._closed:
            raise StoreClosed(str(StoreClosed.__doc__))
        return _snapshot(self._reader, self._reader_raw, fn)

    async def lookup(self, lookup: Statement, parameters: dict[str, Any]) -> Any:
        """Its first row, at once."""
        if self._closed:
            raise StoreClosed(str(StoreClosed.__doc__))
        try:
            return lookup.first_of_sqlite(self._reader_raw, parameters)
        except (sqlite3.Error, UnicodeEncodeError) as error:
            raise_explained(error)

    async def scan(self, fn: Callable[[sa.Connection], Any]) -> Any:
        """Run `fn` on a thread, over one snapshot."""
        if self._closed:
            raise StoreClosed(str(StoreClosed.__doc__))
        return await self._loop.run_in_executor(self._scanners, self._scan, fn)

    def _scan(self, fn: Callable[[sa.Connection], Any]) -> Any:
        with self._reader_engine.connect() as conn:
            return _snapshot(conn, _raw(conn), fn)

    def _write_loop(self) -> None:
        conn = self._writer
        raw = _raw(conn)
        while (write := self._queue.get()) is not None:
            outcomes, closing = self._group(conn, raw, write)
            self._loop.call_soon_threadsafe(self._deliver, outcomes)
            if closing:
                break

    def _group(self, conn: sa.Connection, raw: sqlite3.Connection, first: Write) -> tuple[list[Outcome], bool]:
        outcomes: list[Outcome] = []
        closing = False
        write: Write | None = first
        end = time.monotonic() + _GROUP_SECONDS
        try:
            raw.execute("BEGIN IMMEDIATE")
            while write is not None:
                current, write = write, None
                try:
                    outcomes.append(_outcome(conn, raw, current, first=current is first))
                except sqlite3.Error as error:  # it ended the group's transaction itself; nobody's work is safe
                    outcomes.append(Outcome(current, None, error))
                    raise
                if not raw.in_transaction:  # SQLite rolled all of it back by itself: the disk is full, or gone
                    error = outcomes[-1].error or sqlite3.OperationalError("the transaction was rolled back")
                    return [_failed(outcome.write, error) for outcome in outcomes], closing
                if len(outcomes) < _GROUP and time.monotonic() < end:
                    try:
                        write = self._queue.get_nowait()
                    except queue.Empty:
                        break
                    closing = write is None
            failpoint("store.before_commit")
            raw.execute("COMMIT")
            failpoint("store.after_commit")
            metrics.COMMITS.inc()
            metrics.TOGETHER.observe(len(outcomes))
        except sqlite3.Error as error:
            if not outcomes:
                outcomes = [Outcome(first, None, error)]
            if raw.in_transaction:
                raw.execute("ROLLBACK")
            return [_failed(outcome.write, error) for outcome in outcomes], closing
        finally:
            if conn.in_transaction():
                conn.rollback()  # ends SQLAlchemy's own notion of a transaction; the database's is over
        return outcomes, closing


def _outcome(conn: sa.Connection, raw: sqlite3.Connection, write: Write, *, first: bool) -> Outcome:
    """Run one of a group. The first, before which there is nothing to keep, needs no savepoint; in an idle system it is the only one."""
    metrics.WAITING_SECONDS.observe(time.monotonic() - write.asked)
    if not first:
        raw.execute("SAVEPOINT one")
    bind(conn, write.transaction)
    try:
        value = write.fn(conn)
        write.transaction.finish(conn)
        if not first:
            raw.execute("RELEASE one")
    except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to who asked
        if raw.in_transaction and first:
            raw.execute("ROLLBACK")
            raw.execute("BEGIN IMMEDIATE")
        elif raw.in_transaction:
            raw.execute("ROLLBACK TO one")
            raw.execute("RELEASE one")
        return Outcome(write, None, error)
    finally:
        bind(conn, None)
    return Outcome(write, value, None)


def _failed(write: Write, error: Exception) -> Outcome:
    return Outcome(write, None, explain(error))


def _snapshot(conn: sa.Connection, raw: sqlite3.Connection, fn: Callable[[sa.Connection], Any]) -> Any:
    raw.execute("BEGIN")
    try:
        return fn(conn)
    except (exc.OperationalError, UnicodeEncodeError) as error:
        if getattr(getattr(error, "orig", None), "sqlite_errorcode", 0) == sqlite3.SQLITE_READONLY:
            raise  # a read that tried to write: a mistake in the program, and no matter of the disk
        raise_explained(error)
    finally:
        if conn.in_transaction():
            conn.rollback()
        elif raw.in_transaction:
            raw.execute("ROLLBACK")


def _raw(conn: sa.Connection) -> sqlite3.Connection:
    raw = conn.connection.driver_connection
    assert isinstance(raw, sqlite3.Connection)
    return raw


def _engine(url: sa.URL, *, readonly: bool = False) -> sa.Engine:
    engine = sa.create_engine(
        url, connect_args={"check_same_thread": False, "cached_statements": 512}, pool_size=_SCANNERS + 2
    )

    @sa_event.listens_for(engine, "connect")
    def prepare(raw: sqlite3.Connection, _record: object) -> None:
        raw.isolation_level = None  # transactions start here, by a statement, never by the driver
        raw.execute("PRAGMA busy_timeout = 5000")
        raw.execute("PRAGMA journal_mode = WAL")
        raw.execute("PRAGMA synchronous = FULL")
        raw.execute("PRAGMA foreign_keys = ON")
        raw.execute("PRAGMA cache_size = -16000")
        raw.execute("PRAGMA temp_store = MEMORY")
        raw.execute("PRAGMA case_sensitive_like = ON")  # as PostgreSQL has it: a prefix is one, not its other cases
        raw.execute("PRAGMA journal_size_limit = 67108864")
        if readonly:
            raw.execute("PRAGMA query_only = ON")

    return engine


def _is_gone(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except (ValueError, OSError):
        pass
    return False


def _lock(path: Path) -> int:
    """Hold the database file for this process. Raises StoreInUse when another has it."""
    try:
        lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreUnavailable(
            f"cannot write to {path.parent}: {error.strerror}. The data dir has to lie on a disk that takes writes, "
            "and belong to the user that runs Penstock."
        ) from error
    until = time.monotonic() + _INHERITED_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except OSError as error:
            holder = os.pread(lock, 32, 0).decode("ascii", "replace").strip()
            # A child that a killed process was just starting has its descriptors until it becomes its own program.
            if time.monotonic() < until and _is_gone(holder):
                time.sleep(0.01)
                continue
            os.close(lock)
            raise StoreInUse(
                f"{path} is in use by another Penstock process{f' (pid {holder})' if holder else ''}. "
                "An SQLite database serves exactly one process; to run several, give them a PostgreSQL database: "
                "--database postgresql://user@host/penstock"
            ) from error
    with contextlib.suppress(OSError):  # the number only helps whoever is refused; the disk may be full
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock
