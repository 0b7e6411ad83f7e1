"""What a supervisor leaves on disk while its build runs: the log, and the progress as JSON lines."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence

from penstock.builds.supervisor.log import Log, append


class Journal:
    """The files `log` and `progress` of a build's directory, and a wake-up FIFO that is written to after each change."""

    def __init__(self, directory: str, *, log_limit: int, masked: Sequence[str], session: str) -> None:
        self._directory = directory
        self._fifo: int | None = None
        self.log = Log(directory, limit=log_limit, masked=masked, session=session, written=self._wake)
        self._progress = os.open(os.path.join(directory, "progress"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def report(self, event: str, *, durable: bool = False, **values: object) -> None:
        """One step of progress; `durable` waits until it is on disk."""
        self.log.flush()
        record = {"event": event, "at": time.time_ns() // 1_000_000, **values}
        append(self._progress, json.dumps(record).encode() + b"\n", self.log.disk_full)
        if durable:
            os.fsync(self._progress)
        self._wake()

    def _wake(self) -> None:
        try:
            if self._fifo is None:
                self._fifo = os.open(os.path.join(self._directory, "wakeup"), os.O_WRONLY | os.O_NONBLOCK)
            os.write(self._fifo, b"!")
        except BlockingIOError:
            pass  # woken already
        except OSError:
            if self._fifo is not None:
                os.close(self._fifo)
            self._fifo = None  # nobody listens now; a worker that adopts the build reads the files first
