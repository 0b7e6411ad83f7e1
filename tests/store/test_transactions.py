"""Transactions, on both databases: what was answered is there, what failed is not, and who waits is woken."""

from __future__ import annotations

import asyncio
import fcntl
import subprocess
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa

from penstock.store import metrics, postgresql, sqlite
from penstock.store.clock import ManualClock
from penstock.store.database import Store, StoreClosed, StoreFull, StoreInUse, after_commit, wake
from penstock.store.errors import StoreBusy
from penstock.store.events import Event, emit
from penstock.store.ids import Ids
from penstock.store.records import event_sequences as table
from penstock.store.statement import Statement


def put(conn: sa.Connection, key: str, value: int = 1) -> str:
    conn.execute(table.insert(), {"aggregate": key, "account": "1", "region": "r", "sequence": value, "at": 1})
    return key


def keys(conn: sa.Connection) -> list[str]:
    return list(conn.execute(sa.select(table.c.aggregate).order_by(table.c.aggregate)).scalars())


async def test_a_write_answers_its_value_and_is_read_and_scanned(any_store: Store):
    assert await any_store.write(put, "a") == "a"
    assert await any_store.read(keys) == ["a"]
    assert await any_store.scan(keys) == ["a"]


async def test_what_is_read_together_is_of_one_moment(any_store: Store):
    """Also what a scan reads in several statements, while others commit in between."""
    await any_store.write(put, "a")
    first, second = threading.Event(), threading.Event()

    def twice(conn: sa.Connection) -> tuple[list[str], list[str]]:
        before = keys(conn)
        first.set()
        assert second.wait(60)
        return before, keys(conn)

    reading = asyncio.ensure_future(any_store.scan(twice))
    await asyncio.to_thread(first.wait, 10)
    await any_store.write(put, "b")
    second.set()
    assert await reading == (["a"], ["a"])
    assert await any_store.scan(keys) == ["a", "b"]


async def test_a_prefix_is_reported_apart_by_case(any_store: Store):
    for key in ("Build", "build", "builder"):
        await any_store.write(put, key)
    prefixed = sa.select(table.c.aggregate).where(table.c.aggregate.startswith("build", autoescape=True))

    def found(conn: sa.Connection) -> list[str]:
        return sorted(conn.execute(prefixed).scalars())

    for ask in (any_store.read, any_store.scan, any_store.write):
        assert await ask(found) == ["build", "builder"]


@pytest.mark.parametrize("together", [False, True])
async def test_a_failing_transaction_leaves_nothing_and_its_neighbours_alone(any_store: Store, together: bool):
    def fail(conn: sa.Connection, key: str) -> None:
        put(conn, key)
        raise LookupError(key)

    async def one(n: int) -> object:
        fn = fail if n % 3 == 0 else put
        return await (any_store.write_together("key", fn, f"{n:02}") if together else any_store.write(fn, f"{n:02}"))

    answers = await asyncio.gather(*map(one, range(30)), return_exceptions=True)
    assert [isinstance(answer, LookupError) for answer in answers] == [n % 3 == 0 for n in range(30)]
    assert await any_store.read(keys) == [f"{n:02}" for n in range(30) if n % 3]


async def test_the_first_of_a_group_fails_alone(store: Store, monkeypatch: pytest.MonkeyPatch):
    """It has no savepoint of its own, and those behind it begin anew."""
    monkeypatch.setattr("penstock.store.sqlite._GROUP_SECONDS", 10)
    others_wait = threading.Event()

    def fail(conn: sa.Connection) -> None:
        put(conn, "failed")
        assert others_wait.wait(60)
        raise LookupError

    before = metrics.COMMITS._value.get()  # noqa: SLF001
    failing = asyncio.ensure_future(store.write(fail))
    await asyncio.sleep(0)  # it is in the queue now, before the others
    others = [asyncio.ensure_future(store.write(put, key)) for key in ("a", "b")]
    await asyncio.sleep(0)
    others_wait.set()
    with pytest.raises(LookupError):
        await failing
    await asyncio.gather(*others)
    assert metrics.COMMITS._value.get() - before == 1  # noqa: SLF001
    assert await store.read(keys) == ["a", "b"]


async def test_a_refused_statement_is_reported_to_its_caller_only(any_store: Store):
    answers = await asyncio.gather(*(any_store.write(put, key) for key in "abca"), return_exceptions=True)
    assert sum(isinstance(answer, sa.exc.IntegrityError) for answer in answers) == 1
    assert await any_store.read(keys) == ["a", "b", "c"]


async def test_a_write_that_was_put_off_fails_alone_among_those_of_its_key(any_store: Store):
    """Its error comes up with the COMMIT of all."""
    insert = Statement(table.insert())

    def later(conn: sa.Connection, key: str) -> None:
        insert.later(conn, {"aggregate": key, "account": "1", "region": "r", "sequence": 1, "at": 1})

    writes = (any_store.write_together("key", later, key) for key in "abcade")
    answers = await asyncio.gather(*writes, return_exceptions=True)
    assert [isinstance(answer, sa.exc.IntegrityError) for answer in answers].count(True) == 1
    assert await any_store.read(keys) == ["a", "b", "c", "d", "e"]


async def test_writes_of_one_key_that_wait_for_each_other_share_commits_in_their_order(any_store: Store):
    ran, received = [], []

    def append(conn: sa.Connection, n: int) -> int:
        put(conn, f"{n:03}")
        ran.append(n)
        after_commit(conn, lambda: received.append(n))
        return n

    before = metrics.COMMITS._value.get()
    writes = (any_store.write_together("key", append, n) for n in range(100))
    assert await asyncio.gather(*writes) == ran == received == list(range(100))
    assert metrics.COMMITS._value.get() - before <= 10
    assert len(await any_store.read(keys)) == 100


async def test_a_statement_may_fail_inside_a_nested_transaction(any_store: Store):
    def twice(conn: sa.Connection) -> None:
        put(conn, "a")
        with pytest.raises(sa.exc.IntegrityError), conn.begin_nested():
            put(conn, "a")
        put(conn, "b")

    await any_store.write(twice)
    assert await any_store.read(keys) == ["a", "b"]


async def test_many_writes_share_commits(store: Store):
    before = metrics.COMMITS._value.get()
    await asyncio.gather(*(store.write(put, str(n)) for n in range(500)))
    assert metrics.COMMITS._value.get() - before < 50
    assert len(await store.read(keys)) == 500


@pytest.mark.parametrize("bound", ["_GROUP", "_GROUP_SECONDS"])
async def test_a_group_that_is_large_or_old_enough_takes_no_more_writes(
    store: Store, monkeypatch: pytest.MonkeyPatch, bound: str
):
    monkeypatch.setattr("penstock.store.sqlite._GROUP_SECONDS", 10)
    monkeypatch.setattr(f"penstock.store.sqlite.{bound}", 0)
    before = metrics.COMMITS._value.get()
    await asyncio.gather(*(store.write(put, key) for key in "abc"))
    assert metrics.COMMITS._value.get() - before == 3


async def test_wake_and_hooks_follow_the_commit_and_never_a_rollback(any_store: Store):
    wakeup = any_store.wakeup("topic")
    ran: list[str] = []

    def tx(conn: sa.Connection, *, fails: bool) -> None:
        wake(conn, "topic")
        after_commit(conn, lambda: ran.append("hook"))
        if fails:
            raise LookupError

    with pytest.raises(LookupError):
        await any_store.write(tx, fails=True)
    assert not await wakeup.wait(0)
    assert ran == []
    await any_store.write(tx, fails=False)
    assert ran == ["hook"]
    assert await wakeup.wait(0)
    assert not await wakeup.wait(0)


async def test_wake_outside_of_a_transaction_is_an_error_with_a_reason(any_store: Store):
    with pytest.raises(RuntimeError, match=r"Store\.write"):
        await any_store.scan(wake, "topic")


async def test_a_cancelled_caller_does_not_disturb_the_others(any_store: Store):
    tasks = [asyncio.ensure_future(any_store.write(put, str(n))) for n in range(5)]
    await asyncio.sleep(0)
    tasks[2].cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(answers[2], asyncio.CancelledError)
    assert {"0", "1", "3", "4"} <= set(await any_store.read(keys))


async def test_reading_cannot_write(store: Store):
    with pytest.raises(sa.exc.OperationalError, match="readonly"):
        await store.read(put, "a")
    assert await store.write(put, "a") == "a"


async def test_a_full_disk_is_reported_and_survived(store: Store):
    def limit(conn: sa.Connection, pages: int) -> int:
        return conn.exec_driver_sql(f"PRAGMA max_page_count = {pages}").scalar_one()

    async def fill(n: int) -> str:
        return await store.write(put, f"{n}" + "x" * 400)

    await store.write(put, "before")
    pages = await store.write(lambda conn: conn.exec_driver_sql("PRAGMA page_count").scalar_one())
    await store.write(limit, pages + 3)
    answers = await asyncio.gather(*(fill(n) for n in range(200)), return_exceptions=True)
    assert any(isinstance(answer, StoreFull) for answer in answers)
    assert all(isinstance(answer, (StoreFull, str)) for answer in answers)
    kept = set(await store.read(keys))
    assert kept == {"before", *(answer for answer in answers if isinstance(answer, str))}
    await store.write(limit, 1_000_000)
    await store.write(put, "after")
    assert "after" in await store.read(keys)


async def test_a_second_opening_of_an_sqlite_file_is_refused_and_pointed_to_postgresql(
    sqlite_url: str, clock: ManualClock
):
    store = await Store.open(sqlite_url, clock=clock)
    with pytest.raises(StoreInUse, match="PostgreSQL"):
        await Store.open(sqlite_url, clock=clock)
    await store.close()
    again = await Store.open(sqlite_url, clock=clock)
    await again.close()


async def test_the_lock_of_a_killed_process_is_waited_for(
    sqlite_url: str, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
):
    """A child that it was just starting has its descriptors until it becomes a program of its own."""
    path = Path(str(sa.make_url(sqlite_url).database) + ".lock")
    gone = subprocess.Popen(["true"])
    gone.wait()
    path.write_text(f"{gone.pid}\n")
    inherited = path.open("rb")
    fcntl.flock(inherited, fcntl.LOCK_EX)
    with monkeypatch.context() as patch:
        patch.setattr(sqlite, "_INHERITED_SECONDS", 0)
        with pytest.raises(StoreInUse, match=f"pid {gone.pid}"):
            await Store.open(sqlite_url, clock=clock)
    with monkeypatch.context() as patch:
        patch.setattr(sqlite.time, "sleep", lambda _seconds: inherited.close())
        store = await Store.open(sqlite_url, clock=clock)
    assert inherited.closed
    await store.close()


async def test_closing_answers_what_was_asked_and_refuses_the_rest(any_url: str, clock: ManualClock):
    store = await Store.open(any_url, clock=clock)
    asked = [asyncio.ensure_future(store.write(put, str(n))) for n in range(20)]
    asked += [asyncio.ensure_future(store.write_together("key", put, str(n))) for n in range(20, 120)]
    await asyncio.sleep(0)
    await store.close()
    assert await asyncio.gather(*asked) == [str(n) for n in range(120)]
    with pytest.raises(StoreClosed):
        await store.write(put, "late")
    with pytest.raises(StoreClosed):
        await store.read(keys)


async def test_a_database_of_another_make_refused_with_a_reason(clock: ManualClock):
    with pytest.raises(ValueError, match="sqlite or postgresql"):
        await Store.open("mysql://x/y", clock=clock)
    with pytest.raises(ValueError, match="needs a file"):
        await Store.open("sqlite://", clock=clock)


async def test_what_a_future_or_a_tap_refuses_keeps_nobody_from_an_answer(any_store: Store):
    def stop(conn: sa.Connection) -> None:
        raise StopIteration

    def broken(event: object) -> None:
        raise RuntimeError("a tap of ours is at fault")

    any_store.taps.add(broken)
    async with asyncio.timeout(60):
        asked = [any_store.write(stop), any_store.read(stop), any_store.write(emit_something)]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(answer) for answer in answers] == [RuntimeError, RuntimeError, type(None)]
        assert await any_store.read(lambda conn: conn.execute(sa.select(sa.literal(1))).scalar()) == 1


def emit_something(conn: sa.Connection) -> None:
    emit(
        conn,
        Event(type="a.b", account="1" * 12, region="us-east-1", aggregate="a/1", payload={}),
        now=1,
        id=Ids().uuid(),
    )


@pytest.mark.parametrize(
    ("code", "fails", "tried"),
    [("40001", 2, 3), ("40P01", 1, 2), ("40001", 99, postgresql._ATTEMPTS), ("22012", 1, 1), ("23505", 1, 1)],
)
async def test_a_transaction_that_got_in_anothers_way_is_tried_again(
    postgresql_url: str, clock: ManualClock, code: str, fails: int, tried: int
):
    store, attempts = await Store.open(postgresql_url, clock=clock), []

    def write(conn: sa.Connection) -> int:
        attempts.append(code)
        if len(attempts) <= fails:
            conn.execute(sa.text(f"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{code}'; END $$"))
        return len(attempts)

    try:
        if tried > fails:
            assert await store.write(write) == tried
        else:
            with pytest.raises(StoreBusy if code.startswith("40") else sa.exc.DBAPIError):
                await store.write(write)
        assert len(attempts) == tried
    finally:
        await store.close()
