"""Fibers: transactions run on the event loop's own thread, and let it go on whenever they wait for PostgreSQL.

A transaction is a plain function. Each runs on a greenlet with a connection of its own that lasts: no thread is woken for a question, and
none competes with the loop for the interpreter. Who asks is served over the connection that was busy last. What reads much has
threads (`Readers`), since it computes for long.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import queue
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import psycopg
import sqlalchemy as sa
from greenlet import getcurrent, greenlet
from psycopg.waiting import Ready, Wait

from penstock.pools import CONNECTS, SCANS
from penstock.store.connections import Connection
from penstock.store.errors import StoreUnavailable, explain
from penstock.store.statement import IDLE, raw_of

_log = logging.getLogger("penstock.store")
T = TypeVar("T")

_TURN_S = 0.005

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
        self._resumed = 0.0  # of the monotonic clock, seconds: since when a fiber holds up the loop
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
        ready = fiber.parent.switch()
        self._resumed = time.monotonic()
        return ready

    def rest(self) -> None:
        """Let the loop go on for a turn, if a fiber has held it up for long."""
        if time.monotonic() - self._resumed < _TURN_S:
            return
        fiber = getcurrent()
        assert fiber.parent is not None
        self._loop.call_soon(fiber.switch)
        fiber.parent.switch()
        self._resumed = time.monotonic()

    def forget(self, conn: Connection) -> None:
        """A connection is being closed, by which it leaves the epoll too."""
        self._watched.pop(conn, None)

    def connected(self, connect: Callable[[], T]) -> T:
        """Connect on a thread, and let the loop go on meanwhile: looking a name up blocks, and so does the handshake of TLS."""
        fiber = getcurrent()
        assert fiber.parent is not None
        running = asyncio.ensure_future(CONNECTS.run(connect))
        running.add_done_callback(lambda _: fiber.switch())
        fiber.parent.switch()
        return running.result()

    def _ready(self) -> None:
        for number, events in self._epoll.poll(0):
            waiting = self._waiting.pop(number, None)
            if waiting is None:  # at rest, and PostgreSQL has ended it: its next user will see
                with contextlib.suppress(OSError):
                    self._epoll.unregister(number)
                self._watched = {conn: known for conn, known in self._watched.items() if known[0] != number}
                continue
            _, fiber = waiting
            fiber.switch(Ready.R if events == select.EPOLLIN else Ready.RW if events & ~select.EPOLLOUT else Ready.W)


class Held:
    """A connection, made anew after it broke."""

    def __init__(self, connect: Callable[[], sa.Connection]) -> None:
        self._connect = connect
        self._conn: sa.Connection | None = None
        self.since: float | None = None
        """When the task began that uses it: seconds of the monotonic clock."""
        self.refused: StoreUnavailable | None = None
        """Why no connection could be made when it was last tried."""

    @property
    def connected(self) -> bool:
        """Whether there is a connection, as far as is known."""
        return self._conn is not None

    def connection(self, *, autocommit: bool) -> sa.Connection:
        """The connection, at rest. Raises StoreUnavailable when none can be made."""
        conn = self._conn
        if conn is None or conn.invalidated or raw_of(conn).pgconn.transaction_status != IDLE:
            self.drop()
            conn = self._conn = self._made()
        raw = raw_of(conn)
        if raw.autocommit is not autocommit:
            raw.autocommit = autocommit
        return conn

    def _made(self) -> sa.Connection:
        self.refused = None
        try:
            return self._connect()
        except Exception as error:
            explained = explain(error)
            if isinstance(explained, StoreUnavailable):
                self.refused = explained
            raise explained from error

    def give_up(self) -> None:
        """End the connection under the task that uses it, from any thread, and make none any more."""
        self._connect = _given_up
        conn = self._conn
        if conn is not None and not conn.invalidated:
            with contextlib.suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(raw_of(conn).fileno())) as of:
                of.shutdown(socket.SHUT_RDWR)

    def drop(self) -> None:
        """Let go of the connection, if there is one."""
        conn, self._conn = self._conn, None
        if conn is not None:
            if not conn.invalidated:
                conn.invalidate()
            conn.close()


def _given_up() -> sa.Connection:
    raise StoreUnavailable(
        "PostgreSQL has left a question unanswered for too long, while this process was ending; it asks no more."
    )


class _Unreachable(Held):
    """Stands for a connection that has just been found impossible to make."""

    def __init__(self, why: StoreUnavailable) -> None:
        def connect() -> sa.Connection:
            raise StoreUnavailable(*why.args)

        super().__init__(connect)


def _give_up(all_held: Sequence[Held], before: float) -> None:
    if any(held.since is not None and held.since < before for held in all_held):
        for held in all_held:
            held.give_up()


class Fibers:
    """A number of connections, and the tasks that wait for one."""

    def __init__(self, engine: sa.Engine, sockets: Sockets, size: int) -> None:
        self._all = [Held(partial(sockets.connected, engine.connect)) for _ in range(size)]
        self._idle = list(self._all)
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

    def give_up(self, before: float) -> None:
        """When a task that began before this time of the monotonic clock still waits: end all connections and make none any more."""
        _give_up(self._all, before)

    async def close(self) -> None:
        """Finish what was asked for, then disconnect."""
        if len(self._idle) < len(self._all):
            self._closed = asyncio.get_running_loop().create_future()
            await self._closed
        for held in self._idle:
            held.drop()

    def _run(self, held: Held, task: Task) -> None:
        while True:
            held.since = time.monotonic()
            _do(task, held)
            held.since = None
            if held.refused is not None and not any(each.connected for each in self._all):
                # Each of those that wait would try it for as long, one after the other.
                unreachable = _Unreachable(held.refused)
                while self._waiting:
                    _do(self._waiting.popleft(), unreachable)
            if not self._waiting:
                break
            task = self._waiting.popleft()
        self._idle.append(held)
        if self._closed is not None and len(self._idle) == len(self._all) and not self._closed.done():
            self._closed.set_result(None)


def _do(task: Task, held: Held) -> None:
    try:
        task(held)()
    except Exception:  # noqa: BLE001 - it would end whatever the loop was doing
        _log.exception("store.task_failed")


class Readers:
    """Threads with a connection each, for questions that take long."""

    def __init__(self, engine: sa.Engine) -> None:
        self._all = [Held(engine.connect) for _ in range(SCANS.threads)]
        self._held: queue.SimpleQueue[Held] = queue.SimpleQueue()
        for held in self._all:
            self._held.put(held)

    async def ask(self, question: Callable[[Held], Any]) -> Any:
        """What a question answers, or raises."""
        return await SCANS.run(self._ask, question)

    def _ask(self, question: Callable[[Held], Any]) -> Any:
        held = self._held.get()
        held.since = time.monotonic()
        try:
            return question(held)
        finally:
            held.since = None
            self._held.put(held)

    def give_up(self, before: float) -> None:
        """See Fibers."""
        _give_up(self._all, before)

    def close(self) -> None:
        """Finish what was asked for, then disconnect. It blocks."""
        for _ in self._all:
            self._held.get().drop()
