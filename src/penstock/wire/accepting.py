"""Taking connections: how many there may be, with those whose TLS handshake is under way.

A server of asyncio's makes a connection known when its handshake is over. Until then nobody counts it, and clients that begin handshakes and
fall silent take every descriptor of the process. So connections are accepted here, and counted from then on.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Sized

log = logging.getLogger("penstock.http")

_AT_ONCE = 64  # connections in one turn of the loop
_HANDSHAKES_AT_ONCE = 8  # what many handshakes need at the same time is not given back to the system
_PAUSE_S = 0.1  # before the next try when the system has no descriptor
_SAID_S = 60.0  # between two lines that say so


class Acceptor:
    """Takes connections from a bound socket and makes protocols of them."""

    def __init__(
        self,
        listening: socket.socket,
        protocol: Callable[[], asyncio.Protocol],
        *,
        context: ssl.SSLContext | None,
        connections: Sized,
        most: int,
        handshake: float,
    ) -> None:
        """`connections` are those whose protocol has been called, `most` is how many there may be, `handshake` what one may take in seconds."""
        self._listening = listening
        self._protocol = protocol
        self._context = context
        self._connections = connections
        self._most = most
        self._handshake = handshake if context is not None else None
        self._at_once = _AT_ONCE if context is None else _HANDSHAKES_AT_ONCE
        self._begun: dict[asyncio.Task[None], None] = {}  # the oldest first
        self._loop = asyncio.get_running_loop()
        self._open = False
        self._said = float("-inf")

    def start(self, backlog: int) -> None:
        """Begin. As many as `backlog` wait in the system."""
        self._listening.listen(backlog)
        self._listening.setblocking(False)
        self._open = True
        self._resume()

    def stop(self) -> None:
        """Take no more, and let go of those whose handshake is not over."""
        self._open = False
        self._loop.remove_reader(self._listening)
        for begun in self._begun:
            begun.cancel()

    def _resume(self) -> None:
        if self._open:
            self._loop.add_reader(self._listening, self._accept)

    def _accept(self) -> None:
        for _ in range(self._at_once):
            try:
                connection, _ = self._listening.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:  # no descriptor, or no memory: who waits in the system goes on waiting
                self._say(f"the system accepts no more: {error.strerror}")
                self._loop.remove_reader(self._listening)
                self._loop.call_later(_PAUSE_S, self._resume)
                return
            self._take(connection)

    def _take(self, connection: socket.socket) -> None:
        if len(self._connections) + len(self._begun) >= self._most or len(self._begun) > self._most // 2:
            self._say(
                f"of at most {self._most} connections, as the limit of open files has it, {len(self._connections)} are open and "
                f"{len(self._begun)} have not ended their handshake"
            )
            # What has taken longest for its handshake is the likeliest to hang.
            oldest = next((begun for begun in self._begun if not begun.cancelling()), None)
            if oldest is None:
                connection.close()
                return
            oldest.cancel()
        connection.setblocking(False)
        begun = self._loop.create_task(self._admit(connection))
        self._begun[begun] = None
        begun.add_done_callback(self._begun.pop)

    async def _admit(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(
                self._protocol, connection, ssl=self._context, ssl_handshake_timeout=self._handshake
            )
        except OSError:
            connection.close()  # it has left, took too long, or speaks no TLS
        except BaseException:
            connection.close()
            raise

    def _say(self, why: str) -> None:
        if self._loop.time() - self._said > _SAID_S:
            self._said = self._loop.time()
            log.warning("http.connections_refused", extra={"why": why})
