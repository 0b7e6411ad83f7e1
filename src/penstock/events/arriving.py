"""Events that arrive at a bus: which of its rules want one, and the deliveries that are written for it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa

from penstock.events import delivery_rows, records
from penstock.events.archiving import archive
from penstock.events.destinations import destination_of
from penstock.events.interest import ARCHIVE, RuleBook
from penstock.events.records import Place
from penstock.store import jobs
from penstock.store.ids import ordered_uuid

DELIVER = "rules.deliver"
DELIVER_OUTSIDE = "rules.deliver_outside"
"""To targets that are asked over a network: they are waited for, while others have places of their own."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """An event at a bus."""

    place: Place
    bus: str
    source: str  # what comes from it stays in order
    event: dict[str, Any]
    hops: int = 0
    kept_as: str = ""  # under which id it is kept for its deliveries, when that is not its own
    rules: frozenset[str] | None = None  # which of the rules may have it, when not all


class Wanted(NamedTuple):
    """An event and what is to be done with it."""

    place: Place
    event: dict[str, Any]
    deliveries: Sequence[delivery_rows.New]
    archives: Sequence[str] = ()  # ids of those that keep it

    @property
    def by_any(self) -> bool:
        """Whether anything is to be done."""
        return bool(self.deliveries or self.archives)


async def wanted_by(book: RuleBook, arrived: Arrived) -> Wanted:
    """The deliveries of an event: one for each target of each rule that takes it. What is replayed is not archived again."""
    found = await book.wanting(arrived.place, arrived.bus, arrived.event)
    again = "replay-name" in arrived.event
    archives = [] if again else [one.removeprefix(ARCHIVE) for one in found if one.startswith(ARCHIVE)]
    names = [one for one in found if not one.startswith(ARCHIVE) and (arrived.rules is None or one in arrived.rules)]
    if not names:
        return Wanted(arrived.place, arrived.event, (), archives)

    return Wanted(arrived.place, arrived.event, await book.app.store.read(for_rules, arrived, names), archives)


def for_rules(conn: sa.Connection, arrived: Arrived, names: Sequence[str]) -> list[delivery_rows.New]:
    """The deliveries of an event to the targets of some rules of its bus."""
    return [
        delivery_rows.New(
            id=ordered_uuid(),
            place=arrived.place,
            bus=arrived.bus,
            rule=name,
            target=target.id,
            ordering=_ordering(arrived, name, target.id),
            event=arrived.kept_as or arrived.event["id"],
            hops=arrived.hops,
            kind=kind_for(target.arn),
        )
        for name in names
        for target in records.targets_after(conn, arrived.place, arrived.bus, name, limit=100)
    ]


def write(conn: sa.Connection, found: Sequence[Wanted]) -> None:
    """Write the deliveries of events, and the jobs that hand them over; keep the events in archives."""
    now = delivery_rows.now_of(conn)
    for one in found:
        if one.archives:
            archive(conn, one.place, one.archives, one.event, now)
        if one.deliveries:
            keep(conn, one.deliveries[0].event, orjson.dumps(one.event).decode(), one.deliveries, now)


def keep(conn: sa.Connection, event: str, body: str, new: Sequence[delivery_rows.New], now: int) -> None:
    """Write deliveries of an event that is JSON already, and their jobs."""
    delivery_rows.add_envelope(conn, event, now, body)
    delivery_rows.add(conn, new, now)
    # In one order everywhere, so that two transactions never wait for each other's jobs.
    for one in sorted(new, key=lambda found: found.ordering):
        account, region = one.place
        payload = {"ordering": one.ordering}
        jobs.enqueue_later(conn, kind=one.kind, payload=payload, account=account, region=region, dedup=one.ordering)


def kind_for(arn: str) -> str:
    """The kind of the jobs that deliver to a target."""
    found = destination_of(arn)
    return DELIVER_OUTSIDE if found is not None and found[1].outside else DELIVER


def _ordering(arrived: Arrived, rule: str, target: str) -> str:
    named = orjson.dumps([*arrived.place, arrived.bus, rule, target, arrived.source])
    return hashlib.sha256(named).hexdigest()
