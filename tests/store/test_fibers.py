"""Transactions on PostgreSQL run on the event loop's own thread, let it go on while they wait, and keep what is prepared."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import AsyncIterator
from enum import Enum, StrEnum
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

import penstock
from penstock.store import connections, fibers
from penstock.store.clock import SystemClock
from penstock.store.database import PROCESS_CONNECTIONS, Statement, Store, StoreUnavailable
from penstock.store.statement import raw_of
from penstock.wire.errors import MalformedBody

_notes = sa.Table(
    "fiber_notes", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True), sa.Column("text", sa.Text)
)
_INSERT = Statement(_notes.insert())
_ECHO = Statement(_notes.insert().returning(_notes.c.id, _notes.c.text))
_BY_ID = Statement(sa.select(_notes.c.text).where(_notes.c.id == sa.bindparam("i")))
_COUNT = Statement(sa.select(sa.func.count()).select_from(_notes).where(_notes.c.id >= sa.bindparam("least")))


class Colour(StrEnum):
    RED = "red"


class Tone(str, Enum):  # noqa: UP042 - whose `str` is Tone.LOUD
    LOUD = "loud"


@pytest.fixture
async def store(postgresql_url: str) -> AsyncIterator[Store]:
    store = await Store.open(postgresql_url, clock=SystemClock(), connections=3)
    await store.write(_notes.create)
    yield store
    await store.close()


async def test_only_scans_use_threads(store: Store):
    def who(_conn: sa.Connection) -> int:
        return threading.get_ident()

    own = threading.get_ident()
    assert await store.read(who) == own
    assert await store.write(who) == own
    assert await store.write_together("key", who) == own
    assert await store.scan(who) != own


async def test_the_loop_and_other_transactions_go_on_while_one_waits(store: Store, postgresql_url: str):
    async with await psycopg.AsyncConnection.connect(postgresql_url) as holder:
        await holder.execute("SELECT pg_advisory_lock(1)")

        def waits(conn: sa.Connection) -> None:
            conn.execute(sa.select(sa.func.pg_advisory_xact_lock(1)))
            _INSERT.later(conn, {"id": 1, "text": "late"})

        waiting = asyncio.ensure_future(store.write(waits))
        for id in range(2, 30):
            await store.write(_INSERT.later, {"id": id, "text": "early"})
            assert (await store.lookup(_COUNT, least=0))[0] == id - 1
        assert not waiting.done()
    await waiting
    assert (await store.lookup(_BY_ID, i=1)).text == "late"


async def test_more_wait_than_there_are_connections(store: Store):
    texts = [str(number) for number in range(200)]
    await asyncio.gather(*(store.write(_INSERT.later, {"id": int(text), "text": text}) for text in texts))
    rows = await asyncio.gather(*(store.lookup(_BY_ID, i=int(text)) for text in texts))
    assert [row.text for row in rows] == texts


async def test_much_is_sent_while_much_is_answered(store: Store):
    """Neither side reads all before it writes: 20 MB each way is more than the sockets between them hold."""
    text = "x" * 10_000
    echoed: list[str] = []

    def much(conn: sa.Connection) -> None:
        for id in range(2_000):
            _ECHO.later(conn, {"id": id, "text": text}, on_rows=lambda rows: echoed.append(rows[0].text))

    async with asyncio.timeout(60):
        await store.write(much)
    assert echoed == [text] * 2_000


async def test_what_is_prepared_outlives_a_rollback_and_a_savepoint(store: Store):
    def refused(conn: sa.Connection) -> None:
        _INSERT.first(conn, {"id": 1, "text": "again"})

    def nested(conn: sa.Connection) -> int:
        _BY_ID.first(conn, {"i": 1})
        savepoint = conn.begin_nested()
        conn.execute(_notes.insert(), {"id": 9, "text": "gone"})
        savepoint.rollback()
        assert _BY_ID.first(conn, {"i": 9}) is None
        return _prepared(conn)

    await store.write(_INSERT.later, {"id": 1, "text": "once"})
    before = await store.write(nested)
    for _ in range(5):
        with pytest.raises(sa.exc.IntegrityError):
            await store.write(refused)
    assert await store.write(nested) == before >= 2
    assert (await store.lookup(_BY_ID, i=1)).text == "once"


def _prepared(conn: sa.Connection) -> int:
    return conn.exec_driver_sql(
        "SELECT count(*) FROM pg_prepared_statements WHERE starts_with(name, 'penstock')"
    ).scalar_one()


async def test_an_error_names_itself_and_not_what_came_after_it(store: Store):
    def both(conn: sa.Connection) -> None:
        _INSERT.later(conn, {"id": 1, "text": "one"})
        _INSERT.later(conn, {"id": 1, "text": "two"})
        _BY_ID.first(conn, {"i": 1})

    with pytest.raises(sa.exc.IntegrityError, match="duplicate key"):
        await store.write(both)
    assert await store.lookup(_BY_ID, i=1) is None


@pytest.mark.parametrize("text", ["", "é ✓ 𝄞", 'a\\b"c{d},%s $1 %', Colour.RED, Tone.LOUD, None])
async def test_a_text_comes_back_as_it_was_given(store: Store, text: str | None):
    await store.write(_INSERT.later, {"id": 1, "text": text})
    assert (await store.lookup(_BY_ID, i=1)).text == text


@pytest.mark.parametrize("value", ["a\0b", ["a\0b"]])
async def test_a_text_is_not_cut_off_at_a_nul(store: Store, value: object):
    with pytest.raises(MalformedBody, match=r"U\+0000"):
        await store.write(_INSERT.later, {"id": 1, "text": value})
    assert await store.lookup(_BY_ID, i=1) is None


async def test_a_transaction_whose_connection_ends_while_it_waits_is_told(store: Store, postgresql_url: str):
    def ended(conn: sa.Connection) -> None:
        _INSERT.later(conn, {"id": 1, "text": "never"})
        pid = raw_of(conn).info.backend_pid
        other = Statement(sa.select(sa.func.pg_terminate_backend(sa.bindparam("p", type_=sa.Integer))))
        other.first(conn, {"p": pid})
        _BY_ID.first(conn, {"i": 1})

    with pytest.raises(StoreUnavailable):
        await store.write(ended)
    assert await store.lookup(_BY_ID, i=1) is None


async def test_a_store_is_closed_after_what_it_was_asked_for(postgresql_url: str, store: Store):
    other = await Store.open(postgresql_url, clock=SystemClock(), connections=2)
    asked = [asyncio.ensure_future(other.write(_INSERT.later, {"id": id, "text": "t"})) for id in range(20)]
    asked.append(asyncio.ensure_future(other.scan(lambda conn: conn.execute(sa.select(sa.func.pg_sleep(0.05))).all())))
    await asyncio.sleep(0)
    await other.close()
    await asyncio.gather(*asked)
    assert (await store.lookup(_COUNT, least=0))[0] == 20


async def test_a_scan_by_statements_sees_one_snapshot_and_writes_nothing(store: Store, postgresql_url: str):
    def twice(conn: sa.Connection) -> list[int]:
        counts = [_COUNT.first(conn, {"least": 0})[0]]
        with psycopg.connect(postgresql_url, autocommit=True) as other:
            other.execute("INSERT INTO fiber_notes VALUES (1, 'meanwhile')")
        return [*counts, _COUNT.first(conn, {"least": 0})[0]]

    assert await store.scan(twice) == [0, 0]
    with pytest.raises(StoreUnavailable, match="read-only"):
        await store.scan(_ECHO.first, {"id": 2, "text": "never"})
    assert (await store.lookup(_COUNT, least=0))[0] == 1


@pytest.mark.parametrize("more", [True, False])
async def test_who_swallows_an_error_of_the_database_is_not_told_that_all_is_kept(store: Store, more: bool):
    """PostgreSQL has taken everything back by then, and answers COMMIT with ROLLBACK, which its drivers take for a success."""

    def swallows(conn: sa.Connection) -> None:
        _ECHO.first(conn, {"id": 1, "text": "kept?"})
        with contextlib.suppress(sa.exc.IntegrityError):
            _ECHO.first(conn, {"id": 1, "text": "again"})
        if more:
            _INSERT.later(conn, {"id": 2, "text": "kept?"})

    with pytest.raises(RuntimeError, match="went on after an error"):
        await store.write(swallows)
    assert (await store.lookup(_COUNT, least=0))[0] == 0
    await store.write(_INSERT.later, {"id": 1, "text": "the connection continues"})


async def test_a_server_that_vanishes_is_noticed(store: Store, postgresql_url: str):
    """Every connection of ours asks the system to give up on a server that says nothing for a minute."""

    def option(conn: sa.Connection) -> int:
        with socket.socket(fileno=os.dup(raw_of(conn).fileno())) as of:
            return of.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)

    assert await store.read(option) == await store.scan(option) == 60_000
    own = await Store.open(f"{postgresql_url}?tcp_user_timeout=7000", clock=SystemClock(), connections=1)
    assert await own.read(option) == 7_000
    await own.close()


async def test_a_process_has_the_connections_that_the_doctor_counts(postgresql_url: str):
    def busy(conn: sa.Connection) -> None:
        conn.execute(sa.select(sa.func.pg_sleep(0.05)))

    store = await Store.open(postgresql_url, clock=SystemClock())
    await asyncio.gather(*(ask(busy) for ask in (store.write, store.read, store.scan) for _ in range(10)))
    ours = "datname = current_database() AND application_name <> 'tests-emptying'"  # that one is of tests/conftest.py
    counted = sa.text(f"SELECT count(*) FROM pg_stat_activity WHERE {ours}")
    assert await store.read(lambda conn: conn.execute(counted).scalar_one()) == PROCESS_CONNECTIONS
    await store.close()


def test_others_have_their_turn_while_many_values_are_made():
    """A list of 300,000 held the loop for a fifth of a second."""
    turns = []
    dumped, _ = connections._dump([["a host of many"] * 10_000, "one", ["few"] * 3], lambda: turns.append(1))
    assert len(turns) == 4
    assert dumped[0] is not None
    assert dumped[0].count(b"a host of many") == 10_000


async def test_others_have_their_turn_while_many_rows_are_read(store: Store, monkeypatch: pytest.MonkeyPatch):
    """10,000 rows held the loop for a tenth of a second, and so did 100 rows of a megabyte."""
    all_of = Statement(sa.select(_notes.c.id, _notes.c.text).order_by(_notes.c.id))
    made = sa.text("INSERT INTO fiber_notes SELECT i, 'text' FROM generate_series(1, 1000) AS i")
    await store.write(lambda conn: conn.execute(made))
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    monkeypatch.setattr(fibers, "_TURN_S", 0.0)
    other = asyncio.ensure_future(others())
    rows = await store.read(lambda conn: all_of.all(conn, {}))
    other.cancel()
    assert [row.id for row in rows] == list(range(1, 1001))
    assert turns >= 1000 // 16 + 1000 // 64  # rows that are loaded, and made into named tuples


def test_a_transaction_waits_for_nothing_but_its_database():
    """On PostgreSQL the event loop would wait with it."""
    waits = {
        "acquire", "check_output", "fsync", "getaddrinfo", "mkdir", "open", "Popen", "read_bytes", "read_text", "result", "rmtree",
        "run_coroutine_threadsafe", "sleep", "unlink", "urlopen", "wait", "write_bytes", "write_text",
    }  # fmt: skip
    folder = Path(penstock.__file__).parent
    found = [
        f"{path.relative_to(folder)}:{call.lineno}"
        for path in folder.rglob("*.py")
        if "conn" in (text := path.read_text())
        for function in ast.walk(ast.parse(text))
        if isinstance(function, ast.FunctionDef | ast.Lambda)
        and any(argument.arg == "conn" for argument in function.args.args)
        for call in ast.walk(function)
        if isinstance(call, ast.Call)
        and getattr(call.func, "attr", getattr(call.func, "id", "")) in waits
        and ast.unparse(call.func) != "sealer.open"  # deciphers what was read: no file is opened
    ]
    assert found == []
