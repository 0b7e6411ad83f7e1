"""The body of a request as it arrives: how much of it is kept, for how long it is waited for, and what an early answer leaves."""

from __future__ import annotations

import asyncio
from typing import Any

from penstock.wire.asgi import Receive
from penstock.wire.budget import BodyBudget, Share
from penstock.wire.errors import BodyTooLarge, MalformedBody
from penstock.wire.message import RequestHead, Response

OFF_LOOP = 64 << 10  # bytes; what is larger is not worked on on the event loop
_SECONDS = 120  # for a body that is kept in memory, however steadily it trickles
_REST_BYTES = 1 << 20  # of a body that an early answer left unread: read, or the connection is closed


class Arriving:
    """One request's body."""

    __slots__ = ("_arrived", "_bodies", "_head", "_is_read", "_receive", "_share")

    def __init__(self, head: RequestHead, receive: Receive, bodies: BodyBudget, *, arrived: bool) -> None:
        """`arrived` says that all of it is here already."""
        self._head = head
        self._receive = receive
        self._bodies = bodies
        self._arrived = arrived
        self._share: Share | None = None  # of the memory for bodies, once there is one that is read
        self._is_read = "transfer-encoding" not in head.headers and head.headers.get("content-length", "0") == "0"

    async def receive(self) -> dict[str, Any]:
        """ASGI's receive."""
        message = await self._receive()
        if message["type"] != "http.request" or not message.get("more_body"):
            self._is_read = True
        return message

    def refuse_more_than(self, limit: int) -> None:
        """Raise BodyTooLarge for a body that is announced to be larger than `limit` bytes."""
        announced = self._head.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > limit:
            raise BodyTooLarge

    async def read(self, limit: int, claimed: str) -> bytes:
        """All of it, at most `limit` bytes. `claimed` is the key that it says it is signed with. Raises a Refused."""
        self.refuse_more_than(limit)
        length = self._head.headers.get("content-length", "")
        if self._arrived and length.isdecimal() and int(length) <= OFF_LOOP:
            return await self._read_all(limit, None)  # nearly every call: there is nothing to wait for
        try:
            async with asyncio.timeout(_SECONDS) as reading:
                self._share = Share(claimed, reading)
                body = await self._read_all(limit, self._share)
                self._bodies.arrived(self._share)
                return body
        except TimeoutError:
            raise MalformedBody(
                f"The body did not arrive in time: within {_SECONDS} s, or sooner while others wait to send theirs."
            ) from None

    async def _read_all(self, limit: int, share: Share | None) -> bytes:
        parts: list[bytes] = []
        size = 0
        while True:
            message = await self.receive()
            if message["type"] != "http.request":
                raise MalformedBody("The connection ended before the body did.")
            if part := message.get("body", b""):
                size += len(part)
                if size > limit:
                    raise BodyTooLarge
                # A small one weighs no more than a head: it is never refused for what others send.
                if share is not None and size > OFF_LOOP:
                    self._bodies.take(share, size)
                parts.append(part)
            if not message.get("more_body"):
                return parts[0] if len(parts) == 1 else b"".join(parts)

    def let_go(self) -> None:
        """Give back what it had of the memory for bodies."""
        if self._share is not None:
            self._bodies.give_back(self._share)

    async def leave_clean(self, response: Response) -> Response:
        """What an early answer left of the body must not be taken for the connection's next request."""
        length = self._head.headers.get("content-length", "")
        if (
            not self._is_read
            and "expect" not in self._head.headers
            and length.isdecimal()
            and int(length) <= _REST_BYTES
        ):
            while not self._is_read:
                await self.receive()
        if self._is_read:
            return response
        return response._replace(headers=[*response.headers, (b"connection", b"close")])
