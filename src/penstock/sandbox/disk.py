"""What a sandbox may fill of the disk: its own limit, and what the machine keeps free for its server and the other sandboxes.

Free space is looked at often, which costs nothing; its files are counted only when that could change the verdict, in a child
process. Where a sandbox's space lies on the same file system as the server's, several sandboxes can be in the way of the kept space: the more
of the space one has, the sooner it is the one that ends, so the one that fills the disk goes before its neighbours.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time

from penstock.sandbox.processes import descendants
from penstock.sandbox.space import KEPT, keeps, size

_NEAR_S, _FAR_S = 0.02, 0.05  # a look costs microseconds; fallocate(2) takes gigabytes in the time between two
_AGAIN_S = 30  # between two counts without a reason
_SHARE_S = 0.05  # how long the kept space may be used by one that has all of the rest


class Disk:
    """Watches one sandbox. `folders` (and files) are its own, all that it writes; `skipped` are mounts below them."""

    def __init__(self, folders: list[str], *, skipped: list[str], limit: int, subject: str) -> None:
        self.folders = folders
        self._skipped = set(skipped)
        self._limit = limit
        self._subject = subject
        self._used = 0
        self._result = b""
        self._counting = -1
        self._child = 0
        self._started = self._counted = time.monotonic()
        self._cost = 0.0
        self._low_since = 0.0
        self._free = self._room = self._measure()[0]

    @property
    def descriptors(self) -> list[int]:
        """What can be read when a count is done."""
        return [self._counting] if self._counting >= 0 else []

    def pause(self) -> float:
        """Seconds until it must look again."""
        free, kept = self._measure()
        return _NEAR_S if free < 4 * kept else _FAR_S

    def _measure(self) -> tuple[int, int]:
        """Free bytes, and those to keep, of the file system of the folders that has least."""
        found = []
        for folder in self.folders:
            with contextlib.suppress(OSError):
                facts = os.statvfs(folder)
                kept = keeps(facts)
                if facts.f_files and facts.f_ffree < facts.f_files // 100:  # as good as full
                    found.append((0, kept))
                found.append((facts.f_bavail * facts.f_frsize, kept))
        return min(found, key=lambda one: one[0] - one[1], default=(KEPT * 8, KEPT))

    def verdict(self, supervisor: int) -> str:
        """Why the sandbox has to end now; "" while it need not. `supervisor`: the process above all of its own."""
        now = time.monotonic()
        free, kept = self._measure()
        if self._counting >= 0 and self._take():
            self._cost = now - self._started
            self._counted = now
            if self._result == b"deep":
                return f"The {self._subject}'s folders are nested deeper than a path may be long"
            self._used = int(self._result or 0)
        self._low_since = (self._low_since or now) if free < kept else 0.0
        if self._used > self._limit:
            return f"The {self._subject} used more than its {size(self._limit)} of disk"
        if self._low_since and self._used and self._counted >= self._low_since:
            wait = _SHARE_S * max(self._room, 1) / self._used
            if now - self._low_since >= wait:
                return (
                    f"The {self._subject} filled the disk: it had {size(self._used)}, and less than the {size(kept)} that this machine keeps "
                    "for its server were left"
                )
        grown = self._used + max(self._free - free, 0)
        due = bool(self._low_since) or grown > self._limit or now - self._counted > _AGAIN_S
        if due and self._counting < 0 and now - self._counted >= min(3 * self._cost, _AGAIN_S):
            self._free = free
            self._count(supervisor)
        return ""

    def _count(self, supervisor: int) -> None:
        self._started = time.monotonic()
        self._counting, writing = os.pipe()
        self._result = b""
        pid = os.fork()
        if not pid:
            try:
                os.write(writing, str(used(self.folders, self._skipped, supervisor)).encode())
            except TooDeep:
                os.write(writing, b"deep")
            finally:
                os._exit(0)
        os.close(writing)
        os.set_blocking(self._counting, False)

    def _take(self) -> bool:
        """Take what the child says; True at its end."""
        try:
            while chunk := os.read(self._counting, 64):
                self._result += chunk
        except BlockingIOError:
            return False
        os.close(self._counting)
        self._counting = -1
        return True


class TooDeep(Exception):
    """There are folders whose path is too long for the kernel."""


def used(folders: list[str], skipped: set[str], supervisor: int) -> int:
    """Bytes on disk of everything below the folders, and of files without a name that processes below `supervisor` hold open. Raises TooDeep."""
    total = 0
    several: set[tuple[int, int]] = set()  # files that have more than one name, or none
    waiting = list(folders)
    while waiting:
        folder = waiting.pop()
        if len(folder) > 4000:
            raise TooDeep
        try:
            entries = os.scandir(folder)
        except OSError:
            with contextlib.suppress(OSError):
                total += os.lstat(folder).st_blocks * 512
            continue
        with entries:
            for entry in entries:
                if entry.path in skipped:
                    continue
                try:
                    facts = entry.stat(follow_symlinks=False)
                except OSError:
                    continue
                if stat.S_ISDIR(facts.st_mode):
                    waiting.append(entry.path)
                elif facts.st_nlink > 1:
                    if (facts.st_dev, facts.st_ino) in several:
                        continue
                    several.add((facts.st_dev, facts.st_ino))
                total += facts.st_blocks * 512
    return total + _nameless(supervisor, several)


def _nameless(supervisor: int, several: set[tuple[int, int]]) -> int:
    total = 0
    for pid in descendants(supervisor):
        with contextlib.suppress(OSError):
            for name in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    facts = os.stat(f"/proc/{pid}/fd/{name}")
                    if (
                        stat.S_ISREG(facts.st_mode)
                        and not facts.st_nlink
                        and (facts.st_dev, facts.st_ino) not in several
                    ):
                        several.add((facts.st_dev, facts.st_ino))
                        total += facts.st_blocks * 512
    return total
