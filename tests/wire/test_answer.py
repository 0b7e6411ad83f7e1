"""Streamed answers: read to the end for a client that stays, no further for one that has left."""

from __future__ import annotations

import asyncio
import socket

from penstock.wire.endpoint import _answer
from penstock.wire.http import HttpServer
from penstock.wire.message import RequestHead, Response

CHUNK = 64 << 10


class Stream:
    """A body that counts what was read of it and knows whether it was let go."""

    def __init__(self, chunks):
        self.chunks = chunks
        self.read = 0
        self.closed = asyncio.Event()

    async def __aiter__(self):
        for _ in range(self.chunks):
            await asyncio.sleep(0)
            self.read += 1
            yield bytes(CHUNK)

    async def aclose(self):
        self.closed.set()


def served(stream, method="GET"):
    async def application(scope, receive, send):
        head = RequestHead(method=method, path="/")
        length = str(stream.chunks * CHUNK).encode()
        await _answer(send, Response(200, [(b"content-length", length)], stream), head, receive)

    return application


async def exchange(application, request, *, leave_after=None):
    """What the server answers; with `leave_after`, the connection is dropped after so many bytes."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = HttpServer(application, listening, None)
    async with server.serving():
        reader, writer = await asyncio.open_connection("127.0.0.1", listening.getsockname()[1])
        writer.write(request)
        if leave_after is not None:
            await reader.readexactly(leave_after)
            writer.transport.abort()
            yield b""
            return
        head = await reader.readuntil(b"\r\n\r\n")
        writer.close()
        yield head
    listening.close()


async def test_a_body_is_read_no_further_when_the_client_has_left():
    stream = Stream(100_000)
    async for _ in exchange(served(stream), b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", leave_after=2 * CHUNK):
        await asyncio.wait_for(stream.closed.wait(), 60)
    assert stream.read < stream.chunks / 2


async def test_a_body_is_not_read_for_a_head():
    stream = Stream(3)
    async for head in exchange(served(stream, "HEAD"), b"HEAD / HTTP/1.1\r\nhost: a\r\n\r\n"):
        assert f"content-length: {3 * CHUNK}".encode() in head
        await asyncio.wait_for(stream.closed.wait(), 60)
    assert stream.read == 0


async def test_what_is_sent_of_an_answer():
    """Of a body, its pieces and an end; to HEAD, and when the client leaves at the first piece, no more; nothing waits for the client after that."""
    for method, leaves, bodies in (("GET", False, [b"a", b"b", b""]), ("GET", True, [b"a", b""]), ("HEAD", False, [b""])):  # fmt: skip
        sent, left = [], asyncio.Event()

        async def receive(left=left):
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message, sent=sent, left=left, leaves=leaves):
            sent.append(message)
            if leaves and message.get("body"):
                left.set()
                for _ in range(5):
                    await asyncio.sleep(0)

        async def body():
            yield b"a"
            yield b"b"

        await _answer(send, Response(200, [], body()), RequestHead(method=method, path="/"), receive)
        await asyncio.sleep(0)
        assert sent[0] == {"type": "http.response.start", "status": 200, "headers": []}
        assert [message["body"] for message in sent[1:]] == bodies
        assert [message.get("more_body", False) for message in sent[1:]] == [bool(piece) for piece in bodies]
        assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_an_answer_that_is_there_is_sent_at_once():
    for head, sent in ((None, b"text"), (RequestHead("GET", "/"), b"text"), (RequestHead("HEAD", "/"), b"")):
        messages = []

        async def send(message, messages=messages):
            messages.append(message)

        await _answer(send, Response(201, [(b"a", b"b")], b"text"), head)
        assert messages == [
            {"type": "http.response.start", "status": 201, "headers": [(b"a", b"b")]},
            {"type": "http.response.body", "body": sent},
        ]


async def test_head_and_first_piece_leave_together():
    async def application(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
        await send({"type": "http.response.body", "body": b"hello"})

    pieces = []

    class Client(asyncio.Protocol):
        def data_received(self, data):
            pieces.append(data)
            if b"".join(pieces).endswith(b"hello"):
                complete.set()

    complete = asyncio.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        async with HttpServer(application, listening, None).serving():
            transport, _ = await asyncio.get_running_loop().create_connection(Client, *listening.getsockname())
            transport.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            await asyncio.wait_for(complete.wait(), 60)
            transport.abort()
    assert len(pieces) == 1


async def test_a_head_does_not_wait_for_its_body():
    more = asyncio.Event()

    async def application(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
        await more.wait()
        await send({"type": "http.response.body", "body": b"hello"})

    with socket.create_server(("127.0.0.1", 0)) as listening:
        async with HttpServer(application, listening, None).serving():
            reader, writer = await asyncio.open_connection(*listening.getsockname())
            writer.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            assert b"200 OK" in await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)
            more.set()
            assert await asyncio.wait_for(reader.readexactly(5), 60) == b"hello"
            writer.transport.abort()
