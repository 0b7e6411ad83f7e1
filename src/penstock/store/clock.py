"""The clock. Everything that asks for the time of the world asks one of these."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable
from typing import Protocol


class Alarm(Protocol):
    """A call that is due; `cancel` forgets it."""

    def cancel(self) -> None: ...


class Clock(Protocol):
    """Time as the product sees it: integer milliseconds UTC."""

    def now(self) -> int:
        """Milliseconds since the epoch. Thread safe."""
        ...

    def call_at(self, at: int, callback: Callable[[], object]) -> Alarm:
        """Run `callback` on the loop once the clock has reached `at` (ms). Call it on the loop."""
        ...

    async def wait_until(self, at: int) -> None:
        """Return once the clock has reached `at` (ms)."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds` of this clock."""
        ...


class SystemClock:
    """The machine's wall clock."""

    def now(self) -> int:
        """Milliseconds since the epoch."""
        return time.time_ns() // 1_000_000

    def call_at(self, at: int, callback: Callable[[], object]) -> Alarm:
        """Run `callback` on the loop at `at`; at once (next turn of the loop) when that is past."""
        return asyncio.get_running_loop().call_later(max(0.0, at / 1000 - time.time()), callback)

    async def wait_until(self, at: int) -> None:
        """Return once the wall clock has reached `at`."""
        while (left := at - self.now()) > 0:  # noqa: ASYNC110 - the wall clock may be set meanwhile
            await asyncio.sleep(left / 1000)

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""
        await asyncio.sleep(seconds)


class _ManualAlarm:
    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        self.callback = None


class ManualClock:
    """A clock that moves only when a test moves it."""

    def __init__(self, now: int = 1_800_000_000_000) -> None:
        self._now = now
        self._alarms: list[tuple[int, int, _ManualAlarm]] = []
        self._order = itertools.count()

    def now(self) -> int:
        """Milliseconds since the epoch, as set."""
        return self._now

    def advance(self, ms: int) -> None:
        """Move on by `ms` and run what fell due meanwhile, in order, each at its own time. Call it on the loop."""
        end = self._now + ms
        while self._alarms and self._alarms[0][0] <= end:
            at, _, alarm = heapq.heappop(self._alarms)
            self._now = max(self._now, at)
            if alarm.callback is not None:
                alarm.callback()
        self._now = end

    def call_at(self, at: int, callback: Callable[[], object]) -> Alarm:
        """Run `callback` when `advance` reaches `at`; on the loop's next turn when that is past."""
        if at <= self._now:
            return asyncio.get_running_loop().call_soon(callback)
        alarm = _ManualAlarm(callback)
        heapq.heappush(self._alarms, (at, next(self._order), alarm))
        return alarm

    async def wait_until(self, at: int) -> None:
        """Return once `advance` has reached `at`."""
        if at <= self._now:
            await asyncio.sleep(0)
            return
        reached = asyncio.Event()
        alarm = self.call_at(at, reached.set)
        try:
            await reached.wait()
        finally:
            alarm.cancel()

    async def sleep(self, seconds: float) -> None:
        """Return once the clock has been advanced by `seconds`."""
        await self.wait_until(self._now + round(seconds * 1000))
