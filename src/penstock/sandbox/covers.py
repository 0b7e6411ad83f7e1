"""Paths of the server below the folders that a sandbox is shown, and under what other names they show there."""

from __future__ import annotations

import os
from collections.abc import Iterable


def visible(private: Iterable[str], exposed: Iterable[str]) -> list[str]:
    """Every path below a `shown` folder by which a `private` file or folder of this host can be reached; outermost first.

    A folder can be mounted a second time somewhere below an exposed one, so names alone are not enough. Links need no check: what they lead to is
    what is hidden. Paths that do not exist hide nothing.
    """
    roots = {os.path.realpath(folder) for folder in exposed}
    mounts = _mounts()
    found: set[str] = set()
    for path in private:
        real = os.path.realpath(path)
        if not os.path.lexists(real):
            continue
        for alias in {real, *_aliases(real, mounts)}:
            found.update(alias for root in roots if _below(alias, root))
            # A shown folder inside a private one is a part of it.
            found.update(root for root in roots if _below(root, alias))
    return sorted(found)


def _aliases(path: str, mounts: list[tuple[str, str, str]]) -> list[str]:
    """The other places of this mount namespace where a file or folder appears."""
    home = max((m for m in mounts if _below(path, m[2])), key=lambda m: len(m[2]), default=None)
    if home is None:
        return []
    device, root, point = home
    inside = os.path.normpath(os.path.join(root, os.path.relpath(path, point)))
    found: list[str] = []
    for other, other_root, other_point in mounts:
        if other != device:
            continue
        if _below(inside, other_root):
            found.append(os.path.normpath(os.path.join(other_point, os.path.relpath(inside, other_root))))
        elif _below(other_root, inside):
            found.append(other_point)
    return found


def _mounts() -> list[tuple[str, str, str]]:
    """Device, folder within it, and place of every mount, in the order of mounting."""
    with open("/proc/self/mountinfo", "rb") as file:
        rows = [line.split() for line in file]
    return [(row[2].decode(), _unescaped(row[3]), _unescaped(row[4])) for row in rows]


def _unescaped(field: bytes) -> str:
    """The kernel writes blanks, tabs, newlines and backslashes as three octal digits."""
    head, *parts = field.split(b"\\")
    return os.fsdecode(head + b"".join(bytes([int(part[:3], 8)]) + part[3:] for part in parts))


def _below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")
