"""Hints: the topics that one process wakes the others for, by PostgreSQL's NOTIFY, after the COMMIT that gave the reason.

A NOTIFY within a transaction makes COMMITs wait for each other, for the disk too, since PostgreSQL keeps the order of all messages by one
lock. So hints have a connection of their own, and what comes up within a few milliseconds shares a message. A hint may be lost with its
process; the slow queries behind the wake-ups make up for it, and a process that starts hints at everything.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator

import psycopg

from penstock.store.transaction import EVERY

_PAYLOAD = 7900  # bytes; PostgreSQL refuses 8000
_GATHER_S = 0.003
_LAST_S = 1.0  # for the last notifications at the end


class Hints:
    """Sends the topics that were woken here; `run` does so for as long as it is not cancelled."""

    def __init__(self, dsn: str, channel: str, sender: str) -> None:
        self._dsn = dsn
        self._channel = channel
        self._sender = sender
        self._topics: dict[str, None] = {EVERY: None}  # whoever had our jobs before may have died before it hinted
        self._some = asyncio.Event()
        self._none = asyncio.Event()
        self._some.set()

    def add(self, topics: Iterable[str]) -> None:
        """Notify the others soon. On the loop only."""
        self._topics.update(dict.fromkeys(topics))
        if self._topics:
            self._none.clear()
            self._some.set()

    async def sent(self) -> None:
        """Wait until all is sent, but not for long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_S):
                await self._none.wait()

    async def run(self, succeeded: Callable[[], None]) -> None:
        """Connect, and send for as long as the connection lasts; `succeeded` is called after each time. A supervised loop connects again."""
        async with await psycopg.AsyncConnection.connect(
            self._dsn, autocommit=True, connect_timeout=10, application_name="penstock notify"
        ) as conn:
            while True:
                await self._some.wait()
                await self._send(conn)
                succeeded()
                await asyncio.sleep(_GATHER_S)

    async def _send(self, conn: psycopg.AsyncConnection[object]) -> None:
        topics = tuple(self._topics)
        self._topics.clear()
        self._some.clear()
        try:
            for payload in self._payloads(topics):
                await conn.execute("SELECT pg_notify(%s, %s)", (self._channel, payload))
        except BaseException:
            self.add(topics)
            raise
        if not self._topics:
            self._none.set()

    def _payloads(self, topics: Iterable[str]) -> Iterator[str]:
        """Messages that PostgreSQL takes; a topic that is too long for one wakes everybody instead."""
        payload = self._sender
        for topic in topics:
            hint = topic if len(topic.encode()) < _PAYLOAD // 2 else EVERY
            if len(payload.encode()) + len(hint.encode()) >= _PAYLOAD:
                yield payload
                payload = self._sender
            payload += f"\n{hint}"
        yield payload
