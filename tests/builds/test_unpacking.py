"""Source bundles from outside: nothing leaves the folder, and bombs go off outside of it."""

from __future__ import annotations

import gzip
import io
import os
import stat
import struct
import tracemalloc
import zipfile
import zlib
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.builds import unpacking
from penstock.builds.unpacking import Bounds, UnsafeBundle, unpack


def bundle(folder: Path, *entries: tuple[str, bytes, int]) -> Path:
    path = folder / "bundle.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content, mode in entries:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return path


@pytest.fixture
def target(tmp_path: Path) -> Path:
    folder = tmp_path / "inside" / "target"
    folder.mkdir(parents=True)
    return folder


def test_keeps_files_modes_and_inner_links(tmp_path: Path, target: Path):
    path = bundle(
        tmp_path,
        ("run.sh", b"#!/bin/sh\n", 0o104755 | stat.S_IFREG),
        ("lib/a.txt", b"a", 0),
        ("lib/link", b"../run.sh", stat.S_IFLNK | 0o777),
    )
    assert unpack(path, target) == 3
    assert stat.S_IMODE((target / "run.sh").stat().st_mode) == 0o755
    assert (target / "lib/link").resolve() == target / "run.sh"


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ([("../evil", b"x", 0)], "unsafe name '../evil'"),
        ([("/evil", b"x", 0)], "unsafe name '/evil'"),
        ([("a/../../evil", b"x", 0)], "unsafe name"),
        ([("fifo", b"", stat.S_IFIFO | 0o644)], "'fifo', which is neither file, folder nor link"),
        ([("bomb", b"\0" * 60_000_000, 0)], "more than 400 times its size.* --source-ratio "),
        ([("link", b"", stat.S_IFLNK | 0o777)], "a link that leads nowhere: 'link'"),
        ([("link", b"a\0b", stat.S_IFLNK | 0o777)], "a link that leads nowhere: 'link'"),
        ([("link", b"a" * 5000, stat.S_IFLNK | 0o777)], "implausible length: 'link'"),
        ([("a", b"x", 0), ("a/b", b"x", 0)], "'a' as a file or link, and entries below it"),
        ([("a/b", b"x", 0), ("a", b"x", 0)], "'a' both as a folder and as a file"),
        ([("n" * 300, b"x", 0)], "File name too long at 'nnn"),
    ],
)
def test_refuses_what_would_leave_or_burst(tmp_path: Path, target: Path, entries, reason):
    with pytest.raises(UnsafeBundle, match=reason) as refused:
        unpack(bundle(tmp_path, *entries), target)
    assert str(tmp_path) not in refused.value.message
    assert [path.name for path in target.parent.iterdir()] == ["target"]


def test_limits_are_reached_at_their_number_and_named(tmp_path: Path, target: Path):
    path = bundle(tmp_path, ("a/b/c", b"12", 0), ("d", b"345", 0))
    assert unpack(path, target, Bounds(entries=4, size=5)) == 2
    (tmp_path / "more").mkdir()
    with pytest.raises(UnsafeBundle, match="more than 3 entries. The server's option --source-entries raises"):
        unpack(path, tmp_path / "more", Bounds(entries=3))
    with pytest.raises(UnsafeBundle, match="unpacks to more than .* GiB. The server's option --source-gib raises"):
        unpack(path, tmp_path / "more", Bounds(size=4))


@pytest.mark.parametrize("destination", [b"/etc/passwd", b"../../victim", b"..", b".", b"link", b"caf\xe9"])
def test_links_are_kept_wherever_they_lead(tmp_path: Path, target: Path, destination: bytes):
    unpack(bundle(tmp_path, ("d/link", destination, stat.S_IFLNK | 0o777)), target)
    assert os.readlink(os.fsencode(target / "d/link")) == destination


@pytest.mark.parametrize("destination", [b"../victim", b"/tmp", b"inside", b"d"])
@pytest.mark.parametrize("below", ["d/file", "d/e/file", "d/"])
def test_nothing_is_written_through_a_link(tmp_path: Path, target: Path, destination: bytes, below: str):
    (target.parent / "victim").mkdir()
    entries = [
        ("inside/x", b"x", 0),
        ("d", destination, stat.S_IFLNK | 0o777),
        (below, b"" if below == "d/" else b"x", 0),
    ]
    with pytest.raises(UnsafeBundle, match="'d' as a file or link, and entries below it"):
        unpack(bundle(tmp_path, *entries), target)
    assert not list((target.parent / "victim").iterdir())
    assert [path.name for path in (target / "inside").iterdir()] == ["x"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_of_two_entries_with_one_name_the_last_counts_and_no_link_is_followed(tmp_path: Path, target: Path):
    victim = target.parent / "victim"
    victim.write_text("untouched")
    link = stat.S_IFLNK | 0o777
    unpack(bundle(tmp_path, ("a", b"1", 0), ("a", b"2", 0), ("b", b"../victim", link), ("b", b"3", 0), ("c", b"4", 0), ("c", b"a", link)), target)  # fmt: skip
    assert (target / "a").read_text() == "2"
    assert (target / "b").read_text() == "3"
    assert os.readlink(target / "c") == "a"
    assert victim.read_text() == "untouched"


NAMES = ["plain", "sm\u00f8r/\u65e5\u672c.txt", "caf\udce9/\udcff", "back\\slash"]


@pytest.mark.parametrize("flagged", [False, True])
def test_names_are_the_bytes_that_were_written(tmp_path: Path, target: Path, flagged: bool):
    """Debian's `zip` and macOS write UTF-8 without the flag for it, and Linux knows names that are no UTF-8."""

    class Info(zipfile.ZipInfo):
        def _encodeFilenameFlags(self):  # noqa: N802
            return os.fsencode(self.filename), 0x800 if flagged else 0

    path = tmp_path / "bundle.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in NAMES:
            archive.writestr(Info(name), name.encode("utf-8", "surrogateescape"))
    unpack(path, target)
    for name in NAMES:
        assert (target / name).read_bytes() == os.fsencode(name)


def test_names_of_windows(tmp_path: Path, target: Path):
    """Its archivers write code pages, with the UTF-8 name beside, and the old ones backslashes."""
    raw = "caf\u00e9".encode("cp850")
    field = struct.pack("<HHBL", 0x7075, 5 + len("caf\u00e9".encode()), 1, zlib.crc32(raw)) + "caf\u00e9".encode()

    class Info(zipfile.ZipInfo):
        def _encodeFilenameFlags(self):  # noqa: N802
            return raw, 0

    path = tmp_path / "bundle.zip"
    with zipfile.ZipFile(path, "w") as archive:
        other = zipfile.ZipInfo("folder\\file")
        other.create_system = 0
        archive.writestr(other, b"x")
        info = Info("x")
        info.extra = field
        archive.writestr(info, b"y")
    unpack(path, target)
    assert (target / "folder" / "file").read_bytes() == b"x"
    assert (target / "caf\u00e9").read_bytes() == b"y"


def test_modes_do_not_depend_on_the_umask(tmp_path: Path, target: Path):
    before = os.umask(0o077)
    try:
        unpack(bundle(tmp_path, ("d/run", b"x", 0o100755), ("d/f", b"x", 0o100600)), target)
    finally:
        os.umask(before)
    assert [stat.S_IMODE((target / name).stat().st_mode) for name in ("d", "d/run", "d/f")] == [0o755, 0o755, 0o644]


def test_a_large_directory_is_refused_before_it_is_read(tmp_path: Path, target: Path):
    path = tmp_path / "bundle.zip"
    path.write_bytes(
        b"\0" * (46 * 300_000) + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFE, 46 * 300_000, 0, 0)
    )
    tracemalloc.start()
    try:
        with pytest.raises(UnsafeBundle, match="more than 1000 entries"):
            unpack(path, target, Bounds(entries=1000))
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_many_entries_take_no_memory_of_their_own(tmp_path: Path, target: Path):
    path = bundle(tmp_path, *((f"{n % 10}/{'n' * 100}{n}", b"", 0) for n in range(5000)))
    tracemalloc.start()
    try:
        assert unpack(path, target) == 5000
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("saturated", [(8, 2), (12, 4), (16, 4)], ids=["entries", "size", "offset"])
def test_a_directory_of_64_bits_is_read_for_any_field_that_is_full(tmp_path: Path, target: Path, saturated):
    """Of the old end record's fields one alone may say that the true number is in the new one."""
    path = bundle(tmp_path, ("a", b"text", 0o644))
    data = path.read_bytes()
    end = data.rfind(b"PK\x05\x06")
    count, size, offset = struct.unpack("<HLL", data[end + 10 : end + 20])
    large = struct.pack("<4sQHHLLQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, size, offset)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, end, 1)
    old = bytearray(data[end:])
    at, width = saturated
    old[at : at + width] = b"\xff" * width
    if at == 8:
        old[10:12] = b"\xff\xff"
    path.write_bytes(data[:end] + large + locator + bytes(old))
    assert unpack(path, target) == 1
    assert (target / "a").read_bytes() == b"text"


@pytest.mark.parametrize("member", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_damaged_contents_are_refused(tmp_path: Path, target: Path, member: int):
    path = tmp_path / "bundle.zip"
    with zipfile.ZipFile(path, "w", member) as archive:
        archive.writestr("a", bytes(range(256)) * 40)
    data = bytearray(path.read_bytes())
    data[40:70] = b"\xff" * 30
    path.write_bytes(data)
    with pytest.raises(UnsafeBundle, match="'a' is damaged"):
        unpack(path, target)


def test_an_entry_that_unpacks_to_more_than_it_says_is_refused(tmp_path: Path, target: Path):
    path = bundle(tmp_path, ("a", b"x" * 5000, 0))
    data = path.read_bytes()
    at = data.index(b"PK\1\2") + 24
    path.write_bytes(data[:at] + struct.pack("<L", 10) + data[at + 4 :])
    with pytest.raises(UnsafeBundle, match="'a' unpacks to more than the directory says"):
        unpack(path, target)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (gzip.compress(b"x", mtime=0), "it is a gzip file"),
        (b"", "it is empty"),
        (b"\0" * 257 + b"ustar" + b"\0" * 700, "it is a tar archive"),
        (b"BZh9", "it is a bzip2 file"),
        (b"<html>", "cut off, or is another kind of file"),
    ],
)
def test_another_kind_of_file_is_named(tmp_path: Path, target: Path, content: bytes, reason: str):
    (tmp_path / "bundle.zip").write_bytes(content)
    with pytest.raises(UnsafeBundle, match=reason):
        unpack(tmp_path / "bundle.zip", target)


def test_archives_of_other_tools_are_read(tmp_path: Path, target: Path):
    """With data descriptors (a stream), with 64-bit fields, and behind a program that unpacks it."""

    class Stream(io.RawIOBase):
        def __init__(self) -> None:
            self.data = bytearray(b"#!/bin/sh\n")

        def writable(self) -> bool:
            return True

        def write(self, data) -> int:
            self.data += data
            return len(data)

    stream = Stream()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("wide", "w", force_zip64=True) as file:
            file.write(b"w" * 100_000)
        archive.writestr("./dot/x", b"x")
        archive.writestr("./", b"")
    (tmp_path / "bundle.zip").write_bytes(stream.data)
    assert unpack(tmp_path / "bundle.zip", target) == 2
    assert (target / "wide").stat().st_size == 100_000
    assert (target / "dot/x").read_bytes() == b"x"


@given(st.binary(max_size=400), st.integers(0, 300), st.integers(0, 255))
@settings(max_examples=200, deadline=None)
def test_broken_bundles_are_refused(tmp_path_factory, noise: bytes, at: int, value: int):
    folder = tmp_path_factory.mktemp("broken")
    (folder / "target").mkdir()
    good = io.BytesIO()
    with zipfile.ZipFile(good, "w") as archive:
        archive.writestr("a/b.txt", b"hello" * 20)
    data = bytearray(good.getvalue())
    data[at % len(data)] = value
    for content in (bytes(data), noise, b"PK\3\4" + noise):
        path = folder / "bundle.zip"
        path.write_bytes(content)
        try:
            unpack(path, folder / "target")
        except UnsafeBundle as refused:
            assert refused.message  # noqa: PT017


def test_unpacking_pauses_as_long_as_it_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Eight builds of twenty thousand files made everybody else's requests take four to six times as long."""
    now, paused = 0.0, []

    def work() -> float:
        nonlocal now
        now += 0.001
        return now

    monkeypatch.setattr(unpacking, "time", SimpleNamespace(perf_counter=work, sleep=paused.append))
    bundle = tmp_path / "many.zip"
    with zipfile.ZipFile(bundle, "w") as archive:
        for number in range(1000):
            archive.writestr(f"{number}", "")
    (tmp_path / "target").mkdir()
    assert unpack(bundle, tmp_path / "target") == 1000
    assert sum(paused) >= 0.7 * now
    assert max(paused) <= 0.01, "pauses are short: others wait for the thread between them"
