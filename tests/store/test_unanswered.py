"""What lies between the store and PostgreSQL: a database that says nothing holds up nobody but who asks it, and poolers mix sessions."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Iterable
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from penstock.pools import FILES
from penstock.store import connections, postgresql
from penstock.store.clock import SystemClock
from penstock.store.database import Statement, Store, StoreUnavailable


class Wire:
    """What lies between the store and PostgreSQL: as long as it is dead, no byte passes and no connection is made."""

    def __init__(self, url: str) -> None:
        self._to = sa.make_url(url)
        self._alive = asyncio.Event()
        self._alive.set()
        self._ends: set[asyncio.StreamWriter] = set()
        self.waiting: set[asyncio.StreamWriter] = set()
        self.accepted = 0

    @contextlib.asynccontextmanager
    async def laid(self) -> AsyncIterator[str]:
        """The address to connect to."""
        server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        try:
            yield self._to.set(port=server.sockets[0].getsockname()[1]).render_as_string(hide_password=False)
        finally:
            server.close()
            self._alive.set()
            abort(self._ends | self.waiting)
            await server.wait_closed()

    def die(self, *, connections: bool = False) -> None:
        """Let nothing through any more; `connections` ends those that there are."""
        self._alive.clear()
        if connections:
            abort(self._ends)

    def revive(self) -> None:
        self._alive.set()

    def altered(self, data: bytes) -> bytes:
        return data

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self.waiting.add(writer)
        await self._alive.wait()
        self.waiting.discard(writer)
        if writer.transport.is_closing():
            return
        there, back = await asyncio.open_connection(self._to.host, self._to.port)
        self._ends |= {writer, back}
        await asyncio.gather(self._pass(reader, back), self._pass(there, writer))
        self._ends -= {writer, back}

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                await self._alive.wait()
                writer.write(self.altered(data))
        writer.transport.abort()


class Pooler(Wire):
    """Tells each client of a process that is not the one that serves it, as poolers do."""

    def altered(self, data: bytes) -> bytes:
        return re.sub(rb"(K\x00\x00\x00\x0c)....", lambda said: said[1] + b"\0\0\0\1", data, flags=re.DOTALL)


def abort(ends: Iterable[asyncio.StreamWriter]) -> None:
    for each in ends:
        each.transport.abort()


@pytest.fixture
async def wire(postgresql_url: str) -> Wire:
    return Wire(postgresql_url)


@pytest.fixture
async def url(wire: Wire) -> AsyncIterator[str]:
    async with wire.laid() as url:
        yield url


async def opened(url: str, connections: int) -> Store:
    return await Store.open(url, clock=SystemClock(), notify=False, connections=connections)


def one(conn: sa.Connection) -> Any:
    return conn.execute(sa.select(sa.literal(1))).scalar()


def asked(store: Store, times: int) -> list[asyncio.Future[Any]]:
    """Everything that can be asked, with one key too."""
    return [
        asyncio.ensure_future(each)
        for _ in range(times)
        for each in (store.read(one), store.write(one), store.scan(one), store.write_together("key", one))
    ]


async def until_connecting(wire: Wire, many: int) -> None:
    while len(wire.waiting) < many:  # noqa: ASYNC110 - another thread's system call decides
        await asyncio.sleep(0.01)


@pytest.mark.timeout(60)
async def test_files_do_not_wait_for_a_database_that_nobody_can_connect_to(wire: Wire, url: str):
    store = await opened(url, FILES.threads)
    wire.die(connections=True)
    reads = [asyncio.ensure_future(store.read(one)) for _ in range(FILES.threads)]
    await until_connecting(wire, 6)
    async with asyncio.timeout(5):
        assert await FILES.run(int) == 0
    wire.revive()
    assert await asyncio.gather(*reads) == [1] * FILES.threads
    await store.close()


@pytest.mark.timeout(60)
async def test_who_waits_behind_a_connection_that_cannot_be_made_is_told_with_it(wire: Wire, url: str):
    """Each would have tried for ten seconds, one after the other."""
    store = await opened(url, 2)
    wire.die(connections=True)
    before = wire.accepted
    asks = [asyncio.ensure_future(each) for _ in range(50) for each in (store.write(one), store.read(one))]
    asks += [asyncio.ensure_future(store.write_together("key", one)) for _ in range(100)]
    await until_connecting(wire, 2)
    abort(wire.waiting)
    async with asyncio.timeout(10):
        told = await asyncio.gather(*asks, return_exceptions=True)
    assert {type(each) for each in told} == {StoreUnavailable}
    assert wire.accepted == before + 2
    wire.revive()
    assert await store.write(one) == 1
    await store.close()


@pytest.mark.timeout(60)
async def test_a_process_that_ends_waits_for_no_answer_for_long(wire: Wire, url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(postgresql, "_PATIENCE_S", 0.2)
    store = await opened(url, 2)
    assert await asyncio.gather(*asked(store, 3)) == [1] * 12
    wire.die()
    asks = asked(store, 10)
    await asyncio.sleep(0)
    store.hurry()
    async with asyncio.timeout(20):
        told = await asyncio.gather(*asks, return_exceptions=True)
        assert {type(each) for each in told} == {StoreUnavailable}
        with pytest.raises(StoreUnavailable, match="while this process was ending"):
            await store.write(one)
        await store.close()


async def test_a_process_that_ends_finishes_what_is_answered(url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(postgresql, "_PATIENCE_S", 30.0)
    store = await opened(url, 2)
    store.hurry()
    assert await asyncio.gather(*asked(store, 10)) == [1] * 40
    await store.close()


class Mute(Wire):
    """Lets a client in, and answers nothing that it asks."""

    def altered(self, data: bytes) -> bytes:
        return b"" if b"pg_backend_pid" in data else data


async def test_who_is_let_in_and_not_answered_is_told(postgresql_url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(connections, "_ANSWER_S", 0.1)
    async with Mute(postgresql_url).laid() as url:
        with pytest.raises(StoreUnavailable):
            await opened(url, 1)


async def test_nothing_is_prepared_behind_a_pooler(postgresql_url: str):
    """The next transaction may have another session, whose statements of the same names are others."""
    prepared = sa.text("SELECT count(*) FROM pg_prepared_statements")
    table = sa.Table("pooled", sa.MetaData(), sa.Column("id", sa.Integer), sa.Column("text", sa.Text))
    insert, find = Statement(table.insert()), Statement(sa.select(table).where(table.c.id == sa.bindparam("i")))
    async with Pooler(postgresql_url).laid() as url:
        pooled, direct = await opened(url, 1), await opened(postgresql_url, 1)
        await pooled.write(table.create)
        for store, id, many in ((pooled, 1, 0), (direct, 2, 2)):
            await store.write(insert.later, {"id": id, "text": "é"})
            assert tuple(await store.lookup(find, i=id)) == (id, "é")
            assert await store.read(lambda conn: conn.execute(prepared).scalar()) == many
            await store.close()


def test_a_server_that_ends_hurries_its_store(live_factory: Any, monkeypatch: pytest.MonkeyPatch):
    hurried: list[Store] = []
    monkeypatch.setattr(Store, "hurry", lambda self: hurried.append(self))
    with live_factory() as live:
        store = live.app.store
        assert hurried == []
    assert hurried == [store]


async def test_a_connection_that_cannot_be_asked_is_let_go(postgresql_url, monkeypatch):
    asked = []

    def look(connection):
        asked.append(connection)
        raise psycopg.OperationalError("the session is gone")

    monkeypatch.setattr(connections.Connection, "look_for_pooler", look)
    with pytest.raises(StoreUnavailable, match="the session is gone"):
        await Store.open(postgresql_url, clock=SystemClock())
    assert asked
    assert all(connection.closed for connection in asked)


async def test_a_server_that_does_not_listen_is_not_waited_for_longer_than_a_quarter_of_a_minute(monkeypatch):
    waited, real = [], asyncio.timeout

    def timeout(seconds):
        waited.append(seconds)
        return real(0)

    backend = postgresql.PostgresqlBackend.__new__(postgresql.PostgresqlBackend)
    backend._listening = asyncio.Event()
    monkeypatch.setattr(postgresql.asyncio, "timeout", timeout)
    with pytest.raises(StoreUnavailable, match="^PostgreSQL answered, but would not LISTEN$"):
        await backend._until_listening()
    backend._listening.set()
    await backend._until_listening()
    assert waited == [15, 15]
