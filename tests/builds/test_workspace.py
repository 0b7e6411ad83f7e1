"""A build's directory on the worker's disk goes, whatever the build left in it."""

from __future__ import annotations

import os
from pathlib import Path

from penstock.builds.workspace import Workspace


def test_it_is_deleted_however_deep_and_shut_it_is(tmp_path: Path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    space = Workspace(tmp_path / "build", tmp_path / "build" / "tree")
    space.create()
    here = os.open(space.output, os.O_RDONLY)
    for _ in range(3000):  # deeper than Python recurses, longer than a path may be
        os.mkdir("d", dir_fd=here)
        inner = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.symlink(outside, "link", dir_fd=here)
    os.mkfifo("fifo", dir_fd=here)
    os.mkdir("shut", 0o000, dir_fd=here)
    os.close(here)
    (space.path / "removed-0").mkdir()
    (space.path / "removed-0" / "file").touch()
    space.remove()
    assert not space.path.exists()
    assert (outside / "kept").exists()
