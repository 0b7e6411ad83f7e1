"""What the metrics say of the bytes of objects."""

from __future__ import annotations

import sqlalchemy as sa

from penstock.metrics import Reading, Values, gauge
from penstock.objects.records import blobs

BLOBS = gauge("penstock_blobs", "Blobs: pieces of objects' bytes, those that wait for the collector among them.")
BYTES = gauge("penstock_blobs_bytes", "Bytes of blobs, as they were sent.")
_SCAN_SECONDS = 600.0  # every row is read


def _blobs(conn: sa.Connection, _now: int) -> tuple[Values, Values]:
    kept = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(blobs.c.size), 0)).where(blobs.c.removed.is_(None))
    count, size = conn.execute(kept).one()
    return {(): count}, {(): int(size)}


READINGS = (Reading(gauges=(BLOBS, BYTES), read=_blobs, every=_SCAN_SECONDS),)
