"""Files of records that are chained: whoever changes, removes or moves a line breaks the chain at it.

A line is `HASH AT RECORD`: 64 hexadecimal digits, milliseconds since the epoch, JSON. HASH is SHA-256 over the line before it (its HASH) and
over `AT RECORD`, so that `printf '%s%s' HASH_BEFORE "AT RECORD" | sha256sum` checks one. The chain of a file begins with the SHA-256 of its
name. A file belongs to the process that holds its lock; the chain of one that nobody holds has ended.

`append` hands a line to the operating system before it returns: it survives the end of the process, and a power failure once it is synced.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from penstock import durable

log = logging.getLogger("penstock.trail")

SUFFIX = ".chain"
_HASH = 64  # characters
_MOST_WAITING = 20_000  # lines that the disk did not take yet
NO_HASH = "0" * _HASH
"""The hash of no line."""
_NO_HASH = NO_HASH.encode()
_DIGITS = 18  # of a time, and more than any has
END = b'{"end":true}'
"""The record that a process ends a chain with. One that does not end so was broken off."""


class Line(NamedTuple):
    """A line, taken apart."""

    hash: str
    at: int  # ms
    record: bytes  # JSON


class Unreadable(Exception):
    """A line is no line of a trail."""


def first_hash(chain: str) -> str:
    """What the first line of a chain is chained to."""
    return hashlib.sha256(chain.encode()).hexdigest()


def chained(before: str, content: bytes) -> str:
    """The hash of a line with this content, behind a line with the hash `before`."""
    return hashlib.sha256(before.encode() + content).hexdigest()


def take_apart(line: bytes) -> Line:
    """A line, without its end. Raises Unreadable for one that `Trail` cannot have written."""
    parts = line.split(b" ", 2)
    if len(parts) != 3:
        raise Unreadable
    hash, at, record = parts
    written = at.isdigit() and len(at) < _DIGITS and (at == b"0" or at[:1] != b"0")
    if not written or len(hash) != _HASH or hash.translate(None, b"0123456789abcdef") or hash == _NO_HASH:
        raise Unreadable
    return Line(hash.decode(), int(at), record)


def breaks(before: str, lines: Iterable[bytes]) -> Iterator[tuple[int, Line | None]]:
    """The places (counted from 0) where a chain that continues from `before` is broken, with the line there if it can be read."""
    for index, raw in enumerate(lines):
        try:
            line = take_apart(raw)
        except Unreadable:
            yield index, None
            before = ""
            continue
        if before and chained(before, raw[_HASH + 1 :]) != line.hash:
            yield index, line
        before = line.hash


@dataclass(slots=True)
class _File:
    chain: str
    path: Path
    descriptor: int
    head: str
    lines: int = 0
    size: int = 0


def sync_and_close(descriptor: int) -> None:
    """Wait until what `Trail.to_sync` is about survives a power failure; blocks."""
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Trail:
    """The chain that one process writes: a file, and the next when it is full. For one thread."""

    def __init__(self, folder: Path, *, file_bytes: int = 64 << 20) -> None:
        self.folder = folder
        self._file_bytes = file_bytes
        self._file: _File | None = None
        self._waiting: list[tuple[int, bytes]] = []
        self._unsynced = False
        self._failed = False
        self.lost = 0
        """Records that were dropped because the disk took none for too long."""

    def takes_lines(self) -> bool:
        """Whether the disk takes lines; those that it refused last are tried again. What needs a record must not be done while it does not."""
        return not self._failed or self.write()

    @property
    def unsynced(self) -> bool:
        """Whether a power failure would take what is written."""
        return self._unsynced

    @property
    def chain(self) -> str:
        """The name of the chain that is written; "" before the first line."""
        return "" if self._file is None else self._file.chain

    @property
    def path(self) -> Path | None:
        """The file that is written."""
        return None if self._file is None else self._file.path

    @property
    def lines(self) -> int:
        """How many lines the present file has on disk."""
        return 0 if self._file is None else self._file.lines

    def keep(self, at: int, record: bytes) -> None:
        """Take a record (JSON, `at` in ms) that `write` or the next `append` writes."""
        if len(self._waiting) >= _MOST_WAITING:
            self.lost += 1
            return
        self._waiting.append((at, record))

    def append(self, at: int, record: bytes) -> bool:
        """Write a record, and those that were kept before it. Whether the operating system has it."""
        self.keep(at, record)
        complete = self.write()
        if complete and record != END and self._file is not None and self._file.size >= self._file_bytes:
            self.end(at)
        return complete

    def write(self) -> bool:
        """Write what was kept. What the disk does not take is tried again the next time."""
        if not self._waiting:
            return True
        try:
            file = self._opened()
        except OSError as error:
            return self._refused(error)
        head, lines = file.head.encode(), []
        for at, record in self._waiting:
            content = b"%d %b" % (at, record)
            head = hashlib.sha256(head + content).hexdigest().encode()
            lines.append(b"%b %b\n" % (head, content))
        joined = b"".join(lines)
        size = len(joined)
        try:
            durable.append_lines(file.descriptor, joined)
        except OSError as error:
            # A disk that is nearly full takes some lines.
            taken = os.fstat(file.descriptor).st_size - file.size
            while size > taken:
                size -= len(lines.pop())
            self._refused(error)
        else:
            self._failed = False
        if lines:
            self._unsynced = True
            file.head = lines[-1][:_HASH].decode()
            file.size += size
            file.lines += len(lines)
            del self._waiting[: len(lines)]
        return not self._waiting

    def to_sync(self) -> int | None:
        """A descriptor for `sync_and_close`, when something is written that a power failure would take."""
        if self._file is None or not self._unsynced:
            return None
        self._unsynced = False
        return os.dup(self._file.descriptor)

    def end(self, at: int) -> None:
        """End the present file (`at` is in ms). The next line begins another."""
        if self._file is not None:
            self.append(at, END)
            self._close()

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file.descriptor)
            self._file = None

    def _refused(self, error: OSError) -> bool:
        if not self._failed:
            log.error("trail.unwritable", extra={"folder": str(self.folder), "error": error.strerror})
        self._failed = True
        return False

    def _opened(self) -> _File:
        if self._file is None:
            durable.make_folder(self.folder)
            chain = os.urandom(8).hex()
            path = self.folder / f"{chain}{SUFFIX}"
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            durable.sync_folder(self.folder)
            self._file = _File(chain, path, descriptor, first_hash(chain))
        return self._file
