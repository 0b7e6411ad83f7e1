"""Source bundles from outside: nothing leaves the folder, and bombs go off outside of it."""

from __future__ import annotations

import io
import stat
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.builds.unpacking import UnsafeBundle, unpack


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
    "entries",
    [
        [("../evil", b"x", 0)],
        [("/evil", b"x", 0)],
        [("a/../../evil", b"x", 0)],
        [("..\\evil", b"x", 0)],
        [("link", b"/etc/passwd", stat.S_IFLNK | 0o777)],
        [("a/link", b"../../evil", stat.S_IFLNK | 0o777)],
        [("d", b"..", stat.S_IFLNK | 0o777)],
        [("d", b".", stat.S_IFLNK | 0o777), ("d/e", b"x", stat.S_IFLNK | 0o777)],
        [("fifo", b"", stat.S_IFIFO | 0o644)],
        [("bomb", b"\0" * 60_000_000, 0)],
    ],
)
def test_refuses_what_would_leave_or_burst(tmp_path: Path, target: Path, entries):
    with pytest.raises(UnsafeBundle):
        unpack(bundle(tmp_path, *entries), target)
    assert [path.name for path in target.parent.iterdir()] == ["target"]


def test_damaged_contents_are_refused(tmp_path: Path, target: Path):
    path = bundle(tmp_path, ("a", bytes(range(256)) * 40, 0))
    data = bytearray(path.read_bytes())
    data[40:70] = b"\xff" * 30
    path.write_bytes(data)
    with pytest.raises(UnsafeBundle):
        unpack(path, target)


def test_a_link_that_would_not_fit_into_memory_is_refused_unread(tmp_path: Path, target: Path):
    path = bundle(tmp_path, ("link", b"a" * 5000, stat.S_IFLNK | 0o777))
    with pytest.raises(UnsafeBundle, match="implausible length"):
        unpack(path, target)


def test_refusals_name_no_path_of_this_host(tmp_path: Path, target: Path):
    with pytest.raises(UnsafeBundle) as refused:
        unpack(bundle(tmp_path, ("a", b"x", 0), ("a/b", b"x", 0)), target)
    assert str(tmp_path) not in refused.value.message


def test_a_file_is_never_written_through_a_link(tmp_path: Path, target: Path):
    (target.parent / "victim").mkdir()
    path = bundle(tmp_path, ("d", b"../victim", stat.S_IFLNK | 0o777), ("d/file", b"x", 0))
    with pytest.raises(UnsafeBundle):
        unpack(path, target)
    assert not list((target.parent / "victim").iterdir())


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
