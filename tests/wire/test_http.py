"""The HTTP server against clients that dawdle: each is dropped, and nobody else is kept waiting."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import errno
import os
import socket
import ssl
from types import SimpleNamespace

import pytest
from penstock_waiting import eventually

from penstock.store.sealing import Sealer
from penstock.wire import accepting, tls
from penstock.wire.http import OVERLOADED, HttpServer, Timeouts, _Protocol

LONG = 3600.0
NEVER = {"handshake": LONG, "silence": LONG, "head": LONG, "body": LONG, "answer": LONG}
HELD = []  # polls that the application holds


async def application(scope, receive, send):
    """Reads the body, then answers by the path: at once, after an event, or with more than any buffer takes."""
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    if scope["path"] == "/large":
        for _ in range(64):
            await send({"type": "http.response.body", "body": bytes(1 << 20), "more_body": True})
    if scope["path"] == "/poll":
        HELD.append(scope)
        await asyncio.wait_for(receive(), 1.0)
    if scope["path"] == "/echo":
        await send({"type": "http.response.body", "body": scope["query_string"] + b";"})
        return
    await send({"type": "http.response.body", "body": b"full" if scope.get(OVERLOADED) else b"done"})


@contextlib.asynccontextmanager
async def serving(**options):
    async with served(**options) as (_, port):
        yield port


@contextlib.asynccontextmanager
async def served(*, connections=None, context=None, **timeouts):
    listening = socket.create_server(("127.0.0.1", 0))
    with contextlib.closing(listening):
        server = HttpServer(
            application, listening, context, timeouts=Timeouts(**(NEVER | timeouts)), connections=connections
        )
        async with server.serving():
            yield server, listening.getsockname()[1]


@contextlib.asynccontextmanager
async def connected(port, **options):
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 16, **options)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def dropped(reader):
    try:
        async with asyncio.timeout(60):
            while await reader.read(1 << 16):
                pass
    except ConnectionError:
        pass
    return True


@pytest.mark.parametrize(
    ("sent", "which"),
    [
        (b"", "silence"),
        (b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", "silence"),
        (b"GET / HTTP/1.1\r\nhost: x\r\nx-slow: ", "head"),
        (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{", "body"),
        (b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab", "body"),
    ],
)
async def test_a_client_that_stops_half_way_or_asks_nothing_more_is_dropped(sent, which):
    async with serving(**{which: 0.2}) as port, connected(port) as (reader, writer):
        writer.write(sent)
        assert await dropped(reader)


async def test_a_head_that_trickles_in_is_no_progress():
    async with serving(head=0.2) as port, connected(port) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nx-slow: ")
        gone = asyncio.ensure_future(dropped(reader))
        async with asyncio.timeout(60):
            while not (await asyncio.wait((gone,), timeout=0.05))[0]:
                writer.write(b"a")


async def test_who_takes_nothing_of_an_answer_is_dropped():
    async with serving(answer=0.2) as port:
        with socket.create_connection(("127.0.0.1", port)) as raw:
            raw.sendall(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n")
            before = asyncio.current_task()
            async with asyncio.timeout(60):
                # With the connection gone, the application's sends return and its task ends.
                while not any(".run_asgi" in repr(task) for task in asyncio.all_tasks()):
                    await asyncio.sleep(0)
                await asyncio.wait([t for t in asyncio.all_tasks() if ".run_asgi" in repr(t) and t is not before])
            raw.settimeout(60)
            taken = 0
            with contextlib.suppress(ConnectionError):
                while piece := raw.recv(1 << 20):
                    taken += len(piece)
            assert taken < 64 << 20


async def test_a_poll_that_the_server_holds_is_left_alone():
    HELD.clear()
    async with served(answer=0.1) as (server, port), connected(port) as (reader, writer):
        writer.write(b"GET /poll HTTP/1.1\r\nhost: x\r\n\r\n")
        await eventually(lambda: HELD)
        # Not before: a slow machine's client is silent for longer.
        server._timeouts = Timeouts(**dict.fromkeys(NEVER, 0.1))
        with contextlib.suppress(TimeoutError):
            answer = await asyncio.wait_for(reader.readuntil(b"\r\n"), 60)
        assert answer.startswith(b"HTTP/1.1 200")


ANSWERED = SimpleNamespace(response_complete=True)


@pytest.mark.parametrize(
    ("waits_for", "state"),
    [
        ("head", {"_in_head": True, "_started_at": 100.0}),
        ("silence", {"cycle": None, "_started_at": 100.0}),
        ("silence", {"cycle": ANSWERED, "_answered": 100.0, "unsent": 0}),
        ("answer", {"cycle": ANSWERED, "_unsent": 7, "_taken": 100.0}),
        ("body", {"_in_body": True, "_received": 100.0}),
        ("answer", {"_unsent": 7, "_taken": 100.0, "writing": False}),
    ],
)
def test_time_is_up_when_it_is_over_and_not_before(waits_for, state):
    protocol = _Protocol.__new__(_Protocol)
    protocol._in_head = protocol._in_body = False
    protocol.cycle = SimpleNamespace(response_complete=False)
    protocol.flow = SimpleNamespace(read_paused=False, write_paused=not state.pop("writing", True))
    unsent = state.pop("unsent", 7)
    protocol.transport = SimpleNamespace(get_write_buffer_size=lambda: unsent)
    for name, value in state.items():
        setattr(protocol, name, value)
    timeouts = Timeouts(**NEVER | {waits_for: 5.0})
    assert [protocol.overdue(now, timeouts) for now in (104.9, 105.0, 105.1)] == [False, False, True]


async def asked(reader, writer):
    """The body of an answer, which is four letters."""
    writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    async with asyncio.timeout(60):
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        return (await reader.readuntil(b"\r\n0\r\n\r\n")).split(b"\r\n")[1]


async def test_requests_that_come_together_are_answered_in_their_order():
    async with serving() as port, connected(port) as (reader, writer):
        writer.write(b"".join(b"GET /echo?%d HTTP/1.1\r\nhost: x\r\n\r\n" % number for number in range(50)))
        expected = [b"%d;" % number for number in range(50)]
        async with asyncio.timeout(60):
            assert [await echoed(reader) for _ in expected] == expected


async def echoed(reader):
    head = await reader.readuntil(b"\r\n\r\n")
    assert b"transfer-encoding: chunked" in head
    size = int(await reader.readline(), 16)
    body = await reader.readexactly(size)
    assert await reader.readexactly(7) == b"\r\n0\r\n\r\n"
    return body


async def test_nothing_of_a_server_runs_behind_its_block():
    before = asyncio.all_tasks()
    async with serving() as port, connected(port) as (reader, writer):
        assert await asked(reader, writer) == b"done"
    assert asyncio.all_tasks() == before
    with pytest.raises(ConnectionError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_more_connections_than_there_is_room_for_are_refused_and_the_others_served():
    async with serving(connections=3) as port, connected(port) as first, connected(port) as second:
        async with connected(port) as third:
            async with connected(port) as (reader, _):
                assert await dropped(reader)
            for each in (first, second, third):  # the last place is taken: the application is told so
                assert await asked(*each) == b"full"
        for each in (first, second):
            async with asyncio.timeout(60):
                while await asked(*each) != b"done":  # the third has left, or is about to
                    pass


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    """Of a server with TLS."""
    folder = tmp_path_factory.mktemp("tls")
    sealer = Sealer.from_file(folder / "master.key")
    _, cert, key = tls.own_authority(folder, ("localhost",), sealer, now=dt.datetime.now(tz=dt.UTC))
    return tls.server_context(cert, key, sealer.derive(tls.KEY_LABEL))


def told(caplog):
    return [record.why for record in caplog.records if record.getMessage() == "http.connections_refused"]


async def test_handshakes_that_hang_keep_nobody_out(context, caplog):
    """They take descriptors before anybody is told of a connection."""
    anybody = ssl._create_unverified_context()  # noqa: S323 - the server is what is tested
    async with contextlib.AsyncExitStack() as stack:
        port = await stack.enter_async_context(serving(connections=8, context=context))
        silent = [await stack.enter_async_context(connected(port)) for _ in range(20)]
        client = await stack.enter_async_context(connected(port, ssl=anybody, server_hostname="localhost"))
        assert await asked(*client) == b"done"
        for reader, _ in silent[
            :15
        ]:  # the oldest: half of the places are for handshakes, and one is taken when it is free
            assert await dropped(reader)
        assert len(told(caplog)) == 1
        assert "8 connections" in told(caplog)[0]


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x02\x00\x01"])
async def test_a_handshake_that_does_not_end_is_dropped(context, sent):
    async with serving(context=context, handshake=0.1) as port, connected(port) as (reader, writer):
        writer.write(sent)
        assert await dropped(reader)


async def test_what_is_no_handshake_is_dropped(context):
    async with serving(context=context) as port, connected(port) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        assert await dropped(reader)


async def test_a_server_without_descriptors_takes_connections_again_when_it_has_some(monkeypatch, caplog):
    monkeypatch.setattr(accepting, "_PAUSE_S", 0.001)
    async with served() as (server, port):
        acceptor = server._server.acceptor
        real, failures = acceptor._listening, [errno.EMFILE, errno.ENFILE, errno.ENOBUFS]

        def accept():
            if failures:
                number = failures.pop(0)
                raise OSError(number, os.strerror(number))
            return real.accept()

        acceptor._listening = SimpleNamespace(accept=accept, fileno=real.fileno)
        async with connected(port) as client:
            assert await asked(*client) == b"done"
        assert failures == []
        assert told(caplog) == ["the system accepts no more: Too many open files"]
        acceptor._listening = real
