"""Deleting what a sandbox's processes left."""

from __future__ import annotations

import os
from pathlib import Path


def remove_tree(top: Path) -> None:
    """Delete a folder that foreign processes filled, however deep it is and whatever its permissions are.

    Folders come up to the top before they are looked into: no recursion, no long paths, one open folder at a time.
    """
    number = 0
    waiting = _emptied(top)
    while waiting:
        folder = waiting.pop()
        for inner in _emptied(folder):
            while os.path.lexists(moved := top / f"removed-{number}"):
                number += 1
            waiting.append(inner.rename(moved))
        folder.rmdir()
    top.rmdir()


def _emptied(folder: Path) -> list[Path]:
    """Delete the files of a folder; the folders in it, each made ours to change."""
    folder.chmod(0o700)
    with os.scandir(folder) as entries:
        found = [(Path(entry.path), entry.is_dir(follow_symlinks=False)) for entry in entries]
    for path, is_folder in found:
        if is_folder:
            path.chmod(0o700)
        else:
            path.unlink()
    return [path for path, is_folder in found if is_folder]
