"""A build's directory on the worker's disk goes, whatever the build left in it."""

from __future__ import annotations

import fcntl
import logging
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from penstock.builds import machine, workspace
from penstock.builds.machine import node_of, this_machine
from penstock.builds.supervisor import journal
from penstock.builds.supervisor.log import Log
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


HERE = this_machine()


def on(monkeypatch: pytest.MonkeyPatch, **changes: str) -> None:
    """From here on this process is on another machine."""
    other = replace(HERE, **changes)
    monkeypatch.setattr(machine, "this_machine", lambda: other)
    monkeypatch.setattr(workspace, "this_machine", lambda: other)


@pytest.mark.parametrize(
    ("changes", "locked", "elsewhere"),
    [
        ({}, True, False),
        ({"name": "hostname and machine id changed"}, True, False),
        ({"name": "other", "boot": "other"}, False, True),  # another machine, whatever its locks say of this disk
        ({"name": "other", "boot": "other", "processes": "other"}, True, True),
        ({"boot": "restarted"}, False, False),
        ({"boot": "a clone of this machine"}, True, True),
        ({"processes": "another container"}, True, True),
        ({"processes": "this container, restarted"}, False, False),
    ],
)
def test_a_run_is_elsewhere_where_its_processes_cannot_be_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], locked: bool, elsewhere: bool
):
    space = Workspace(tmp_path / "build", tmp_path / "build" / "tree")
    assert space.is_elsewhere() is None
    space.create()
    space.write_private("supervisor.json", b'{"pid": %d, "start": ""}' % os.getpid())
    with (space.path / "lock").open("w") as lock:
        if locked:
            fcntl.flock(lock, fcntl.LOCK_EX)
        on(monkeypatch, **changes)
        assert space.is_elsewhere() is elsewhere


@pytest.mark.parametrize("changes", [{"boot": "other"}, {"processes": "other"}])
def test_process_ids_mean_nothing_on_another_machine(tmp_path: Path, monkeypatch, changes: dict[str, str]):
    space = Workspace(tmp_path / "build", tmp_path / "build" / "tree")
    space.create()
    start = workspace.kernel.process_start(os.getpid())
    space.write_private("supervisor.json", f'{{"pid": {os.getpid()}, "start": "{start}"}}'.encode())
    assert space.supervisor() == os.getpid()
    on(monkeypatch, **changes)
    assert space.supervisor() is None


def test_a_node_is_of_one_machine_and_one_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    shared = node_of(tmp_path / "shared")
    assert node_of(tmp_path / "shared") == shared
    assert node_of(tmp_path / "other") != shared
    on(monkeypatch, boot="restarted")
    assert node_of(tmp_path / "shared") == shared
    on(monkeypatch, name="second machine")
    assert node_of(tmp_path / "shared") != shared


@pytest.mark.parametrize("left", [b"", b"\0" * 32, b"0123", b"\xff\xfe"])
def test_a_node_file_that_a_crash_damaged_is_made_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture, left: bytes):
    (tmp_path / "node").write_bytes(left)
    with caplog.at_level(logging.WARNING, "penstock.builds"):
        made = node_of(tmp_path)
    assert caplog.messages == ["builds.node_unreadable"]
    assert node_of(tmp_path) == made
    assert [path.name for path in tmp_path.iterdir()] == ["node"]


def test_the_node_file_is_on_disk_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.readlink(f"/proc/self/fd/{descriptor}")))
    node_of(tmp_path)
    assert synced[0].startswith(f"{tmp_path}/node.")
    assert synced[1:] == [str(tmp_path)]


def test_progress_that_a_crash_damaged_is_read_as_far_as_it_goes(tmp_path: Path):
    space = Workspace(tmp_path / "build", tmp_path / "build" / "tree")
    space.create()
    (space.path / "progress").write_bytes(b'{"event": "phase_started", "at": 1, "phase": "BUILD"}\n\0\0\0\0\n')
    assert [step.event for step in space.steps()] == ["phase_started"]


def test_a_log_that_a_power_failure_damaged_is_read_to_the_gap_and_on_from_there(tmp_path: Path):
    space = Workspace(tmp_path / "build", tmp_path / "build" / "tree")
    space.create()
    (space.path / "log").write_bytes(b"1 one\n2 two\n3 th\0\0\0\0\n\0\0\0 five\n6 six\n")
    space.shipped(30)
    again = Workspace(space.path, space.tree)
    again.resume_log()
    assert again.lines() == ([], len(b"1 one\n2 two\n"))
    log = Log(
        str(space.path), limit=1000, session=str(space.path / "session"), written=lambda: None, now=lambda: 7_000_000
    )
    log.output(b"seven\n")
    log.close()
    assert again.lines()[0] == [(7, "seven")]
    assert space.path.joinpath("log").read_bytes() == b"1 one\n2 two\n7 seven\n"


@pytest.mark.parametrize("end", [b"\n", b""])
def test_only_the_agent_writes_lines_of_the_agent(tmp_path: Path, end: bytes):
    log = Log(str(tmp_path), limit=1000, session=str(tmp_path / "s"), written=lambda: None, now=lambda: 1_000_000)
    log.output(b"one\n[Cont")
    log.output(b"ainer] two\nthree\n\x1b[1m[Container] four" + end)
    log.flush()
    log.close()
    assert (tmp_path / "log").read_bytes() == (b"1 one\n1 | [Container] two\n1 three\n1 | \x1b[1m[Container] four\n")


def test_a_step_of_progress_bears_the_time_in_milliseconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(journal, "time", SimpleNamespace(time_ns=lambda: 1_796_000_000_123_999_999))
    made = journal.Journal(str(tmp_path), log_limit=1000, masked=[], session=str(tmp_path / "s"))
    made.report("phase_started", phase="BUILD")
    [step] = Workspace(tmp_path, tmp_path / "tree").steps()
    assert (step.event, step.at) == ("phase_started", 1_796_000_000_123)


@pytest.mark.parametrize(
    ("limit", "kept"),
    [
        (12, b"1 one\n1 two\n"),
        (11, b"1 one\n1 [Container] The log is longer than 11 bytes: the rest is not kept\n"),
        (7, b"1 one\n1 [Container] The log is longer than 7 bytes: the rest is not kept\n"),
        (6, b"1 one\n"),
    ],
)
def test_a_log_ends_with_its_last_complete_line_and_says_so(tmp_path: Path, limit: int, kept: bytes):
    log = Log(str(tmp_path), limit=limit, session=str(tmp_path / "s"), written=lambda: None, now=lambda: 1_000_000)
    for line in (b"one\n", b"two\n", *[b"three\n"] * 2 * (limit != 12)):
        log.output(line)
    log.close()
    assert (tmp_path / "log").read_bytes() == kept
