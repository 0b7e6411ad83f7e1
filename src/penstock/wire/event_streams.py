"""Answers that are a stream of events, such as StartLiveTail's, in AWS's framing (application/vnd.amazon.eventstream).

A message is two lengths (of all, of its headers) and their CRC-32, headers, a payload, and the CRC-32 of all before it. (Smithy: "Amazon Event
Stream Specification".) The first message of an RPC protocol is `initial-response`, with the output's other members.
"""

from __future__ import annotations

import asyncio
import struct
import zlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Protocol

from penstock.wire.errors import ServiceError

CONTENT_TYPE = b"application/vnd.amazon.eventstream"
_LENGTHS = struct.Struct("!II")
_CRC = struct.Struct("!I")
_STRING = 7  # the type of a header

Event = tuple[str, Mapping[str, Any]]
"""The member of the output's union, and its value."""


class Events(Protocol):
    """What an operation gives as its output's event stream. `aclose` is called in any case, also before the first event was asked for."""

    def __aiter__(self) -> AsyncIterator[Event]: ...

    async def __anext__(self) -> Event: ...

    async def aclose(self) -> None: ...


Write = Callable[[str, Mapping[str, Any]], bytes]
"""The payload of an event of the union's member of this name."""


def message(headers: Mapping[str, str], payload: bytes) -> bytes:
    """One message; its headers are texts."""
    head = b"".join(
        bytes((len(name),)) + name.encode() + struct.pack("!BH", _STRING, len(value)) + value.encode()
        for name, value in headers.items()
    )
    lengths = _LENGTHS.pack(16 + len(head) + len(payload), len(head))
    content = lengths + _CRC.pack(zlib.crc32(lengths)) + head + payload
    return content + _CRC.pack(zlib.crc32(content))


class EventStream:
    """The body of an answer: messages of events as they come. It ends with them, with an error among them, or when it is told to."""

    def __init__(self, events: Events, initial: bytes, write: Write, payload_type: str) -> None:
        self._events = events
        self._initial = initial
        self._write = write
        self._payload_type = payload_type
        self._waiting: asyncio.Future[Event] | None = None
        self._ended = False

    def end(self) -> None:
        """Let the stream end, as if no more events came."""
        self._ended = True
        if self._waiting is not None:
            self._waiting.cancel()

    async def aclose(self) -> None:
        """Nobody asks for more."""
        await self._events.aclose()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._message("event", "initial-response", self._initial)
        while not self._ended:
            self._waiting = asyncio.ensure_future(self._events.__anext__())
            try:
                name, value = await self._waiting
            except StopAsyncIteration:
                return
            except asyncio.CancelledError:
                if self._ended:
                    return
                raise
            except ServiceError as error:
                name = error.wire_code
                yield self._message("exception", name, self._write(name, {"message": error.message}))
                return
            yield self._message("event", name, self._write(name, value))

    def _message(self, kind: str, name: str, payload: bytes) -> bytes:
        return message({f":{kind}-type": name, ":content-type": self._payload_type, ":message-type": kind}, payload)
