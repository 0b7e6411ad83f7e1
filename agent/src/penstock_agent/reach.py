"""Letting the user of a script reach its revision: the agent's directory is closed to everybody else, always.

While a script runs as another user, that user, and no other, may pass through the directory (not list it): an access
control list, as setfacl would write it.
"""

from __future__ import annotations

import os
import stat
import struct
import threading
from contextlib import contextmanager
from typing import Dict, Iterator, List

from penstock_agent import log

_ATTRIBUTE = "system.posix_acl_access"
_VERSION = 2
_OWNER, _USER, _GROUP, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x10, 0x20  # acl(5), in the order that the kernel wants
_NOBODY = 0xFFFFFFFF
_PASS = 1


class Reach:
    """The access of other users to one directory."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._counts: Dict[int, int] = {}
        self._lock = threading.Lock()

    @contextmanager
    def by(self, uid: int) -> Iterator[None]:
        """Let the user pass through the directory meanwhile."""
        if uid in (0, os.geteuid()):
            yield
            return
        self._change(uid, 1)
        try:
            yield
        finally:
            self._change(uid, -1)

    def _change(self, uid: int, by: int) -> None:
        with self._lock:
            self._counts[uid] = self._counts.get(uid, 0) + by
            users = sorted(each for each, count in self._counts.items() if count > 0)
            try:
                if users:
                    os.setxattr(self._directory, _ATTRIBUTE, _list(users))
                else:
                    close(self._directory)
            except OSError as error:
                log.warning("root_dir.access_not_changed", path=self._directory, reason=error)


def _list(users: List[int]) -> bytes:
    entries = [(_OWNER, 7, _NOBODY), *((_USER, _PASS, uid) for uid in users)]
    entries += [(_GROUP, 0, _NOBODY), (_MASK, _PASS, _NOBODY), (_OTHER, 0, _NOBODY)]
    return struct.pack("<L", _VERSION) + b"".join(struct.pack("<HHL", *entry) for entry in entries)


def close(directory: str) -> None:
    """Take away whatever others may do. Raises OSError."""
    try:
        os.removexattr(directory, _ATTRIBUTE)
    except OSError:
        pass  # it is missing, or the file system has no such lists
    os.chmod(directory, stat.S_IRWXU)
