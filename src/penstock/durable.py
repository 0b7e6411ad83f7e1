"""Files that survive a power failure: the bytes are on disk before their name is, and the name before anybody relies on it."""

from __future__ import annotations

import os
from pathlib import Path


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


def sync_folder(path: Path) -> None:
    """Wait until what was created, renamed and removed in a folder is on disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
