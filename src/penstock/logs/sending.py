"""The job of a subscription filter: what it finds in what was written to its group goes to its destination.

The transaction that notes the new sizes of streams enqueues it. To where a stream has been sent is noted after each message: one that is
broken off between the two is sent again, with the same ids of events, and none is missing. A destination that takes nothing is asked ever
more rarely; the log itself is what waits, for a day.
"""

from __future__ import annotations

import functools
import hashlib
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from penstock.application import App
from penstock.logs import destinations, records, subscription_rows
from penstock.logs.destinations import Failed
from penstock.logs.errors import AccessDeniedException
from penstock.logs.logstore import LogStore
from penstock.logs.unlocking import unlocked
from penstock.metrics import Reading, Values, gauge
from penstock.store.failpoints import failpoint
from penstock.store.jobs import Job, complete
from penstock.store.work import Retry, backoff_ms
from penstock.wire.call import service_session
from penstock.wire.errors import Refused, ServiceError
from penstock.wire.invoke import call_of

log = logging.getLogger("penstock.logs")

AT_ONCE = 32  # filters that are sent at a time
_OF_ACCOUNT = 4  # of these
_BUSY_MS = 1_000  # until a filter whose account sends that many looks again
_AGAIN_MS = 60_000  # while the key of a group may not be used
_STREAMS = 500  # that one request reads
_GIVEN_UP_MS = 86_400_000  # AWS: "Real-time processing of log data with subscriptions"

LAG = gauge(
    "penstock_logs_subscription_lag_seconds",
    "How long the oldest log event that a subscription filter has to send has waited, or may have; 0 where none waits.",
)


def _lag(conn: sa.Connection, now: int) -> Sequence[Values]:
    oldest = subscription_rows.oldest(conn)
    return ({(): 0.0 if oldest is None else max(0, now - oldest) / 1000},)


READINGS = (Reading(gauges=(LAG,), read=_lag),)


class Sender:
    """What sends in this process: an account has so many of the places."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.going: Counter[str] = Counter()


class _Behind(Exception):
    """More was written meanwhile."""


async def send(sender: Sender, logs: LogStore, job: Job) -> None:
    """Send what a filter finds, until there is nothing more."""
    if sender.going[job.account] >= _OF_ACCOUNT:
        raise Retry(_BUSY_MS, counts=False)
    sender.going[job.account] += 1
    try:
        await _send(sender.app, logs, job)
    finally:
        sender.going[job.account] -= 1


async def _send(app: App, logs: LogStore, job: Job) -> None:
    id = job.payload["filter"]
    while (row := await app.store.read(subscription_rows.find, id)) is not None:
        if await _turn(app, logs, row):
            continue

        def end(conn: sa.Connection, row: sa.Row[Any] = row) -> None:
            complete(conn, job)  # whoever notes more size asks for the job: from here on for another
            if subscription_rows.is_behind(conn, id, (row.account, row.region, row.group)):
                raise _Behind
            subscription_rows.update(conn, id, behind=None)

        try:
            await app.store.write(end)
        except _Behind:
            raise Retry(1_000, counts=False) from None
        return


async def _turn(app: App, logs: LogStore, row: sa.Row[Any]) -> bool:
    """Send a part; whether there may be more. Raises Retry."""
    group = (row.account, row.region, row.group)
    kept = await app.store.read(records.find_group, *group)
    known = await app.store.read(subscription_rows.ends, row.id, group)
    grown = list(await logs.grown({file: end for file, (_, end) in known.items()}, known))
    now = app.clock.now()
    if kept is None or not grown:
        return False
    session = service_session("logs.amazonaws.com", row.account, "")
    call = call_of(app, session, "logs", "PutSubscriptionFilter", region=row.region)
    given_up = row.failing is not None and now - row.failing > _GIVEN_UP_MS
    reading = functools.partial(
        logs.matching,
        {file: known[file] for file in grown[:_STREAMS]},
        pattern=row.pattern,
        head={
            "messageType": "DATA_MESSAGE",
            "owner": row.account,
            "logGroup": row.group,
            "subscriptionFilters": [row.name],
        },
        since=max(row.created, now - _GIVEN_UP_MS) if given_up else row.created,
        most=destinations.largest(row.destination),
        compressed=bool(destinations.url_of(row.destination)),
    )
    try:
        found = await unlocked(logs, call, {row.group: kept.data_key}, reading)
    except AccessDeniedException:
        raise Retry(_AGAIN_MS, "the key of the log group may not be used", counts=False) from None
    except (ServiceError, Refused) as error:
        raise Retry(_AGAIN_MS, str(error), counts=False) from None
    places = {file: end for file, (_, end) in known.items()}
    for message in found["messages"]:
        file = message["file"]
        try:
            key = hashlib.sha256(f"{row.id}/{file}/{places[file]}".encode()).hexdigest()
            await destinations.hand_over(app, row, message["body"], stream=known[file][0], key=key)
        except Failed as failed:
            await _set_back(app, row, str(failed), now)
        failpoint("logs.sent")
        places[file] = message["end"]
        await app.store.write(_note, row, {file: message["end"]})
    more = found["more"] or len(grown) > _STREAMS
    await app.store.write(_note, row, found["ends"], None if more else now)
    return True


def _note(conn: sa.Connection, row: sa.Row[Any], ends: Mapping[str, int], behind: int | None = None) -> None:
    subscription_rows.note_sent(conn, row.id, ends)
    values: dict[str, Any] = {} if behind is None else {"behind": behind}
    if row.failing is not None:
        values |= {"failing": None, "failures": 0}
    if values:
        subscription_rows.update(conn, row.id, **values)


async def _set_back(app: App, row: sa.Row[Any], why: str, now: int) -> None:
    """Raises Retry."""
    row = await app.store.read(subscription_rows.find, row.id) or row
    failing, failures = now if row.failing is None else row.failing, row.failures + 1
    log.warning(
        "logs.not_sent",
        extra={"group": row.group, "account": row.account, "filter": row.name, "tries": failures, "why": why[:500]},
    )
    await app.store.write(functools.partial(subscription_rows.update, failing=failing, failures=failures), row.id)
    raise Retry(backoff_ms(failures, row.id), why, counts=False)


async def resume(app: App, logs: LogStore) -> None:
    """Have sent what was written and not noted, as before a kill."""
    for one in await app.store.read(subscription_rows.subscribed):
        row = await app.store.read(subscription_rows.find, one.id)
        if row is None:
            continue
        known = await app.store.read(subscription_rows.ends, one.id, (row.account, row.region, row.group))
        if await logs.grown({file: end for file, (_, end) in known.items()}, known):
            await app.store.write(subscription_rows.ask, [one], app.clock.now())
