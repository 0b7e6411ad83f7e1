"""The HTTP server's own limits: connections, dawdling clients and turns."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from penstock.wire import http as http_server
from penstock.wire.http import HttpServer, Timeouts
from penstock.wire.turns import Turns


async def test_sixteen_hosts_begin_in_one_turn():
    turns, began = Turns(), []

    async def host(number):
        await turns.take()
        began.append(number)

    hosts = [asyncio.ensure_future(host(number)) for number in range(17)]
    taken = [turns._left]
    while len(began) < 16:
        await asyncio.sleep(0)
        taken.append(len(began))
    assert taken[0] == 16
    assert 17 not in taken
    await asyncio.gather(*hosts)


def test_how_long_a_client_may_dawdle():
    waits = Timeouts()
    assert (waits.handshake, waits.silence, waits.head, waits.body, waits.answer) == (30, 75, 30, 120, 120)
    config = HttpServer(None, None, None, connections=7)._server.config  # type: ignore[arg-type]
    assert (config.timeout_keep_alive, config.timeout_graceful_shutdown, config.backlog) == (75, 10, 16_384)
    assert config.limit_concurrency == 7
    assert (config.server_header, config.date_header, config.proxy_headers, config.access_log) == (
        False, True, False, False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("soft", "hard", "allowed", "connections", "asked"),
    [
        (1024, 4096, True, 3840, [(4096, 4096)]),
        (1024, 100_000, True, 65_280, [(65_536, 100_000)]),
        (1024, -1, True, 65_280, [(65_536, -1)]),
        (1024, 4096, False, 768, [(4096, 4096)]),
        (65_536, 100_000, True, 65_280, []),
        (100_000, 100_000, True, 99_744, []),
        (-1, -1, True, 65_280, []),
        (512, 512, True, 256, []),
        (511, 511, True, 255, []),
        (400, 400, True, 200, []),
    ],
)
def test_how_many_may_be_connected(monkeypatch, soft, hard, allowed, connections, asked):
    """What the limit of open files leaves; half of it, where that is small."""
    set_to = []

    def setrlimit(_which, limits):
        set_to.append(limits)
        if not allowed:
            raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(
        http_server,
        "resource",
        SimpleNamespace(RLIMIT_NOFILE=7, RLIM_INFINITY=-1, getrlimit=lambda _which: (soft, hard), setrlimit=setrlimit),
    )
    assert http_server._connections() == connections
    assert set_to == asked


def test_a_head_waits_for_its_body_unless_it_is_large():
    wrote: list[bytes] = []
    later: list = []
    transport = SimpleNamespace(
        write=wrote.append, close=lambda: wrote.append(b"closed"), abort=lambda: wrote.append(b"aborted"),
        get_write_buffer_size=lambda: 100, is_closing=lambda: False,
    )  # fmt: skip
    joined = http_server._Joined(transport, SimpleNamespace(call_soon=later.append))  # type: ignore[arg-type]
    joined.write(b"x" * 16_385)
    assert [len(piece) for piece in wrote] == [16_385]
    joined.write(b"")
    joined.write(b"h" * 16_384)
    assert len(wrote) == len(later) == 1
    assert joined.get_write_buffer_size() == 16_484
    joined.write(b"b")
    assert len(wrote[1]) == 16_385
    later.pop()()
    assert len(wrote) == 2
    joined.write(b"last")
    joined.close()
    assert wrote[2:] == [b"last", b"closed"]
    joined.write(b"lost")
    joined.abort()
    joined._flush()
    assert wrote[4:] == [b"aborted"]
    assert joined.is_closing() is False


@pytest.mark.parametrize(
    ("timeouts", "pause"), [(Timeouts(), 5.0), (Timeouts(head=8), 2.0), (Timeouts(body=4), 1.0), (Timeouts(answer=2, silence=2), 0.5)]
)  # fmt: skip
async def test_how_often_connections_are_looked_at(monkeypatch, timeouts, pause):
    pauses, started = [], []

    async def stop(_loop):
        pass

    loops = SimpleNamespace(start=lambda name, _run, wait: started.append((name, wait)), stop=stop)
    server = HttpServer(None, None, None, timeouts=timeouts, connections=1, loops=loops)  # type: ignore[arg-type]

    async def serve(sockets):
        server._server.started = True

    server._server.serve = serve  # type: ignore[method-assign]
    async with server.serving():
        [(name, wait)] = started
        with monkeypatch.context() as patched:
            patched.setattr(http_server.asyncio, "sleep", pauses.append)
            wait()
    assert (name, pauses, server._server.should_exit) == ("http.sweep", [pause], True)
