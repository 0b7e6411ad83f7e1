"""Threads for work that blocks: each kind has its own, so that a flood of one keeps none of the others waiting.

Work that strangers or readers can cause has a short queue, and what does not fit into it is refused: waiting would only make it later. Work
whose callers are bounded already (a build at a time, a request that is let in) waits its turn.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from prometheus_client import Counter

from penstock.wire.errors import Throttled

P = ParamSpec("P")
R = TypeVar("R")

REFUSED = Counter("penstock_pool_refusals_total", "Work that did not fit into a pool's queue.", ["pool"])


class Pool:
    """Some threads and a queue."""

    def __init__(self, name: str, threads: int, *, queue: int | None = None) -> None:
        """`queue` is how much may wait beside what runs; None sets no bound."""
        self.name = name
        self._most = None if queue is None else threads + queue
        self._held = 0
        self._lock = threading.Lock()
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=f"penstock-{name}")

    async def run(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run `fn` on a thread. Raises Throttled when the queue is full."""
        with self._lock:
            if self._most is not None and self._held >= self._most:
                REFUSED.labels(self.name).inc()
                raise Throttled
            self._held += 1
        running = self._executor.submit(partial(fn, *args, **kwargs))
        # A caller that leaves does not take its work off the thread: the place is free when the work is over.
        running.add_done_callback(self._over)
        return await asyncio.wrap_future(running)

    def _over(self, _running: object) -> None:
        with self._lock:
            self._held -= 1


PASSWORDS = Pool("passwords", 1, queue=8)
"""Hashing what somebody typed: nobody is signed in yet. One takes 128 MiB, on purpose."""

SEARCHES = Pool("searches", 1, queue=16)
"""Reading through logs. That is Python's own work: more threads would only take turns with each other, and with the event loop."""

LOGS = Pool("logs", 4)
"""Appending to log files and syncing them."""

BODIES = Pool("bodies", 2)
"""Hashing and parsing what requests carry."""

FILES = Pool("files", 8)
"""Folders and files of builds and repositories, and what else blocks now and then."""
