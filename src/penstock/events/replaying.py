"""Replays: what an archive holds arrives at its bus once more, a block at a time.

Where a replay stands moves on in the transaction that writes the deliveries of a block: after a crash it continues behind them.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from penstock.events import archive_rows as rows
from penstock.events import delivery_rows, records
from penstock.events.archiving import events_of, moment
from penstock.events.arriving import Arrived, Wanted, wanted_by, write
from penstock.pools import FILES
from penstock.store.failpoints import failpoint
from penstock.store.work import Retry

if TYPE_CHECKING:
    from penstock.events.interest import RuleBook
    from penstock.events.records import Place
    from penstock.store.jobs import Job

REPLAY = "rules.replay"
_DERIVED = uuid.UUID(
    "f1c1f0b4-65a3-4d3c-9a49-2a3d4f3e1c55"
)  # of the ids under which replayed events are kept for delivery
_WAITING = 2_000  # deliveries of the account and region, from which on a replay waits
_PAUSE_MS = 1_000


async def replay(book: RuleBook, job: Job) -> None:
    """Let the events of a replay arrive, until there are no more or somebody cancels it."""
    store, place, name = book.app.store, (job.account, job.region), job.payload["name"]
    while True:
        row = await store.read(rows.find, records.replays, place, name)
        if row is None or row.id != job.payload["id"] or row.state not in rows.LIVE:
            return
        archive = await store.read(rows.by_id, row.archive)
        if row.state == "CANCELLING" or archive is None:
            ended = (
                ("CANCELLED", None) if row.state == "CANCELLING" else ("FAILED", "The archive does not exist any more.")
            )
            await store.write(_end, row, *ended)
            return
        if await store.read(delivery_rows.count_waiting, place, _WAITING) >= _WAITING:
            raise Retry(_PAUSE_MS, counts=False)
        block = await store.read(rows.next_block, row, rows.kept_since(archive, store.clock.now()))
        if block is None:
            await store.write(_end, row, "COMPLETED", None)
            return
        events = [one for one in await FILES.run(events_of, block) if row.since <= moment(one) <= row.until]
        wanted = [await _wanted(book, place, row, event) for event in events]
        if not await store.write(_advance, row, block, events, [one for one in wanted if one.deliveries]):
            return  # another process is at it
        failpoint("events.replayed")


async def _wanted(book: RuleBook, place: Place, row: Any, event: dict[str, Any]) -> Wanted:
    again = {**event, "replay-name": row.name}
    key = str(uuid.uuid5(_DERIVED, f"{row.id}/{event['id']}"))
    arrived = Arrived(place, row.bus, f"{row.id}/{event['source']}", again, kept_as=key, rules=_rules(row))
    return await wanted_by(book, arrived)


def _rules(row: Any) -> frozenset[str] | None:
    """The names of the rules that take part; None for all."""
    arns = row.destination.get("FilterArns")
    return frozenset(arn.rpartition("/")[2] for arn in arns) if arns else None


def _advance(
    conn: sa.Connection, row: Any, block: Any, events: Sequence[dict[str, Any]], wanted: Sequence[Wanted]
) -> bool:
    """Write the deliveries of a block and note that it is done; False when it is done already."""
    place = (row.account, row.region)
    now = rows.find(conn, records.replays, place, row.name, lock=True)
    if now is None or (now.id, now.seen_first, now.seen_id) != (row.id, row.seen_first, row.seen_id):
        return False
    if now.state == "CANCELLING":
        return True  # the next turn ends it
    write(conn, wanted)
    values: dict[str, Any] = {"seen_first": block.first, "seen_id": block.id, "state": "RUNNING"}
    if events:
        values["replayed"] = moment(events[-1])
    rows.change(conn, records.replays, place, row.name, **values)
    return True


def _end(conn: sa.Connection, row: Any, state: str, reason: str | None) -> None:
    place = (row.account, row.region)
    now = rows.find(conn, records.replays, place, row.name, lock=True)
    if now is None or now.id != row.id or now.state not in rows.LIVE:
        return
    if now.state == "CANCELLING":
        state, reason = "CANCELLED", None
    ended = delivery_rows.now_of(conn)
    rows.change(conn, records.replays, place, row.name, state=state, reason=reason, ended=ended)
