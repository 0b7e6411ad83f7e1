"""The process that supervisors are forked from."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.sandbox.launcher import Launcher

SUPERVISOR = "penstock.builds.supervisor.main"
NO_JOB = 4  # what a supervisor of a directory without one answers


@pytest.fixture
def launcher() -> Iterator[Launcher]:
    made = Launcher(SUPERVISOR)
    yield made
    made.close()


def test_one_process_starts_every_supervisor_and_knows_nothing_of_the_server(launcher: Launcher, tmp_path: Path):
    assert launcher.start(tmp_path) == NO_JOB
    assert launcher._process is not None
    first = launcher._process.pid
    assert launcher.start(tmp_path / "not-there") == NO_JOB
    assert launcher._process.pid == first
    assert Path(f"/proc/{first}/environ").read_bytes() == b""
    held = {os.readlink(f"/proc/{first}/fd/{name}") for name in os.listdir(f"/proc/{first}/fd")}
    assert {name.partition(":")[0] for name in held} == {"/dev/null", "socket"}


def test_one_that_was_killed_is_replaced(launcher: Launcher, tmp_path: Path):
    assert launcher.start(tmp_path) == NO_JOB
    assert launcher._process is not None
    first = launcher._process.pid
    launcher._process.kill()
    launcher._process.wait()
    assert launcher.start(tmp_path) == NO_JOB
    assert launcher._process.pid != first


def test_it_ends_with_its_server(tmp_path: Path):
    launcher = Launcher(SUPERVISOR)
    assert launcher.start(tmp_path) == NO_JOB
    process = launcher._process
    assert launcher._channel is not None
    assert process is not None
    launcher._channel.close()  # as the kernel does when the server is killed
    assert process.wait(60) == 0
