"""Bodies of requests of Git, kept to one byte above their limit."""

from __future__ import annotations

import asyncio
import gzip
import io
import os
import tempfile

import pytest

from penstock.repositories import spooling
from penstock.repositories.spooling import ClientLeft, Unreadable, spool


async def spooled(*pieces: bytes, encoding: str = "identity", limit: int = 1000, ends: bool = True):
    """Whether the body was complete, and what is in the file."""
    messages = [
        {"type": "http.request", "body": piece, "more_body": number < len(pieces)}
        for number, piece in enumerate(pieces, start=1)
    ]
    if not ends:
        messages[-1] = {"type": "http.disconnect"}
    waiting = iter(messages)

    async def receive():
        return next(waiting)

    with tempfile.TemporaryFile() as file:
        complete = await spool(receive, file, encoding=encoding, limit=limit, idle=20)
        return complete, file.read()


@pytest.mark.parametrize("encoding", ["identity", "gzip", "X-GZIP"])
@pytest.mark.parametrize(("size", "complete", "kept"), [(999, True, 999), (1000, True, 1000), (1001, False, 1001), (9000, False, 1001)])  # fmt: skip
async def test_a_body_is_kept_to_one_byte_above_its_limit(encoding, size, complete, kept):
    content = os.urandom(size)
    body = content if encoding == "identity" else gzip.compress(content)
    pieces = [body[at : at + 100] for at in range(0, len(body), 100)]
    assert await spooled(*pieces, encoding=encoding) == (complete, content[:kept])


async def test_a_large_piece_is_written_whole():
    content = os.urandom(300_000)
    assert await spooled(content, limit=1 << 20) == (True, content)
    assert await spooled(gzip.compress(bytes(300_000)), b"", encoding="gzip", limit=1 << 20) == (True, bytes(300_000))


async def test_only_large_pieces_are_written_off_the_loop(monkeypatch):
    written = []

    async def run(write, piece):
        written.append(len(piece))
        return write(piece)

    monkeypatch.setattr(spooling.FILES, "run", run)
    await spooled(bytes(65_536), bytes(65_537), limit=1 << 20)
    assert written == [65_537]


@pytest.mark.parametrize(("limit", "drained"), [(10, 100), (50, 200)])
async def test_more_than_can_be_thrown_away_is_not_read(monkeypatch, limit, drained):
    """Four times the limit, and a least number of bytes that is 256 MiB."""
    assert spooling._LEAST_DRAINED == 268_435_456
    monkeypatch.setattr(spooling, "_LEAST_DRAINED", 100)
    assert await spooled(bytes(drained), limit=limit) == (False, bytes(limit + 1))
    with pytest.raises(Unreadable, match="much larger than a push may be") as refused:
        await spooled(bytes(drained), b"x", limit=limit)
    assert refused.value.status == 413


@pytest.mark.parametrize(
    ("pieces", "encoding", "status", "said"),
    [
        ([b"x"], "br" * 30, 415, f"The content encoding {'br' * 20} is not read here."),
        ([b"no gzip"], "gzip", 400, "The request's gzip stream is damaged."),
        ([gzip.compress(b"abc")[:-3]], "gzip", 400, "The request's gzip stream ends in its middle."),
        ([b""], "gzip", 400, "The request's gzip stream ends in its middle."),
    ],
)
async def test_bodies_that_cannot_be_read(pieces, encoding, status, said):
    with pytest.raises(Unreadable) as refused:
        await spooled(*pieces, encoding=encoding)
    assert (refused.value.status, str(refused.value)) == (status, said)


async def test_a_client_that_left_or_says_nothing():
    with pytest.raises(ClientLeft):
        await spooled(b"a", b"", ends=False)

    async def never():
        await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await spool(never, io.BytesIO(), encoding="identity", limit=1, idle=0.01)
