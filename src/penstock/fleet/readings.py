"""What /metrics reads when it is asked: gauges whose values stand in the database, and the space on the disk."""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from penstock import metrics
from penstock.metrics import Reading
from penstock.pools import FILES

if TYPE_CHECKING:
    from penstock.application import App

_log = logging.getLogger("penstock.fleet")

FAILED = metrics.counter(
    "penstock_readings_failed_total",
    "Times that gauges could not be read from the database; they have no values meanwhile.",
)
FREE = metrics.gauge("penstock_data_dir_free_bytes", "Free space on the disk of the data dir.")
SIZE = metrics.gauge("penstock_data_dir_size_bytes", "Size of the disk of the data dir.")

_SECONDS = 4.0  # which a scrape waits at most
_AGAIN_SECONDS = 5.0  # after which it may be asked anew: whoever scrapes, and however often, costs no more than that


class Readings:
    """The readings of all components, each made once in its time at most."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._until: dict[int, float] = {}  # of the monotonic clock, by the place of the reading
        self._disk_until = 0.0
        self._asking: asyncio.Task[None] | None = None

    async def refresh(self) -> None:
        """Bring up to date what is too old. One that takes long goes on alone, and its gauges are set when it is done."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._refresh(), name="read the metrics")
        await asyncio.wait((self._asking,), timeout=_SECONDS)

    async def stop(self) -> None:
        """Let go of the database."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)

    async def _refresh(self) -> None:
        for place, reading in enumerate(self._app.readings):
            now = time.monotonic()
            if now >= self._until.get(place, 0.0):
                held = reading.every if await self._read(reading) else _AGAIN_SECONDS
                self._until[place] = now + held
        if time.monotonic() >= self._disk_until:
            self._disk_until = time.monotonic() + _AGAIN_SECONDS
            try:
                found = await FILES.run(shutil.disk_usage, self._app.settings.data_dir)
            except OSError:
                return  # /readyz says so
            FREE.set(found.free)
            SIZE.set(found.total)

    async def _read(self, reading: Reading) -> bool:
        """Whether it could be read."""
        try:
            found: Sequence[metrics.Values] = await self._app.store.scan(reading.read, self._app.clock.now())
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one, the other metrics are needed then most of all
            FAILED.inc()
            reading.forget()
            _log.warning("metrics.reading_failed", extra={"error": f"{type(error).__name__}: {error}"})
            return False
        reading.show(found)
        return True
