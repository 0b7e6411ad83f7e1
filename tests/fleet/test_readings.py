"""Gauges that are read from the database: what they say, how often they are read, and what one that fails shows."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa

from penstock import metrics
from penstock.builds import readings as builds
from penstock.fleet import readings
from penstock.fleet.readings import Readings
from penstock.metrics import Reading
from penstock.store import jobs
from penstock.store import readings as store_readings
from penstock.store.catalogue import EventType
from penstock.store.database import Store
from penstock.store.events import Event, emit
from penstock.store.records import subscriptions

WHERE: Any = {"account": "111111111111", "region": "us-east-1"}


def gauges(reading: Reading) -> list[dict[tuple[str, ...], float]]:
    """What the gauges of a reading show, by the values of their labels."""
    return [
        {tuple(sample.labels.values()): sample.value for sample in gauge.collect()[0].samples}
        for gauge in reading.gauges
    ]


async def read(store: Store, reading: Reading) -> list[Any]:
    return list(await store.scan(reading.read, store.clock.now()))


async def test_jobs_and_events_that_wait(any_store: Store, clock):
    due, offered, pending = store_readings.READINGS
    assert [await read(any_store, one) for one in (due, offered, pending)] == [[{}, {}]] * 3
    any_store.subscribers.catalogue.declare(EventType(name="a.b", description="B.", aggregate="a"))

    def begin(conn: sa.Connection) -> None:
        for name in ("one", "two"):
            conn.execute(subscriptions.insert().values(name=name, types=["a.*"], since=0))

    def fill(conn: sa.Connection) -> None:
        now = clock.now()
        for kind, at in (("x", now - 3_000), ("x", now), ("y", now - 500), ("z", now + 1)):
            jobs.enqueue(conn, kind=kind, payload={}, due=at, **WHERE)
        jobs.enqueue(conn, kind="host", payload={}, topic="web-1", due=now - 7_000, **WHERE)
        jobs.complete(conn, taken(conn, jobs.enqueue(conn, kind="x", payload={}, due=now - 9_000, **WHERE)))
        for number in range(2):
            emit(conn, Event(type="a.b", aggregate="a/1", payload={}, **WHERE), now=now - 4_000, id=f"{number:032x}")

    await any_store.write(begin)
    any_store.subscribers.reread()
    await any_store.write(fill)
    assert await read(any_store, due) == [
        {("x",): 2, ("y",): 1, ("events.deliver",): 2},
        {("x",): 3.0, ("y",): 0.5, ("events.deliver",): 0.0},
    ]
    assert await read(any_store, offered) == [{("host",): 1}, {("host",): 7.0}]
    assert await read(any_store, pending) == [{("one",): 2, ("two",): 2}, {("one",): 4.0, ("two",): 4.0}]


def taken(conn: sa.Connection, id: str) -> jobs.Job:
    """A job as a worker has it."""
    conn.execute(jobs.jobs.update().where(jobs.jobs.c.id == id).values(state="leased", fence="w:1"))
    found = jobs.get(conn, id)
    assert found is not None
    return found


async def test_a_backlog_makes_no_question_expensive(store: Store, clock, monkeypatch):
    monkeypatch.setattr(store_readings, "MOST", 3)

    def fill(conn: sa.Connection) -> None:
        for number in range(8):
            jobs.enqueue(conn, kind="x", payload={}, due=clock.now() - number, **WHERE)

    await store.write(fill)
    assert await read(store, store_readings.READINGS[0]) == [{("x",): 3}, {("x",): 0.007}]


async def test_builds_that_wait_and_run(any_store: Store):
    def fill(conn: sa.Connection) -> None:
        for number in range(3):
            id = jobs.enqueue(conn, kind="builds.run", payload={}, dedup=f"b{number}", **WHERE)
            if number == 2:
                taken(conn, id)
        jobs.enqueue(conn, kind="builds.queued", payload={}, dedup="b0", **WHERE)

    assert await read(any_store, builds.READINGS[0]) == [{("queued",): 0, ("running",): 0}]
    await any_store.write(fill)
    assert await read(any_store, builds.READINGS[0]) == [{("queued",): 2, ("running",): 1}]


# --- when they are read -----------------------------------------------------------------------------------------------

GAUGE, LABELLED = (
    metrics.Gauge("some", "Some.", registry=None),
    metrics.Gauge("several", "Several.", ["kind"], registry=None),
)


class Scans:
    """A store that answers what it is told to, or waits."""

    def __init__(self) -> None:
        self.answer: Any = ({(): 5.0}, {("a",): 1.0, ("b",): 2.0})
        self.asked = 0
        self.goes_on = asyncio.Event()
        self.goes_on.set()

    async def scan(self, _read: Any, now: int) -> Any:
        assert now == 77
        self.asked += 1
        await self.goes_on.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def refreshing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Readings on a clock that the test moves."""
    now = SimpleNamespace(at=1_000.0)
    monkeypatch.setattr(readings, "time", SimpleNamespace(monotonic=lambda: now.at))
    scans = Scans()
    reading = Reading(gauges=(GAUGE, LABELLED), read=lambda _conn, _now: (), every=30.0)
    app: Any = SimpleNamespace(
        readings=[reading],
        store=scans,
        clock=SimpleNamespace(now=lambda: 77),
        settings=SimpleNamespace(data_dir=tmp_path),
    )
    return SimpleNamespace(readings=Readings(app), scans=scans, now=now, shown=lambda: gauges(reading))


async def test_they_are_read_once_in_their_time(refreshing):
    for _ in range(5):
        await refreshing.readings.refresh()
    assert refreshing.scans.asked == 1
    assert refreshing.shown() == [{(): 5.0}, {("a",): 1.0, ("b",): 2.0}]
    refreshing.now.at += 29.9
    await refreshing.readings.refresh()
    assert refreshing.scans.asked == 1
    refreshing.now.at += 0.2
    refreshing.scans.answer = ({(): 6.0}, {("b",): 3.0})
    await refreshing.readings.refresh()
    assert (refreshing.scans.asked, refreshing.shown()) == (2, [{(): 6.0}, {("b",): 3.0}])


async def test_one_that_fails_shows_nothing_and_is_tried_again(refreshing, caplog):
    await refreshing.readings.refresh()
    failed = readings.FAILED._value.get()
    refreshing.scans.answer = OSError("the disk is gone")
    refreshing.now.at += 31
    await refreshing.readings.refresh()
    unlabelled, labelled = refreshing.shown()
    assert (str(unlabelled[()]), labelled) == ("nan", {})
    assert readings.FAILED._value.get() == failed + 1
    assert caplog.records[-1].error == "OSError: the disk is gone"  # type: ignore[attr-defined]
    refreshing.scans.answer = ({(): 5.0}, {})
    refreshing.now.at += 4.9
    await refreshing.readings.refresh()
    assert refreshing.scans.asked == 2
    refreshing.now.at += 0.2
    await refreshing.readings.refresh()
    assert refreshing.shown() == [{(): 5.0}, {}]


async def test_a_slow_database_holds_no_scrape_and_is_asked_once(refreshing, monkeypatch):
    monkeypatch.setattr(readings, "_SECONDS", 0.01)
    refreshing.scans.goes_on.clear()
    refreshing.readings._app.readings[0].forget()
    for _ in range(3):
        await asyncio.wait_for(refreshing.readings.refresh(), 60)
    assert refreshing.scans.asked == 1
    refreshing.scans.goes_on.set()
    monkeypatch.setattr(readings, "_SECONDS", 60)
    await refreshing.readings.refresh()
    assert refreshing.shown()[0] == {(): 5.0}
    refreshing.now.at += 31
    refreshing.scans.goes_on.clear()
    monkeypatch.setattr(readings, "_SECONDS", 0.01)
    await refreshing.readings.refresh()
    await refreshing.readings.stop()
    assert refreshing.readings._asking.cancelled()
