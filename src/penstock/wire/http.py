"""The HTTP server: uvicorn on a socket that is already bound, inside the caller's event loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_KEEP_ALIVE_SECONDS = 75  # longer than a host's long poll and the SDKs' pools expect
_BACKLOG = 2048
_HEADER_BYTES = 64 << 10
_DRAIN_SECONDS = 10


class _Protocol(HttpToolsProtocol):
    """httptools with a bound on what the head of a request may weigh."""

    _head_bytes = 0

    def on_message_begin(self) -> None:
        self._head_bytes = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._weigh(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._weigh(len(name) + len(value) + 4)
        super().on_header(name, value)

    def _weigh(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > _HEADER_BYTES and not self.transport.is_closing():
            self.transport.write(
                b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            )
            self.transport.close()


class _Server(uvicorn.Server):
    """Signals belong to the command line, not to the server."""

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let requests under way end, then drop what is left: a TLS client that sleeps never answers our farewell."""
        stopping = asyncio.ensure_future(super().shutdown(sockets))
        ends = asyncio.get_running_loop().time() + _DRAIN_SECONDS
        await asyncio.sleep(0)
        while self.server_state.tasks and asyncio.get_running_loop().time() < ends:
            await asyncio.wait(self.server_state.tasks, timeout=0.1, return_when=asyncio.FIRST_COMPLETED)
        for connection in tuple(self.server_state.connections):
            connection.transport.abort()
        await stopping


class HttpServer:
    """Serves an ASGI application on a bound socket."""

    def __init__(self, application: Any, listening: socket.socket, context: ssl.SSLContext | None) -> None:
        self._listening = listening
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
            ssl_context_factory=None if context is None else lambda _config, _default: context,
        )
        self._server = _Server(config)

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Answer requests inside the block; afterwards stop accepting and let those under way end (≤ 10 s)."""
        task = asyncio.create_task(self._server.serve(sockets=[self._listening]))
        while not self._server.started:
            await asyncio.sleep(0)
            if task.done():
                break
        try:
            yield
        finally:
            self._server.should_exit = True
            await task
