"""Operations that are held open or given up: for how long, who ends them, and how many are at work at a time."""

from __future__ import annotations

import asyncio
import contextlib
from types import SimpleNamespace
from typing import Any

import pytest
from penstock_front import Stand
from penstock_waiting import eventually

from penstock.wire import exchange
from penstock.wire.endpoint import Endpoint
from penstock.wire.exchange import Exchange
from penstock.wire.hold import Hold
from penstock.wire.registry import Access, Operations


def held(handler: Any, *, draining: bool = False) -> tuple[Exchange, Any, Any]:
    operations = Operations("s")
    operations.operation("Poll", access=Access.UNSIGNED, long_poll=True)(handler)
    one = object.__new__(Exchange)
    one._endpoint = SimpleNamespace(draining=draining, polls=set(), in_flight=0)  # type: ignore[assignment]
    one._raw_headers = [(b"a", b"b")]

    async def receive():
        await asyncio.Event().wait()

    one.body = SimpleNamespace(receive=receive)  # type: ignore[assignment]
    (operation,) = operations
    return one, one._endpoint, operation


async def test_a_held_poll_keeps_no_heads_and_ends_when_the_server_drains():
    began = asyncio.Event()

    async def poll(_call, _input):
        began.set()
        await asyncio.Event().wait()

    before = asyncio.all_tasks()
    one, endpoint, operation = held(poll)
    running = asyncio.ensure_future(one._run(operation, None, {}))  # type: ignore[arg-type]
    await began.wait()
    assert one._raw_headers == []
    assert len(endpoint.polls) == 1
    for hold in tuple(endpoint.polls):
        hold.end()
        hold.end()
    assert await running == {}
    assert endpoint.polls == set()
    for _ in range(10):
        await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


async def test_a_server_that_drains_holds_nothing():
    async def poll(_call, _input):
        raise AssertionError("held")

    one, _, operation = held(poll, draining=True)
    assert await one._run(operation, None, {}) == {}  # type: ignore[arg-type]


async def test_a_poll_that_somebody_else_stops_is_stopped():
    began = asyncio.Event()

    async def poll(_call, _input):
        began.set()
        await asyncio.Event().wait()

    one, endpoint, operation = held(poll)
    running = asyncio.ensure_future(one._run(operation, None, {}))  # type: ignore[arg-type]
    await began.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert endpoint.polls == set()


async def test_a_poll_whose_client_leaves_is_given_up_and_answered_with_nothing():
    arriving: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    given_up = []

    async def poll(_call, _input):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            given_up.append(1)
            raise

    async def run():
        return await Hold().run(poll, None, {}, arriving.get)  # type: ignore[arg-type]

    running = asyncio.ensure_future(run())
    arriving.put_nowait({"type": "http.request"})  # what it still sends
    await eventually(arriving.empty)
    assert not given_up
    arriving.put_nowait({"type": "http.disconnect"})
    async with asyncio.timeout(60):
        assert (await running, given_up) == ({}, [1])


async def test_a_drain_ends_what_is_held_and_what_comes_behind_it():
    endpoint = Endpoint(Stand())
    ended = []

    class Poll(Hold):
        def end(self) -> None:
            ended.append(1)

    endpoint.polls = {Poll()}
    endpoint.drain()
    assert (ended, endpoint.draining) == ([1], True)


def test_a_hold_outside_a_task_ends_nothing(monkeypatch):
    monkeypatch.setattr(asyncio, "current_task", lambda: None)
    hold = Hold()
    hold.end()
    assert hold.forgiven() is False


async def test_five_hundred_and_twelve_operations_are_at_work_at_a_time():
    async def answer(_call, _input):
        return {"in_flight": endpoint.in_flight}

    one, endpoint, _ = held(answer)
    operations = Operations("s")
    operations.operation("Get", access=Access.UNSIGNED)(answer)
    (get,) = operations
    endpoint.in_flight = 511
    assert await one._run(get, None, {}) == {"in_flight": 512}  # type: ignore[arg-type]
    endpoint.in_flight = 512
    with pytest.raises(exchange.Throttled):
        await one._run(get, None, {})  # type: ignore[arg-type]
    assert endpoint.in_flight == 512


async def test_of_two_faults_while_a_poll_is_left_the_first_is_told():
    async def poll(_call, _input):
        raise ValueError("mine")

    one, endpoint, operation = held(poll)
    with contextlib.suppress(ValueError):
        await one._run(operation, None, {})  # type: ignore[arg-type]
    assert endpoint.polls == set()
