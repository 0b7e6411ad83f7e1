"""What an overlay of the host's root hides or replaces, so that a sandbox has its programs and none of its secrets."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable

_SCAN_LIMIT = 20_000


def private_paths(name: str) -> list[str]:
    """Files and folders below one of the root's folders that other users of this host may not read; all of it when it is too much to look at."""
    found: list[str] = []
    waiting = [name]
    seen = 0
    while waiting:
        folder = waiting.pop()
        try:
            entries = list(os.scandir("/" + folder))
        except OSError:
            continue
        for entry in entries:
            seen += 1
            if seen > _SCAN_LIMIT:
                return [name]  # rather nothing of it than a part that nobody looked at
            if entry.is_symlink():
                continue
            mode = entry.stat(follow_symlinks=False).st_mode
            inside = f"{folder}/{entry.name}"
            if stat.S_ISDIR(mode) and mode & 0o005 == 0o005:
                waiting.append(inside)
            elif stat.S_ISDIR(mode) or not mode & 0o004:
                found.append(inside)
    return found


class Cover:
    """The upper layer of an overlay: what hides or replaces parts of the host's root."""

    def __init__(self, upper: str) -> None:
        self.upper = upper
        self.opaque: set[str] = set()  # folders below which nothing of the host shows

    def remove(self, name: str) -> None:
        """Hide a path. A parent that is hidden already hides it as well."""
        if not name or any(name == empty or name.startswith(empty + "/") for empty in self.opaque):
            return
        if not os.path.lexists("/" + name) or not self._folder(os.path.dirname(name)):
            return
        path = os.path.join(self.upper, name)
        if not os.path.lexists(path):
            os.mknod(path, stat.S_IFCHR, 0)

    def empty(self, name: str, mode: int) -> None:
        """Put an empty folder in place of whatever is there."""
        if not self._folder(os.path.dirname(name)):
            return
        path = os.path.join(self.upper, name)
        if os.path.lexists(path) and not os.path.isdir(path):
            os.unlink(path)
        os.makedirs(path, exist_ok=True)
        os.chmod(path, mode)
        os.setxattr(path, "trusted.overlay.opaque", b"y")
        self.opaque.add(name)

    def keep_only(self, name: str, kept: tuple[str, ...]) -> None:
        """Hide everything in a folder but these."""
        if os.path.isdir("/" + name):
            for entry in os.listdir("/" + name):
                if entry not in kept:
                    self.remove(f"{name}/{entry}")

    def private_files(self, name: str) -> None:
        """Hide what other users of this host may not read, below a folder."""
        for path in private_paths(name):
            self.remove(path)

    def _folder(self, name: str) -> bool:
        """Make the upper side of a lower folder, like it; False when it is hidden."""
        if not name:
            return True
        if not self._folder(os.path.dirname(name)):
            return False
        path = os.path.join(self.upper, name)
        if os.path.lexists(path):
            return os.path.isdir(path) and not os.path.islink(path)
        if os.path.islink("/" + name) or not os.path.isdir("/" + name):
            return False
        status = os.stat("/" + name)
        os.mkdir(path)
        os.chown(path, status.st_uid, status.st_gid)
        os.chmod(path, stat.S_IMODE(status.st_mode))
        return True


def write_accounts(etc: str) -> None:
    """Shadow files without a single hash, so that packages can still add their users."""
    for name in ("shadow", "gshadow"):
        try:
            with open("/etc/" + name, encoding="utf-8", errors="replace") as file:
                lines = file.read().splitlines()
        except OSError:
            continue
        kept = [
            ":".join([parts[0], "*", *parts[2:]]) for parts in (line.split(":") for line in lines) if len(parts) > 2
        ]
        _replace(os.path.join(etc, name), "\n".join(kept) + "\n", 0o640)


def write_hosts(etc: str, name: str, extra: Iterable[str]) -> None:
    """The sandbox's hosts file: its own name, and others that lead to its loopback."""
    names = "".join(f"127.0.0.1 {other}\n" for other in extra)
    _replace(os.path.join(etc, "hosts"), f"127.0.0.1 localhost {name}\n::1 localhost\n{names}", 0o644)


def _replace(path: str, text: str, mode: int) -> None:
    if os.path.lexists(path):
        os.unlink(path)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(path, mode)
