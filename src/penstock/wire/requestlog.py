"""One JSON line per request, written in batches beside the event loop; rotated by size.

A line: `{"at": ms, "id": …, "service": …, "operation": …, "principal": arn, "account": …, "region": …, "status": 200, "code": "", "ms": 1.2,
"via": "http"}`. Nothing of a body or a header is in it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson

_BATCH_SECONDS = 0.2
_ROTATE_BYTES = 64 << 20
_KEEP = 4


class RequestLog:
    """The request log of one process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines: list[dict[str, Any]] = []
        self._pending: asyncio.TimerHandle | None = None

    def add(self, line: dict[str, Any]) -> None:
        """Take a line; it is on disk within a fifth of a second."""
        self._lines.append(line)
        if self._pending is None:
            self._pending = asyncio.get_running_loop().call_later(_BATCH_SECONDS, self._flush)

    @contextlib.asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """Keep the log open; the last lines are written on the way out."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            yield
        finally:
            self._flush()

    def _flush(self) -> None:
        if self._pending is not None:
            self._pending.cancel()
            self._pending = None
        lines, self._lines = self._lines, []
        if not lines:
            return
        # Appending to the page cache takes microseconds; a log of requests is not worth an fsync.
        with contextlib.suppress(OSError), self.path.open("ab") as file:
            file.write(b"".join(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE) for line in lines))
            size = file.tell()
            if size > _ROTATE_BYTES:
                self._rotate()

    def _rotate(self) -> None:
        for number in range(_KEEP - 1, 0, -1):
            older = self.path.with_suffix(f".{number}.jsonl")
            if older.exists():
                older.replace(self.path.with_suffix(f".{number + 1}.jsonl"))
        self.path.replace(self.path.with_suffix(".1.jsonl"))
