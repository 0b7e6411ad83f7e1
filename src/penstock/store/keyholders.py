"""Which processes of an installation have which master keys: a change waits for those that lack the new one.

Only PostgreSQL is used by several processes, which may run on machines with key files of their own. One that has said nothing for a minute is gone.
"""

from __future__ import annotations

import os
import socket
from typing import NamedTuple

import sqlalchemy as sa

from penstock.store.database import Store
from penstock.store.records import key_holders
from penstock.store.sealing import Sealer
from penstock.store.upsert import upsert

_AGAIN_MS = 20_000
_GONE_MS = 60_000
_NOW = sa.cast(sa.extract("epoch", sa.func.clock_timestamp()) * 1000, sa.BigInteger)
"""The database's clock in ms: those of the machines may differ by more than a minute."""


class Holder(NamedTuple):
    """A process with the ids of its master keys, in hexadecimal."""

    host: str
    pid: int
    seals: str
    opens: list[str]

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


class Holding:
    """What this process says of its keys."""

    def __init__(self, store: Store, sealer: Sealer) -> None:
        self._store, self._sealer = store, sealer
        self._id = os.urandom(16).hex()
        self._said: list[str] = []
        self._at = 0  # when, in ms

    async def say(self) -> None:
        """Write down which keys this process has, now and then and whenever they are others."""
        if self._store.dialect == "sqlite":
            return
        now = self._store.clock.now()
        keys = [self._sealer.newest.hex(), *(one.id.hex() for one in self._sealer.keys)]
        if keys == self._said and 0 <= now - self._at < _AGAIN_MS:
            return
        await self._store.write(_keep, self._id, keys)
        self._said, self._at = keys, now

    async def end(self) -> None:
        """This process ends."""
        if self._said:
            await self._store.write(_forget, self._id)


def _keep(conn: sa.Connection, id_: str, keys: list[str]) -> None:
    said = {"seals": keys[0], "opens": keys[1:], "seen": _NOW}
    upsert(conn, key_holders, {"id": id_, "host": socket.gethostname()[:255], "pid": os.getpid(), **said}, said)
    conn.execute(key_holders.delete().where(key_holders.c.seen < _NOW - _GONE_MS))


def _forget(conn: sa.Connection, id_: str) -> None:
    conn.execute(key_holders.delete().where(key_holders.c.id == id_))


def holders(conn: sa.Connection) -> list[Holder]:
    """The processes that are there. SQLite has one, whose key file is that of the command."""
    if conn.dialect.name == "sqlite":
        return []
    found = conn.execute(sa.select(key_holders).where(key_holders.c.seen >= _NOW - _GONE_MS).order_by(key_holders.c.id))
    return [Holder(row.host, row.pid, row.seals, row.opens) for row in found]
