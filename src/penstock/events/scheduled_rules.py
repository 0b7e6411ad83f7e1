"""Rules with a schedule: a timer for each, and the event that it makes when its time has come.

The timer is a job. What it does is one transaction: the event's deliveries, the next time and the next timer are written, and the job ends. So
each time makes one event, whoever runs the job and whenever that process dies. AWS: "Creating a rule that runs on a schedule".
"""

from __future__ import annotations

import uuid
from typing import Any

import sqlalchemy as sa

from penstock.events import records
from penstock.events.arriving import Arrived, Wanted, for_rules, write
from penstock.events.envelopes import envelope
from penstock.events.interest import RuleBook
from penstock.events.records import DEFAULT, Place
from penstock.store import jobs
from penstock.store.ids import ordered_uuid
from penstock.store.jobs import Job
from penstock.timetables import following, parsed
from penstock.wire.call import partition_of

FIRE = "rules.fire"
LATE_MS = 86_400_000  # a time that was missed by more than that makes no event


def plan(
    conn: sa.Connection, place: Place, name: str, before: Any, *, schedule: str | None, state: str, now: int
) -> dict[str, Any]:
    """Set the timer of a rule whose row is locked; the columns that go with it. `before` is the row as it was, or None.

    A rule that keeps its schedule keeps its timer: who writes it again does not put its rate off.
    """
    enabled = state != "DISABLED"
    if before is not None and enabled and before.state != "DISABLED" and before.schedule == schedule:
        return {"stamp": before.stamp, "next": before.next}
    if before is not None and before.next is not None:
        forget(conn, place, name)
    following_one = following(parsed(schedule), now, since=now) if schedule and enabled else None
    _set_timer(conn, place, name, following_one)
    return {"stamp": ordered_uuid(), "next": following_one}


def forget(conn: sa.Connection, place: Place, name: str) -> None:
    """Stop the timer of a rule."""
    jobs.cancel(conn, kind=FIRE, dedup=_key(place, name))


def _key(place: Place, name: str) -> str:
    return "/".join((*place, name))


def _set_timer(conn: sa.Connection, place: Place, name: str, due: int | None) -> None:
    if due is not None:
        account, region = place
        payload = {"rule": name, "at": due}
        jobs.enqueue(conn, kind=FIRE, payload=payload, account=account, region=region, due=due, dedup=_key(place, name))


async def fire(book: RuleBook, job: Job) -> None:
    """Make the event of a rule's time. Of the times that were missed while no server was up it is the first one."""
    await book.app.store.write(_fire, job, book.app.clock.now())


def _fire(conn: sa.Connection, job: Job, now: int) -> None:
    place, name, at = (job.account, job.region), job.payload["rule"], job.payload["at"]
    row = records.rule(conn, place, DEFAULT, name, lock=True)
    jobs.complete(conn, job)
    if row is None or row.next != at:
        return
    if now - at <= LATE_MS:
        arn = f"arn:{partition_of(place[1])}:events:{place[1]}:{place[0]}:rule/{name}"
        event = envelope(
            id=str(uuid.uuid5(uuid.UUID(row.stamp), str(at))),
            detail_type="Scheduled Event",
            source="aws.events",
            account=place[0],
            region=place[1],
            at=at,
            resources=[arn],
            detail={},
        )
        write(conn, [Wanted(place, event, for_rules(conn, Arrived(place, DEFAULT, arn, event), [name]))])
    following_one = following(parsed(row.schedule), now, since=at)
    records.change_rule(conn, place, DEFAULT, name, next=following_one)
    _set_timer(conn, place, name, following_one)
