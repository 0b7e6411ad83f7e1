"""When each host's agent polled last: kept in memory, written in batches, at most every half minute per host."""

from __future__ import annotations

import asyncio
import contextlib
import logging

import sqlalchemy as sa

from penstock.deployments.records import instances
from penstock.store.clock import Clock
from penstock.store.database import Store
from penstock.store.errors import StoreError

log = logging.getLogger("penstock.deployments")

_EVERY_MS = 30_000
_FLUSH_SECONDS = 5.0

Key = tuple[str, str, str]  # account, region, name


class Presence:
    """The sightings of this process."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._written: dict[Key, int] = {}
        self._fresh: dict[Key, tuple[int, str]] = {}
        self._loop: asyncio.Task[None] | None = None

    def saw(self, account: str, region: str, name: str, agent: str) -> None:
        """Note a poll. `agent` is the version that the agent states."""
        now = self._clock.now()
        key = (account, region, name)
        if now - self._written.get(key, 0) >= _EVERY_MS:
            self._written[key] = now
            self._fresh[key] = (now, agent[:100])

    async def start(self) -> None:
        """Begin to write sightings down."""
        self._loop = asyncio.create_task(self._flush_for_ever(), name="deployments.presence")

    async def stop(self) -> None:
        """Write what is left and end."""
        if self._loop is not None:
            self._loop.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._loop
        await self.flush()

    async def flush(self) -> None:
        """Write the sightings since the last time, in one transaction."""
        fresh, self._fresh = self._fresh, {}
        if fresh:
            await self._store.write(_write, fresh)

    async def _flush_for_ever(self) -> None:
        while True:
            await asyncio.sleep(_FLUSH_SECONDS)
            try:
                await self.flush()
            except StoreError as error:
                log.warning("deployments.presence_not_written", extra={"error": str(error)})


def _write(conn: sa.Connection, fresh: dict[Key, tuple[int, str]]) -> None:
    c = instances.c
    statement = (
        sa.update(instances)
        .where(c.account == sa.bindparam("a"), c.region == sa.bindparam("r"), c.name == sa.bindparam("n"))
        .values(seen=sa.bindparam("s"), agent=sa.bindparam("v"))
    )
    rows = [{"a": a, "r": r, "n": n, "s": seen, "v": agent} for (a, r, n), (seen, agent) in sorted(fresh.items())]
    conn.execute(statement, rows)
