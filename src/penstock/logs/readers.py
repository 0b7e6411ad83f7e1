"""Processes that read log files for this one: `penstock.logfiles` says how and why."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from penstock.logfiles.__main__ import FRAME, PLAIN, SEALED
from penstock.logfiles.restoring import Incomplete
from penstock.logfiles.sealed import Locked
from penstock.logs.errors import InvalidParameterException
from penstock.pools import FILES, Places
from penstock.wire.errors import Unavailable

_AT_ONCE = max(
    1, (os.cpu_count() or 1) // 2
)  # readers at work: a flood of them leaves half of the processors to others
_WAITING = 16
_LONGEST_S = 30.0  # that a read may take, once it runs
# Whatever way this process found its packages (a wheel, a user's site, PYTHONPATH), the other finds them so.
_START = "import runpy, sys; sys.path[:] = sys.argv[1:]; runpy.run_module('penstock.logfiles', run_name='__main__')"
_QUESTION = b'{"segment":'
_TRIES = 2  # a process that died while nobody used it is found dead at the next use


class Readers:
    """Asks one process, which forks another for each request. It is started at the first request."""

    def __init__(self, segment: Callable[[str, int], Awaitable[bytes]]) -> None:
        """`segment` gives the answer to a reader's question for the segment that has a place of a path."""
        self._segment = segment
        self._places = Places("searches", _AT_ONCE + _WAITING)
        self._running = asyncio.Semaphore(_AT_ONCE)
        self._starting = asyncio.Lock()
        self._channel: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    async def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """The answer to a request (see logfiles.search). A caller that leaves ends the process that reads for it.

        Its `events` are an orjson.Fragment: ten thousand of them would take the event loop several milliseconds to read and write again.
        Raises Locked where it comes upon events whose data key the request lacks, Incomplete where an index lacks events, Throttled when too much is waiting, InvalidParameterException when the request asks for more than fits into memory, and
        Unavailable when there is no answer.
        """
        self._places.take()
        try:
            async with self._running, asyncio.timeout(_LONGEST_S):
                content, events = await self._answer(orjson.dumps(request), SEALED if request.get("keys") else PLAIN)
        except TimeoutError:
            await self.close()  # it may be what hangs; what it has forked reads on
            raise _gone() from None
        finally:
            self._places.give_back()
        return _checked(orjson.loads(content)) | {"events": orjson.Fragment(events)}

    async def query(
        self, request: dict[str, Any], progress: Callable[[dict[str, Any]], Awaitable[None]]
    ) -> dict[str, Any]:
        """The answer to a query (see logfiles.queries.running), whose parts have their bytes; `progress` gets the statistics meanwhile.

        It takes as long as it takes: the caller bounds the time. Raises as `ask`.
        """
        content = orjson.dumps(request)
        with await self._connection(SEALED if request.get("keys") else PLAIN) as connection:
            try:
                await asyncio.get_running_loop().sock_sendall(connection, FRAME.pack(len(content)) + content)
                while "progress" in (found := orjson.loads(await self._heard(connection))):
                    await progress(found["progress"])
                parts = [(first, rows, await _frame(connection)) for first, rows in found.get("parts", ())]
            except ConnectionError:
                raise _gone() from None
        return _checked(found) | {"parts": parts}

    async def close(self) -> None:
        """End the process that forks; the next request starts another."""
        async with self._starting:
            await self._end()

    async def _answer(self, request: bytes, kind: bytes) -> tuple[bytes, bytes]:
        with await self._connection(kind) as connection:
            try:
                await asyncio.get_running_loop().sock_sendall(connection, FRAME.pack(len(request)) + request)
                return await self._heard(connection), await _frame(connection)
            except ConnectionError:
                raise _gone() from None

    async def _heard(self, connection: socket.socket) -> bytes:
        """The next frame that is no question for a segment; those before it are answered."""
        while (frame := await _frame(connection)).startswith(_QUESTION):
            path, offset = orjson.loads(frame)["segment"]
            answer = await self._segment(path, offset)
            await asyncio.get_running_loop().sock_sendall(connection, FRAME.pack(len(answer)) + answer)
        return frame

    async def _connection(self, kind: bytes) -> socket.socket:
        """A connection to a process of its own."""
        for _ in range(_TRIES):
            async with self._starting:
                if self._channel is None:
                    await FILES.finish(self._start)
                assert self._channel is not None
                ours, theirs = socket.socketpair()
                ours.setblocking(False)
                with theirs:
                    try:
                        socket.send_fds(self._channel, [kind], [theirs.fileno()], socket.MSG_DONTWAIT)
                    except OSError:  # it is dead, or takes nothing any more
                        ours.close()
                        await self._end()
                    else:
                        return ours
        raise _gone()

    def _start(self) -> None:
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _START, *map(os.path.abspath, sys.path)],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,  # standard error is the server's: why it cannot start is to be seen
                env={},
                cwd="/",
                start_new_session=True,  # a terminal's Ctrl-C is the server's, not its readers'
            )

    async def _end(self) -> None:
        channel, process = self._channel, self._process
        self._channel = self._process = None
        if channel is not None:
            channel.close()
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await FILES.run(process.wait)


def _checked(found: dict[str, Any]) -> dict[str, Any]:
    """An answer that is none of those that say why there is no other."""
    if "too_large" in found:
        raise InvalidParameterException(
            "The request reads more log streams at the same time than there is memory for. Name fewer of them, or a shorter time."
        )
    if "incomplete" in found:
        raise Incomplete(found["incomplete"])
    if "locked" in found:
        raise Locked
    if "unreadable" in found:
        raise unreadable(found["unreadable"])
    if "failed" in found:
        raise RuntimeError(found["failed"])
    return found


async def _frame(connection: socket.socket) -> bytes:
    (length,) = FRAME.unpack(await _received(connection, FRAME.size))
    return await _received(connection, length)


async def _received(connection: socket.socket, length: int) -> bytes:
    """Exactly so many bytes, each copied once. Raises ConnectionError when fewer come."""
    content = memoryview(bytearray(length))
    at = 0
    while at < length:
        size = await asyncio.get_running_loop().sock_recv_into(connection, content[at:])
        if not size:
            raise ConnectionResetError
        at += size
    return bytes(content)


def unreadable(why: str) -> Unavailable:
    """The answer where a segment cannot be had: later perhaps, when its bytes have been put back."""
    return Unavailable(f"Part of the log cannot be read: {why}. The server's own log says more.")


def _gone() -> Unavailable:
    return Unavailable(
        "Reading the log took too long, or the process that read it was ended. Try again; if that does not help, ask for a shorter time or fewer streams."
    )
