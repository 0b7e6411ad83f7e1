"""Traces are sent to a collector when runs have ended; one that is away, slow or refuses harms nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from penstock_ports import reserved_port
from penstock_waiting import eventually

from penstock.egress import EgressSettings
from penstock.fleet import traces
from penstock.fleet.settings import FleetSettings
from penstock.fleet.settings import collector as address_of
from penstock.fleet.traces import Traces
from penstock.loops import Loops
from penstock.store.events import Event
from penstock.tracing import Span, Tracer


class Collector:
    """Takes what is sent to it."""

    def __init__(self) -> None:
        self.status = 200
        self.taken: list[tuple[str, dict[str, Any]]] = []

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next(
            int(line.partition(":")[2]) for line in head.split("\r\n") if line.lower().startswith("content-length")
        )
        body = await reader.readexactly(length)
        self.taken.append((head.partition("\r\n")[0], json.loads(body)))
        assert "Content-Type: application/json" in head
        writer.write(f"HTTP/1.1 {self.status} X\r\nContent-Length: 2\r\n\r\n{{}}".encode())
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        writer.close()


@pytest.fixture
async def collector() -> AsyncIterator[tuple[Collector, str]]:
    made = Collector()
    server = await asyncio.start_server(made.answer, "127.0.0.1", 0)
    async with server:
        yield made, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def application(url: str) -> Any:
    """One with runs that have one span; an event of the type `over` ends the run that its payload names."""

    async def scan(fn: Any, *given: Any) -> Any:
        return fn("conn", *given)

    def find(_conn: Any, account: str, region: str, id: str) -> Span | None:
        assert (account, region) == ("1", "r")
        return None if id == "gone" else Span(key="k", name=id, start=0, end=1)

    chosen: dict[Any, Any] = {FleetSettings: FleetSettings(otlp_endpoint=url)}
    store = SimpleNamespace(taps=set(), loops=Loops(), scan=scan)
    tracer = Tracer(find=find, ends={"over": lambda event: event.payload["id"]})
    settings = SimpleNamespace(of=lambda kind: chosen.get(kind) or EgressSettings())
    return SimpleNamespace(store=store, tracers=[Tracer(find=lambda *_: None), tracer], settings=settings)


def emit(app: Any, id: str, type: str = "over") -> None:
    for tap in app.store.taps:
        tap(Event(type=type, account="1", region="r", aggregate="a/1", payload={"id": id}))


@contextlib.asynccontextmanager
async def tracing(app: Any) -> AsyncIterator[Traces]:
    made = Traces(app)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


def names(collector: Collector) -> list[str]:
    return [sent["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["name"] for _, sent in collector.taken]


def count(outcome: str) -> float:
    return traces.TRACES(outcome)._value.get()


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, "_PAUSE", 0)


@pytest.mark.parametrize("end", ["", "/", "/otlp"])
async def test_a_run_that_ends_is_sent(collector, end):
    taken, url = collector
    app = application(url + end)
    sent = count("sent")
    async with tracing(app):
        for id, type in (("a", "over"), ("b", "other"), ("", "over"), ("gone", "over"), ("c", "over")):
            emit(app, id, type)
        await eventually(lambda: count("sent") == sent + 2)
    assert names(taken) == ["a", "c"]
    assert taken.taken[0][0] == f"POST {end.rstrip('/')}/v1/traces HTTP/1.1"
    assert app.store.taps == set()


async def test_without_an_address_nothing_runs():
    app = application("")
    async with tracing(app) as made:
        assert (app.store.taps, made._loop) == (set(), None)


async def test_a_collector_that_refuses_is_tried_thrice_and_reported_once(collector, caplog):
    taken, url = collector
    app = application(url)
    taken.status = 503
    failed, sent = count("failed"), count("sent")
    async with tracing(app):
        emit(app, "a")
        emit(app, "b")
        await eventually(lambda: count("failed") == failed + 2)
        assert app.store.loops.failing() == []
        taken.status = 202
        emit(app, "c")
        await eventually(lambda: count("sent") == sent + 1)
    assert names(taken) == ["a"] * 3 + ["b"] * 3 + ["c"]
    assert [(one.getMessage(), one.why) for one in caplog.records] == [  # type: ignore[attr-defined]
        ("traces.not_sent", "the collector answers 503")
    ]


async def test_a_collector_that_is_away_fails_no_loop():
    app = application(f"http://127.0.0.1:{reserved_port()}")
    failed = count("failed")
    async with tracing(app):
        emit(app, "a")
        await eventually(lambda: count("failed") == failed + 1)
        assert app.store.loops.failing() == []


async def test_a_collector_that_is_silent_is_left(monkeypatch):
    monkeypatch.setattr(traces, "_SECONDS", 0.01)

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with server:
        app = application(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        failed = count("failed")
        async with tracing(app):
            emit(app, "a")
            await eventually(lambda: count("failed") == failed + 1)


async def test_few_wait(monkeypatch):
    monkeypatch.setattr(traces, "_WAITING", 3)
    app = application("http://127.0.0.1:9")
    made = Traces(app)
    app.store.taps.add(made._note)
    dropped = count("dropped")
    for number in range(5):
        emit(app, f"{number}")
    assert ([run.id for run in made._waiting], count("dropped") - dropped) == (["0", "1", "2"], 2)


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("http://127.0.0.1:4318", "http://127.0.0.1:4318"),
        ("https://collector.example.com/otlp/", "https://collector.example.com/otlp"),
        ("collector:4318", None),
        ("grpc://collector:4317", None),
        ("http://", None),
        ("http://user:secret@collector", None),
        ("http://collector/?key=1", None),
    ],
)
def test_the_address_of_a_collector(given, taken):
    if taken is not None:
        assert address_of(given) == taken
        return
    with pytest.raises(ValueError, match="is no address of a collector, such as"):
        address_of(given)
