"""What goes to PostgreSQL and comes from it, message by message, without a server: values, answers and notifications."""

from __future__ import annotations

import asyncio
import contextlib
import enum
from types import SimpleNamespace
from typing import Any, Self

import pytest
import sqlalchemy as sa
from penstock_waiting import eventually
from psycopg import errors
from psycopg.pq import ConnStatus, ExecStatus
from psycopg.waiting import Ready, Wait

from penstock.store import connections, fibers, hints, postgresql
from penstock.store.transaction import EVERY, elsewhere
from penstock.store.work import Work


class Colour(enum.StrEnum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "dumped", "is_bytes"),
    [
        ("é", "é".encode(), 0), (None, None, 0), (7, b"7", 0), (-7, b"-7", 0), (b"\0x", b"\0x", 1), (True, b"t", 0), (False, b"f", 0), (1.5, b"1.5", 0),
        (Colour.RED, b"red", 0), ([], b"{}", 0), (["a", None, 1, True], b'{"a",NULL,"1","t"}', 0), ([b"\1\xff"], b'{"\\\\x01ff"}', 0),
        (['a"b\\c'], b'{"a\\"b\\\\c"}', 0), ([Colour.RED], b'{"red"}', 0),
    ],
)  # fmt: skip
def test_values_as_postgresql_takes_them(value, dumped, is_bytes):
    assert connections._dump([value, "z"], lambda: None) == ([dumped, b"z"], [is_bytes, 0])


def test_values_that_it_does_not_take():
    for value in ("a\0", ["a\0"]):
        with pytest.raises(errors.DataError, match="cannot contain NUL"):
            connections._dump([value], lambda: None)
    for value in ({}, object(), [()]):
        with pytest.raises(errors.ProgrammingError, match="PostgreSQL is not given (dict|object|tuple) by a Statement"):
            connections._dump([value], lambda: None)


@pytest.mark.parametrize(("count", "rests"), [(2000, 0), (2001, 1), (4001, 2)])
def test_a_long_list_lets_others_have_their_turn(count, rests):
    turns: list[int] = []
    dumped, _ = connections._dump([["x"] * count], lambda: turns.append(1))
    assert (len(turns), dumped[0].count(b'"x"')) == (rests, count)  # type: ignore[union-attr]


class Server:
    """libpq's connection, as far as answers go: what it does next is what a test says."""

    def __init__(self, flushes: list[int], busy: list[bool], results: list[Any], status: Any = ConnStatus.OK) -> None:
        self.flushes, self.busy, self.results, self.status = flushes, busy, results, status
        self.consumed = 0

    def flush(self) -> int:
        return self.flushes.pop(0)

    def is_busy(self) -> bool:
        return self.busy.pop(0) if self.busy else False

    def consume_input(self) -> None:
        self.consumed += 1

    def get_result(self) -> Any:
        found = self.results.pop(0)
        if isinstance(found, Exception):
            raise found
        return found


def result(status: ExecStatus) -> Any:
    return SimpleNamespace(status=status)


SYNC, DONE, FATAL = result(ExecStatus.PIPELINE_SYNC), result(ExecStatus.COMMAND_OK), result(ExecStatus.FATAL_ERROR)


def answers(server: Server, *ready: Ready) -> tuple[list[Wait], Any]:
    """What is waited for, and the results in the end."""
    waits = []
    asking = connections._answers(server)  # type: ignore[arg-type]
    waiting = iter(ready)
    try:
        waits.append(next(asking))
        while True:
            waits.append(asking.send(next(waiting, Ready.R)))
    except StopIteration as end:
        return waits, end.value


def test_all_results_of_a_message_are_read():
    server = Server([1, 1, 0], [True, False], [DONE, None, DONE, SYNC])
    waits, results = answers(server, Ready.W, Ready.RW, Ready.R)
    assert waits == [Wait.RW, Wait.RW, Wait.R]
    assert results == [DONE, DONE]
    assert server.consumed == 2  # what comes while we send is taken in, or both sides would wait for each other


def test_a_connection_that_breaks_says_why_if_it_did():
    with pytest.raises(errors.OperationalError, match="the connection is lost"):
        answers(Server([0], [], [DONE, None], ConnStatus.BAD))
    assert answers(Server([0], [], [FATAL, None], ConnStatus.BAD))[1] == [FATAL]
    assert answers(Server([0], [], [FATAL, errors.OperationalError("gone")]))[1] == [FATAL]
    with pytest.raises(errors.OperationalError, match="gone"):
        answers(Server([0], [], [DONE, errors.OperationalError("gone")]))


@pytest.mark.parametrize(
    ("payload", "woken"),
    [
        ("other\njobs\nevents", ["jobs", elsewhere("jobs"), "events", elsewhere("events")]),
        ("me\njobs", []),
        ("other", []),
    ],
)
async def test_what_other_processes_say_wakes_who_waits(monkeypatch, payload, woken):
    said: list[str] = []
    executed: list[Any] = []

    class Listening:
        async def execute(self, statement: Any) -> None:
            executed.append(statement)

        async def notifies(self):
            yield SimpleNamespace(payload=payload)

    @contextlib.asynccontextmanager
    async def connection():
        yield Listening()

    async def connect(dsn: str, **more: Any) -> Any:
        executed.append((dsn, more["autocommit"], more["connect_timeout"]))
        return connection()

    monkeypatch.setattr(postgresql.psycopg.AsyncConnection, "connect", connect)
    one: Any = object.__new__(postgresql.PostgresqlBackend)
    one._url = sa.make_url("postgresql+psycopg://u:p@h/n")
    events = []
    one._listening = SimpleNamespace(is_set=lambda: False, set=lambda: events.append("listening"))
    one._listener = SimpleNamespace(succeeded=lambda: events.append("succeeded"))
    one._signal, one._name = said.append, "me"
    await one._listen()
    assert executed[0] == ("postgresql://u:p@h/n", True, 10)
    assert executed[1].startswith(b"LISTEN ")
    assert events == ["listening", "succeeded"]
    assert said == [EVERY, *woken]


async def test_a_job_that_is_over_is_nobodys_any_more():
    one: Any = object.__new__(Work)
    pool = SimpleNamespace(busy=2, size=2)
    job = SimpleNamespace(id="j", kind="k")
    woken: list[int] = []
    one._running, one._returning, one._lost = {"task": job}, {"task"}, {"j", "other"}
    one._pool_of, one._hungry, one._stopping = {"k": pool}, True, False
    one._lock, one._wakeup = contextlib.nullcontext(), SimpleNamespace(set=lambda: woken.append(1))
    one._over("task")
    assert (one._running, one._returning, one._lost, pool.busy, woken) == ({}, set(), {"other"}, 1, [1])
    for hungry, stopping, size in ((False, False, 9), (True, True, 9), (True, False, 1)):
        one._running, one._hungry, one._stopping, pool.size, pool.busy = {"task": job}, hungry, stopping, size, 2
        one._over("task")
    assert woken == [1]


class Notified:
    """A connection that writes down what is said over it, and breaks when it is told to."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.breaks = False

    async def execute(self, _statement: str, values: tuple[str, str]) -> None:
        if self.breaks:
            raise errors.OperationalError("gone")
        self.said.append(values[1])

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass


async def test_who_has_nothing_to_say_says_nothing_and_what_was_not_sent_is_said_again(monkeypatch):
    connection, well = Notified(), []

    async def connect(*_: Any, **_more: Any) -> Notified:
        return connection

    monkeypatch.setattr(hints.psycopg.AsyncConnection, "connect", connect)
    monkeypatch.setattr(hints, "_GATHER_S", 0)
    one = hints.Hints("dsn", "penstock", "me")

    async def rested() -> None:
        for _ in range(30):
            await asyncio.sleep(0)

    running = asyncio.ensure_future(one.run(lambda: well.append(1)))
    await rested()
    assert (connection.said, well) == ([f"me\n{EVERY}"], [1])
    one.add([])
    await rested()
    one.add(["a", "b", "a"])
    await eventually(lambda: len(connection.said) == 2)
    assert connection.said[1:] == ["me\na\nb"]
    connection.breaks = True
    one.add(["c"])
    with pytest.raises(errors.OperationalError):
        await running
    connection.breaks = False
    running = asyncio.ensure_future(one.run(lambda: None))
    await eventually(lambda: len(connection.said) == 3)
    assert connection.said[2:] == ["me\nc"]
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


@pytest.mark.parametrize(("size", "messages"), [(3949, ["me\n" + "x" * 3949]), (3950, [f"me\n{EVERY}"])])
def test_a_topic_that_is_too_long_wakes_everybody(size, messages):
    assert [*hints.Hints("dsn", "penstock", "me")._payloads(["x" * size])] == messages


@pytest.mark.parametrize(("last", "messages"), [(3947, [7900]), (3948, [3952, 3951])])
def test_how_long_a_message_is_at_most(last, messages):
    """`me` and two topics, each behind a line feed that the bound does not count."""
    found = [*hints.Hints("dsn", "penstock", "me")._payloads(["x" * 3949, "y" * last])]
    assert [len(one) for one in found] == messages


def test_a_connection_is_put_into_the_mode_that_a_task_needs(monkeypatch):
    changed: list[bool] = []

    class Raw:
        autocommit = property(lambda _: changed[-1] if changed else False, lambda _, value: changed.append(value))
        pgconn = SimpleNamespace(transaction_status=fibers.IDLE)

    monkeypatch.setattr(fibers, "raw_of", lambda _conn: raw)
    raw, made = Raw(), []

    def connect() -> Any:
        made.append(1)
        return SimpleNamespace(invalidated=False)

    held = fibers.Held(connect)
    for autocommit in (False, True, True, False):
        held.connection(autocommit=autocommit)
    assert (changed, made) == ([True, False], [1])
