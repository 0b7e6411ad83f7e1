"""Threads that speak with PostgreSQL, each over a connection of its own that lasts.

A question takes one turn of a thread and one of the loop. Who asks is served by the thread that was busy last: its connection has the
statements prepared. What threads answer while the loop is busy wakes it once.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import sqlalchemy as sa

if TYPE_CHECKING:
    import psycopg

IDLE = 0  # psycopg.pq.TransactionStatus.IDLE, whose import would be a tenth of a server's start on SQLite
Task = Callable[["Held"], Callable[[], None]]
"""Done on a thread; what it returns is called on the loop."""


class Held:
    """The connection of a thread, made anew after it broke."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._conn: sa.Connection | None = None

    def connection(self, *, autocommit: bool) -> sa.Connection:
        """The connection, at rest. Raises DBAPIError when none can be made."""
        conn = self._conn
        if conn is None or conn.invalidated or raw_of(conn).pgconn.transaction_status != IDLE:
            self.drop()
            conn = self._conn = self._engine.connect()
        raw = raw_of(conn)
        if raw.autocommit is not autocommit:
            raw.autocommit = autocommit
        return conn

    def drop(self) -> None:
        """Let go of the connection, if there is one."""
        conn, self._conn = self._conn, None
        if conn is not None:
            if not conn.invalidated:
                conn.invalidate()
            conn.close()


class Connections:
    """A number of such threads; each is started when all others are busy."""

    def __init__(self, engine: sa.Engine, size: int) -> None:
        self._engine = engine
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()  # of all that follows
        self._free = size  # threads that were not started yet
        self._threads: list[threading.Thread] = []
        self._idle: list[queue.SimpleQueue[Task | None]] = []  # the last one was busy last
        self._waiting: deque[Task] = deque()
        self._answers: list[Callable[[], None]] = []
        self._closing = False

    def submit(self, task: Task) -> None:
        """Do a task on the next free thread."""
        with self._lock:
            if self._idle:
                self._idle.pop().put(task)
                return
            self._waiting.append(task)
            if not self._free:
                return
            self._free -= 1
            thread = threading.Thread(target=self._run, name=f"penstock-pg_{self._free}", daemon=True)
            self._threads.append(thread)
        thread.start()

    async def ask(self, question: Callable[[Held], Any]) -> Any:
        """What a question answers, or raises."""
        future: asyncio.Future[Any] = self._loop.create_future()

        def task(held: Held) -> Callable[[], None]:
            try:
                value = question(held)
            except Exception as error:  # noqa: BLE001 - it belongs to who asked
                raised = (
                    RuntimeError(f"a StopIteration left a question: {error}")
                    if isinstance(error, StopIteration)
                    else error
                )
                return lambda: None if future.done() else future.set_exception(raised)
            return lambda: None if future.done() else future.set_result(value)

        self.submit(task)
        return await future

    def close(self) -> None:
        """Finish what was asked for, then disconnect. It blocks."""
        with self._lock:
            self._closing = True
            self._free = 0
            while self._idle:
                self._idle.pop().put(None)
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        own: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        held = Held(self._engine)
        while (task := self._next(own)) is not None:
            self._answer(task(held))
        held.drop()

    def _next(self, own: queue.SimpleQueue[Task | None]) -> Task | None:
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            if self._closing:
                return None
            self._idle.append(own)
        return own.get()

    def _answer(self, answer: Callable[[], None]) -> None:
        with self._lock:
            first = not self._answers
            self._answers.append(answer)
        if first:
            self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        with self._lock:
            answers, self._answers = self._answers, []
        for answer in answers:
            answer()


def raw_of(conn: sa.Connection) -> psycopg.Connection[Any]:
    """The driver's connection."""
    assert conn.dialect.name == "postgresql"
    return cast("psycopg.Connection[Any]", conn.connection.driver_connection)
