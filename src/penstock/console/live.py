"""Live pages: a stream of the blocks that changed, rendered again when something happened to what the page shows.

The stream is server-sent events. Each message replaces one element: `{"id": …, "html": …}`. A page says which aggregates it looks at and how its
blocks are rendered; nothing is sent that did not change. A client that falls 256 KB behind is dropped and resumes with everything.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

import orjson
from starlette.responses import StreamingResponse

from penstock.wire.errors import Refused, ServiceError

if TYPE_CHECKING:
    from penstock.room import App
    from penstock.store.events import Event

log = logging.getLogger("penstock.console")

_SETTLE_SECONDS = 0.05  # events come in bunches: one rendering serves them all
_HEARTBEAT_SECONDS = 15  # also the slow look behind the events
_HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}

Blocks = Mapping[str, str]  # element id → HTML
Render = Callable[[], Awaitable[Blocks]]
Concerns = Callable[["Event"], bool]


class Streams:
    """The live streams of one process."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        """End every stream."""
        self._stopped.set()

    def of(self, render: Render, concerns: Concerns, *, every: float = _HEARTBEAT_SECONDS) -> StreamingResponse:
        """A stream of the blocks of `render`, looked at again after each event that `concerns`, and `every` seconds."""
        return StreamingResponse(self._messages(render, concerns, every), media_type="text/event-stream", headers=_HEADERS)

    async def _messages(self, render: Render, concerns: Concerns, every: float) -> AsyncIterator[bytes]:
        sent: dict[str, str] = {}
        async with self._app.events.tap() as queue:
            yield b"retry: 1000\n\n"
            while not self._stopped.is_set():
                try:
                    blocks = await render()
                except (ServiceError, Refused) as error:
                    yield b"event: gone\ndata: " + orjson.dumps({"words": error.message}) + b"\n\n"
                    return
                for name, html in blocks.items():
                    if sent.get(name) != html:
                        sent[name] = html
                        yield b"data: " + orjson.dumps({"id": name, "html": html}) + b"\n\n"
                yield b"event: now\ndata: " + str(self._app.clock.now()).encode() + b"\n\n"
                await self._next(queue, concerns, every)

    async def _next(self, queue: asyncio.Queue[Event], concerns: Concerns, every: float) -> None:
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
        await asyncio.sleep(_SETTLE_SECONDS)
        with contextlib.suppress(asyncio.QueueEmpty):
            while True:
                queue.get_nowait()
