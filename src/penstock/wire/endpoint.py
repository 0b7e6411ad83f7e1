"""The one port: what a request is decides who answers it. API requests are `penstock.wire.exchange`'s."""

from __future__ import annotations

import asyncio
import errno
import logging
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from penstock.wire.asgi import Receive, Send, client_left, send_text
from penstock.wire.budget import BodyBudget
from penstock.wire.errors import Unavailable
from penstock.wire.event_streams import EventStream
from penstock.wire.exchange import Exchange
from penstock.wire.hold import Hold
from penstock.wire.http import OVERLOADED
from penstock.wire.message import RequestHead, Response
from penstock.wire.rates import Rates
from penstock.wire.recognise import Kind, Port, recognise
from penstock.wire.registry import Registry
from penstock.wire.services import Services
from penstock.wire.turns import Turns

_EXHAUSTED = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM})
_BUSY = "This server has as many connections as it can hold. Please try again later."

_UNAVAILABLE = "The server cannot do that at the moment: a disk or the database takes no writes. Try again later.\n"
_FAILED = "The server failed; its log says why.\n"

log = logging.getLogger("penstock.wire")


class Endpoint:
    """The ASGI application of a server process."""

    def __init__(self, app: Any, *, passing: tuple[type[Exception], ...] = ()) -> None:
        """`passing` are the faults that may be over at the next try, such as a database that cannot be reached."""
        self.app = app
        self._passing = passing
        self.services: Services = app.services
        self.registry: Registry = app.registry
        public_host = urlsplit(app.public_url).hostname or "localhost"
        self._port = Port(self.services, public_host, "localhost")
        self.polls: set[Hold] = set()
        self._streams: set[EventStream] = set()
        self.in_flight = 0
        self.bodies = BodyBudget()
        self.turns = Turns()
        self.rates = Rates(app.settings.requests_per_second)
        self.draining = False

    def passes(self, fault: Exception) -> bool:
        """Whether the same request may succeed later: the fault is of the machine, not of the code."""
        return isinstance(fault, self._passing) or (isinstance(fault, OSError) and fault.errno in _EXHAUSTED)

    @cached_property
    def taking_turns(self) -> frozenset[str]:
        """The targets of operations that agents call, all of a fleet at the same time; known without reading a model."""
        return frozenset(
            f"{prefix}.{operation.name}"
            for operation in self.registry
            if operation.unthrottled
            for prefix in self.services.get(operation.service).target_prefixes
        )

    def drain(self) -> None:
        """Answer held polls with nothing, and end streams of events, now and from here on."""
        self.draining = True
        for stream in tuple(self._streams):
            stream.end()
        for poll in tuple(self.polls):
            poll.end()

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            return
        started = False

        async def sending(message: dict[str, Any]) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._serve(scope, receive, sending)
        except Exception as fault:
            passing = self.passes(fault)
            if not started:
                if passing:
                    log.warning("request.unavailable", extra={"path": scope["path"], "why": str(fault)})
                else:
                    log.exception("request.failed", extra={"path": scope["path"]})
                await send_text(send, *((503, _UNAVAILABLE) if passing else (500, _FAILED)))
                return
            # The head is on its way: all that is left is to leave the answer without its end, so that nobody takes it for complete.
            log.warning("request.cut_short", extra={"path": scope["path"], "why": f"{type(fault).__name__}: {fault}"})

    async def _serve(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        head = RequestHead.from_scope(scope)
        where = recognise(head, self._port)
        if where.kind is Kind.MOUNT:
            if scope.get(OVERLOADED):
                await send_text(send, 503, f"{_BUSY}\n")
            else:
                await self._mounted(where.detail, scope, receive, send)
        elif where.kind is Kind.ROOT:
            await _answer(send, _browser_home(), head)
        else:
            exchange = Exchange(self, head, receive, scope)
            answered = exchange.refused(Unavailable(_BUSY), where) if scope.get(OVERLOADED) else exchange.answer(where)
            response = await exchange.body.leave_clean(await answered)
            if 400 <= response.status < 500 and (elsewhere := self._signposted(head)):
                await send_text(send, 404, f"{elsewhere}\n")
            elif isinstance(response.body, EventStream):
                await self._stream(send, response, head, receive, response.body)
            else:
                await _answer(send, response, head, receive)

    async def _stream(
        self, send: Send, response: Response, head: RequestHead, receive: Receive, stream: EventStream
    ) -> None:
        self._streams.add(stream)
        if self.draining:
            stream.end()
        try:
            await _answer(send, response, head, receive)
        finally:
            self._streams.discard(stream)
            await stream.aclose()

    def _signposted(self, head: RequestHead) -> str:
        """What a refused request should have asked instead, as far as a component says."""
        return next(filter(None, (say(head) for say in self.app.signposts)), "")

    async def _mounted(self, first: str, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        path = scope["path"]
        for prefix, mounted in self.app.mounts.items():
            if path.startswith(prefix) or path == prefix.rstrip("/"):
                await mounted(scope, receive, send)
                return
        elsewhere = self._signposted(RequestHead.from_scope(scope))
        await send_text(send, 404, f"{elsewhere or f'nothing is served below /{first}'}\n")


def _browser_home() -> Response:
    # AWS's agents ask for / before they start, unsigned, and take any answer.
    return Response(302, [(b"location", b"/console/"), (b"content-length", b"0")], b"")


async def _answer(send: Send, response: Response, head: RequestHead | None, receive: Receive | None = None) -> None:
    """Send a response. A streamed body is read no further once the client has left."""
    await send({"type": "http.response.start", "status": response.status, "headers": response.headers})
    body = response.body
    if isinstance(body, bytes):
        sent = b"" if head is not None and head.method == "HEAD" else body
        await send({"type": "http.response.body", "body": sent})
        return
    left = None if receive is None else asyncio.ensure_future(client_left(receive))
    try:
        if head is None or head.method != "HEAD":
            async for chunk in body:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
                if left is not None and left.done():
                    break
    finally:
        if left is not None:
            left.cancel()
        close = getattr(body, "aclose", None)
        if close is not None:  # files are let go of now, not when the collector comes by
            await close()
    await send({"type": "http.response.body", "body": b""})
