"""Waiting for what happens beside a test: by a condition, and to an end that only a failure reaches.

What one source says proves nothing of another: a log's line is there before the phase that it belongs to, an event before its delivery,
an answer before the process that gave it has ended. A test waits for each of the things that it goes on to assert.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

SECONDS = 60  # no test is about how long something takes, and a busy machine takes fifty times as long as a quiet one


def until(look: Callable[[], T], *, seconds: float = SECONDS, why: Callable[[], object] = str) -> T:
    """The first true value of `look()`; `why()` tells what is known when there is none."""
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end, f"it did not happen within {seconds} s {why()}"
        time.sleep(0.02)
    return found


async def eventually(look: Callable[[], T | Awaitable[T]], *, seconds: float = SECONDS) -> T:
    """The first true value of `look()`, which may be a coroutine; the loop goes on meanwhile."""
    async with asyncio.timeout(seconds):
        while True:
            found = look()
            if inspect.isawaitable(found):
                found = await found
            if found:
                return found
            await asyncio.sleep(0.005)
