"""Where sealed blobs lie: the protocol of a backend, and the one on a disk.

Every method blocks and is called on the blob pool's threads only.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from penstock.durable import make_folder, sync_folder


class Sink(Protocol):
    """A blob while it is written. Nothing is visible to readers before `commit` returned."""

    def write(self, pieces: list[bytes]) -> None:
        """Append the pieces."""
        ...

    def commit(self) -> None:
        """Return when the bytes survive a power failure."""
        ...

    def discard(self) -> None:
        """Take back everything; never raises."""
        ...


class Source(Protocol):
    """An open blob. It stays readable when the blob is removed meanwhile."""

    def read(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes from `offset`; fewer only at the end."""
        ...

    def close(self) -> None:
        """Let go."""
        ...


class Backend(Protocol):
    """Keeps sealed blobs by their random id."""

    def prepare(self) -> None:
        """Make ready, once, before anything else. Raises what keeps the server from starting."""
        ...

    def create(self, blob: str) -> Sink:
        """Begin a new blob."""
        ...

    def open(self, blob: str) -> Source:
        """Open a blob. Raises FileNotFoundError, here or at the first read."""
        ...

    def remove(self, blob: str) -> None:
        """Remove a blob; one that is not there is no error."""
        ...

    def older_than(self, age_s: float) -> Iterator[str]:
        """Ids of the blobs that were last written more than `age_s` seconds ago (wall time)."""
        ...


class DiskBackend:
    """Files `root/ab/ab12…`, one per blob, in 256 folders that are made once."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def prepare(self) -> None:
        """Make the folders, durably."""
        make_folder(self._root)
        for number in range(256):
            (self._root / f"{number:02x}").mkdir(exist_ok=True, mode=0o700)
        sync_folder(self._root)

    def create(self, blob: str) -> Sink:
        """Begin a file; an id is never written twice."""
        return _File(self._path(blob))

    def open(self, blob: str) -> Source:
        """Open a file. Raises FileNotFoundError."""
        return _OpenFile(self._path(blob))

    def remove(self, blob: str) -> None:
        """Unlink a file; open readers keep it."""
        with contextlib.suppress(FileNotFoundError):
            self._path(blob).unlink()

    def older_than(self, age_s: float) -> Iterator[str]:
        """Ids by the files' modification times."""
        limit = time.time() - age_s
        for folder in sorted(self._root.iterdir()):
            if not folder.is_dir():
                continue
            with os.scandir(folder) as entries:
                for entry in entries:
                    with contextlib.suppress(FileNotFoundError):
                        if entry.stat(follow_symlinks=False).st_mtime < limit:
                            yield entry.name

    def _path(self, blob: str) -> Path:
        return self._root / blob[:2] / blob


class _File:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def write(self, pieces: list[bytes]) -> None:
        waiting = [memoryview(piece) for piece in pieces if piece]
        while waiting:
            written = os.writev(self._fd, waiting[:64])
            while written:
                if written >= len(waiting[0]):
                    written -= len(waiting.pop(0))
                else:
                    waiting[0] = waiting[0][written:]
                    written = 0

    def commit(self) -> None:
        os.fsync(self._fd)
        self._close()
        sync_folder(self._path.parent)

    def discard(self) -> None:
        with contextlib.suppress(OSError):
            self._close()
        with contextlib.suppress(OSError):
            self._path.unlink()

    def _close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class _OpenFile:
    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def read(self, offset: int, length: int) -> bytes:
        return os.pread(self._fd, length, offset)

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
