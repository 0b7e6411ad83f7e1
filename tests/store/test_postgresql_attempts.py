"""What the backend for PostgreSQL does around a transaction: how often it tries, what it answers, and whom it wakes. No server is asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy import exc

from penstock.store import postgresql
from penstock.store.backend import Write
from penstock.store.errors import StoreBusy, StoreClosed, StoreUnavailable, StoreUnsuited
from penstock.store.postgresql import PostgresqlBackend
from penstock.store.transaction import EVERY, elsewhere


class Conn:
    """A connection that writes down what is done with it."""

    def __init__(self, done: list[Any], invalidated: bool) -> None:
        self._done = done
        self.invalidated = invalidated

    def begin(self) -> None:
        self._done.append("begin")

    def rollback(self) -> None:
        self._done.append("rollback")


class Backend:
    """The backend, and all that it did."""

    def __init__(self) -> None:
        self.done: list[Any] = []
        self.signals: list[str] = []
        self.delivered: list[list[Any]] = []
        loops: Any = SimpleNamespace()
        self.made = PostgresqlBackend(
            sa.make_url("postgresql://u@nowhere.invalid/d?tcp_user_timeout=7"),
            self.delivered.append, self.signals.append, loops, notify=True, connections=1,
        )  # fmt: skip
        self.tasks: list[Callable[[Any], Callable[[], None]]] = []
        self.made._fibers = SimpleNamespace(submit=self.tasks.append)  # type: ignore[assignment]
        self.invalidated = False
        self.commits: list[Exception | None] = []

    def connection(self, *, autocommit: bool) -> Conn:
        self.done.append(("connection", autocommit))
        return Conn(self.done, self.invalidated)

    def write(self, fn: Callable[[Any], Any], *topics: str, together: str = "") -> Write:
        transaction: Any = SimpleNamespace(
            finish=lambda _conn: self.done.append("finish"), abandon=lambda: self.done.append("abandon"), topics=dict.fromkeys(topics)
        )  # fmt: skip
        return Write(fn, transaction, None, 0.0, together)  # type: ignore[arg-type]

    def run(self, *writes: Write) -> list[Any]:
        return [one.error or one.value for one in self.made._outcomes([*writes], self)]  # type: ignore[arg-type]


@pytest.fixture
async def backend(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Backend]:
    made = Backend()

    def commit(_conn: Any) -> None:
        made.done.append("commit")
        if made.commits and (error := made.commits.pop(0)):
            raise error

    monkeypatch.setattr(postgresql, "bind", lambda _conn, transaction: made.done.append("bind" if transaction else "unbind"))  # fmt: skip
    monkeypatch.setattr(postgresql, "settle", lambda _conn: made.done.append("settle"))
    monkeypatch.setattr(postgresql, "rollback", lambda _conn: made.done.append("rollback"))
    monkeypatch.setattr(postgresql, "commit", commit)
    try:
        yield made
    finally:
        made.made._sockets.close()


def failure(state: str) -> exc.OperationalError:
    """What SQLAlchemy makes of an answer of PostgreSQL; without a state the connection is lost."""
    return exc.OperationalError("SELECT", {}, type("Fault", (Exception,), {"sqlstate": state})("said"))


TRIED = [("connection", False), "begin", "bind"]
WELL = [*TRIED, "finish", "settle", "commit", "unbind"]
ILL = [*TRIED, "rollback", "unbind"]
SERIAL, DEADLOCK, LOST = "40001", "40P01", ""


@pytest.mark.parametrize(
    ("faults", "answer", "done"),
    [
        ([], 7, WELL), (["x"], ValueError, ILL), (["23505"], exc.OperationalError, ILL),
        ([SERIAL], 7, [*ILL, "abandon", *WELL]), ([SERIAL, DEADLOCK, SERIAL], 7, [*ILL, "abandon"] * 3 + WELL),
        ([DEADLOCK] * 4, StoreBusy, [*ILL, "abandon"] * 3 + ILL),
        ([LOST], 7, [*ILL, "abandon", *WELL]), ([LOST, LOST], StoreUnavailable, [*ILL, "abandon", *ILL]),
        ([SERIAL, LOST], StoreUnavailable, [*ILL, "abandon", *ILL]), ([LOST, SERIAL], 7, [*ILL, "abandon"] * 2 + WELL),
    ],
)  # fmt: skip
async def test_how_often_a_transaction_is_tried(backend: Backend, faults, answer, done):
    def fn(_conn: Any) -> int:
        if faults:
            state = faults.pop(0)
            raise ValueError("mine") if state == "x" else failure(state)
        return 7

    [said] = backend.run(backend.write(fn))
    assert said == answer if answer == 7 else type(said) is answer
    assert backend.done == done
    assert faults == []


async def test_a_commit_that_nobody_answered_is_not_repeated_and_a_refused_one_is(backend: Backend):
    backend.commits = [failure(LOST)]
    assert [type(one) for one in backend.run(backend.write(lambda _: 1), backend.write(lambda _: 2))] == [StoreUnavailable] * 2  # fmt: skip
    assert backend.done.count("commit") == 1
    assert "abandon" not in backend.done
    backend.commits = [failure(SERIAL)]
    assert backend.run(backend.write(lambda _: 1)) == [1]
    assert backend.done.count("commit") == 3


async def test_of_writes_that_share_a_transaction_each_fails_alone(backend: Backend):
    def fail(_conn: Any) -> None:
        raise ValueError("mine")

    first, second, third = backend.run(backend.write(lambda _: 1), backend.write(fail), backend.write(lambda _: 3))
    assert (first, str(second), third) == (1, "mine", 3)
    assert backend.done == [*ILL, "abandon", *WELL, *ILL, *WELL]
    first, second = backend.run(backend.write(fail), backend.write(lambda _: 2))
    assert (str(first), second) == ("mine", 2)


async def test_a_connection_that_is_gone_is_not_spoken_to(backend: Backend):
    def fail(_conn: Any) -> None:
        raise failure(LOST)

    backend.invalidated = True
    assert [type(one) for one in backend.run(backend.write(fail))] == [StoreUnavailable]
    assert backend.done == [*TRIED, "abandon", *TRIED]


async def test_writes_of_one_key_wait_and_go_on_thirty_two_at_a_time(backend: Backend):
    order: list[int] = []
    for number in range(35):
        backend.made.submit(backend.write(lambda _, number=number: order.append(number), together="k"))
    backend.made.submit(backend.write(lambda _: order.append(100), together="l"))
    for number in (101, 102):
        backend.made.submit(backend.write(lambda _, number=number: order.append(number)))
    assert len(backend.tasks) == 4
    sizes = []
    while backend.tasks:
        backend.tasks.pop(0)(backend)()
        sizes.append(len(backend.delivered.pop()))
    assert sizes == [1, 1, 1, 1, 32, 2]
    assert order == [0, 100, 101, 102, *range(1, 35)]
    assert backend.made._together == {}


@pytest.mark.parametrize("notify", [True, False])
async def test_others_are_told_of_what_was_committed(backend: Backend, notify):
    def fail(_conn: Any) -> None:
        raise ValueError("mine")

    backend.made._notify = notify
    told: list[str] = []
    backend.made._hints = SimpleNamespace(add=told.extend)  # type: ignore[assignment]
    for fn, topic in ((lambda _: 1, "a"), (fail, "b"), (lambda _: 2, "c")):
        backend.made.submit(backend.write(fn, topic))
    while backend.tasks:
        backend.tasks.pop(0)(backend)()
    assert told == (["a", "c"] if notify else [])
    assert [one.value for [one] in backend.delivered] == [1, None, 2]


@pytest.mark.parametrize(
    ("faults", "answer", "tries"),
    [([], 7, 1), ([LOST], 7, 2), ([LOST, LOST], StoreUnavailable, 2), ([SERIAL], StoreBusy, 1), (["x"], ValueError, 1)],
)
async def test_a_question_is_asked_again_over_a_new_connection_once(backend: Backend, faults, answer, tries):
    def fn(_conn: Any) -> int:
        if faults:
            state = faults.pop(0)
            raise ValueError("mine") if state == "x" else failure(state)
        return 7

    try:
        said: Any = postgresql._with(fn, backend, autocommit=True)  # type: ignore[arg-type]
    except Exception as error:  # noqa: BLE001 - compared
        said = error
    assert said == answer if answer == 7 else type(said) is answer
    assert backend.done == [("connection", True), "rollback"] * tries
    assert faults == []


@pytest.mark.parametrize(("invalidated", "fails"), [(False, False), (False, True), (True, True)])
async def test_a_scan_sees_one_moment_writes_nothing_and_leaves_the_connection_as_it_was(
    backend: Backend, monkeypatch, invalidated, fails
):
    raw = SimpleNamespace(isolation_level=None, read_only=None)
    during = (psycopg.IsolationLevel.REPEATABLE_READ, True)
    monkeypatch.setattr(postgresql, "raw_of", lambda _conn: raw)

    def fn(_conn: Any) -> int:
        assert (raw.isolation_level, raw.read_only) == during
        if fails:
            raise KeyError
        return 7

    conn: Any = Conn(backend.done, invalidated)
    if fails:
        with pytest.raises(KeyError):
            postgresql._over_snapshot(fn, conn)
    else:
        assert postgresql._over_snapshot(fn, conn) == 7
    assert (raw.isolation_level, raw.read_only) == (during if invalidated else (None, None))
    assert backend.done == ([] if invalidated else ["rollback"])


async def test_what_is_heard_wakes_here_but_for_our_own(backend: Backend, monkeypatch):
    said: list[Any] = []

    class Listening:
        async def __aenter__(self) -> Any:
            return self

        async def __aexit__(self, *_: object) -> None:
            said.append("closed")

        async def execute(self, statement: bytes) -> None:
            said.append(statement)

        async def notifies(self) -> AsyncIterator[Any]:
            for payload in (f"{backend.made._name}\nmine", "other\na\nb", "other"):
                yield SimpleNamespace(payload=payload)

    async def connect(dsn: str, **how: Any) -> Any:
        said.append((dsn, how["autocommit"], how["connect_timeout"]))
        return Listening()

    monkeypatch.setattr(postgresql.psycopg.AsyncConnection, "connect", connect)
    backend.made._listener = SimpleNamespace(succeeded=lambda: said.append("succeeded"))  # type: ignore[assignment]
    before = postgresql.metrics.LISTENER_RECONNECTS._value.get()
    for again in (0, 1):
        await backend.made._listen()
        assert backend.made._listening.is_set()
        assert postgresql.metrics.LISTENER_RECONNECTS._value.get() == before + again
    dsn = said[0][0]
    assert dsn.startswith("postgresql://u@nowhere.invalid/d?")
    assert {"keepalives_idle=30", "keepalives_interval=10", "keepalives_count=3", "tcp_user_timeout=7"} == set(dsn.partition("?")[2].split("&"))  # fmt: skip
    assert said == [(dsn, True, 10), b"LISTEN penstock", "succeeded", "closed"] * 2
    assert backend.signals == [EVERY, "a", elsewhere("a"), "b", elsewhere("b")] * 2


async def test_a_backend_that_is_closed_takes_nothing(backend: Backend):
    backend.made._closed = True
    for ask in (backend.made.read, backend.made.scan):
        with pytest.raises(StoreClosed, match="closed"):
            await ask(lambda _conn: 1)
    with pytest.raises(StoreClosed):
        backend.made.submit(backend.write(lambda _: 1))
    assert backend.tasks == []


async def test_who_hurries_gives_up_what_has_waited_ten_seconds_and_looks_every_second(backend: Backend, monkeypatch):
    given_up: list[float] = []
    for name in ("_fibers", "_readers"):
        setattr(backend.made, name, SimpleNamespace(give_up=given_up.append))
    later: list[Any] = []
    backend.made._loop = SimpleNamespace(call_later=lambda *call: later.append(call))  # type: ignore[assignment]
    monkeypatch.setattr(postgresql, "time", SimpleNamespace(monotonic=lambda: 100.0))
    backend.made.hurry()
    assert (given_up, later) == ([90.0, 90.0], [(1.0, backend.made.hurry)])


@pytest.mark.parametrize("notify", [True, False])
async def test_a_backend_closes_in_order_and_once(backend: Backend, monkeypatch, notify):
    done: list[str] = []

    def step(name: str) -> Callable[..., Any]:
        async def run(*_: object) -> None:
            await asyncio.sleep(0)
            done.append(name)

        return run

    made: Any = backend.made
    sockets = made._sockets
    made._loops = SimpleNamespace(stop=lambda loop: step(f"stop {loop}")())
    made._listener = "listener"
    made._hinting = "hinting" if notify else None
    made._fibers = SimpleNamespace(close=step("fibers"))
    made._readers = SimpleNamespace(close=lambda: done.append("readers"))
    made._hints = SimpleNamespace(sent=step("sent"))
    made._hurrying = SimpleNamespace(cancel=lambda: done.append("unhurried"))
    made._engine = SimpleNamespace(dispose=lambda: done.append("engine"))
    made._sockets = SimpleNamespace(close=lambda: done.append("sockets"))
    for _ in range(2):
        await made.close()
    made._sockets = sockets
    assert done == ["stop listener", "fibers", "readers", *(["sent", "stop hinting"] if notify else []), "unhurried", "engine", "sockets"]  # fmt: skip


@pytest.mark.parametrize(("notify", "encoding"), [(True, "UTF8"), (False, "UTF8"), (True, "LATIN1")])
async def test_a_backend_opens_when_the_database_keeps_every_text_and_listens_where_others_are(backend: Backend, notify, encoding):  # fmt: skip
    done: list[Any] = []
    made: Any = backend.made
    made._notify = notify

    async def read(fn: Callable[[Any], Any]) -> Any:
        return fn(SimpleNamespace(execute=lambda asked: SimpleNamespace(scalar=lambda: done.append(str(asked)) or encoding)))  # fmt: skip

    def start(name: str, *_: object) -> str:
        done.append(name)
        made._listening.set()
        return name

    async def close() -> None:
        done.append("closed")

    made.read, made.close, made._loops = read, close, SimpleNamespace(start=start)
    if encoding == "UTF8":
        await made.open()
        assert done == ["SHOW server_encoding", *(["store.hint", "store.listen"] if notify else [])]
        assert (made._hinting, made._listener) == (("store.hint", "store.listen") if notify else (None, None))
        return
    with pytest.raises(StoreUnsuited) as refused:
        await made.open()
    assert done == ["SHOW server_encoding", "closed"]
    assert str(refused.value) == (
        "The database d keeps text as LATIN1, and Penstock needs UTF8. Make another one: createdb --encoding UTF8 --template template0 NAME"
    )


async def test_a_loop_that_hints_says_each_time_that_it_has(backend: Backend):
    done: list[str] = []
    made: Any = backend.made

    async def run(succeeded: Callable[[], None]) -> None:
        succeeded()
        made._hinting = SimpleNamespace(succeeded=lambda: done.append("succeeded"))
        succeeded()

    made._hints = SimpleNamespace(run=run)
    await made._hint()
    assert done == ["succeeded"]
