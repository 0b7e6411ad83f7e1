"""Schedules: when each is due, and what is written when its time has come.

The timer of a schedule is a job. What it does is one transaction: the invocation of the target, the next time and the next timer are written, and
the job ends. So each time makes one invocation, whoever runs the job and whenever that process dies.
"""

from __future__ import annotations

import uuid
import zlib
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from penstock.events import schedule_rows
from penstock.events.interest import RuleBook
from penstock.events.records import Place
from penstock.events.schedule_records import input_context, invocation_context
from penstock.store import jobs
from penstock.store.jobs import Job
from penstock.store.sealing import Sealer
from penstock.timetables import MINUTE_MS, Once, Rate, Timetable, following, parsed
from penstock.wire.call import partition_of
from penstock.zones import zone_of

FIRE = "schedules.fire"
INVOKE = "schedules.invoke"
EMPTY_GROUP = "schedules.empty_group"
_BATCH = 100  # schedules of a group that goes, in a transaction
_IDS = uuid.UUID("6d1f6a0e-4c0b-5d0c-9b51-5a6f3c1c1a52")  # of invocations


def schedule_arn(place: Place, group: str, name: str) -> str:
    """The ARN of a schedule."""
    return f"arn:{partition_of(place[1])}:scheduler:{place[1]}:{place[0]}:schedule/{group}/{name}"


def group_arn(place: Place, group: str) -> str:
    """The ARN of a group, which trust policies may ask for as aws:SourceArn."""
    return f"arn:{partition_of(place[1])}:scheduler:{place[1]}:{place[0]}:schedule-group/{group}"


def timetable_of(content: Mapping[str, Any]) -> Timetable:
    """When a schedule comes. Raises ExpressionError."""
    return parsed(content["ScheduleExpression"], once=True, plural=True)


def next_time(content: Mapping[str, Any], after: int, *, since: int) -> int | None:
    """The first time of a schedule later than `after`; None when there is none any more. A rate has `since` as its first time.

    AWS: StartDate and EndDate are the first and the last moments of a recurring schedule, and mean nothing for one that comes once.
    """
    timetable, zone = timetable_of(content), zone_of(content["ScheduleExpressionTimezone"])
    assert zone is not None
    if isinstance(timetable, Once):
        return following(timetable, after, zone=zone)
    begin = content.get("StartDate")
    if begin is not None:
        after = max(after, begin - 1)
    if isinstance(timetable, Rate):
        since -= timetable.every
    found = following(timetable, after, since=since, zone=zone)
    return None if found is None or found > content.get("EndDate", found) else found


def window_ms(content: Mapping[str, Any]) -> int:
    """How long after its time a schedule may begin."""
    return content["FlexibleTimeWindow"].get("MaximumWindowInMinutes", 0) * MINUTE_MS


def _due(place: Place, group: str, name: str, content: Mapping[str, Any], at: int) -> int:
    """When the target is asked: at a moment of the window that is the schedule's own, so that not all begin together."""
    window = window_ms(content)
    return at + (zlib.crc32(f"{schedule_arn(place, group, name)} {at}".encode()) % window if window else 0)


def _key(place: Place, group: str, name: str) -> str:
    return "/".join((*place, group, name))


def set_timer(
    conn: sa.Connection, place: Place, group: str, name: str, content: Mapping[str, Any], *, at: int | None
) -> None:
    """Set the timer of a schedule, which has none, for one of its times."""
    if at is not None:
        account, region = place
        jobs.enqueue(
            conn,
            kind=FIRE,
            payload={"group": group, "name": name, "at": at},
            account=account,
            region=region,
            due=_due(place, group, name, content, at),
            dedup=_key(place, group, name),
        )


def stop_timer(conn: sa.Connection, place: Place, group: str, name: str) -> None:
    """Stop the timer of a schedule."""
    jobs.cancel(conn, kind=FIRE, dedup=_key(place, group, name))


def forget(conn: sa.Connection, place: Place, group: str, name: str) -> None:
    """Delete a schedule whose row is locked. What it has asked already is done all the same."""
    stop_timer(conn, place, group, name)
    schedule_rows.delete_schedule(conn, place, group, name)


async def fire(book: RuleBook, job: Job) -> None:
    """Write the invocation of a schedule's time. Of the times that were missed while no server was up it is the first one."""
    await book.app.store.write(_fire, job, book.app.sealer, book.app.clock.now())


def _fire(conn: sa.Connection, job: Job, sealer: Sealer, now: int) -> None:
    place, at = (job.account, job.region), job.payload["at"]
    group, name = job.payload["group"], job.payload["name"]
    row = schedule_rows.schedule(conn, place, group, name, lock=True)
    jobs.complete(conn, job)
    if row is None or row.next != at:
        return
    id = str(uuid.uuid5(_IDS, f"{schedule_arn(place, group, name)} {row.created} {at}"))
    text = sealer.open(row.input, input_context(*place, group, name))
    new = {
        "id": id,
        "account": place[0],
        "region": place[1],
        "group": group,
        "name": name,
        "state": "pending",
        "target": row.content["Target"],
        "input": sealer.seal(text, invocation_context(id)),
        "scheduled": at,
        "attempts": 0,
        "at": _due(place, group, name, row.content, at),
    }
    schedule_rows.add_invocation(conn, new)
    enqueue_invocation(conn, place, id)
    after = max(at, now - window_ms(row.content))
    coming = next_time(row.content, after, since=row.since)
    if coming is None and row.content["ActionAfterCompletion"] == "DELETE":
        schedule_rows.delete_schedule(conn, place, group, name)
        return
    schedule_rows.change_schedule(conn, place, group, name, next=coming)
    set_timer(conn, place, group, name, row.content, at=coming)


def enqueue_invocation(conn: sa.Connection, place: Place, id: str) -> None:
    """Let an invocation be made."""
    jobs.enqueue(conn, kind=INVOKE, payload={"id": id}, account=place[0], region=place[1], dedup=id)


async def empty_group(book: RuleBook, job: Job) -> None:
    """Delete the schedules of a group that goes, then the group."""
    while await book.app.store.write(_some, job):
        pass


def _some(conn: sa.Connection, job: Job) -> bool:
    """Delete some of a group; False when nothing is left to do. The job ends with the group, of whose name there may be another one at once."""
    place, group = (job.account, job.region), job.payload["group"]
    row = schedule_rows.group(conn, place, group, lock=True)
    if row is None or row.state != "DELETING":
        jobs.complete(conn, job)
        return False
    names = schedule_rows.names_of(conn, place, group, _BATCH)
    for name in names:
        if schedule_rows.schedule(conn, place, group, name, lock=True) is not None:
            forget(conn, place, group, name)
    if not names:
        jobs.complete(conn, job)
        schedule_rows.delete_group(conn, place, group)
    return bool(names)
