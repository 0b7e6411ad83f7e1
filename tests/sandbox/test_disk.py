"""When a sandbox has to end for the disk's sake: to the byte and the moment, on a file system that the test makes up."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from penstock_waiting import until

from penstock.sandbox import disk
from penstock.sandbox.disk import Disk

MB = 1 << 20
LIMIT = 100 * MB
NOBODY = -1  # a supervisor without processes


class Watched:
    """A disk of 10 GB in blocks of 4 KB, of which 1 GB is kept; a sandbox on it; and the clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.counts: list[float] = []
        self.answers: list[int] = []
        self.facts = {"/a": self.system(8 << 30)}
        monkeypatch.setattr(disk, "time", SimpleNamespace(monotonic=lambda: self.now))
        monkeypatch.setattr(disk.os, "statvfs", self.statvfs)
        monkeypatch.setattr(Disk, "_count", self.count)
        self.disk = Disk(["/a"], skipped=[], limit=LIMIT, subject="build")

    @staticmethod
    def system(free: int, *, size: int = 10 << 30, files: int = 1000, names: int = 1000) -> SimpleNamespace:
        return SimpleNamespace(
            f_bavail=free // 4096, f_frsize=4096, f_blocks=size // 4096, f_files=files, f_ffree=names
        )

    def statvfs(self, folder: str) -> SimpleNamespace:
        if folder not in self.facts:
            raise FileNotFoundError(folder)
        return self.facts[folder]

    def count(self, _supervisor: int) -> None:
        self.counts.append(self.now)
        self.disk._started = self.now
        self.disk._result = b""
        self.disk._counting, writing = os.pipe()
        os.set_blocking(self.disk._counting, False)
        self.answers.append(writing)

    def answer(self, said: object) -> None:
        writing = self.answers.pop()
        os.write(writing, str(said).encode())
        os.close(writing)

    def look(self, *, free: int, after: float = 0.0) -> str:
        self.facts["/a"] = self.system(free)
        self.now += after
        return self.disk.verdict(1)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    return Watched(monkeypatch)


def test_files_are_counted_when_that_could_change_the_verdict(watched):
    assert watched.look(free=(8 << 30) - LIMIT) == ""
    assert watched.look(free=(8 << 30) - LIMIT, after=30) == ""
    assert watched.counts == []
    assert watched.look(free=(8 << 30) - LIMIT - 4096) == ""
    assert watched.counts == [1030.0]
    assert watched.look(free=(8 << 30) - LIMIT - 4096, after=40) == ""  # one count at a time
    assert watched.counts == [1030.0]


def test_files_are_counted_twice_a_minute_in_any_case(watched):
    assert watched.look(free=8 << 30, after=30) == ""
    assert watched.counts == []
    assert watched.look(free=8 << 30, after=0.5) == ""
    assert watched.counts == [1030.5]


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        (LIMIT, ""),
        (LIMIT + 1, "The build used more than its 100 MB of disk"),
        ("deep", "The build's folders are nested deeper than a path may be long"),
        ("", ""),
    ],
)
def test_what_a_count_comes_to(watched, said, verdict):
    watched.look(free=7 << 30)
    assert watched.disk.descriptors == [watched.disk._counting]
    assert watched.look(free=7 << 30) == ""  # the child has not said anything
    counting = watched.disk._counting
    watched.answer(said)
    assert watched.look(free=7 << 30) == verdict
    assert watched.disk.descriptors == []
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(counting)


@pytest.mark.parametrize(("cost", "pause"), [(0.0, 0.0), (1.0, 3.0), (9.0, 27.0), (100.0, 30.0)])
def test_counting_takes_a_quarter_of_the_time_at_most(watched, cost, pause):
    """What was written since the last count is measured from the free space at its beginning."""
    watched.look(free=7 << 30)
    watched.answer(LIMIT)
    assert watched.look(free=(7 << 30) - 8192, after=cost) == ""
    if pause:
        assert watched.look(free=(7 << 30) - 8192, after=pause - 0.5) == ""
        assert len(watched.counts) == 1
        assert watched.look(free=(7 << 30) - 8192, after=0.5) == ""
    assert len(watched.counts) == 2


def test_less_than_is_kept_ends_the_one_that_has_most(watched):
    """One that has all of the rest may use the kept space for 0.05 s; one with a tenth of it ten times as long."""
    kept = 1 << 30
    watched.disk._room, watched.disk._free = 700 * MB, kept
    assert watched.look(free=kept) == ""
    assert watched.counts == []
    assert watched.look(free=kept - 4096, after=1) == ""
    assert watched.counts == [1001.0]
    watched.answer(70 * MB)
    assert watched.look(free=kept - 4096, after=0.49) == ""
    said = watched.look(free=kept - 4096, after=0.02)
    assert said == (
        "The build filled the disk: it had 70 MB, and less than the 1 GB that this machine keeps for its server were left"
    )


def test_the_time_begins_anew_when_there_was_room(watched):
    kept = 1 << 30
    watched.disk._room = 50 * MB
    watched.look(free=kept - 4096)
    watched.answer(50 * MB)
    assert watched.look(free=kept) == ""
    assert watched.look(free=kept - 4096, after=10) == ""
    assert watched.look(free=kept - 4096, after=1) == ""  # the count that is known was made before
    watched.answer(50 * MB)
    assert watched.look(free=kept - 4096).startswith("The build filled the disk")
    assert watched.look(free=kept) == ""


def test_one_that_has_nothing_does_not_end_for_others(watched):
    watched.look(free=0)
    watched.answer(0)
    assert watched.look(free=0, after=100) == ""


@pytest.mark.parametrize(("free", "pause"), [((4 << 30) - 4096, 0.02), (4 << 30, 0.05)])
def test_how_often_it_is_looked_at(watched, free, pause):
    watched.facts["/a"] = watched.system(free)
    assert watched.disk.pause() == pause


def test_the_fullest_of_the_file_systems_counts(watched):
    watched.disk.folders = ["/a", "/b", "/gone"]
    watched.facts = {"/a": watched.system(5 << 30), "/b": watched.system(6 << 30)}
    assert watched.disk._measure() == (5 << 30, 1 << 30)
    watched.facts["/b"] = watched.system(4 << 30, size=1 << 30)
    assert watched.disk._measure() == (4 << 30, (1 << 30) // 4096 * 4096 // 10)
    watched.facts = {}
    assert watched.disk._measure() == (8 << 30, 1 << 30)


@pytest.mark.parametrize(("files", "names", "free"), [(1000, 10, 1 << 30), (1000, 9, 0), (0, 0, 1 << 30)])
def test_a_file_system_without_names_left_is_full(watched, files, names, free):
    watched.facts["/a"] = watched.system(1 << 30, files=files, names=names)
    assert watched.disk._measure()[0] == free


def test_a_count_is_made_by_a_child(monkeypatch, tmp_path):
    """Of its folders and files, without what is mounted there, and of names that no path may have."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_bytes(b"x" * 40_000)
    (tmp_path / "a" / "passed").mkdir()
    (tmp_path / "a" / "passed" / "over").write_bytes(b"x" * 80_000)
    (tmp_path / "alone").write_bytes(b"x" * 20_000)
    blocks: Callable[..., int] = lambda *names: sum((tmp_path / name).lstat().st_blocks * 512 for name in names)  # noqa: E731
    watching = Disk(
        [str(tmp_path / "a"), str(tmp_path / "alone"), str(tmp_path / "gone")],
        skipped=[str(tmp_path / "a" / "passed")],
        limit=1,
        subject="build",
    )
    for answer in (blocks("a/b", "alone"), "deep"):
        watching._count(os.getpid())
        until(watching._take)
        assert watching._result == str(answer).encode()
        monkeypatch.setattr(disk, "used", too_deep)


def too_deep(*_: object) -> int:
    raise disk.TooDeep


def test_a_file_counts_once_whatever_its_names_are(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * 40_000)
    os.link(tmp_path / "a", tmp_path / "b")
    (tmp_path / "c").write_bytes(b"x" * 8_000)
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "folder").mkdir()
    names = [tmp_path / name for name in ("a", "c", "link", "folder")]
    expected = sum(path.lstat().st_blocks * 512 for path in names)
    assert disk.used([str(tmp_path)], set(), NOBODY) == expected


@pytest.mark.parametrize(("longer", "deep"), [(0, False), (1, True)])
def test_how_long_a_path_may_be(longer, deep):
    with pytest.raises(disk.TooDeep) if deep else contextlib.nullcontext():
        assert disk.used(["x" * (4000 + longer)], set(), NOBODY) == 0


def test_the_kept_space_may_be_used_to_the_moment(watched):
    watched.disk._room, watched.disk._free = 20 * MB, 1 << 30
    watched.look(free=(1 << 30) - 4096)
    watched.answer(MB)  # a twentieth of what was free: for a second
    assert watched.look(free=(1 << 30) - 4096, after=0.875) == ""
    assert watched.look(free=(1 << 30) - 4096, after=0.125).startswith("The build filled the disk")


def test_the_fullest_is_the_one_that_has_least_beyond_what_is_kept(watched):
    watched.disk.folders = ["/a", "/b"]
    watched.facts = {"/a": watched.system(2 << 30), "/b": watched.system(3 << 29, size=1 << 30)}
    assert watched.disk._measure() == (2 << 30, 1 << 30)


def test_nothing_is_passed_over_for_what_is_skipped_or_gone(tmp_path):
    for name in ("first", "file", "last"):
        (tmp_path / name).write_bytes(b"x" * 40_000)
    skipped = {str(tmp_path / "first"), str(tmp_path / "last")}
    expected = (tmp_path / "file").lstat().st_blocks * 512
    assert disk.used([str(tmp_path), str(tmp_path / "gone")], skipped, NOBODY) == expected
