"""The job of a group with metric filters: what was written to its streams becomes data points of CloudWatch.

The transaction that notes the new sizes of streams enqueues it. To where a stream has been measured is noted after its data points are
counted: a job that is broken off between the two counts them twice, and none is missing.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from penstock.application import App, Call
from penstock.logs import filter_rows, records
from penstock.logs.errors import AccessDeniedException
from penstock.logs.filter_rows import Group
from penstock.logs.logstore import LogStore
from penstock.logs.unlocking import unlocked
from penstock.store.jobs import Job, complete
from penstock.store.work import Retry
from penstock.wire.call import service_session
from penstock.wire.errors import Refused, ServiceError
from penstock.wire.invoke import call_of

log = logging.getLogger("penstock.logs")

_OLDEST_MS = 14 * 86_400_000 - 3_600_000  # of a data point, an hour less than PutMetricData takes
_NEWEST_MS = 2 * 3_600_000
_DATUMS = 1_000  # of one PutMetricData
_VALUES = 150  # of one datum
_AGAIN_MS = 60_000  # after a refusal
_STREAMS = 500  # that one request reads


class _Behind(Exception):
    """More was written meanwhile."""


async def measure(app: App, logs: LogStore, job: Job) -> None:
    """Count what the filters of a group find in what its streams have got, until there is nothing more."""
    group = (job.account, job.region, job.payload["group"])
    session = service_session("logs.amazonaws.com", job.account, "")
    while True:
        call = call_of(app, session, "logs", "PutMetricFilter", region=job.region)
        try:
            further = await _turn(app, logs, call, group)
        except (ServiceError, Refused) as error:
            log.warning("logs.not_measured", extra={"group": group[2], "account": group[0], "why": str(error)})
            raise Retry(_AGAIN_MS, str(error), counts=False) from None
        if further:
            continue

        def end(conn: sa.Connection) -> None:
            complete(conn, job)  # whoever notes more size asks for the job: from here on for another
            if filter_rows.of_group(conn, group) and filter_rows.is_behind(conn, group):
                raise _Behind

        try:
            await app.store.write(end)
        except _Behind:
            raise Retry(1_000, counts=False) from None
        return


async def _turn(app: App, logs: LogStore, call: Call, group: Group) -> bool:
    """Measure a part; whether there may be more."""
    filters = await app.store.read(filter_rows.of_group, group)
    row = await app.store.read(records.find_group, *group)
    if not filters or row is None:
        return False
    known = await app.store.read(filter_rows.measured, group)
    grown = list(await logs.grown(known, known))[:_STREAMS]
    if not grown:
        return False
    given = [_given(one) for one in filters]
    now = app.clock.now()
    reading = functools.partial(
        logs.measure, {file: known[file] for file in grown}, filters=given, start=now - _OLDEST_MS, end=now + _NEWEST_MS
    )
    try:
        found = await unlocked(logs, call, {group[2]: row.data_key}, reading)
    except AccessDeniedException:
        raise Retry(_AGAIN_MS, "the key of the log group may not be used", counts=False) from None
    transformations = {one.name: one.transformation for one in filters}
    for namespace, data in _calls(transformations, found["points"]):
        await _count(call, group[2], namespace, data)
    await app.store.write(filter_rows.note_measured, found["ends"])
    return bool(found["ends"])


async def _count(call: Call, group: str, namespace: str, data: list[dict[str, Any]]) -> None:
    """Hand data points over. Those that CloudWatch takes for wrong, such as by a dimension, are left out and hold up no others."""
    session = service_session("logs.amazonaws.com", call.account, call.arn("logs", f"log-group:{group}"))
    asked = {"Namespace": namespace, "MetricData": data}
    try:
        await call.app.invoke(session, "cloudwatch", "PutMetricData", asked, region=call.region)
    except ServiceError as error:
        if error.status >= 500:
            raise
        if len(data) > 1:
            half = len(data) // 2
            await _count(call, group, namespace, data[:half])
            await _count(call, group, namespace, data[half:])
            return
        log.warning(
            "logs.not_counted", extra={"group": group, "metric": data[0]["MetricName"], "why": error.message[:500]}
        )


def _given(row: sa.Row[Any]) -> dict[str, Any]:
    """A filter as the reading process wants it."""
    kept = row.transformation
    return {
        "name": row.name,
        "pattern": row.pattern,
        "since": row.created,
        "value": kept["metricValue"],
        "default": kept.get("defaultValue"),
        "dimensions": kept.get("dimensions", {}),
    }


def _calls(
    transformations: Mapping[str, Mapping[str, Any]], points: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The data points by namespace, as many in a call as it takes."""
    by_namespace: dict[str, list[dict[str, Any]]] = {}
    for point in points:
        kept = transformations[point["filter"]]
        dimensions = [{"Name": name, "Value": value[:1024]} for name, value in point["dimensions"].items()]
        for first in range(0, len(point["values"]), _VALUES):
            datum = {
                "MetricName": kept["metricName"],
                "Timestamp": point["minute"],
                "Values": point["values"][first : first + _VALUES],
                "Counts": [float(count) for count in point["counts"][first : first + _VALUES]],
                "Unit": kept.get("unit", "None"),
            }
            by_namespace.setdefault(kept["metricNamespace"], []).append(
                datum | ({"Dimensions": dimensions} if dimensions else {})
            )
    for namespace, data in by_namespace.items():
        for first in range(0, len(data), _DATUMS):
            yield namespace, data[first : first + _DATUMS]


async def resume(app: App, logs: LogStore) -> None:
    """Have groups measured whose streams got something that was not noted, as before a kill."""
    for group in await app.store.read(filter_rows.filtered):
        known = await app.store.read(filter_rows.measured, group)
        if await logs.grown(known, known):
            await app.store.write(filter_rows.ask, [group])
