"""Deliveries: an event that a rule has taken goes to each of its targets, at least once, those of one source in their order.

Each delivery is a row. A job hands over the rows of one target and source, one after the other, so that no target holds up another one.
An event that has failed often steps aside and is tried by itself: those behind it pass. AWS: "How EventBridge retries delivering events".
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import sqlalchemy as sa

from penstock.events import delivery_rows, records
from penstock.events.destinations import Failed, Sending, destination_of
from penstock.events.envelopes import seconds
from penstock.events.inputs import NotDelivered, given
from penstock.events.interest import RuleBook
from penstock.events.records import DEFAULT, Place
from penstock.store import jobs
from penstock.store.failpoints import failpoint
from penstock.store.ids import ordered_uuid
from penstock.store.jobs import Job
from penstock.store.work import Retry, backoff_ms
from penstock.wire.call import partition_of
from penstock.wire.errors import AccessDenied, Refused, ServiceError, passes

log = logging.getLogger("penstock.events")

DELIVER = "rules.deliver"
DELIVER_ALONE = "rules.deliver_alone"
MAX_HOPS = 10  # rules that lead to each other by what they start
_IN_ORDER = 6  # attempts that hold up those behind
_ATTEMPTS, _AGE_S = 185, 86_400  # AWS's defaults


@dataclass(frozen=True, slots=True)
class Arrived:
    """An event at a bus."""

    place: Place
    bus: str
    source: str  # what comes from it stays in order
    event: dict[str, Any]
    hops: int = 0


async def wanted_by(book: RuleBook, arrived: Arrived) -> list[delivery_rows.New]:
    """The deliveries of an event: one for each target of each rule that takes it."""
    names = await book.wanting(arrived.place, arrived.bus, arrived.event)
    return await book.app.store.read(for_rules, arrived, names) if names else []


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
            event=arrived.event["id"],
            hops=arrived.hops,
        )
        for name in names
        for target in records.targets_after(conn, arrived.place, arrived.bus, name, limit=100)
    ]


def write(conn: sa.Connection, event: dict[str, Any], new: Sequence[delivery_rows.New], now: int) -> None:
    """Write the deliveries of an event, and the jobs that hand them over."""
    if new:
        _keep(conn, event["id"], orjson.dumps(event).decode(), new, now)


def _keep(conn: sa.Connection, event: str, body: str, new: Sequence[delivery_rows.New], now: int) -> None:
    delivery_rows.add_envelope(conn, event, now, body)
    delivery_rows.add(conn, new, now)
    # In one order everywhere, so that two transactions never wait for each other's jobs.
    for one in sorted(new, key=lambda found: found.ordering):
        account, region = one.place
        payload = {"ordering": one.ordering}
        jobs.enqueue_later(conn, kind=DELIVER, payload=payload, account=account, region=region, dedup=one.ordering)


def _ordering(arrived: Arrived, rule: str, target: str) -> str:
    named = orjson.dumps([*arrived.place, arrived.bus, rule, target, arrived.source])
    return hashlib.sha256(named).hexdigest()


def deliver_again(conn: sa.Connection, letter: Any, now: int) -> None:
    """Let what was given up be delivered to the target as it is now."""
    one = delivery_rows.New(
        id=letter.id,
        place=(letter.account, letter.region),
        bus=letter.bus,
        rule=letter.rule,
        target=letter.target,
        ordering=letter.id,  # by itself: what came after it has passed
        event=letter.event,
        hops=0,
    )
    delivery_rows.remove_letter(conn, letter.id)
    _keep(conn, letter.event, letter.body, [one], now)


async def deliver(book: RuleBook, job: Job) -> None:
    """Hand over what waits for a target from a source."""
    store, ordering = book.app.store, job.payload["ordering"]
    head = await store.read(delivery_rows.head, ordering)
    if head is None:
        head = await store.write(_settle, job)
    while head is not None:
        after_ms = await _attempt(book, head)
        if after_ms is not None:
            if head.attempts + 1 < _IN_ORDER:
                raise Retry(after_ms, counts=False)
            await store.write(_step_aside, head, store.clock.now() + after_ms)
        failpoint("events.delivered")
        head = await store.write(_settle, job)


def _settle(conn: sa.Connection, job: Job) -> Any:
    """What comes next; without anything the job is done. Its row is locked first, as by whoever adds a delivery."""
    jobs.lock(conn, job)
    head = delivery_rows.head(conn, job.payload["ordering"])
    if head is None:
        jobs.complete(conn, job)
    return head


def _step_aside(conn: sa.Connection, row: Any, due: int) -> None:
    delivery_rows.step_aside(conn, row.id)
    payload = {"delivery": row.id}
    jobs.enqueue(
        conn, kind=DELIVER_ALONE, payload=payload, account=row.account, region=row.region, due=due, dedup=row.id
    )


async def deliver_alone(book: RuleBook, job: Job) -> None:
    """Hand over an event that has failed often."""
    row = await book.app.store.read(delivery_rows.find, job.payload["delivery"])
    if row is not None and (after_ms := await _attempt(book, row)) is not None:
        raise Retry(after_ms, counts=False)


async def _attempt(book: RuleBook, row: Any) -> int | None:
    """Try to deliver; milliseconds until it is to be tried again, or None when that is over, in whatever way."""
    app = book.app
    place = (row.account, row.region)
    found = await app.store.read(delivery_rows.about, row)
    if found is None:  # the target, or its rule, is gone
        await app.store.write(delivery_rows.remove, row.id)
        return None
    target, event = found.target, orjson.loads(found.body)
    try:
        started = await _send(book, row, target, event)
    except Exception as error:  # noqa: BLE001 - whatever went wrong is said in the dead letter
        failed, again = judged(error)
        condition = exhausted(target, row.attempts, row.since, app.clock.now())
        log.info("rules.target_failed", extra={"event_id": row.event, "arn": target["Arn"], "error": failed.code})
        if again and not condition:
            await app.store.write(delivery_rows.count_attempt, row.id)
            return backoff_ms(row.attempts + 1, row.id)
        await app.store.write(_give_up, row, found, failed, condition if again else "")
        return None
    await app.store.write(_done, row, place, started)
    return None


def _done(conn: sa.Connection, row: Any, place: Place, started: str) -> None:
    if started:
        delivery_rows.cause(conn, place, started, row.hops + 1)
    delivery_rows.remove(conn, row.id)


def _give_up(conn: sa.Connection, row: Any, found: delivery_rows.About, failed: Failed, exhausted: str) -> None:
    delivery_rows.dead_letter(conn, row, found, code=failed.code, message=str(failed), exhausted=exhausted or None)
    delivery_rows.remove(conn, row.id)


def exhausted(target: Any, attempts: int, since: int, now: int) -> str:
    """Which part of a target's retry policy is used up; "" while there may be a further attempt."""
    policy = target.get("RetryPolicy", {})
    if attempts >= policy.get("MaximumRetryAttempts", _ATTEMPTS):
        return "MaximumRetryAttempts"
    if now - since >= policy.get("MaximumEventAgeInSeconds", _AGE_S) * 1000:
        return "MaximumEventAgeInSeconds"
    return ""


async def _send(book: RuleBook, row: Any, target: Any, event: dict[str, Any]) -> str:
    """Ask the target; the id of what it has started, or ""."""
    named = destination_of(target["Arn"])
    if named is None:
        raise Failed("NO_RESOURCE", f"Penstock has no targets such as {target['Arn']}.")
    arn, destination = named
    tail = f"rule/{row.rule}" if row.bus == DEFAULT else f"rule/{row.bus}/{row.rule}"
    rule_arn = f"arn:{partition_of(row.region)}:events:{row.region}:{row.account}:{tail}"
    if (destination.starts or destination.send is None) and row.hops >= MAX_HOPS:
        raise Failed(
            "LOOP_DETECTED",
            f"{row.hops} rules led to this event, each by what it started. Rules that start each other have no end: let the pattern "
            "leave out what the rule itself starts.",
        )
    if destination.send is None:
        name = arn.resource.removeprefix("event-bus/")
        await _pass_on(book, row, name, event)
        return ""
    text = given(target, event, rule=row.rule, rule_arn=rule_arn, came=seconds(row.since))
    if destination.starts:  # before it begins: its first events may be here before its answer
        await book.app.store.write(delivery_rows.cause, (row.account, row.region), target["Arn"], row.hops + 1)
    sending = Sending(
        app=book.app,
        id=row.id,
        account=row.account,
        region=row.region,
        rule_arn=rule_arn,
        target=target,
        arn=arn,
        text=text,
    )
    return await destination.send(sending)


async def _pass_on(book: RuleBook, row: Any, bus: str, event: dict[str, Any]) -> None:
    """Let the event arrive at another bus of the account."""
    place = (row.account, row.region)
    if bus != DEFAULT and await book.app.store.read(records.bus, place, bus) is None:
        raise Failed("NO_RESOURCE", f"Event bus {bus} does not exist.")
    arrived = Arrived(place, bus, row.ordering, event, row.hops + 1)
    new = await wanted_by(book, arrived)
    if new:
        await book.app.store.write(write, event, new, book.app.clock.now())


def judged(error: Exception) -> tuple[Failed, bool]:
    """What went wrong, and whether it may go better later. AWS: "Events that are not retried"."""
    if isinstance(error, Failed):
        return error, False
    if isinstance(error, NotDelivered):
        return Failed("INVALID_JSON", str(error)), False
    if isinstance(error, AccessDenied):
        return Failed("NO_PERMISSIONS", error.message), False
    if isinstance(error, ServiceError | Refused):
        if passes(error):
            return Failed("THROTTLING", error.message), True
        code = error.wire_code if isinstance(error, ServiceError) else type(error).__name__
        if "AccessDenied" in code or "AuthorizationError" in code:
            return Failed("NO_PERMISSIONS", error.message), False
        missing = "NotFound" in code or "DoesNotExist" in code or isinstance(error, Refused)
        return Failed("NO_RESOURCE" if missing else "INVALID_PARAMETER", error.message), False
    log.warning("rules.target_broken", exc_info=error)
    return Failed("INTERNAL_ERROR", "The server failed. Its log has the details."), True
