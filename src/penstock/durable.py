"""Files that survive a power failure: the bytes are on disk before their name is, and the name before anybody relies on it.

Files of lines survive a full disk and a power failure: what is in them are complete lines. None of them has a NUL in a line.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable
from pathlib import Path

_READ = 1 << 20


def write(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Replace a file, completely or not at all, and on disk when this returns."""
    temporary = path.with_name(path.name + ".new")
    create(temporary, content, mode=mode, exclusive=False)
    temporary.replace(path)
    sync_folder(path.parent)


def create(path: Path, content: bytes, *, mode: int = 0o600, exclusive: bool = True) -> None:
    """Write a file whose bytes are on disk when this returns. Its name is not: `sync_folder` does that."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | (os.O_EXCL if exclusive else os.O_TRUNC), mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def make_folder(path: Path, *, mode: int = 0o700) -> None:
    """Make a folder and those above it that are missing, each on disk by its name when this returns."""
    if path.is_dir():
        return
    make_folder(path.parent, mode=mode)
    path.mkdir(mode=mode, exist_ok=True)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Wait until what was created, renamed and removed in a folder is on disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(path: Path) -> None:
    """Wait until a folder that was just made is on disk with all that is in it, and by its name."""
    for folder, _, files in os.walk(path, topdown=False):
        for name in files:
            descriptor = os.open(Path(folder, name), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        sync_folder(Path(folder))
    sync_folder(path.parent)


def open_lines(path: Path, sound: int = 0) -> int:
    """A descriptor to append lines with, until it is closed nobody else's turn. What a crash left is cut off behind `sound` bytes."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    cut_lines(descriptor, sound)
    return descriptor


def cut_lines(descriptor: int, sound: int = 0) -> bool:
    """Cut off what `sound_lines` does not count. Whether there was any."""
    end = sound_lines(descriptor, sound)
    cut = end < os.fstat(descriptor).st_size
    if cut:
        os.ftruncate(descriptor, end)
    return cut


def sound_lines(descriptor: int, sound: int = 0) -> int:
    """The bytes of complete lines before half a line that a crash left at the end, or before the gap that a power failure left.

    What is not synced reaches the disk in any order, and is zeros until then. `sound` bytes, complete lines, are known to be as they were written.
    """
    at = end = sound if sound <= os.fstat(descriptor).st_size else 0  # a smaller file is another
    while content := os.pread(descriptor, _READ, at):
        lines = complete_lines(content)
        if lines:
            end = at + len(lines)
        if b"\0" in content:
            break
        at += len(content)
    return end


def complete_lines(content: bytes) -> bytes:
    """The complete lines of a piece of a file: to the gap that a power failure left, without half a line at the end."""
    gap = content.find(b"\0")
    return content[: content.rfind(b"\n", 0, gap if gap >= 0 else None) + 1]


def append_lines(descriptor: int, lines: bytes, *, again: Callable[[OSError], bool] = lambda _: False) -> None:
    """Append lines. When the disk takes no more, the complete ones stay: behind half a line the next one could not be read.

    `again` is asked after each error whether to continue trying. Raises OSError.
    """
    written = 0
    try:
        while written < len(lines):
            try:
                written += os.write(descriptor, memoryview(lines)[written:])
            except OSError as error:
                if not again(error):
                    raise
    except BaseException:
        half = written - (lines.rfind(b"\n", 0, written) + 1)
        if half:
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, os.fstat(descriptor).st_size - half)
        raise
