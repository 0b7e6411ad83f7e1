"""Data points on their way into metrics: what PutMetricData counts, and what metric sources find."""

from __future__ import annotations

import sqlalchemy as sa

from penstock.monitoring import alarm_records, records
from penstock.monitoring.records import Place
from penstock.monitoring.series import Metric, RowKey, key_of, seconds, tier_for
from penstock.monitoring.statistics import Summary


class Batch:
    """Data points that one transaction counts."""

    def __init__(self, place: Place, now: int) -> None:
        """`now` is in ms."""
        self._place = place
        self._now = now
        self._metrics: dict[str, Metric] = {}
        self._rows: dict[RowKey, list[tuple[int, Summary]]] = {}

    def add(self, metric: Metric, at: int, summary: Summary, *, unit: str = "None", resolution: int = 60) -> None:
        """Count a summary in a metric at a moment. Both `at` and `resolution` (1 or 60) are in seconds."""
        id = metric.id(*self._place)
        tier = tier_for(at, resolution, seconds(self._now))
        self._rows.setdefault(key_of(id, tier, at, unit), []).append((at, summary))
        self._metrics[id] = metric

    def write(self, conn: sa.Connection) -> None:
        """Make them durable with the transaction, and let the alarms be evaluated that look at their metrics."""
        records.note(conn, self._place, self._metrics, self._now)
        records.add(conn, self._rows)
        alarm_records.hasten(conn, self._place, self._metrics, self._now)
