"""When each host's agent polled last: kept in memory, written in batches, at most every half minute per host."""

from __future__ import annotations

import asyncio
import contextlib

import sqlalchemy as sa

from penstock.deployments.records import instances
from penstock.loops import Loop
from penstock.store.clock import Clock
from penstock.store.database import Store

_EVERY_MS = 30_000
_FLUSH_SECONDS = 5.0
_GATHER_SECONDS = 0.05  # hosts that connect at the same time share a transaction

Key = tuple[str, str, str]  # account, region, name


class Presence:
    """The sightings of this process."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._written: dict[Key, int] = {}
        self._fresh: dict[Key, tuple[int, str]] = {}
        self._loop: Loop | None = None
        self._first = asyncio.Event()  # a host was seen that this process had not seen before

    def saw(self, account: str, region: str, name: str, agent: str) -> None:
        """Note a poll. `agent` is the version that the agent states."""
        now = self._clock.now()
        key = (account, region, name)
        if now - self._written.get(key, 0) >= _EVERY_MS:
            if key not in self._written:
                self._first.set()
            self._written[key] = now
            self._fresh[key] = (now, agent[:100])

    async def start(self) -> None:
        """Begin to write sightings down."""
        self._loop = self._store.loops.start("deployments.presence", self.flush, self._pause)

    async def _pause(self) -> None:
        # A host that has just connected is not to be called silent while it works already.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FLUSH_SECONDS):
                await self._first.wait()
        self._first.clear()
        await asyncio.sleep(_GATHER_SECONDS)

    async def stop(self) -> None:
        """Write what is left and end."""
        await self._store.loops.stop(self._loop)
        await self.flush()

    async def flush(self) -> None:
        """Write the sightings since the last time, in one transaction."""
        fresh, self._fresh = self._fresh, {}
        if fresh:
            try:
                await self._store.write(_write, fresh)
            except BaseException:
                self._fresh = fresh | self._fresh
                raise


def _write(conn: sa.Connection, fresh: dict[Key, tuple[int, str]]) -> None:
    c = instances.c
    statement = (
        sa.update(instances)
        .where(c.account == sa.bindparam("a"), c.region == sa.bindparam("r"), c.name == sa.bindparam("n"))
        .values(seen=sa.bindparam("s"), agent=sa.bindparam("v"))
    )
    rows = [{"a": a, "r": r, "n": n, "s": seen, "v": agent} for (a, r, n), (seen, agent) in sorted(fresh.items())]
    conn.execute(statement, rows)
