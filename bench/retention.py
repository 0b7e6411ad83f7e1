"""How fast the sweeper removes rows, and for how long others that write wait for it meanwhile."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import sqlalchemy as sa

from bench.run import Row
from penstock.store import jobs, migrate
from penstock.store.clock import SystemClock
from penstock.store.database import Store
from penstock.store.records import jobs as table
from penstock.store.retention import Sweeper

ROWS, KEPT = 100_000, 20_000
_RATE, _WAIT_MS = 10_000, 100


def _fill(conn: sa.Connection) -> None:
    """Jobs of which most were done long ago."""
    jobs.enqueue(conn, kind="k", payload={"about": "x" * 200}, account="1" * 12, region="us-east-1")
    one = dict(conn.execute(sa.select(table)).mappings().one())
    conn.execute(table.delete())
    many = [
        {**one, "id": f"{number:032x}", "state": "done", "ended": 1 if number >= KEPT else 1 << 60, "dedup": None}
        for number in range(ROWS)
    ]
    conn.execute(table.insert(), many)


async def _measure(folder: Path) -> tuple[float, float]:
    store = await Store.open(f"sqlite:///{folder / 'penstock.db'}", clock=SystemClock())
    try:
        await store.write(migrate.upgrade)
        await store.write(_fill)
        waited, over = 0.0, asyncio.Event()

        async def others() -> None:
            nonlocal waited
            while not over.is_set():
                began = time.perf_counter()
                await store.write(lambda conn: conn.execute(sa.select(1)).scalar())
                waited = max(waited, time.perf_counter() - began)
                await asyncio.sleep(0.002)

        beside = asyncio.create_task(others())
        began = time.perf_counter()
        swept: dict[str, Any] = await Sweeper(store).sweep()
        took = time.perf_counter() - began
        over.set()
        await beside
        return swept["jobs"] / took, waited * 1000
    finally:
        await store.close()


def measure() -> list[Row]:
    """The rows of `make bench`."""
    with tempfile.TemporaryDirectory() as folder:
        rate, waited = asyncio.run(_measure(Path(folder)))
    return [
        Row(what="rows that the sweeper removes, a second", measured=f"{rate:,.0f}", bar=f"≥ {_RATE:,}", met=rate >= _RATE),
        Row(
            what="longest wait of another transaction meanwhile", measured=f"{waited:.0f} ms", bar=f"≤ {_WAIT_MS} ms",
            met=waited <= _WAIT_MS,
        ),
    ]  # fmt: skip


if __name__ == "__main__":
    for row in measure():
        print(row.what, row.measured, row.bar, row.met)
