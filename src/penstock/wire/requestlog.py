"""One JSON line per request, written in batches beside the event loop; rotated by size.

A line: `{"at": ms, "id": …, "service": …, "operation": …, "principal": arn, "account": …, "region": …, "status": 200, "code": "", "ms": 1.2,
"via": "http", "source": address, "origin": ""}`. `via` is how the call came: `http`, `git`, `console`, or `invoke` for what one of our services
called in process; `origin` is the service whose code did (codepipeline.amazonaws.com), where one says so. Nothing of a body or a header is
in a line. Requests of callers that did not show who they are stand in a file of their own,
`strangers.jsonl`: however many they are, they push nothing out of the record of what was done.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson

from penstock import durable, metrics
from penstock.wire.call import ANONYMOUS, Session

REQUESTS = metrics.by_labels(
    metrics.counter("penstock_requests_total", "Calls that have ended.", "service", "operation", "status", "via")
)
REQUEST_SECONDS = metrics.by_labels(
    metrics.histogram(
        "penstock_request_seconds",
        "Time that a call took, with what its body took to arrive; a host's poll is held for up to 45 s.",
        "service",
        "via",
        bounds=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 120),
    )
)

_BATCH_SECONDS = 0.2
_KEEP = 4
_LONGEST = 1024  # characters of a field
_MOST_WAITING = 20_000  # lines, until the next batch is written


class _File:
    """A log file, and those that it was rotated to."""

    def __init__(self, path: Path, rotate_bytes: int) -> None:
        self.path = path
        self._rotate_bytes = rotate_bytes
        self._sound = 0  # bytes that need not be looked at again
        self.lines: list[dict[str, Any]] = []

    def take(self) -> list[dict[str, Any]]:
        """The lines that wait, which are the caller's to write from here on."""
        lines, self.lines = self.lines, []
        return lines

    def write(self, lines: list[dict[str, Any]]) -> None:
        """Append lines; blocks."""
        if not lines:
            return
        # Appending to the page cache takes microseconds; a log of requests is not worth an fsync.
        with contextlib.suppress(OSError), self._opened() as descriptor:
            durable.append_lines(
                descriptor, b"".join(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE) for line in lines)
            )
            self._sound = os.fstat(descriptor).st_size
            if self._sound > self._rotate_bytes:
                self._rotate()

    @contextlib.contextmanager
    def _opened(self) -> Iterator[int]:
        descriptor = durable.open_lines(self.path, self._sound)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _rotate(self) -> None:
        for number in range(_KEEP - 1, 0, -1):
            older = self.path.with_suffix(f".{number}.jsonl")
            if older.exists():
                older.replace(self.path.with_suffix(f".{number + 1}.jsonl"))
        self.path.replace(self.path.with_suffix(".1.jsonl"))


class RequestLog:
    """The request log of one process."""

    def __init__(self, path: Path, *, rotate_bytes: int = 64 << 20) -> None:
        """Files are rotated at `rotate_bytes`, that of strangers at an eighth of it."""
        self.path = path
        self._known = _File(path, rotate_bytes)
        self._strangers = _File(path.with_name("strangers.jsonl"), rotate_bytes // 8)
        self._pending: asyncio.TimerHandle | None = None
        # One, so that lines keep their order.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="penstock-requestlog")
        self._writing: Future[None] | None = None

    def add(
        self,
        session: Session,
        *,
        at: int,
        id: str,
        service: str,
        operation: str,
        region: str,
        status: int,
        code: str,
        began: float,
        via: str,
        source: str,
        origin: str = "",
    ) -> None:
        """Take a call that has ended; its line is written within a fifth of a second. `at` is in ms, `began` of `time.perf_counter`."""
        seconds = time.perf_counter() - began
        REQUESTS(service, operation, status, via).inc()
        REQUEST_SECONDS(service, via).observe(seconds)
        file = self._strangers if session is ANONYMOUS else self._known
        if len(file.lines) < _MOST_WAITING:
            file.lines.append(
                {
                    "at": at,
                    "id": id,
                    "service": service,
                    "operation": _cut(operation),
                    "principal": _cut(session.arn),
                    "account": session.account,
                    "region": region,
                    "status": status,
                    "code": _cut(code),
                    "ms": round(seconds * 1000, 2),
                    "via": via,
                    "source": source,
                    "origin": origin,
                }
            )
        if self._pending is None:
            self._pending = asyncio.get_running_loop().call_later(_BATCH_SECONDS, self._flush)

    @contextlib.asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """Keep the log open; the last lines are written on the way out."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            yield
        finally:
            if self._pending is not None:
                self._pending.cancel()
            await asyncio.wrap_future(self._thread.submit(self._write, self._known.take(), self._strangers.take()))
            self._thread.shutdown()

    def _flush(self) -> None:
        self._pending = None
        if self._writing is not None and not self._writing.done():
            # The disk is slower than the calls: what waits stays bounded by waiting here.
            self._pending = asyncio.get_running_loop().call_later(_BATCH_SECONDS, self._flush)
            return
        self._writing = self._thread.submit(self._write, self._known.take(), self._strangers.take())

    def _write(self, known: list[dict[str, Any]], strangers: list[dict[str, Any]]) -> None:
        self._known.write(known)
        self._strangers.write(strangers)


def _cut(text: str) -> str:
    return text[:_LONGEST]
