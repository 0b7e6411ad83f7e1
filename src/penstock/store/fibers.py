"""Fibers: transactions run on the event loop's own thread, and let it go on whenever they wait for PostgreSQL.

A transaction is a plain function. Each runs on a greenlet with a connection of its own that lasts: no thread is woken for a question, and
none competes with the loop for the interpreter. Who asks is served over the connection that was busy last. What reads much has
threads (`Readers`), since it computes for long.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import select
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import sqlalchemy as sa
from greenlet import getcurrent, greenlet
from psycopg.waiting import Ready, Wait

from penstock.pools import FILES, SCANS
from penstock.store.connections import Connection
from penstock.store.statement import IDLE, raw_of

_log = logging.getLogger("penstock.store")
T = TypeVar("T")

Task = Callable[["Held"], Callable[[], None]]
"""Done on a fiber; what it returns is called when the connection is at rest again."""


class _Fiber(greenlet):
    """A greenlet of ours."""


class Sockets:
    """The sockets that fibers wait for: one descriptor for the loop, however many they are."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._epoll = select.epoll()
        self._watched: dict[Connection, tuple[int, int]] = {}  # → its socket and the events
        self._waiting: dict[int, tuple[Connection, greenlet]] = {}  # socket → who waits for it
        self._loop.add_reader(self._epoll.fileno(), self._ready)

    def close(self) -> None:
        """Let go of the loop."""
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()

    def cooperative(self) -> bool:
        """Whether a fiber asks."""
        return isinstance(getcurrent(), _Fiber)

    def until(self, conn: Connection, wait: Wait) -> Ready:
        """Let the loop go on until a connection's socket is ready."""
        events = select.EPOLLIN if wait == Wait.R else select.EPOLLIN | select.EPOLLOUT
        socket, watched = self._watched.get(conn, (-1, 0))
        if watched != events:
            socket = conn.pgconn.socket
            (self._epoll.modify if watched else self._epoll.register)(socket, events)
            self._watched[conn] = socket, events
        fiber = getcurrent()
        assert fiber.parent is not None
        self._waiting[socket] = conn, fiber
        return fiber.parent.switch()

    def rest(self) -> None:
        """Let the loop go on for a turn."""
        fiber = getcurrent()
        assert fiber.parent is not None
        self._loop.call_soon(fiber.switch)
        fiber.parent.switch()

    def forget(self, conn: Connection) -> None:
        """A connection is being closed, by which it leaves the epoll too."""
        self._watched.pop(conn, None)

    def await_(self, fn: Callable[[], T]) -> T:
        """Run on a thread what blocks for another reason than an answer, and let the loop go on meanwhile."""
        fiber = getcurrent()
        assert fiber.parent is not None
        running = asyncio.ensure_future(FILES.run(fn))
        running.add_done_callback(lambda _: fiber.switch())
        fiber.parent.switch()
        return running.result()

    def _ready(self) -> None:
        for socket, events in self._epoll.poll(0):
            waiting = self._waiting.pop(socket, None)
            if waiting is None:  # at rest, and PostgreSQL has ended it: its next user will see
                with contextlib.suppress(OSError):
                    self._epoll.unregister(socket)
                self._watched = {conn: known for conn, known in self._watched.items() if known[0] != socket}
                continue
            _, fiber = waiting
            fiber.switch(Ready.R if events == select.EPOLLIN else Ready.RW if events & ~select.EPOLLOUT else Ready.W)


class Held:
    """A connection, made anew after it broke."""

    def __init__(self, connect: Callable[[], sa.Connection]) -> None:
        self._connect = connect
        self._conn: sa.Connection | None = None

    def connection(self, *, autocommit: bool) -> sa.Connection:
        """The connection, at rest. Raises DBAPIError when none can be made."""
        conn = self._conn
        if conn is None or conn.invalidated or raw_of(conn).pgconn.transaction_status != IDLE:
            self.drop()
            conn = self._conn = self._connect()
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


class Fibers:
    """A number of connections, and the tasks that wait for one."""

    def __init__(self, engine: sa.Engine, sockets: Sockets, size: int) -> None:
        # Looking a name up and the handshake of TLS would block.
        self._idle = [Held(partial(sockets.await_, engine.connect)) for _ in range(size)]
        self._size = size
        self._waiting: deque[Task] = deque()
        self._closed: asyncio.Future[None] | None = None

    def submit(self, task: Task) -> None:
        """Do a task as soon as a connection is free."""
        if self._idle and not isinstance(
            getcurrent(), _Fiber
        ):  # a fiber takes what waits when it has ended its own task
            _Fiber(self._run).switch(self._idle.pop(), task)
        else:
            self._waiting.append(task)

    async def ask(self, question: Callable[[Held], Any]) -> Any:
        """What a question answers, or raises."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

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

    async def close(self) -> None:
        """Finish what was asked for, then disconnect."""
        if len(self._idle) < self._size:
            self._closed = asyncio.get_running_loop().create_future()
            await self._closed
        for held in self._idle:
            held.drop()

    def _run(self, held: Held, task: Task) -> None:
        while True:
            try:
                task(held)()
            except Exception:  # noqa: BLE001 - it would end whatever the loop was doing
                _log.exception("store.task_failed")
            if not self._waiting:
                break
            task = self._waiting.popleft()
        self._idle.append(held)
        if self._closed is not None and len(self._idle) == self._size and not self._closed.done():
            self._closed.set_result(None)


class Readers:
    """Threads with a connection each, for questions that take long."""

    def __init__(self, engine: sa.Engine) -> None:
        self._held: queue.SimpleQueue[Held] = queue.SimpleQueue()
        for _ in range(SCANS.threads):
            self._held.put(Held(engine.connect))

    async def ask(self, question: Callable[[Held], Any]) -> Any:
        """What a question answers, or raises."""
        return await SCANS.run(self._ask, question)

    def _ask(self, question: Callable[[Held], Any]) -> Any:
        held = self._held.get()
        try:
            return question(held)
        finally:
            self._held.put(held)

    def close(self) -> None:
        """Finish what was asked for, then disconnect. It blocks."""
        for _ in range(SCANS.threads):
            self._held.get().drop()
