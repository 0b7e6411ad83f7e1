"""Request bodies to disk: inflated, bounded in size and time."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable
from typing import IO, Any

from penstock.pools import FILES

_CHUNK = 64 << 10
_DRAIN_FACTOR = 4  # so many times the limit is read and thrown away, for git reads no answer before it has sent all
_LEAST_DRAINED = 256 << 20  # bytes


class ClientLeft(Exception):
    """The connection ended before the exchange did."""


class Unreadable(Exception):
    """The body cannot be read; the message says why."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status  # of the HTTP answer


class _Full(Exception):
    pass


async def spool(
    receive: Callable[[], Awaitable[Any]], body: IO[bytes], *, encoding: str, limit: int, idle: float
) -> bool:
    """Write an ASGI request's body to a file and rewind that.

    False when the body has more than `limit` bytes: the file has its beginning then. `idle` are the seconds that a client
    may be silent. Raises Unreadable, ClientLeft or TimeoutError.
    """
    encoding = encoding.lower()
    if encoding not in ("identity", "gzip", "x-gzip"):
        raise Unreadable(415, f"The content encoding {encoding[:40]} is not read here.")
    inflate = zlib.decompressobj(31) if encoding != "identity" else None
    kept = read = 0

    async def keep(piece: bytes) -> None:
        nonlocal kept
        piece = piece[: limit - kept + 1]
        kept += len(piece)
        await FILES.run(body.write, piece) if len(piece) > _CHUNK else body.write(piece)
        if kept > limit:
            raise _Full

    full = False
    more = True
    while more:
        async with asyncio.timeout(idle):
            message = await receive()
        if message["type"] != "http.request":
            raise ClientLeft
        piece, more = message.get("body", b""), message.get("more_body", False)
        read += len(piece)
        if read > max(limit * _DRAIN_FACTOR, _LEAST_DRAINED):
            raise Unreadable(413, "The request is much larger than a push may be.")
        if full:
            continue
        try:
            if inflate is None:
                await keep(piece)
            while inflate is not None and piece:
                await keep(inflate.decompress(piece, _CHUNK))
                piece = inflate.unconsumed_tail
        except zlib.error:
            raise Unreadable(400, "The request's gzip stream is damaged.") from None
        except _Full:
            full = True
    try:
        while inflate is not None and not full and (piece := inflate.decompress(b"", _CHUNK)):
            await keep(piece)
    except _Full:
        full = True
    if inflate is not None and not full and not inflate.eof:
        raise Unreadable(400, "The request's gzip stream ends in its middle.")
    body.seek(0)
    return not full
