"""How many operations may be at work at a time, and which of them count."""

import asyncio
from types import SimpleNamespace

import pytest

from penstock.wire import exchange
from penstock.wire.errors import Throttled
from penstock.wire.registry import Access, Operations


async def test_reports_of_a_fleet_take_nobody_elses_place(monkeypatch):
    operations, gate = Operations("s"), asyncio.Event()

    async def waits(call, input):
        await gate.wait()
        return {}

    for name, unthrottled in (("Report", True), ("Get", False)):
        operations.operation(name, access=Access.AUTHENTICATED, unthrottled=unthrottled)(waits)
    report, get = operations

    async def let(*_):
        return None

    monkeypatch.setattr(exchange, "authorize", let)
    one = object.__new__(exchange.Exchange)
    one._endpoint = SimpleNamespace(in_flight=0)
    reports = [asyncio.create_task(one._run(report, None, {})) for _ in range(600)]
    gets = [asyncio.create_task(one._run(get, None, {})) for _ in range(exchange._IN_FLIGHT)]
    await asyncio.sleep(0)
    with pytest.raises(Throttled):
        await one._run(get, None, {})
    gate.set()
    assert await asyncio.gather(*reports, *gets) == [{}] * (600 + exchange._IN_FLIGHT)
