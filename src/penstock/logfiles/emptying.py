"""Taking parts out of a file that keeps its size and the places of everything else in it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

_PUNCH_HOLE, _KEEP_SIZE = 2, 1  # linux/falloc.h
_UNABLE = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})


@contextlib.contextmanager
def held_off(lock: Path, *, alone: bool = False) -> Iterator[None]:
    """While nobody empties a part of the file that this one belongs to, or, `alone`, reads it: what is read is either as it was or empty."""
    with contextlib.ExitStack() as stack:
        try:
            descriptor = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            pass
        else:
            stack.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield


def empty(path: Path, end: int) -> bool:
    """Free the space of a file's beginning, which then reads as zeros. False where the file system cannot, and nothing has changed."""
    import ctypes  # noqa: PLC0415 - only those pay for it who have something to empty

    fallocate = ctypes.CDLL(None, use_errno=True).fallocate
    fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    with path.open("r+b") as file:
        if fallocate(file.fileno(), _PUNCH_HOLE | _KEEP_SIZE, 0, end) == 0:
            return True
        error = ctypes.get_errno()
    if error in _UNABLE:
        return False
    raise OSError(error, os.strerror(error), str(path))
