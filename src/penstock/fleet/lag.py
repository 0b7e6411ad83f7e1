"""How late the event loop is: what an operator sees first of a process that has too much to do, or of a call that blocks it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from penstock import metrics
from penstock.loops import Loop

if TYPE_CHECKING:
    from penstock.application import App

_EVERY = 0.05  # seconds
_WINDOW = 30.0  # seconds; the worst is that of this window and the one before it

LAG = metrics.histogram(
    "penstock_loop_lag_seconds",
    "How late the event loop came back to something that was due, asked twenty times a second.",
    bounds=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10),
)
WORST = metrics.gauge(
    "penstock_loop_lag_worst_seconds", "The latest that the event loop came back within the last half to whole minute."
)


class Lag:
    """Asks, for as long as it is started."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._loop: Loop | None = None
        self._until = self._before = self._now = 0.0

    async def start(self) -> None:
        """Begin."""
        self._loop = self._app.store.loops.start("fleet.lag", self._turn, _nothing)

    async def stop(self) -> None:
        """End."""
        await self._app.store.loops.stop(self._loop)

    async def _turn(self) -> None:
        due = time.monotonic() + _EVERY
        await asyncio.sleep(_EVERY)
        now = time.monotonic()
        self.note(now, max(0.0, now - due))

    def note(self, now: float, late: float) -> None:
        """Take in how late it was, in seconds. `now` is of the monotonic clock."""
        LAG.observe(late)
        if now >= self._until:
            self._until, self._before, self._now = now + _WINDOW, self._now, 0.0
        self._now = max(self._now, late)
        WORST.set(max(self._before, self._now))


async def _nothing() -> None:
    """Between two turns."""
