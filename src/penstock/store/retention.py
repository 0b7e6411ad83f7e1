"""Retention: removes rows of the store when their time is over, a bounded batch per transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from penstock.loops import Loop
from penstock.store import metrics
from penstock.store.database import Store
from penstock.store.jobs import JobState
from penstock.store.records import deliveries, event_sequences, events, former_aggregates, jobs, journal

_DAY = 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long rows stay, in milliseconds."""

    jobs: int = _DAY  # after they were done or cancelled
    dead_jobs: int = 90 * _DAY  # after they were given up
    events: int = 7 * _DAY  # once they are delivered
    dead_deliveries: int = 90 * _DAY  # after the event happened
    journal: int = 366 * _DAY
    batch: int = 1_000  # rows per transaction
    every: int = 600_000  # between two sweeps


@dataclass(frozen=True, slots=True, kw_only=True)
class Expiring:
    """Rows of a component's table that are removed when their time is over: a condition for a moment (ms UTC)."""

    table: sa.Table
    over: Callable[[int], sa.ColumnElement[bool]]


class Sweeper:
    """Sweeps now and then, for as long as it is started: the store's own tables, then those of components in their order."""

    def __init__(self, store: Store, retention: Retention | None = None, expiring: Sequence[Expiring] = ()) -> None:
        self._store = store
        self._expiring = tuple(expiring)
        self._retention = retention or Retention()
        self._loop: Loop | None = None

    async def start(self) -> None:
        """Begin."""
        clock, every = self._store.clock, self._retention.every
        self._loop = self._store.loops.start("store.sweep", self.sweep, lambda: clock.sleep(every / 1000))

    async def stop(self) -> None:
        """End."""
        await self._store.loops.stop(self._loop)

    async def sweep(self) -> dict[str, int]:
        """Remove all whose time is over; how many rows of which table."""
        now, keep = self._store.clock.now(), self._retention
        ended = jobs.c.state.in_([JobState.DONE, JobState.CANCELLED]) & (jobs.c.ended < now - keep.jobs)
        dead = (jobs.c.state == JobState.DEAD) & (jobs.c.ended < now - keep.dead_jobs)
        old_events = events.c.at < now - keep.events
        owed = sa.exists().where(deliveries.c.position == events.c.position)
        abandoned = (
            sa.exists()
            .where(events.c.position == deliveries.c.position, events.c.at < now - keep.dead_deliveries)
            .where(deliveries.c.state == "dead")
        )
        ordering_key = _key_of(deliveries)
        old = _key_of(journal)
        former = _key_of(former_aggregates)
        swept = {
            "jobs": await self._remove(jobs, (jobs.c.id,), ended) + await self._remove(jobs, (jobs.c.id,), dead),
            "deliveries": await self._remove(deliveries, ordering_key, abandoned),
            "events": await self._remove(events, (events.c.position,), old_events & ~owed),
            "journal": await self._remove(journal, old, journal.c.at < now - keep.journal),
            "former_aggregates": await self._remove(
                former_aggregates, former, former_aggregates.c.at < now - keep.journal
            ),
            "event_sequences": await self._forget_counters(now - keep.events),
        }
        for each in self._expiring:
            swept[each.table.name] = await self._remove(each.table, _key_of(each.table), each.over(now))
        return swept

    async def _forget_counters(self, before: int) -> int:
        """Remove the counters of aggregates without an event, which may count from 1 again; how many."""
        total = 0
        while True:
            removed: int = await self._store.write(_forget_counters, before, self._retention.batch)
            total += removed
            metrics.SWEPT(event_sequences.name).inc(removed)
            if removed < self._retention.batch:
                return total

    async def _remove(self, table: sa.Table, key: tuple[sa.Column[object], ...], over: sa.ColumnElement[bool]) -> int:
        batch = sa.select(*key).where(over).limit(self._retention.batch)
        chosen = key[0].in_(batch) if len(key) == 1 else sa.tuple_(*key).in_(batch)
        total = 0
        while True:
            removed: int = await self._store.write(lambda conn: conn.execute(table.delete().where(chosen)).rowcount)
            total += removed
            metrics.SWEPT(table.name).inc(removed)
            if removed < self._retention.batch:
                return total


def _key_of(table: sa.Table) -> tuple[sa.Column[object], ...]:
    """The primary key's columns."""
    return tuple(table.primary_key.columns)


_COUNTER = _key_of(event_sequences)
_OWED = sa.exists().where(
    deliveries.c.aggregate == event_sequences.c.aggregate,
    deliveries.c.account == event_sequences.c.account,
    deliveries.c.region == event_sequences.c.region,
)


def _forget_counters(conn: sa.Connection, before: int, limit: int) -> int:
    """Lock the counters that nobody holds and look at them as they are then: whoever counts meanwhile has an event that is not to be seen yet."""
    idle = sa.select(*_COUNTER).where(event_sequences.c.at < before, ~_OWED).limit(limit)
    locked = [tuple(row) for row in conn.execute(idle.with_for_update(skip_locked=True))]
    return conn.execute(event_sequences.delete().where(sa.tuple_(*_COUNTER).in_(locked))).rowcount if locked else 0
