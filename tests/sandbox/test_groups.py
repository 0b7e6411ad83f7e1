"""Control groups of a sandbox, in folders that stand for the kernel's: what is written there, what is read, and what stands in for them."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from penstock.sandbox import cgroups
from penstock.sandbox.cgroups import ControlGroups
from penstock.sandbox.specification import Limits

VERSION_1 = {
    "memory": ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.oom_control"),
    "pids": ("pids.max", "pids.events"),
    "cpu": ("cpu.cfs_quota_us",),
}
VERSION_2 = ("cgroup.events", "memory.max", "memory.swap.max", "memory.events", "pids.max", "pids.events", "cpu.max")


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """`groups(version, …)`: the groups of a sandbox, and the folder that stands for each controller's."""

    def make(
        version: int, *, cpus: float = 1.5, without: tuple[str, ...] = ()
    ) -> tuple[ControlGroups, dict[str, Path]]:
        parents = {name: tmp_path / (name if version == 1 else "unified") for name in cgroups.CONTROLLERS}

        def parent(controller: str) -> str:
            if controller in without:
                raise OSError(f"no {controller} here")
            return str(parents[controller])

        monkeypatch.setattr(cgroups, "_parent", parent)
        folders = {name: folder / "penstock-build-b1" for name, folder in parents.items()}
        for name, folder in folders.items():
            folder.mkdir(parents=True, exist_ok=True)
            for file in ("cgroup.procs", *(VERSION_1[name] if version == 1 else VERSION_2)):
                (folder / file).touch()
        (tmp_path / "b1").mkdir(exist_ok=True)
        limits = Limits(memory=64 << 20, cpus=cpus, processes=40, disk=1, seconds=1)
        return ControlGroups(str(tmp_path / "b1"), limits, "build"), folders

    return make


def test_what_the_first_version_is_told(groups, tmp_path):
    made, folders = groups(1)
    assert made.missing == {}
    assert {name: [(folders[name] / file).read_text() for file in files] for name, files in VERSION_1.items()} == {
        "memory": [str(64 << 20), str(64 << 20), ""],
        "pids": ["40", ""],
        "cpu": ["150000"],
    }
    assert (tmp_path / "b1" / "groups").read_text().splitlines() == [str(folder) for folder in folders.values()]


def test_what_the_second_version_is_told(groups, tmp_path):
    made, folders = groups(2)
    assert made.missing == {}
    [folder] = set(folders.values())
    told = {file: (folder / file).read_text() for file in VERSION_2}
    assert told == dict.fromkeys(VERSION_2, "") | {
        "memory.max": str(64 << 20),
        "memory.swap.max": "0",
        "pids.max": "40",
        "cpu.max": "150000 100000",
    }
    assert (tmp_path / "b1" / "groups").read_text() == f"{folder}\n"


@pytest.mark.parametrize(
    ("processors", "cpus", "first", "second"),
    [
        (4, 3.99, "399000", "399000 100000"),
        (4, 4, "-1", "max 100000"),
        (4, 0.001, "1000", "1000 100000"),
        (4, 0.01, "1000", "1000 100000"),
        (4, 0.02, "2000", "2000 100000"),
        (None, 0.5, "50000", "50000 100000"),
        (None, 1, "-1", "max 100000"),
    ],
)
def test_how_much_of_the_processors_a_sandbox_has(groups, monkeypatch, processors, cpus, first, second):
    monkeypatch.setattr(os, "cpu_count", lambda: processors)
    assert (groups(1, cpus=cpus)[1]["cpu"] / "cpu.cfs_quota_us").read_text() == first
    assert (groups(2, cpus=cpus)[1]["cpu"] / "cpu.max").read_text() == second


def test_a_kernel_without_swap_accounting_limits_the_memory_all_the_same(groups, monkeypatch):
    written = []
    real = cgroups._write

    def write(folder: str, name: str, value: str) -> None:
        if "sw" in name:
            raise FileNotFoundError(2, "No such file or directory")
        written.append((name, value))
        real(folder, name, value)

    monkeypatch.setattr(cgroups, "_write", write)
    for version, name in ((1, "memory.limit_in_bytes"), (2, "memory.max")):
        assert groups(version)[0].missing == {}
        assert (name, str(64 << 20)) in written


def test_what_cannot_be_had_is_named_with_its_reason(groups, tmp_path, monkeypatch):
    made, folders = groups(1, without=("cpu",))
    assert made.missing == {"cpu": "no cpu here"}
    (folders["pids"] / "pids.max").unlink()
    made, _ = groups(1)
    assert made.missing == {}  # the fixture lays it down again
    real = cgroups._write

    def write(folder: str, name: str, value: str) -> None:
        if name == "pids.max":
            raise PermissionError(13, "Permission denied")
        real(folder, name, value)

    monkeypatch.setattr(cgroups, "_write", write)
    made, folders = groups(1)
    assert made.missing == {"pids": f"{folders['pids']}: Permission denied"}
    assert made.exceeded() == ""


def test_a_process_enters_every_group_once(groups, monkeypatch):
    monkeypatch.setattr(resource, "setrlimit", lambda *_: pytest.fail("the groups are enough"))
    for version in (1, 2):
        made, folders = groups(version)
        made.enter()
        assert {(folder / "cgroup.procs").read_text() for folder in folders.values()} == {"0"}


@pytest.mark.parametrize(
    ("without", "bounds"),
    [
        (("cpu",), []),
        (("memory",), [(resource.RLIMIT_DATA, (64 << 20,) * 2)]),
        (("pids",), [(resource.RLIMIT_NPROC, (30, 30))]),
        (("memory", "pids"), [(resource.RLIMIT_DATA, (64 << 20,) * 2), (resource.RLIMIT_NPROC, (30, 30))]),
    ],
)
def test_limits_of_the_process_stand_in_for_groups(groups, monkeypatch, without, bounds):
    """What is bounded already stays so."""
    hard = {resource.RLIMIT_DATA: resource.RLIM_INFINITY, resource.RLIMIT_NPROC: 30}
    bounded: list[Any] = []
    made, _ = groups(1, without=without)
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (0, hard[kind]))
    monkeypatch.setattr(resource, "setrlimit", lambda kind, bound: bounded.append((kind, bound)))
    made.enter()
    assert bounded == bounds


@pytest.mark.parametrize(("version", "memory"), [(1, "memory.oom_control"), (2, "memory.events")])
def test_what_the_kernel_ended_is_said_once(groups, version, memory):
    made, folders = groups(version)
    assert made.exceeded() == ""
    (folders["pids"] / "pids.events").write_text("max 3\n")
    assert made.exceeded() == "the build had more than its 40 processes at once"
    assert made.exceeded() == ""
    (folders["memory"] / memory).write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n")
    (folders["pids"] / "pids.events").write_text("max 4\n")
    assert made.exceeded() == "the build used more than its 64 MB of memory"
    assert made.exceeded() == ""
    (folders["memory"] / memory).write_text("low 7\n")
    assert made.exceeded() == ""


def test_what_ended_before_the_sandbox_began_is_not_its(groups, tmp_path):
    _, folders = groups(2)
    (folders["pids"] / "pids.events").write_text("max 3\n")
    made, _ = groups(2)
    assert made.exceeded() == ""


def test_a_group_goes_with_all_that_is_in_it(monkeypatch, tmp_path):
    folders = [tmp_path / "one", tmp_path / "two", tmp_path / "gone"]
    children = [subprocess.Popen(["sleep", "60"]) for _ in range(2)]
    for folder, child in zip(folders, children, strict=False):
        folder.mkdir()
        (folder / "cgroup.procs").write_text(f"{child.pid}\n{2**22 + 1}\n")
    (tmp_path / "groups").write_text("".join(f"{folder}\n" for folder in folders))
    pauses = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        next(folder for folder in folders if folder.exists()).joinpath("cgroup.procs").unlink()  # as when all are gone

    monkeypatch.setattr(cgroups, "time", SimpleNamespace(sleep=sleep))
    cgroups.end_groups(str(tmp_path))
    assert [child.wait(60) for child in children] == [-signal.SIGKILL] * 2
    assert not any(folder.exists() for folder in folders)
    assert pauses == [0.002] * 2
    cgroups.end_groups(str(tmp_path))
    cgroups.end_groups(str(tmp_path / "nothing"))
    assert pauses == [0.002] * 2


def test_a_group_that_does_not_go_is_left_after_a_second(monkeypatch, tmp_path):
    (tmp_path / "held" / "inner").mkdir(parents=True)
    (tmp_path / "groups").write_text(f"{tmp_path / 'held'}\n")
    pauses: list[float] = []
    monkeypatch.setattr(cgroups, "time", SimpleNamespace(sleep=pauses.append))
    cgroups.end_groups(str(tmp_path))
    assert pauses == [0.002] * 500


MOUNTS = (
    "24 19 0:20 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory",
    "25 19 0:21 /docker/abc /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct",
    "26 19 0:22 / /sys/fs/cgroup/net rw - cgroup cgroup rw,net_cls",
)


@pytest.mark.parametrize(
    ("controller", "parent"),
    [
        ("memory", "/sys/fs/cgroup/memory/user/one"),
        ("cpu", "/sys/fs/cgroup/cpu,cpuacct/inner"),
        ("cpuacct", "/sys/fs/cgroup/cpu,cpuacct/inner"),
        ("net_cls", "/sys/fs/cgroup/net"),
        ("pids", None),
    ],
)
def test_groups_of_the_first_version_stand_below_the_servers_own(monkeypatch, controller, parent):
    said = {
        "/proc/self/cgroup": b"5:memory:/user/one\n4:cpu,cpuacct:/docker/abc/inner\n3:net_cls:/\n2:pids:/x\n",
        "/proc/self/mountinfo": "\n".join(MOUNTS).encode(),
    }
    monkeypatch.setattr(cgroups, "_read", said.__getitem__)
    if parent is None:
        with pytest.raises(OSError, match="^no control groups are mounted$"):
            cgroups._parent(controller)
    else:
        assert cgroups._parent(controller) == parent


def test_groups_that_this_user_may_not_make_are_missing(monkeypatch, tmp_path):
    monkeypatch.setattr(cgroups, "_parent", lambda controller: str(tmp_path / controller))
    monkeypatch.setattr(os, "access", lambda path, mode: mode == os.W_OK and path.endswith("cpu"))
    assert cgroups.missing() == {
        name: f"this user may not make groups in {tmp_path / name}" for name in ("memory", "pids")
    }


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError("no groups"), "no groups"),
        (FileNotFoundError(2, "No such file or directory"), "No such file or directory"),
    ],
)
def test_why_there_are_no_groups(monkeypatch, tmp_path, error, said):
    def fail(_controller: str) -> str:
        raise error

    monkeypatch.setattr(cgroups, "_parent", fail)
    assert cgroups.missing() == dict.fromkeys(cgroups.CONTROLLERS, said)
    limits = Limits(memory=1, cpus=1, processes=1, disk=1, seconds=1)
    assert ControlGroups(str(tmp_path), limits, "build").missing == dict.fromkeys(cgroups.CONTROLLERS, said)


def test_a_parent_that_hands_nothing_on_is_the_reason(monkeypatch, tmp_path):
    (tmp_path / "cgroup.controllers").write_text("memory\n")
    (tmp_path / "cgroup.subtree_control").write_text("")
    said = {
        "/proc/self/cgroup": b"0::/\n",
        "/proc/self/mountinfo": f"1 1 0:1 / {tmp_path} rw - cgroup2 cgroup2 rw".encode(),
    }
    real = cgroups._read
    monkeypatch.setattr(cgroups, "_read", lambda path: said.get(path) or real(path))

    def write(folder: str, name: str, value: str) -> None:
        assert (folder, name, value) == (str(tmp_path), "cgroup.subtree_control", "+memory")
        raise OSError(16, "Device or resource busy")

    monkeypatch.setattr(cgroups, "_write", write)
    with pytest.raises(OSError, match="does not hand memory on: Device or resource busy"):
        cgroups._parent("memory")
