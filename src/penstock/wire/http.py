"""The HTTP server: uvicorn on a socket that is already bound, inside the caller's event loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import socket
import ssl
import sys
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from penstock.loops import Loops
from penstock.wire.accepting import Acceptor
from penstock.wire.message import ARRIVED

_KEEP_ALIVE_SECONDS = 75  # longer than a host's long poll and the SDKs' pools expect
_BACKLOG = 16_384  # after a restart all hosts connect at once; the system may allow fewer (net.core.somaxconn)
_HEADER_BYTES = 64 << 10
_DRAIN_SECONDS = 10
OVERLOADED = "penstock.overloaded"
"""Set in the scope of a request that comes while as many connections are open as may be: it is to be refused."""
_JOINED_BYTES = 16 << 10  # a larger piece is not worth a copy
_OPEN_FILES = 65_536  # asked of the system, which may allow fewer
_FILES_OF_OUR_OWN = 256  # database, blobs, children; never left to connections


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How many seconds a client may hold a connection without progress."""

    handshake: float = 30.0  # of TLS, from the first packet to the last
    silence: float = _KEEP_ALIVE_SECONDS  # connected, and nothing asked yet, or nothing more
    head: float = 30.0  # from the first byte of a request's head to its last
    body: float = 120.0  # between two pieces of a body
    answer: float = 120.0  # without taking anything of an answer


class _Joined:
    """A transport that joins the head of an answer with the first of its body: one system call, one packet, one wake-up."""

    __slots__ = ("_head", "_loop", "_transport")

    def __init__(self, transport: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._head = b""

    def write(self, data: bytes) -> None:
        """Hold a first piece until the second, or until the loop's next turn: no head waits for its body."""
        if self._head:
            head, self._head = self._head, b""
            self._transport.write(head + data)
        elif len(data) > _JOINED_BYTES:
            self._transport.write(data)
        elif data:
            self._head = data
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        if self._head:
            head, self._head = self._head, b""
            self._transport.write(head)

    def close(self) -> None:
        """Send what is held, and close."""
        self._flush()
        self._transport.close()

    def abort(self) -> None:
        """Close at once; nothing more is sent."""
        self._head = b""
        self._transport.abort()

    def is_closing(self) -> bool:
        """Whether it is closed, or about to be."""
        return self._transport.is_closing()

    def get_write_buffer_size(self) -> int:
        """Bytes that the client has not taken yet."""
        return len(self._head) + self._transport.get_write_buffer_size()


class _Pipeline:
    """uvicorn's queue of requests that came before the last was answered. Few clients send any, and an empty deque takes half a kilobyte."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: deque[Any] | None = None

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def appendleft(self, request: Any) -> None:
        """Let a request wait for those before it."""
        if self._waiting is None:
            self._waiting = deque()
        self._waiting.appendleft(request)

    def pop(self) -> Any:
        """The one that has waited longest."""
        assert self._waiting is not None
        return self._waiting.pop()


class _Protocol(HttpToolsProtocol):
    """httptools with bounds on what a head may weigh, how long a client may dawdle, and how many may be connected.

    Times are only noted here; one sweep looks at all connections, so that a request pays for no timers.
    """

    # In slots, since uvicorn's attributes just fit into the dictionary whose keys all connections share: 1 KB less for each.
    __slots__ = (
        "_answered", "_head_bytes", "_in_body", "_in_head", "_most", "_received", "_started_at", "_taken", "_unsent"
    )  # fmt: skip

    def __init__(self, config: uvicorn.Config, server_state: ServerState, app_state: dict[str, Any]) -> None:
        super().__init__(config, server_state, app_state)
        self.pipeline = _Pipeline()  # type: ignore[assignment]
        # uvicorn's own limit answers in plain text, which no AWS client understands: the application answers in its protocol.
        self._most, self.limit_concurrency = self.limit_concurrency or sys.maxsize, None
        self._head_bytes = 0
        self._in_head = self._in_body = False
        self._started_at = 0.0  # the connection, then the head that is being read
        self._received = 0.0
        self._answered = 0.0  # the last request
        self._unsent = 0  # bytes, when they were last seen to change
        self._taken = 0.0  # and when that was

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.transport = _Joined(transport, self.loop)  # type: ignore[assignment]
        self._started_at = self._received = self.loop.time()

    def data_received(self, data: bytes) -> None:
        self._received = self.loop.time()
        super().data_received(data)

    def on_message_begin(self) -> None:
        self._head_bytes = 0
        self._started_at = self._received
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head, self._in_body = False, True
        if len(self.connections) >= self._most:
            self.scope[OVERLOADED] = True  # type: ignore[literal-required] - a key of our own
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_body = False
        self.scope[ARRIVED] = True  # type: ignore[literal-required] - a key of our own
        super().on_message_complete()

    def on_response_complete(self) -> None:
        # As uvicorn's, but for the timer that it sets for the next request: that is the sweep's.
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self._answered = self.loop.time()
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())

    def drop(self) -> None:
        """Part with a client that is overdue: with a farewell when nothing is owed to it."""
        if self.cycle is not None and self.cycle.response_complete:
            self.transport.close()
        else:
            self.transport.abort()

    def overdue(self, now: float, timeouts: Timeouts) -> bool:
        """Whether the client has used up its time. A held poll waits for us, not we for it: it never has."""
        if self._in_head:
            return now - self._started_at > timeouts.head
        if self.cycle is None:
            return now - self._started_at > timeouts.silence
        if self._in_body and not self.flow.read_paused:
            return now - self._received > timeouts.body
        answered = self.cycle.response_complete
        if not answered and not self.flow.write_paused:
            self._unsent = 0
            return False
        unsent = self.transport.get_write_buffer_size()
        if answered and not unsent:
            return now - self._answered > timeouts.silence
        if unsent != self._unsent:
            self._unsent, self._taken = unsent, now
        return now - self._taken > timeouts.answer

    def on_url(self, url: bytes) -> None:
        self._head_bytes += len(url)
        if self._head_bytes > _HEADER_BYTES:
            self._refuse_head()
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        # Called for each header of each request: what uvicorn's does, without a call.
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))
        self._head_bytes += len(name) + len(value) + 4
        if self._head_bytes > _HEADER_BYTES:
            self._refuse_head()

    def _refuse_head(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(
                b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            )
            self.transport.close()


class _Server(uvicorn.Server):
    """Signals belong to the command line, not to the server, and connections come from an `Acceptor`."""

    acceptor: Acceptor

    def __init__(self, config: uvicorn.Config, context: ssl.SSLContext | None, timeouts: Timeouts) -> None:
        super().__init__(config)
        self._context = context
        self._timeouts = timeouts

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to take connections."""
        assert sockets is not None
        self.servers = []
        self.acceptor = Acceptor(
            sockets[0],
            self._protocol,
            context=self._context,
            connections=self.server_state.connections,
            most=self.config.limit_concurrency or sys.maxsize,
            handshake=self._timeouts.handshake,
        )
        self.acceptor.start(self.config.backlog)
        self.started = True

    def _protocol(self) -> asyncio.Protocol:
        return _Protocol(config=self.config, server_state=self.server_state, app_state={})

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let requests under way end, then drop what is left: a TLS client that sleeps never answers our farewell."""
        self.acceptor.stop()
        stopping = asyncio.ensure_future(super().shutdown(sockets))
        ends = asyncio.get_running_loop().time() + _DRAIN_SECONDS
        await asyncio.sleep(0)
        while self.server_state.tasks and asyncio.get_running_loop().time() < ends:
            await asyncio.wait(self.server_state.tasks, timeout=0.1, return_when=asyncio.FIRST_COMPLETED)
        for connection in tuple(self.server_state.connections):
            connection.transport.abort()
        await stopping


class _Quiet(logging.Filter):
    """The application has said already why it left an answer without its end."""

    def filter(self, record: logging.LogRecord) -> bool:
        return "without completing response" not in record.getMessage()


logging.getLogger("uvicorn.error").addFilter(_Quiet())


class HttpServer:
    """Serves an ASGI application on a bound socket."""

    def __init__(
        self,
        application: Any,
        listening: socket.socket,
        context: ssl.SSLContext | None,
        *,
        timeouts: Timeouts | None = None,
        connections: int | None = None,
        loops: Loops | None = None,
    ) -> None:
        """`connections` is how many may be open at a time; None takes what the limit of open files leaves."""
        self._listening = listening
        self._loops = loops or Loops()
        self._timeouts = timeouts or Timeouts()
        config = uvicorn.Config(
            application,
            interface="asgi3",
            http=_Protocol,
            ws="none",
            lifespan="off",
            loop="none",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=True,
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=_DRAIN_SECONDS,
            backlog=_BACKLOG,
            limit_concurrency=_connections() if connections is None else connections,
        )
        self._server = _Server(config, context, self._timeouts)

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Answer requests inside the block; afterwards stop accepting and let those under way end (≤ 10 s)."""
        task = asyncio.create_task(self._server.serve(sockets=[self._listening]))
        while not self._server.started:
            await asyncio.sleep(0)
            if task.done():
                break
        timeouts = self._timeouts
        pause = min(5.0, min(timeouts.silence, timeouts.head, timeouts.body, timeouts.answer) / 4)
        sweep = self._loops.start("http.sweep", self._sweep, lambda: asyncio.sleep(pause))
        try:
            yield
        finally:
            await self._loops.stop(sweep)
            self._server.should_exit = True
            await task

    async def _sweep(self) -> None:
        """Drop the connections of clients that do not get on."""
        now = asyncio.get_running_loop().time()
        for connection in tuple(self._server.server_state.connections):
            if isinstance(connection, _Protocol) and connection.overdue(now, self._timeouts):
                connection.drop()


def _connections() -> int:
    """Raises the process's limit of open files as far as it may be; how many connections it leaves room for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    files = _OPEN_FILES if soft == resource.RLIM_INFINITY else soft
    return max(files - _FILES_OF_OUR_OWN, files // 2)
