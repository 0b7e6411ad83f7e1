"""Live pages: a stream of the blocks that changed, rendered again when something happened to what the page shows.

The stream is server-sent events. A message replaces one element, `{"id": …, "html": …}`, or lets it grow, `{"id": …, "add": …}`. A page says
which events concern it and how to look at it; nothing is sent that did not change. Nothing is queued for a browser either: the next look is
taken when the last one has been read, and a browser that does not read for `_STALLED_SECONDS` is dropped and comes back for all of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson
from starlette.responses import Response

from penstock.wire.asgi import client_left
from penstock.wire.errors import Refused, ServiceError

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from penstock.application import App
    from penstock.store.events import Event

log = logging.getLogger("penstock.console")

_SETTLE_SECONDS = 0.05  # events come in bunches: one look serves them all
_REST = 3  # a look that took long is followed by that many times its length of rest
_HEARTBEAT_SECONDS = 5  # the slow look behind the events: not everything that a page shows has one
_STALLED_SECONDS = 20
_MOST_BYTES = 256 << 10  # of one message; more is the page's to fetch anew
_MOST_STREAMS = 100  # of one user at a time in this process
_CLOCKS = re.compile(r'(<time[^>]*>)[^<]*|data-since="\d+"[^>]*>[^<]*')


@dataclass(slots=True)
class Snapshot:
    """What a page shows at one moment."""

    blocks: Mapping[str, str] = field(default_factory=dict)  # element id → HTML of that element
    adds: list[tuple[str, str]] = field(default_factory=list)  # element id → HTML for its end; never sent twice
    cursor: str = ""  # where `adds` stand: what the browser says when it comes back
    every: float = _HEARTBEAT_SECONDS  # seconds until the next look without an event
    more: bool = False  # there is more already
    over: bool = False  # nothing will change any more


Take = Callable[[], Awaitable[Snapshot]]
Concerns = Callable[["Event"], bool]
Still = Callable[[], Awaitable[bool]]


class Streams:
    """The live streams of one process."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._stopped = asyncio.Event()
        self._count: dict[str, int] = {}

    def stop(self) -> None:
        """End every stream."""
        self._stopped.set()

    def of(self, take: Take, concerns: Concerns, *, user: str, still: Still) -> Response:
        """A stream of what `take` sees, looked at again after each event that `concerns`. It ends when the visitor is not `still` signed in."""
        if self._count.get(user, 0) >= _MOST_STREAMS:
            return Response("Too many live pages are open.", 429, media_type="text/plain")
        return _Streamed(self._count_stream(user, self._messages(take, concerns, still)))

    async def _count_stream(self, user: str, messages: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        self._count[user] = self._count.get(user, 0) + 1
        try:
            async for message in messages:
                yield message
        finally:
            self._count[user] -= 1
            if not self._count[user]:
                del self._count[user]

    async def _messages(self, take: Take, concerns: Concerns, still: Still) -> AsyncIterator[bytes]:
        sent: dict[str, str] = {}
        clock = asyncio.get_running_loop().time
        async with self._app.events.tap() as queue:
            yield b"retry: 1000\n\n"
            while not self._stopped.is_set():
                began = clock()
                try:
                    if not await still():
                        yield _message({"message": "You are signed out."}, event="gone")
                        return
                    snapshot = await take()
                except (ServiceError, Refused) as error:
                    yield _message({"message": error.message}, event="gone")
                    return
                except Exception:
                    log.exception("console.stream_failed")
                    yield _message({"message": "The page could not be made. The server's log says why."}, event="gone")
                    return
                first = not sent
                for name, html in snapshot.blocks.items():
                    key = _CLOCKS.sub(r"\1", html)
                    if sent.get(name) != key:
                        sent[name] = key
                        yield _message({"id": name, "html": html, "first": first})
                for name, html in snapshot.adds:
                    yield _message({"id": name, "add": html})
                yield _message(self._app.clock.now(), event="now", id=snapshot.cursor)
                if snapshot.over:
                    yield _message({}, event="end")
                    return
                if not snapshot.more:
                    await self._next(queue, concerns, snapshot.every, rest=_REST * (clock() - began))

    async def _next(self, queue: asyncio.Queue[Event], concerns: Concerns, every: float, *, rest: float) -> None:
        stopped = asyncio.ensure_future(self._stopped.wait())
        try:
            async with asyncio.timeout(every):
                while True:
                    waiting = asyncio.ensure_future(queue.get())
                    try:
                        await asyncio.wait((waiting, stopped), return_when=asyncio.FIRST_COMPLETED)
                    finally:
                        waiting.cancel()
                    if stopped.done():
                        return
                    if waiting.done() and not waiting.cancelled() and concerns(waiting.result()):
                        break
        except TimeoutError:
            return
        finally:
            stopped.cancel()
        await asyncio.sleep(max(_SETTLE_SECONDS, rest))
        with contextlib.suppress(asyncio.QueueEmpty):
            while True:
                queue.get_nowait()


def _message(data: Any, *, event: str = "", id: str = "") -> bytes:
    body = orjson.dumps(data)
    if len(body) > _MOST_BYTES:
        event, body = "reload", b"{}"
    head = (f"event: {event}\n" if event else "") + (f"id: {id}\n" if id else "")
    return head.encode() + b"data: " + body + b"\n\n"


class _Streamed(Response):
    """Sends messages one after the other, each when the one before has been taken."""

    media_type = "text/event-stream"

    def __init__(self, messages: AsyncIterator[bytes]) -> None:
        super().__init__(
            headers={"cache-control": "no-store", "x-accel-buffering": "no", "x-content-type-options": "nosniff"}
        )
        del self.headers["content-length"]
        self._messages = messages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's form
        sending = asyncio.ensure_future(self._send(send))
        leaving = asyncio.ensure_future(client_left(receive))
        try:
            await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
            sending.cancel()
            with contextlib.suppress(asyncio.CancelledError, TimeoutError, OSError):
                await sending

    async def _send(self, send: Send) -> None:
        async with contextlib.aclosing(self._messages) as messages:  # type: ignore[type-var]
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            async for message in messages:
                async with asyncio.timeout(_STALLED_SECONDS):
                    await send({"type": "http.response.body", "body": message, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
