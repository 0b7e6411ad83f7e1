"""Deliveries: an event that a rule has taken goes to each of its targets, at least once, those of one source in their order.

Each delivery is a row. A job hands over the rows of one target and source, one after the other, so that no target holds up another one.
An event that has failed often steps aside and is tried by itself: those behind it pass. AWS: "How EventBridge retries delivering events".
"""

from __future__ import annotations

import logging
from typing import Any

import orjson
import sqlalchemy as sa

from penstock.events import delivery_rows
from penstock.events.arriving import DELIVER_OUTSIDE, keep, kind_for
from penstock.events.destinations import destination_of
from penstock.events.destinations.destination import Busy, Failed, Sending
from penstock.events.inputs import NotDelivered
from penstock.events.interest import RuleBook
from penstock.events.records import DEFAULT, Place
from penstock.store import jobs
from penstock.store.failpoints import failpoint
from penstock.store.jobs import Job
from penstock.store.work import Retry, backoff_ms
from penstock.wire.call import partition_of
from penstock.wire.errors import AccessDenied, Refused, ServiceError, passes

log = logging.getLogger("penstock.events")

DELIVER_ALONE = "rules.deliver_alone"
DELIVER_OUTSIDE_ALONE = "rules.deliver_outside_alone"
MAX_HOPS = 10  # rules that lead to each other by what they start
_IN_ORDER = 6  # attempts that hold up those behind
_ATTEMPTS, _AGE_S = 185, 86_400  # AWS's defaults


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
        kind=kind_for(letter.arn),
    )
    delivery_rows.remove_letter(conn, letter.id)
    keep(conn, letter.event, letter.body, [one], now)


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
            alone = DELIVER_OUTSIDE_ALONE if job.kind == DELIVER_OUTSIDE else DELIVER_ALONE
            await store.write(_step_aside, head, alone, store.clock.now() + after_ms)
        failpoint("events.delivered")
        head = await store.write(_settle, job)


def _settle(conn: sa.Connection, job: Job) -> Any:
    """What comes next; without anything the job is done. Its row is locked first, as by whoever adds a delivery."""
    jobs.lock(conn, job)
    head = delivery_rows.head(conn, job.payload["ordering"])
    if head is None:
        jobs.complete(conn, job)
    return head


def _step_aside(conn: sa.Connection, row: Any, kind: str, due: int) -> None:
    delivery_rows.step_aside(conn, row.id)
    payload = {"delivery": row.id}
    jobs.enqueue(conn, kind=kind, payload=payload, account=row.account, region=row.region, due=due, dedup=row.id)


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
    except Busy as busy:
        raise Retry(busy.after_ms, counts=False) from None
    except Exception as error:  # noqa: BLE001 - whatever went wrong is said in the dead letter
        failed, again = judged(error)
        condition = exhausted(target, row.attempts, row.since, app.clock.now())
        log.info("rules.target_failed", extra={"event_id": row.event, "arn": target["Arn"], "error": failed.code})
        if again and not condition:
            await app.store.write(delivery_rows.count_attempt, row.id)
            return max(backoff_ms(row.attempts + 1, row.id), failed.after_ms)
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
    if (destination.starts or destination.passes) and row.hops >= MAX_HOPS:
        raise Failed(
            "LOOP_DETECTED",
            f"{row.hops} rules led to this event, each by what it started. Rules that start each other have no end: let the pattern "
            "leave out what the rule itself starts.",
        )
    if destination.starts:  # before it begins: its first events may be here before its answer
        await book.app.store.write(_lead_to, row, target["Arn"])
    sending = Sending(
        book=book,
        id=row.id,
        account=row.account,
        region=row.region,
        rule=row.rule,
        rule_arn=rule_arn,
        target=target,
        arn=arn,
        event=event,
        hops=row.hops,
        ordering=row.ordering,
        since=row.since,
    )
    return await destination.send(sending)


def _lead_to(conn: sa.Connection, row: Any, arn: str) -> None:
    """Note that a rule is about to start something, and to call operations in a session that bears the name of the delivery."""
    for subject in (arn, row.id):
        delivery_rows.cause(conn, (row.account, row.region), subject, row.hops + 1)


def judged(error: Exception) -> tuple[Failed, bool]:
    """What went wrong, and whether it may go better later. AWS: "Events that are not retried"."""
    if isinstance(error, Failed):
        return error, error.again
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
