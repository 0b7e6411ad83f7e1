"""Which rules there are, as this process knows them: compiled, and found anew when they have changed.

An event of the platform asks within its own transaction whether a rule wants it. Where an account has no rules in a region that costs nothing:
each process knows the places that have some, and reads them again every two seconds. A place's first change therefore waits until every
other process has done so, so that no event after its answer is missed.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import sqlalchemy as sa

from penstock.application import App
from penstock.egress import Shares
from penstock.events import archive_rows, records
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


ARCHIVE = "archive/"
"""Beginning of the key of an archive among the names of rules, which have no slash."""


_CALL = "AWS API Call via CloudTrail"
_ALL_CALLS = "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS"


class _Bus(NamedTuple):
    version: int  # of its place, when its rules were read
    rules: Rules[str]
    patterns: Mapping[str | None, list[Branch]]  # of its rules and archives, for when one of them has changed
    large: bool
    all_calls: frozenset[str]  # rules that take calls too which only read

    def wanting(self, event: dict[str, Any]) -> list[str]:
        """The names of the rules that take an event."""
        found = self.rules.wanting(event)
        of_aws = event["source"].startswith("aws.") and event["detail-type"] == _CALL
        if found and of_aws and event["detail"].get("readOnly") is True:
            return [name for name in found if name in self.all_calls]
        return found


class RuleBook:
    """The rules of all places. The state of the component."""

    def __init__(self, app: App) -> None:
        self.app = app
        self._places: set[Place] = set()
        self._reread = 0.0  # of the monotonic clock
        self._known: dict[tuple[Place, str], _Bus] = {}
        self.shares = Shares()  # of requests to addresses that users name
        self.asking: dict[str, asyncio.Lock] = {}  # connections whose tokens are asked for, by id
        self.turns: dict[str, tuple[int, int]] = {}  # API destinations by id: second, and requests left in it
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
        if not type.source_for(event):
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
        return bus.large or bool(bus.wanting(envelope_of(type, event)))

    def _bus(self, conn: sa.Connection, place: Place, bus: str) -> _Bus:
        """The enabled rules of a bus. Those of others are no reason to compile anything."""
        version = records.version(conn, place)
        known = self._known.get((place, bus))
        if known is None or known.version != version:
            known = _compiled(version, _wishes(conn, place, bus), {} if known is None else known.patterns)
            with self._keeping:
                self._known.pop((place, bus), None)
                self._known[place, bus] = known
                while len(self._known) > _COMPILED:
                    del self._known[next(iter(self._known))]
        return known

    async def wanting(self, place: Place, bus: str, event: dict[str, Any]) -> list[str]:
        """The names of the enabled rules of a bus that take an event, and the keys of its archives."""
        found = await self.app.store.read(self._bus, place, bus)
        return sorted(found.wanting(event))


class _Wish(NamedTuple):
    name: str
    pattern: str | None
    all_calls: bool


def _wishes(conn: sa.Connection, place: Place, bus: str) -> list[_Wish]:
    """The enabled rules and the archives of a bus, each with its pattern; an archive without one keeps everything."""
    found = [_Wish(row.name, row.pattern, row.state == _ALL_CALLS) for row in records.enabled(conn, place, bus)]
    kept = archive_rows.of_bus(conn, place, bus)
    return found + [_Wish(ARCHIVE + row.id, row.pattern or None, all_calls=False) for row in kept]


def _compiled(version: int, wishes: Sequence[_Wish], read: Mapping[str | None, list[Branch]]) -> _Bus:
    texts = {one.pattern for one in wishes}
    patterns = {text: read.get(text) or ([{}] if text is None else parse(text)) for text in texts}
    rules = [(one.name, patterns[one.pattern]) for one in wishes]
    large = sum(len(branches) for _, branches in rules) > _LARGEST
    return _Bus(version, Rules(rules), patterns, large, frozenset(one.name for one in wishes if one.all_calls))
