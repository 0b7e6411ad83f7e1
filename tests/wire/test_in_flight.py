"""How many operations may be at work at a time, and which of them count."""

import asyncio
from types import SimpleNamespace

import pytest

from penstock.wire import exchange
from penstock.wire.errors import AccessDenied, Throttled
from penstock.wire.registry import Access, Operations, Registry


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


@pytest.mark.parametrize("kind", ["", "long_poll", "unthrottled", "abandonable"])
async def test_no_operation_of_any_kind_runs_before_its_caller_is_authorised(monkeypatch, kind):
    operations, asked = Operations("s"), []

    async def runs(_call, _input):
        raise AssertionError("it ran")

    async def deny(operation, *_):
        asked.append(operation.name)
        raise AccessDenied("no")

    monkeypatch.setattr(exchange, "authorize", deny)
    operations.operation("Do", **{kind: True} if kind else {})(runs)  # type: ignore[arg-type]
    one = object.__new__(exchange.Exchange)
    one._endpoint = SimpleNamespace(in_flight=0, draining=False)  # type: ignore[assignment]
    (operation,) = operations
    with pytest.raises(AccessDenied):
        await one._run(operation, None, {})  # type: ignore[arg-type]
    assert (asked, one._endpoint.in_flight) == (["Do"], 0)


def test_an_operation_has_one_handler():
    operations, registry = Operations("s"), Registry()
    operations.operation("Do")(None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="^s:Do is declared twice$"):
        operations.operation("Do")(None)  # type: ignore[arg-type]
    registry.add(operations)
    with pytest.raises(ValueError, match="^s:Do is registered twice$"):
        registry.add(operations)
    assert [each.name for each in registry] == ["Do"]
