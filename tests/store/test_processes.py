"""What only several processes can show: kill -9, takeover, fencing, NOTIFY, and what was answered before a crash."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from penstock_waiting import eventually

from penstock.store import failpoints, jobs, postgresql, records, statement
from penstock.store.clock import SystemClock
from penstock.store.database import Store, StoreUnavailable
from penstock.store.jobs import JobState
from penstock.store.statement import Statement, raw_of

WHERE = {"account": "111111111111", "region": "us-east-1"}
WORKER = Path(__file__).with_name("worker_process.py")


@asynccontextmanager
async def process(*arguments: str, **environment: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, Callable]]:
    """A child process and a coroutine that answers its next line of JSON."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, str(WORKER), *arguments, stdout=subprocess.PIPE, env={**os.environ, **environment}
    )

    async def line() -> dict:
        assert child.stdout is not None
        async with asyncio.timeout(60):
            text = await child.stdout.readline()
        assert text, "the process ended"
        return json.loads(text)

    try:
        yield child, line
    finally:
        if child.returncode is None:
            child.kill()
        await child.communicate()


async def until(store: Store, id: str, state: JobState) -> jobs.Job:
    async def found_now() -> jobs.Job | None:
        job = await store.read(jobs.get, id)
        return job if job is not None and job.state is state else None

    return await eventually(found_now)


@pytest.fixture
async def server(postgresql_url: str) -> AsyncIterator[Store]:
    """A process that only enqueues: ourselves."""
    store = await Store.open(postgresql_url, clock=SystemClock())
    yield store
    await store.close()


async def enqueue(store: Store, kind: str, **payload) -> str:
    return await store.write(lambda conn: jobs.enqueue(conn, kind=kind, payload=payload, **WHERE))


async def test_a_killed_workers_job_is_taken_over_and_the_dead_ones_completion_is_fenced(
    server: Store, postgresql_url: str
):
    async with (
        process("work", postgresql_url, "--lease-ms", "600", "--poll-ms", "100", "--kind", "stuck") as (
            first,
            first_says,
        ),
    ):
        assert (await first_says())["says"] == "ready"
        id = await enqueue(server, "stuck")
        started = await first_says()
        assert (started["says"], started["job"], started["attempt"]) == ("begun", id, 1)
        held = await server.read(jobs.get, id)
        assert held is not None
        first.send_signal(signal.SIGKILL)
        await first.wait()
        async with process(
            "work", postgresql_url, "--lease-ms", "600", "--poll-ms", "100", "--kind", "stuck", "--finish"
        ) as (
            _second,
            second_says,
        ):
            started = await second_says()
            if started["says"] == "ready":  # on a slow machine the lease has run out before the second one is up
                started = await second_says()
            assert (started["job"], started["attempt"]) == (id, 2)
            done = await until(server, id, JobState.DONE)
    assert done.failures == 1
    with pytest.raises(jobs.Fenced):
        await server.write(jobs.complete, held)  # what the dead one would have said, had its packet been under way


@pytest.mark.parametrize("notify", [True, False])
async def test_a_worker_of_another_process_finishes_with_and_without_notify(
    server: Store, postgresql_url: str, notify: bool
):
    poll_ms = "30000" if notify else "100"  # with NOTIFY the slow query is too slow to be what found the job
    options = ["--poll-ms", poll_ms, "--kind", "quick", "--finish", *([] if notify else ["--no-notify"])]
    async with process("work", postgresql_url, *options) as (_, says):
        assert (await says())["says"] == "ready"
        took = []
        for _ in range(5):
            id = await enqueue(server, "quick")
            committed = time.time()
            started = await says()
            assert started["job"] == id
            took.append((started["at"] - committed) * 1000)
            await until(server, id, JobState.DONE)
    print(f"commit to handler start, NOTIFY {'on' if notify else 'off'}: {', '.join(f'{t:.1f}' for t in took)} ms")


async def test_a_worker_is_notified_again_after_its_listening_connection_was_cut(server: Store, postgresql_url: str):
    def cut(conn) -> int:
        return conn.exec_driver_sql(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = 'penstock listen'"
        ).scalar_one()

    async with process("work", postgresql_url, "--poll-ms", "30000", "--kind", "quick", "--finish") as (_, says):
        assert (await says())["says"] == "ready"
        assert await server.write(cut) == 2  # the worker's, and our own
        id = await enqueue(server, "quick")
        assert (await says())["job"] == id


async def test_broken_connections_are_replaced(server: Store):
    def cut(conn) -> None:
        # With a time to wait: one that dies only later may die in a COMMIT, whose outcome nobody knows then.
        conn.exec_driver_sql(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

    await asyncio.gather(*(enqueue(server, "k") for _ in range(16)))
    await server.write(cut)
    await asyncio.gather(*(enqueue(server, "k") for _ in range(16)))
    assert await server.scan(lambda conn: len(conn.execute(records.jobs.select()).all())) == 32


async def test_every_way_to_ask_finds_a_new_connection_after_a_restart(server: Store, postgresql_url: str):
    """An idle connection that the database server ended says why when it is used, unlike one that the network lost."""
    by_id = Statement(sa.select(records.jobs.c.id).where(records.jobs.c.id == sa.bindparam("i")))
    ways = {
        "lookup": lambda: server.lookup(by_id, i="none"),
        "read": lambda: server.read(lambda conn: by_id.first(conn, {"i": "none"})),
        "scan": lambda: server.scan(lambda conn: by_id.first(conn, {"i": "none"})),
        "write": lambda: server.write(lambda conn: by_id.first(conn, {"i": "none"})),
        "write_together": lambda: server.write_together("key", lambda conn: by_id.first(conn, {"i": "none"})),
    }
    for way, ask in ways.items():
        await asyncio.gather(*(ask() for _ in range(16)))
        end_connections(postgresql_url)
        answers = await asyncio.gather(*(ask() for _ in range(16)), return_exceptions=True)
        assert answers == [None] * 16, way


async def test_a_group_whose_connection_ends_after_its_commit_is_not_done_twice(
    server: Store, postgresql_url: str, monkeypatch: pytest.MonkeyPatch
):
    counted = records.event_sequences
    real, groups = postgresql.commit, []

    def add(conn: sa.Connection) -> None:
        conn.execute(counted.update().values(sequence=counted.c.sequence + 1))

    def commit(conn: sa.Connection) -> None:
        real(conn)
        groups.append(conn)
        if len(groups) == 2:
            end_connections(postgresql_url)
            with statement.wrapping(conn):  # as the end of that message would say it
                raw_of(conn).execute("SELECT 1")

    row = {"aggregate": "a", "account": "1", "region": "r", "sequence": 0, "at": 1}
    await server.write(lambda conn: conn.execute(counted.insert(), row))
    monkeypatch.setattr(postgresql, "commit", commit)
    answers = await asyncio.gather(*(server.write_together("key", add) for _ in range(20)), return_exceptions=True)
    unknown = [answer for answer in answers if answer is not None]
    assert len(unknown) > 1
    assert all(isinstance(answer, StoreUnavailable) for answer in unknown)
    assert await server.read(lambda conn: conn.execute(sa.select(counted.c.sequence)).scalar_one()) == 20


def end_connections(url: str) -> None:
    """End those that ask and write, as a restart of the database server does."""
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = 'penstock'"
        )


async def test_a_second_process_on_sqlite_is_refused(sqlite_url: str):
    store = await Store.open(sqlite_url, clock=SystemClock())
    async with process("work", sqlite_url, "--kind", "k") as (_, says):
        refused = await says()
    await store.close()
    assert refused["says"] == "refused"
    assert "PostgreSQL" in refused["why"]
    assert f"pid {os.getpid()}" in refused["why"]


@pytest.mark.parametrize("point", ["store.before_commit", "store.after_commit"])
@pytest.mark.parametrize("nth", [1, 7])
async def test_what_was_answered_survives_kill_9(sqlite_url: str, point: str, nth: int):
    answered: list[int] = []
    async with process("write", sqlite_url, PENSTOCK_CRASH_POINT=f"{point}:{nth}") as (child, says):
        with pytest.raises(AssertionError, match="ended"):
            while True:
                answered.append((await says())["answered"])
        assert await child.wait() == -signal.SIGKILL
    kept = written(sqlite_url)
    assert set(answered) <= set(kept)
    assert kept == sorted(kept)
    if point == "store.after_commit":
        assert len(kept) >= nth


async def test_what_was_answered_survives_kill_9_at_any_moment(sqlite_url: str):
    answered: list[int] = []
    async with process("write", sqlite_url) as (child, says):
        for _ in range(200):
            answered.append((await says())["answered"])
        child.send_signal(signal.SIGKILL)
        with pytest.raises(AssertionError, match="ended"):
            while True:
                answered.append((await says())["answered"])
    assert set(answered) <= set(written(sqlite_url))
    store = await Store.open(sqlite_url, clock=SystemClock())  # the lock died with its holder
    await store.close()


def written(url: str) -> list[int]:
    with sqlite3.connect(url.removeprefix("sqlite:///")) as conn:
        rows = conn.execute("SELECT aggregate, count(*) FROM event_sequences GROUP BY aggregate").fetchall()
    conn.close()
    pairs = [int(name.split("/")[0]) for name, _ in rows]
    assert all(pairs.count(n) == 2 for n in set(pairs)), "half a transaction"
    return sorted(set(pairs))


@pytest.mark.parametrize("point", ["work.before_handler", "work.after_handler"])
async def test_a_worker_killed_around_its_handler_is_taken_over(server: Store, postgresql_url: str, point: str):
    options = ["--lease-ms", "600", "--poll-ms", "100", "--kind", "quick"]
    async with process("work", postgresql_url, *options, PENSTOCK_CRASH_POINT=point) as (child, says):
        assert (await says())["says"] == "ready"
        id = await enqueue(server, "quick")
        assert await child.wait() == -signal.SIGKILL
    async with process("work", postgresql_url, *options, "--finish") as (_, says):
        job = await until(server, id, JobState.DONE)
    assert job.attempt == 2


def test_crash_points_are_listed_from_the_source():
    assert {
        "events.after_delivery", "store.after_commit", "store.before_commit",
        "work.after_handler", "work.before_handler",
    } <= set(failpoints.points())  # fmt: skip
