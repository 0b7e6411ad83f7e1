"""Data of metrics grow coarser with age: what a tier has kept for its time moves to the next one."""

from __future__ import annotations

from penstock.application import App
from penstock.loops import Loop
from penstock.monitoring import records, series

_EVERY = 300.0  # seconds
_ROWS = 200  # of a transaction


class Ageing:
    """Moves data on, for as long as it is started."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._loop: Loop | None = None

    async def start(self) -> None:
        """Begin, in a process that works."""
        if self._app.settings.works:
            clock = self._app.clock
            self._loop = self._app.store.loops.start("monitoring.ageing", self.turn, lambda: clock.sleep(_EVERY))

    async def stop(self) -> None:
        """End."""
        await self._app.store.loops.stop(self._loop)

    async def turn(self) -> None:
        """Move on everything whose time in its tier is over."""
        now = self._app.clock.now() // 1000
        for tier in series.NEXT:
            while await self._app.store.write(records.move_on, tier, now - tier.keep, _ROWS) == _ROWS:
                pass
