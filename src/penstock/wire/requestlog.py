"""One JSON line per request, written in batches beside the event loop; rotated by size.

A line: `{"at": ms, "id": …, "service": …, "operation": …, "principal": arn, "account": …, "region": …, "status": 200, "code": "", "ms": 1.2,
"via": "http"}`. Nothing of a body or a header is in it. Requests of callers that did not show who they are stand in a file of their own,
`strangers.jsonl`: however many they are, they push nothing out of the record of what was done.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson

_BATCH_SECONDS = 0.2
_KEEP = 4
_LONGEST = 1024  # characters of a field
_MOST_WAITING = 20_000  # lines, until the next batch is written


class _File:
    """A log file, and those that it was rotated to."""

    def __init__(self, path: Path, rotate_bytes: int) -> None:
        self.path = path
        self._rotate_bytes = rotate_bytes
        self.lines: list[dict[str, Any]] = []

    def write(self) -> None:
        lines, self.lines = self.lines, []
        if not lines:
            return
        # Appending to the page cache takes microseconds; a log of requests is not worth an fsync.
        with contextlib.suppress(OSError), self.path.open("ab") as file:
            file.write(b"".join(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE) for line in lines))
            if file.tell() > self._rotate_bytes:
                self._rotate()

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

    def add(self, line: dict[str, Any], *, stranger: bool) -> None:
        """Take a line; it is on disk within a fifth of a second. `stranger` says that nobody is known to have asked."""
        file = self._strangers if stranger else self._known
        if len(file.lines) < _MOST_WAITING:
            file.lines.append({name: _cut(value) for name, value in line.items()})
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
        self._known.write()
        self._strangers.write()


def _cut(value: Any) -> Any:
    return value[:_LONGEST] if isinstance(value, str) else value
