"""Deployments at their exact bounds, beside the database: who is silent, who comes next, and what two processes do at once."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from penstock.deployments import liveness, records, work
from penstock.deployments.hostcommands import presence
from penstock.deployments.hostcommands.identities import Identities
from penstock.deployments.hostcommands.presence import Presence
from penstock.deployments.operations import instances
from penstock.deployments.server import needed
from penstock.deployments.server.inputs import Completed, Elapsed, Lost, Proceed
from penstock.deployments.server.lifecycle import SUCCESS
from penstock.deployments.server.needed import Needs
from penstock.wire.errors import AccessDenied


class Told:
    """A connection that notes statements with their rows, and answers each with these."""

    def __init__(self, *rows: Any) -> None:
        self.rows = rows
        self.said: list[tuple[Any, Any]] = []

    def execute(self, statement: Any, rows: Any = None) -> Any:
        self.said.append((statement, rows))
        return list(self.rows)


# --- who is there -----------------------------------------------------------------------------------------------------


async def silent(store: Any, *, now: int, seen: int, updated: int, since: int = 0) -> tuple[Any, Any]:
    """What `unheard` and `forgotten` say at a moment of one host, of which a sign of life is awaited for 100 ms."""
    where = {"account": "1", "region": "r"}
    host = {
        "name": "h", "arn": "a", "iam_arn": "i", "tags": [], "registered": 1, "seen": seen, "agent": "1.8.1", "deregistered": None,
    }  # fmt: skip

    def make(conn: sa.Connection) -> Any:
        filled: dict[str, Any] = {}
        for table, values in (
            (records.instances, where | host),
            (records.deployments, where | {"id": "d"}),
            (records.targets, {"deployment": "d", "name": "h", "status": "InProgress", "acknowledged": True, "updated": updated, "position": 0}),
        ):  # fmt: skip
            for column in table.c:
                if not column.nullable and column.name not in values and column.default is None:
                    kind = column.type.python_type if not hasattr(column.type, "impl") else dict
                    filled[column.name] = kind()
            names = {column.name for column in table.c}
            conn.execute(sa.delete(table))
            conn.execute(sa.insert(table).values({k: v for k, v in (filled | values).items() if k in names}))
        asked: dict[str, Any] = {"limit_ms": 100, "since": since, "now": now}
        return liveness.unheard(conn, "d", **asked), liveness.forgotten(conn, "d", **asked)

    return await store.write(make)


@pytest.mark.parametrize(
    ("now", "seen", "updated", "since", "unheard"),
    [
        (1000, 900, 0, 0, (("h", 900),)),
        (1000, 901, 0, 0, ()),
        (1000, 0, 900, 0, (("h", 900),)),
        (1000, 0, 901, 0, ()),
        (1000, 0, 0, 900, (("h", 900),)),  # before that, no host could reach this process
        (1000, 0, 0, 901, ()),
    ],
)
async def test_who_has_been_silent_for_as_long_as_a_host_may(any_store, now, seen, updated, since, unheard):
    assert (await silent(any_store, now=now, seen=seen, updated=updated, since=since))[0] == unheard


@pytest.mark.parametrize(
    ("now", "seen", "updated", "since", "forgotten"),
    [
        (1000, 900, 899, 900, ("h",)),
        (999, 900, 899, 900, ()),
        (1000, 899, 899, 900, ()),
        (1000, 900, 900, 900, ()),
    ],
)
async def test_whose_report_an_outage_has_lost(any_store, now, seen, updated, since, forgotten):
    assert (await silent(any_store, now=now, seen=seen, updated=updated, since=since))[1] == forgotten


def seeing(*, fails: bool = False) -> Any:
    """The sightings of a process; what it writes, in `written`."""
    made: Any = Presence(None, SimpleNamespace(now=lambda: made.now))  # type: ignore[arg-type]
    made.now, made.written = 100_000, []

    async def write(fn: Any, fresh: Any) -> None:
        if made.fails:
            made.saw("1", "r", "late", "v")
            raise OSError
        made.written.append((fn, fresh))

    made.fails = fails
    made._store = SimpleNamespace(write=write)
    return made


async def test_a_host_is_written_down_twice_a_minute_and_the_first_time_at_once():
    made = seeing()
    made.saw("1", "r", "h", "v" * 200)
    assert made._first.is_set()
    made._first.clear()
    for late, fresh in ((29_999, {}), (30_000, {("1", "r", "h"): (130_000, "w")})):
        await made.flush()
        made.now = 100_000 + late
        made.saw("1", "r", "h", "w")
        assert made._fresh == fresh
    assert not made._first.is_set()
    assert made.written == [(presence._write, {("1", "r", "h"): (100_000, "v" * 100)})]


async def test_sightings_that_could_not_be_written_are_written_with_the_next():
    made = seeing(fails=True)
    made.saw("1", "r", "h", "v")
    with pytest.raises(OSError):
        await made.flush()
    made.fails = False
    await made.flush()
    await made.flush()
    assert made.written == [
        (presence._write, {("1", "r", "h"): (100_000, "v"), ("1", "r", "late"): (100_000, "v")})
    ]  # fmt: skip


def test_processes_write_hosts_in_one_order():
    """Two of them that write the same hosts would wait for each other."""
    conn = Told()
    presence._write(conn, {("1", "r", name): (5, "v") for name in ("b", "c", "a")})  # type: ignore[arg-type]
    [(_, rows)] = conn.said
    assert [row["n"] for row in rows] == ["a", "b", "c"]
    assert rows[0] == {"a": "1", "r": "r", "n": "a", "s": 5, "v": "v"}


async def test_how_long_a_sighting_waits(monkeypatch):
    made = seeing()
    monkeypatch.setattr(presence, "_FLUSH_SECONDS", 0.001)
    monkeypatch.setattr(presence, "_GATHER_SECONDS", 0.0)
    await made._pause()
    monkeypatch.setattr(presence, "_FLUSH_SECONDS", 3600)
    made._first.set()
    async with asyncio.timeout(60):
        await made._pause()
    assert not made._first.is_set()


# --- who hosts are ----------------------------------------------------------------------------------------------------


async def test_who_is_no_host_is_told_so():
    async def lookup(*_: Any, **__: Any) -> None:
        return None

    made: Any = object.__new__(Identities)
    made._changed = SimpleNamespace(taken=lambda: False)
    made._known = {}
    made._store = SimpleNamespace(lookup=lookup)
    call: Any = SimpleNamespace(account="1", region="us-east-1", session=SimpleNamespace(arn="arn:me"))
    with pytest.raises(AccessDenied) as refused:
        await made._find(call)
    assert refused.value.message == (
        "arn:me is not the identity of an instance that is registered in us-east-1: register it with RegisterOnPremisesInstance."
    )
    assert made._known == {}


@pytest.mark.parametrize("fails", [0, 1, 2])
async def test_a_registration_that_met_another_is_tried_once_more(fails: int):
    tries = []

    async def write(register: Any) -> None:
        tries.append(register)
        if len(tries) <= fails:
            raise IntegrityError("INSERT", {}, Exception("there is one"))

    call: Any = SimpleNamespace(app=SimpleNamespace(store=SimpleNamespace(write=write)))

    def register(_conn: Any) -> None:
        """Nothing."""

    if fails == 2:
        with pytest.raises(IntegrityError):
            await instances.run_registration(call, register)
    else:
        await instances.run_registration(call, register)
    assert tries == [register] * min(fails + 1, 2)


# --- what a decision needs --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "found", "rows"),
    [
        (Needs(), 5, 0),
        (Needs(followers=True, overdue=True), 0, 0),
        (Needs(followers=True, overdue=True), 1, 1),
        (Needs(followers=True), 0, 0),
        (Needs(followers=True), 3, 3),
    ],
)
def test_how_many_that_wait_are_loaded(wanted, found, rows):
    deployment: Any = SimpleNamespace(targets=9, bystanders=0, failed=0, needed=5, running=4, pending=5)
    assert needed.followers(deployment, wanted, found) == rows


@pytest.mark.parametrize(
    ("event", "followers"),
    [
        (Completed(host="h", index=1, succeeded=True, diagnostics=SUCCESS), False),
        (Completed(host="h", index=2, succeeded=True, diagnostics=SUCCESS), True),
        (Completed(host="h", index=0, succeeded=False, diagnostics=SUCCESS), True),
        (Lost(host="h", index=0), True),
    ],
)
def test_only_a_report_that_may_end_a_host_loads_others(event, followers):
    deployment: Any = SimpleNamespace(events=("a", "b", "c"), started=None)
    assert needed.needs(deployment, event, 5) == Needs(hosts=("h",), followers=followers)


def test_what_time_needs():
    deployment: Any = SimpleNamespace(started=0, timeouts=SimpleNamespace(deployment=10))
    event = Elapsed(unheard=(("a", 1), ("b", 2)), forgotten=("c",))
    assert needed.needs(deployment, event, 9) == Needs(hosts=("c", "a", "b"), overdue=True, followers=True)
    assert needed.needs(deployment, event, 10) == Needs(running=True)
    assert needed.needs(deployment, Proceed(), 10) == Needs(followers=True)


# --- when a deployment is looked at again -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("soonest", "check", "due"),
    [(2000, 5000, 2000), (9000, 5000, 6000), (1000, 5000, 1001), (1001, 5000, 1001), (500, 5000, 1001), (2000, 0, 1001), (None, 0, None)],
)  # fmt: skip
async def test_when_a_deployment_is_looked_at_again(monkeypatch, soonest, check, due):
    """At its next deadline, or when hosts may have fallen silent; but not twice within a moment."""
    done: list[Any] = []
    found = SimpleNamespace(timeouts="t")

    async def write(fn: Any) -> None:
        fn("conn")

    monkeypatch.setattr(work.runs, "deployment", lambda _conn, _id: None)
    monkeypatch.setattr(work.aggregates, "apply", lambda *_, **__: found)
    monkeypatch.setattr(work.progress, "earliest_deadline", lambda _conn, _found: soonest)
    monkeypatch.setattr(work.progress, "next_check", lambda _timeouts: check)
    monkeypatch.setattr(work.jobs, "complete", lambda _conn, job: done.append((job, None)))
    monkeypatch.setattr(work.jobs, "retry", lambda _conn, job, *, due, counts: done.append((job, due, counts)))
    app = SimpleNamespace(
        store=SimpleNamespace(write=write), ids=SimpleNamespace(seed=lambda: 1), clock=SimpleNamespace(now=lambda: 1000), started=0
    )  # fmt: skip
    job = SimpleNamespace(payload={"deployment": "d"})
    await work.watch(SimpleNamespace(app=app), job)  # type: ignore[arg-type]
    assert done == [(job, None) if due is None else (job, due, False)]
