"""Which rules there are, as this process knows them: compiled, and found anew when they have changed.

An event of the platform asks within its own transaction whether a rule wants it. Where an account has no rules in a region that costs nothing:
each process knows the places that have some, and reads them again every two seconds. A place's first change therefore waits until every
other process has done so, so that no event after its answer is missed.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

import sqlalchemy as sa

from penstock.application import App
from penstock.events import records
from penstock.events.conditions import Branch
from penstock.events.envelopes import envelope_of
from penstock.events.finding import Rules
from penstock.events.patterns import parse
from penstock.events.records import DEFAULT, Place
from penstock.store.events import Event

T = TypeVar("T")

_REREAD_S = 2.0
_COMPILED = 256  # buses whose rules are kept
_LARGEST = 20_000  # branches of a bus that are compared within transactions; of more, each event is looked at later


class _Bus(NamedTuple):
    version: int  # of its place, when its rules were read
    rules: Rules[str]
    patterns: Mapping[str, list[Branch]]  # of its rules, for when one of them has changed
    large: bool


class RuleBook:
    """The rules of all places. The state of the component."""

    def __init__(self, app: App) -> None:
        self.app = app
        self._places: set[Place] = set()
        self._reread = 0.0  # of the monotonic clock
        self._known: dict[tuple[Place, str], _Bus] = {}
        self._keeping = threading.Lock()  # threads of readers share what is known

    async def change(self, place: Place, change: Callable[[sa.Connection], T]) -> T:
        """Run a transaction that changes rules or targets; all events after it are compared with what it leaves."""
        first = False

        def tx(conn: sa.Connection) -> T:
            nonlocal first
            # Before the COMMIT, so that no event of this process comes between.
            self._places.add(place)
            first = records.version(conn, place) == 0
            changed = change(conn)
            records.changed(conn, place)
            return changed

        done = await self.app.store.write(tx)
        if first and self.app.store.dialect == "postgresql":
            await asyncio.sleep(_REREAD_S + 0.1)
        return done

    def concerns(self, conn: sa.Connection, event: Event) -> bool:
        """Whether a rule of the default bus wants an event of the platform."""
        type = self.app.events.type(event.type)
        if not type.source:
            return False
        now = time.monotonic()
        if now >= self._reread:
            self._places |= records.all_places(conn)
            self._reread = now + _REREAD_S
        place = (event.account, event.region)
        if place not in self._places:
            return False
        bus = self._bus(conn, place, DEFAULT)
        if not bus.patterns:
            return False
        return bus.large or bool(bus.rules.wanting(envelope_of(type, event)))

    def _bus(self, conn: sa.Connection, place: Place, bus: str) -> _Bus:
        """The enabled rules of a bus. Those of others are no reason to compile anything."""
        version = records.version(conn, place)
        known = self._known.get((place, bus))
        if known is None or known.version != version:
            known = _compiled(version, records.enabled(conn, place, bus), {} if known is None else known.patterns)
            with self._keeping:
                self._known.pop((place, bus), None)
                self._known[place, bus] = known
                while len(self._known) > _COMPILED:
                    del self._known[next(iter(self._known))]
        return known

    async def wanting(self, place: Place, bus: str, event: dict[str, Any]) -> list[str]:
        """The names of the enabled rules of a bus that take an event."""
        found = await self.app.store.read(self._bus, place, bus)
        return sorted(found.rules.wanting(event))


def _compiled(version: int, rows: list[Any], read: Mapping[str, list[Branch]]) -> _Bus:
    patterns = {row.pattern: read.get(row.pattern) or parse(row.pattern) for row in rows}
    rules = [(row.name, patterns[row.pattern]) for row in rows]
    large = sum(len(branches) for _, branches in rules) > _LARGEST
    return _Bus(version, Rules(rules), patterns, large)
