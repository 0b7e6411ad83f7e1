"""A build that takes more of its machine than it may ends with a reason, and nothing else does."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from penstock_builder import Builder, commands, failure, phases

from penstock.builds.compute import limits_of
from penstock.builds.settings import BuildSettings
from penstock.sandbox import cgroups
from penstock.sandbox.disk import Disk
from penstock.sandbox.space import KEPT, keeps, size
from penstock.sandbox.specification import Limits

GB = 1 << 30
SOURCE = Path(cgroups.__file__).parents[2]


def test_the_limits_of_compute_types():
    big = 1 << 40
    assert limits_of({"computeType": "BUILD_GENERAL1_SMALL"}, seconds=1, memory=big).memory == 4 * GB
    assert limits_of({"computeType": "BUILD_GENERAL1_2XLARGE"}, seconds=1, memory=big) == Limits(
        memory=145 * GB, cpus=72, processes=4096, disk=824 * GB, seconds=1
    )
    own = {"computeType": "ATTRIBUTE_BASED_COMPUTE", "computeConfiguration": {"memory": 2, "disk": 1}}
    assert limits_of(own, seconds=2.5, memory=big) == Limits(
        memory=2 * GB, cpus=2, processes=4096, disk=GB, seconds=2.5
    )
    assert limits_of({"computeType": "BUILD_GENERAL1_LARGE"}, seconds=1, memory=10 * GB).memory == 9 * GB


def test_what_is_kept_free_and_how_sizes_are_said():
    class Facts:
        f_frsize, f_blocks = 4096, 300 * 256

    assert keeps(Facts()) == 30 << 20
    Facts.f_blocks = 1 << 40
    assert keeps(Facts()) == KEPT
    assert [size(4 * GB), size(512 << 20), size(3 * GB // 2)] == ["4 GB", "512 MB", "1.5 GB"]


def test_the_disk_is_looked_at_often(tmp_path: Path):
    """How far a sandbox gets beyond its limit is what it can write in the time between two looks."""
    for limit in (1, GB, 1 << 50):
        assert Disk([str(tmp_path)], skipped=[], limit=limit, subject="build").pause() <= 0.05


def used(folder: Path, code: str = "") -> int:
    """What the count of the supervisor says, in a process like its own; `code` runs before."""
    script = f"import os, sys; sys.path.append({str(SOURCE)!r}); from penstock.sandbox import disk, processes\n{code}\nprint(disk.used([{str(folder)!r}], set(), {{}}))"
    script = script.format("os.getppid()" if not code else "os.getpid()")
    done = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0 or "TooDeep" in done.stderr, done.stderr
    return int(done.stdout) if done.returncode == 0 else -1


def test_counting_sees_everything_once(tmp_path: Path):
    before = used(tmp_path)
    (tmp_path / "a").write_bytes(b"x" * (1 << 20))
    os.link(tmp_path / "a", tmp_path / "b")
    (tmp_path / "sparse").touch()
    os.truncate(tmp_path / "sparse", 1 << 40)
    (tmp_path / "out").symlink_to("/usr")
    assert 1 << 20 <= used(tmp_path) - before < (1 << 20) + 65536
    nameless = (
        f"import subprocess; held = open({str(tmp_path / 'n')!r}, 'wb'); held.write(b'x' * (3 << 20)); held.flush()\n"
        f"os.unlink({str(tmp_path / 'n')!r}); subprocess.Popen(['sleep', '60'], pass_fds=[held.fileno()]); held.close()\n"
        "import atexit, signal; atexit.register(lambda: [os.kill(p, 9) for p in processes.descendants(os.getpid())])"
    )
    assert used(tmp_path, nameless) - before >= 4 << 20


def test_folders_that_hide_behind_long_paths_are_an_answer_too(tmp_path: Path):
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(30):
        os.mkdir("d" * 200, dir_fd=here)
        inner = os.open("d" * 200, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)
    assert used(tmp_path) == -1
    subprocess.run(["rm", "-r", str(tmp_path / ("d" * 200))], check=True)


@pytest.fixture(scope="module")
def small_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file system of 1 GB for a data dir."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    folder = tmp_path_factory.mktemp("small")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1G", "penstock-test", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.needs("bubblewrap")
def test_a_build_that_fills_the_disk_ends_and_its_neighbour_and_the_server_go_on(live_factory, small_disk: Path):
    with live_factory(
        str(small_disk / "data"), components=(BuildSettings(runtime="bubblewrap", allow_unisolated=True),)
    ) as live:
        builder = Builder(live)
        steady = "for n in $(seq 40); do head -c 20000 /dev/urandom >file-$n || exit 9; echo line $n; sleep 0.05; done"
        neighbour = builder.start(builder.project(commands(steady)))
        builder.until(neighbour, lambda build: build["currentPhase"] == "BUILD")
        steadily = "head -c 750M /dev/zero >most; while head -c 1M /dev/zero >>full; do sleep 0.01; done"
        for fill in (steadily, "cat /dev/zero >full || cat /dev/zero >/opt/full; true"):
            filler = builder.start(builder.project(commands(fill, "sleep 60", "echo never")))
            build = builder.ended(filler)
            assert build["buildStatus"] == "FAILED"
            code, message = failure(build, "BUILD")
            assert code == "COMMAND_EXECUTION_ERROR"
            assert message.startswith("The build filled the disk: it had "), message
            assert "POST_BUILD" not in phases(build)
            assert "The build filled the disk" in builder.log(filler)
            assert not (small_disk / "data" / "builds" / filler.rpartition(":")[2] / "tree").exists()
            if fill == steadily:  # the second is faster than the disk can be watched
                build = builder.ended(neighbour)
                assert build["buildStatus"] == "SUCCEEDED", builder.log(neighbour)
                assert "line 40" in builder.log(neighbour)
        builder.s3.create_bucket(Bucket="after-it")
        builder.s3.put_object(Bucket="after-it", Key="k", Body=b"x" * 100_000)


@pytest.mark.needs("bubblewrap")
def test_a_build_ends_at_the_disk_of_its_compute_type(builder: Builder):
    environment = {
        "type": "LINUX_CONTAINER",
        "image": "aws/codebuild/standard:7.0",
        "computeType": "ATTRIBUTE_BASED_COMPUTE",
        "computeConfiguration": {"disk": 1, "memory": 1, "vCpu": 1},
    }
    burst = "for n in 1 2 3 4; do fallocate -l 60G burst-$n && exit 9; done"
    more = f"{burst}; exec 9>hidden; rm hidden; head -c 700M /dev/zero >a; head -c 600M /dev/zero >&9; sleep 60"
    build = builder.run(builder.project(commands(more), environment=environment))
    assert failure(build, "BUILD") == ("COMMAND_EXECUTION_ERROR", "The build used more than its 1 GB of disk")
    assert builder.log(build["id"]).count("not supported") == 4


MOUNTS_V2 = b"31 24 0:27 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"


def unified(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, own: str, handed_on: str) -> Path:
    """A version 2 hierarchy in a folder; its files are as systemd leaves them."""
    slice_ = tmp_path / "system.slice"
    for folder in (slice_, slice_ / "penstock.service"):
        folder.mkdir()
        (folder / "cgroup.events").touch()
        (folder / "cgroup.controllers").write_text("cpu io memory pids\n")
        (folder / "cgroup.subtree_control").write_text(handed_on)
    real = cgroups._read
    said = {
        "/proc/self/cgroup": f"0::{own}\n".encode(),
        "/proc/self/mountinfo": MOUNTS_V2.replace(b"/sys/fs/cgroup", bytes(tmp_path)),
    }
    monkeypatch.setattr(cgroups, "_read", lambda path: said.get(path) or real(path))
    return slice_


def test_version_2_groups_stand_beside_the_servers_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    slice_ = unified(monkeypatch, tmp_path, "/system.slice/penstock.service", "memory pids\n")
    assert cgroups._parent("memory") == cgroups._parent("pids") == str(slice_)
    assert cgroups._parent("cpu") == str(slice_)  # not handed on yet: asked for
    assert (slice_ / "cgroup.subtree_control").read_text().startswith("+cpu")
    (slice_ / "cgroup.controllers").write_text("memory\n")
    with pytest.raises(OSError, match="does not offer pids"):
        cgroups._parent("pids")


def test_a_delegated_service_makes_its_groups_in_what_it_was_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    slice_ = unified(monkeypatch, tmp_path, "/system.slice/penstock.service/server", "")
    service = slice_ / "penstock.service"
    (service / "server").mkdir()
    (service / "server" / "cgroup.events").touch()
    for controller in cgroups.CONTROLLERS:
        assert cgroups._parent(controller) == str(service)  # where no process is, so that it may hand controllers on
        assert f"+{controller}" in (service / "cgroup.subtree_control").read_text()
        (service / "cgroup.subtree_control").write_text("")
    assert (slice_ / "cgroup.subtree_control").read_text() == ""  # not the service's to change
    unit = (Path(__file__).parents[2] / "packaging" / "penstock.service").read_text()
    assert "\nDelegate=yes\nDelegateSubgroup=server\n" in unit


def test_without_any_control_groups_that_is_said(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cgroups, "_read", lambda path: b"")
    assert cgroups.missing() == dict.fromkeys(cgroups.CONTROLLERS, "no control groups are mounted")
