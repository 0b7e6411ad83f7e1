"""Metric sources are read: one job for each, which is put back until its next time.

What a read finds, how it went and when the next one is are one transaction. So a process that dies has counted a read or has not, and a source
that was changed or deleted meanwhile counts nothing: its job was cancelled.
"""

from __future__ import annotations

import asyncio
import logging
import random
import zlib
from collections import Counter
from collections.abc import Mapping
from typing import Any

import orjson
import sqlalchemy as sa

from penstock import metrics
from penstock.application import App
from penstock.metrics import Reading
from penstock.monitoring import source_records
from penstock.monitoring.records import Place
from penstock.monitoring.series import Metric, seconds
from penstock.monitoring.source_kind import Asked, Found, Kind, ReadFailed, Sample, finite
from penstock.monitoring.source_settings import MonitoringSettings
from penstock.monitoring.sources import kinds
from penstock.monitoring.statistics import Summary
from penstock.monitoring.writing import Batch
from penstock.store.failpoints import failpoint
from penstock.store.jobs import Job, cancel, complete, enqueue, retry
from penstock.store.work import Retry
from penstock.wire.call import partition_of

log = logging.getLogger("penstock.monitoring")

READ = "monitoring.read_source"
"""The kind of the jobs that read a source."""

AT_ONCE = 64
_OF_ACCOUNT = 16  # at a time, so that an account whose sources answer late delays nobody else's
_BUSY_MS = (1_000, 2_000)  # until a read that found no place looks again
_OWN = "Penstock/Sources"
_GAP = 3  # intervals after which the difference of counters says nothing about now
_ERROR = 1_000  # characters

READS = metrics.counter(
    "penstock_metric_source_reads_total", "Reads of metric sources that ended.", "source_kind", "outcome"
)
FAILING = Reading(
    gauges=(
        metrics.gauge("penstock_metric_sources_failing", "Metric sources whose last read failed, or found a fault."),
    ),
    read=source_records.failing,
)


def schedule(conn: sa.Connection, place: Place, name: str, *, reads: bool) -> None:
    """Let a source be read from now on, or no more. What is being read at this moment counts nothing."""
    dedup = "/".join((*place, name))
    cancel(conn, kind=READ, dedup=dedup)
    if reads:
        enqueue(conn, kind=READ, payload={"source": name}, account=place[0], region=place[1], dedup=dedup)


def next_ms(place: Place, name: str, interval: int, now: int) -> int:
    """When a source is read next (ms) after `now` (ms): every `interval` seconds, each source at a time of its own."""
    step = interval * 1000
    own = zlib.crc32("/".join((*place, name)).encode()) % step
    return now + step - (now - own) % step


class Reader:
    """Reads sources, few of one account at a time."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._reading: Counter[str] = Counter()

    async def read(self, job: Job) -> None:
        """Read a source once, and put its job back."""
        place, name = (job.account, job.region), job.payload["source"]
        if self._reading[job.account] >= _OF_ACCOUNT:
            raise Retry(random.randint(*_BUSY_MS), counts=False)  # noqa: S311 - so that they do not come together
        self._reading[job.account] += 1
        try:
            row = await self._app.store.read(source_records.find, place, name)
            if row is None:
                return
            found, why = await self._found(row)
        finally:
            self._reading[job.account] -= 1
            if not self._reading[job.account]:
                del self._reading[job.account]
        failpoint("monitoring.source_read")
        await self._app.store.write(self._note, job, row, found, why)
        READS.labels(row.kind, "failed" if found is None else "fault" if found.failure else "succeeded").inc()
        if bool(why) != bool(row.error):
            log.info("monitoring.source_changed", extra={"arn": _arn(row), "error": why})

    async def _found(self, row: Any) -> tuple[Found | None, str]:
        """What a read found, or None; and what is wrong, or ""."""
        app, settings = self._app, row.settings
        kind = kinds()[row.kind]
        now = app.clock.now()
        gap = row.good_at is None or now - row.good_at > _GAP * settings["intervalSeconds"] * 1000
        asked = Asked(
            settings=settings[kind.name],
            credentials=opened(app, row),
            egress=app.egress,
            sockets=app.settings.of(MonitoringSettings).metric_socket_dirs,
            progress={} if gap else row.progress,
            now=now,
        )
        limit = settings["timeoutSeconds"]
        try:
            async with asyncio.timeout(limit):
                found = await kind.read(asked)
        except ReadFailed as failed:
            return None, _readable(str(failed))
        except TimeoutError:
            return self._late(
                kind, f"No complete answer has come within {limit} {'second' if limit == 1 else 'seconds'}."
            )
        except Exception:  # a fault of ours in what somebody else answers must not end the source
            log.exception("monitoring.source_broke", extra={"arn": _arn(row)})
            return None, "The server failed to read the answer, by a fault of its own that its log describes."
        return found, _readable(found.failure)

    def _late(self, kind: Kind, why: str) -> tuple[Found | None, str]:
        return (None if kind.unanswered is None else kind.unanswered(why)), why

    def _note(self, conn: sa.Connection, job: Job, row: Any, found: Found | None, why: str) -> None:
        now = self._app.clock.now()
        place: Place = (job.account, job.region)
        due = next_ms(place, row.name, row.settings["intervalSeconds"], now)
        if job.failures:  # of processes that died with it: they must not add up over the years
            complete(conn, job)
            enqueue(
                conn, kind=READ, payload=job.payload, account=job.account, region=job.region, due=due, dedup=job.dedup
            )
        else:
            retry(conn, job, due=due, counts=False)
        good = found is not None and not why
        source_records.note_read(
            conn,
            place,
            row.name,
            read_at=now,
            error=why,
            **({"progress": found.progress} if found is not None else {}),
            **({"good_at": now, "failures": 0} if good else {"failures": row.failures + 1}),
        )
        batch = Batch(place, now)
        kind = kinds()[row.kind]
        resolution = 1 if row.settings["intervalSeconds"] < 60 else 60
        for namespace, sample in (
            (_OWN, Sample("ReadSucceeded", float(found is not None))),
            *((kind.namespace, one) for one in (found.samples if found is not None else ())),
        ):
            dimensions = tuple(sorted((("Source", row.name), *sample.dimensions)))
            if not finite(sample.value):
                continue
            summary = Summary()
            summary.add(float(sample.value))
            metric = Metric(namespace, sample.name, dimensions)
            batch.add(metric, seconds(now), summary, unit=sample.unit, resolution=resolution)
        batch.write(conn)


def _readable(why: str) -> str:
    """A sentence as it is kept and shown: another machine may have put anything into it, such as what a terminal obeys."""
    return "".join(one if one.isprintable() else " " for one in why[:_ERROR])


def _arn(row: Any) -> str:
    return f"arn:{partition_of(row.region)}:penstock:{row.region}:{row.account}:metric-source/{row.name}"


def opened(app: App, row: Any) -> Mapping[str, str]:
    """The credentials of a source."""
    context = source_records.credentials_context(row.account, row.region, row.name)
    return orjson.loads(app.sealer.open(row.credentials, context))


async def give_up(app: App, job: Job, error: str) -> None:
    """Say of a source that it is not read any more: whatever takes it up, dies."""
    why = (
        f"It is not read any more, since reading it failed too often ({error[:500]}). Put it again when that is mended."
    )
    await app.store.write(
        source_records.note_read, (job.account, job.region), job.payload["source"], read_at=app.clock.now(), error=why
    )
