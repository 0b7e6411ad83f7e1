"""What scripts say: lines in scripts.log, the end of them kept for the service, and pipes that outlive their script."""

from __future__ import annotations

import codecs
import os
import re
import select
import threading
import time
from collections import deque
from typing import BinaryIO, Deque, List, Tuple

from penstock_agent import log
from penstock_agent.layout import append_lines, open_lines, stamp

TAIL_BYTES = 16 * 1024
MAX_LINE = 4096
READ_BYTES = 64 * 1024
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")


class Output:
    """What the scripts of one event say: written to scripts.log, and the end of it kept for the service."""

    def __init__(self, path: str, limit: int) -> None:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        self._path = path
        self._limit = limit
        self._file = self._opened()
        self._size = os.fstat(self._file.fileno()).st_size
        self._lines: Deque[str] = deque()
        self._kept = 0
        self._lock = threading.Lock()
        self.total = 0

    def _opened(self) -> BinaryIO:
        # What scripts say may be secret: it is for the agent's user alone.
        return open(open_lines(self._path), "ab", buffering=0)

    def write(self, lines: List[str]) -> None:
        """Add lines without their ends."""
        prefix = stamp(time.time()) + " "
        data = "".join(prefix + line + "\n" for line in lines).encode("utf-8", "replace")
        with self._lock:
            for line in lines:
                clean = _ESCAPES.sub("", line)
                self._lines.append(clean)
                size = len(clean) + 1
                self._kept += size
                self.total += size
            while self._kept > TAIL_BYTES and len(self._lines) > 1:
                self._kept -= len(self._lines.popleft()) + 1
        try:
            if self._size + len(data) > self._limit:
                self._file.close()
                os.replace(self._path, self._path + ".1")
                self._file = self._opened()
                self._size = 0
            append_lines(self._file.fileno(), data)
            self._size += len(data)
        except OSError as error:
            log.warning("scripts_log.failed", path=self._path, reason=error)

    def tail(self) -> Tuple[str, int]:
        """The kept end, and how many characters there were in all."""
        with self._lock:
            return "".join(line + "\n" for line in self._lines), self.total

    def close(self) -> None:
        """No more lines."""
        self._file.close()


class Lines:
    """Cuts a stream of bytes into lines; very long ones into pieces."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._rest = ""
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode

    def feed(self, data: bytes, *, last: bool = False) -> List[str]:
        text = self._rest + self._decode(data, last).replace("\r\n", "\n").replace("\0", "\ufffd")
        parts = text.split("\n")
        self._rest = parts.pop()
        if last and self._rest:
            parts.append(self._rest)
            self._rest = ""
        while len(self._rest) > MAX_LINE:
            parts.append(self._rest[:MAX_LINE])
            self._rest = self._rest[MAX_LINE:]
        lines = []
        for part in parts:
            lines.extend(part[at : at + MAX_LINE] for at in range(0, len(part), MAX_LINE)) if part else lines.append("")
        return [self._prefix + line for line in lines]


class Drain:
    """Reads on from pipes that background children of ended hooks still hold, so that they do not die of a closed pipe.

    What they say then is thrown away.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._poll = select.poll()
        self._count = 0

    def take(self, descriptors: List[int]) -> None:
        """Own these descriptors from now on."""
        if not descriptors:
            return
        with self._lock:
            for descriptor in descriptors:
                self._poll.register(descriptor, select.POLLIN)
            start = self._count == 0
            self._count += len(descriptors)
        if start:
            threading.Thread(target=self._run, name="drain", daemon=True).start()

    def _run(self) -> None:
        while True:
            for descriptor, _ in self._poll.poll(5000):
                try:
                    data = os.read(descriptor, READ_BYTES)
                except BlockingIOError:
                    continue
                except OSError:
                    data = b""
                if not data:
                    with self._lock:
                        self._poll.unregister(descriptor)
                        os.close(descriptor)
                        self._count -= 1
                        if not self._count:
                            return
