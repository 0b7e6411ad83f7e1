"""The job of a query: has it run by a reading process, notes how far it is, and keeps its results.

A query that a kill broke off is run again from its beginning when the lease of its job is over. It ends as Failed when that happens often.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from typing import Any

import sqlalchemy as sa

from penstock.application import App, Call
from penstock.logs import query_records, records
from penstock.logs.errors import AccessDeniedException
from penstock.logs.logstore import LogStore
from penstock.logs.query_records import CANCELLED, COMPLETE, FAILED, RUNNING, TIMEOUT
from penstock.logs.records import DAY
from penstock.logs.unlocking import unlocked
from penstock.pools import LOGS
from penstock.store.failpoints import failpoint
from penstock.store.jobs import Job
from penstock.store.retention import Expiring
from penstock.store.work import Retry
from penstock.wire.call import service_session
from penstock.wire.errors import Refused, ServiceError, Unavailable
from penstock.wire.invoke import call_of

log = logging.getLogger("penstock.logs")

QUERY = "logs.query"
AT_ONCE = 4  # queries that run at a time in a process
ATTEMPTS = 3
_OF_ACCOUNT = 2  # of these
_BUSY_MS = 500
_LONGEST_S = 3_600.0  # AWS: StartQuery
_STREAMS = 50_000  # that one looks into
_PAGE = 5_000
_KEPT_DAYS = 7  # AWS: CloudWatch Logs quotas

_over = query_records.queries.c
EXPIRING = (
    Expiring(
        table=query_records.results,
        over=lambda now: query_records.results.c.query.in_(
            sa.select(_over.id).where(_over.created < now - _KEPT_DAYS * DAY)
        ),
    ),
    Expiring(table=query_records.queries, over=lambda now: _over.created < now - _KEPT_DAYS * DAY),
)


class _Stopped(Exception):
    """Somebody has stopped the query."""


class _Failed(Exception):
    """The query has no results; why, in a sentence."""


class Querier:
    """What runs queries in this process: an account has so many of the places."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.going: dict[str, int] = {}


async def run(querier: Querier, logs: LogStore, job: Job) -> None:
    """Run a query to its end."""
    going = querier.going.get(job.account, 0)
    if going >= _OF_ACCOUNT:
        raise Retry(_BUSY_MS, counts=False)
    querier.going[job.account] = going + 1
    try:
        await _run(querier.app, logs, job.payload["query"])
    finally:
        querier.going[job.account] -= 1
        if not querier.going[job.account]:
            del querier.going[job.account]


async def _run(app: App, logs: LogStore, id: str) -> None:
    row = await app.store.read(query_records.find_query, id)
    update = functools.partial(query_records.update_query, status=RUNNING, started=app.clock.now())
    if row is None or not await app.store.write(update, id):
        return
    try:
        async with asyncio.timeout(_LONGEST_S):
            found = await _read(app, logs, row)
        for part, content in enumerate(found["parts"]):
            await _keep(app, id, part, content)
        failpoint("logs.queried")
        ended = {"status": COMPLETE, "statistics": found["statistics"], "parts": len(found["parts"])}
    except _Stopped:
        return
    except TimeoutError:
        ended = {"status": TIMEOUT, "reason": "The query has run for an hour."}
    except Unavailable as gone:  # what has read it was ended
        raise Retry(error=str(gone)) from None
    except (_Failed, ServiceError, Refused) as failed:
        log.warning("logs.query_failed", extra={"account": row.account, "query": id, "why": str(failed)[:500]})
        ended = {"status": FAILED, "reason": str(failed)[:1_000]}
    await app.store.write(functools.partial(query_records.update_query, **ended, ended=app.clock.now()), id)


async def _keep(app: App, id: str, part: int, found: tuple[int, int, bytes]) -> None:
    first, rows, content = found
    sealed = await LOGS.run(app.sealer.seal, content, query_records.context_of(id, part))
    kept = {"query": id, "part": part, "first": first, "rows": rows, "content": sealed}
    await app.store.write(query_records.put_results, kept)


async def _read(app: App, logs: LogStore, row: sa.Row[Any]) -> dict[str, Any]:
    """Raises _Stopped, _Failed, TimeoutError, ServiceError or Refused."""
    call = call_of(app, service_session("logs.amazonaws.com", row.account, ""), "logs", "StartQuery", region=row.region)
    groups: dict[str, str | None] = {}
    streams: list[tuple[str, str, str, int]] = []
    for group in row.groups:
        kept = await app.store.read(records.find_group, row.account, row.region, group)
        if kept is None:  # it was deleted meanwhile
            continue
        groups[group] = kept.data_key
        start = max(row.begin, 0 if kept.retention is None else app.clock.now() - kept.retention * DAY)
        streams += [(f"{row.account}:{group}", name, file, start) for name, file in await _streams(call, group)]
        if len(streams) > _STREAMS:
            raise _Failed(f"The log groups have more than {_STREAMS:,} streams. Query fewer groups at once.")

    async def progress(statistics: dict[str, Any]) -> None:
        if not await app.store.write(functools.partial(query_records.update_query, statistics=statistics), row.id):
            raise _Stopped

    reading = functools.partial(logs.query, streams, progress, query=row.query, end=row.end + 1, limit=row.limit)
    try:
        found = await unlocked(logs, call, groups, reading)
    except AccessDeniedException:
        raise _Failed("The key of a log group may not be used.") from None
    if "fails" in found:
        raise _Failed(found["fails"])
    return found


async def _streams(call: Call, group: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    while len(found) <= _STREAMS:
        after = found[-1][0] if found else ""
        page = await call.app.store.scan(records.list_files, call.account, call.region, group, limit=_PAGE, after=after)
        found += page.items()
        if len(page) < _PAGE:
            break
    return found


async def give_up(app: App, _logs: LogStore, job: Job, error: str) -> None:
    """A query whose run broke off each time has failed."""
    log.warning("logs.query_failed", extra={"account": job.account, "query": job.payload["query"], "why": error[:500]})
    values = {"status": FAILED, "reason": error[:1_000], "ended": app.clock.now()}
    await app.store.write(functools.partial(query_records.update_query, **values), job.payload["query"])


def stop(conn: sa.Connection, id: str, now: int) -> bool:
    """Stop a query; False of one that has ended."""
    return query_records.update_query(conn, id, status=CANCELLED, ended=now)
