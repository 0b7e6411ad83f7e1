"""Thousands of hosts ask at the same moment, after a restart or when a deployment begins: they take turns with everybody else."""

from __future__ import annotations

import asyncio
from collections import deque

_EACH = 16  # requests of hosts in one turn of the loop: a few milliseconds of work


class Turns:
    """Lets only so many requests begin in one turn of the event loop; the others wait in the order in which they came.

    The loop hands out everything that has arrived in one turn. With ten thousand polls among it, whoever else asks would be
    answered after all of them.
    """

    def __init__(self, each: int = _EACH) -> None:
        self._each = self._left = each
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._scheduled = False

    async def take(self) -> None:
        """Wait until it is this request's turn."""
        if self._left > 0:
            self._left -= 1
            self._schedule()
            return
        mine = asyncio.get_running_loop().create_future()
        self._waiting.append(mine)
        await mine

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        self._scheduled = False
        self._left = self._each
        while self._left > 0 and self._waiting:
            first = self._waiting.popleft()
            if not first.done():  # its client may have left
                self._left -= 1
                first.set_result(None)
        if self._left < self._each:
            self._schedule()
