"""Threads for work that blocks: each kind has its own, so that a flood of one keeps none of the others waiting.

What is Python's own work has no thread here: threads take turns with each other and with the event loop. It has processes (`logs.readers`).

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

from penstock import metrics
from penstock.wire.errors import Throttled

P = ParamSpec("P")
R = TypeVar("R")

REFUSED = metrics.counter("penstock_pool_refusals_total", "Work that did not fit into a pool's queue.", "pool")


class Places:
    """How much of a kind may run and wait at a time. For any thread."""

    def __init__(self, name: str, most: int | None) -> None:
        """`most` of None sets no bound."""
        self._name = name
        self._most = most
        self._held = 0
        self._lock = threading.Lock()

    def take(self) -> None:
        """Take a place. Raises Throttled when it is missing."""
        with self._lock:
            if self._most is not None and self._held >= self._most:
                REFUSED.labels(self._name).inc()
                raise Throttled
            self._held += 1

    def give_back(self) -> None:
        """Give a place back."""
        with self._lock:
            self._held -= 1


class Pool:
    """Some threads and a queue."""

    def __init__(self, name: str, threads: int, *, queue: int | None = None) -> None:
        """`queue` is how much may wait beside what runs; None sets no bound."""
        self.name = name
        self.threads = threads
        self._places = Places(name, None if queue is None else threads + queue)
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=f"penstock-{name}")

    async def run(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run `fn` on a thread. Raises Throttled when the queue is full."""
        self._places.take()
        running = self._executor.submit(partial(fn, *args, **kwargs))
        # A caller that leaves does not take its work off the thread: the place is free when the work is over.
        running.add_done_callback(lambda _: self._places.give_back())
        return await asyncio.wrap_future(running)

    async def finish(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """`run`, to the end: a caller that is cancelled leaves when the thread is done with what both of them use."""
        running = asyncio.ensure_future(self.run(fn, *args, **kwargs))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            await asyncio.wait((running,))
            raise


PASSWORDS = Pool("passwords", 1, queue=8)
"""Hashing what somebody typed: nobody is signed in yet. One takes 128 MiB, on purpose."""

PASSKEYS = Pool("passkeys", 1, queue=16)
"""Checking what browsers say that passkeys have signed: nobody is signed in yet. One takes half a millisecond, and the first loads the library."""

LOGS = Pool("logs", 4)
"""Appending to log files and syncing them."""

SEGMENTS = Pool("segments", 2)
"""Compressing parts of log streams, and reading and writing them where they lie."""

BODIES = Pool("bodies", 2)
"""Hashing and parsing what requests carry."""

ARCHIVES = Pool("archives", 2)
"""Unpacking sources, which takes minutes for the largest: as many builds as run at a time would hold all other threads."""

REMOVALS = Pool("removals", 2)
"""Deleting folders that builds and pushes filled: a million files take minutes, and whoever else wants a file need not wait for them."""

NAMES = Pool("names", 8, queue=64)
"""Looking up names of hosts that strangers' requests make us ask; a name server that is silent holds a thread for half a minute."""

FILTERS = Pool("filters", 1)
"""Asking the filter policies of a topic's subscriptions: Python's own work, in pages of 200 that may be long."""

MATH = Pool("math", 1, queue=64)
"""Computing series of metrics: Python's own work, of which an expression may cause much."""

SCANS = Pool("scans", 2)
"""Questions to PostgreSQL that read much."""

CONNECTS = Pool("connects", 6)
"""Connecting to PostgreSQL, which takes its ten seconds when nobody answers. As many as Penstock has connections for transactions."""

FILES = Pool("files", 8)
"""Folders and files of builds and repositories, and what else blocks now and then."""
