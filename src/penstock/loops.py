"""The background loops of a process: none ends unseen.

A loop is a turn that is done again and again, with a rest in between. What a turn raises is logged and counted, and the turn is tried again
after a pause that doubles up to half a minute. Until it succeeds the process is not ready: `/readyz` and `penstock doctor` name the loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from penstock import metrics

_log = logging.getLogger("penstock.loops")
_FIRST_PAUSE = 0.2
_LAST_PAUSE = 30.0

FAILURES = metrics.counter("penstock_loop_failures_total", "Turns of background loops that failed.", "loop")
SYSTEM_ERRORS = metrics.counter(
    "cicd_system_errors_total",
    "Errors of Penstock itself: turns of background loops and runs of jobs that failed by an exception. What fails within a run of a pipeline "
    "is not among them.",
    "cicd_system_component",
    "error_type",
)
FAILING = metrics.gauge("penstock_loops_failing", "Background loops whose last turn failed.", "loop")


class Loop:
    """A loop that runs until it is stopped."""

    def __init__(self, name: str, turn: Callable[[], Awaitable[object]], rest: Callable[[], Awaitable[object]]) -> None:
        self.name = name
        self.error: Exception | None = None
        """What the last turn failed with; None when it succeeded."""
        self._turn = turn
        self._rest = rest
        self._task = asyncio.create_task(self._run(), name=name)

    async def stop(self) -> None:
        """End it, in the middle of a turn where need be."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self.succeeded()

    def succeeded(self) -> None:
        """Note that it works. A turn that lasts, such as one that holds a connection, calls this itself."""
        if self.error is not None:
            self.error = None
            FAILING.labels(self.name).dec()

    async def _run(self) -> None:
        pause = _FIRST_PAUSE
        this = asyncio.current_task()
        assert this is not None
        cancelling = this.cancelling  # also after a turn that swallowed it, since it had to come to its end
        while not cancelling():
            try:
                await self._turn()
                self.succeeded()
                pause = _FIRST_PAUSE
                if not cancelling():
                    await self._rest()
            except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - that is what it is for
                if cancelling():
                    return
                if self.error is None:
                    pause = _FIRST_PAUSE  # a turn that lasts may have succeeded since
                self._failed(error, pause)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LAST_PAUSE)

    def _failed(self, error: BaseException, pause: float) -> None:
        FAILURES.labels(self.name).inc()
        SYSTEM_ERRORS.labels(self.name, type(error).__name__).inc()
        known = self.error is not None
        if not known:
            FAILING.labels(self.name).inc()
        self.error = error if isinstance(error, Exception) else RuntimeError("it was cancelled by something of its own")
        _log.warning(
            "loop.failed",
            # One traceback for each time that it breaks, and none for what its sentence says in full.
            exc_info=None if known or getattr(error, "says_all", False) else error,
            extra={"loop": self.name, "error": f"{type(error).__name__}: {error}", "again_after": pause},
        )


class Loops:
    """The loops of one process."""

    def __init__(self) -> None:
        self._running: list[Loop] = []

    def start(self, name: str, turn: Callable[[], Awaitable[object]], rest: Callable[[], Awaitable[object]]) -> Loop:
        """Do `turn`, then `rest`, again and again. `name` is dotted, of few fixed ones."""
        loop = Loop(name, turn, rest)
        self._running.append(loop)
        return loop

    async def stop(self, loop: Loop | None) -> None:
        """Stop one of them; nothing when it was never started."""
        if loop is not None and loop in self._running:
            await loop.stop()
            self._running.remove(loop)

    def failing(self) -> list[str]:
        """The names of those whose last turn failed, sorted."""
        return sorted({loop.name for loop in self._running if loop.error is not None})
