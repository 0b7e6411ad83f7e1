"""What of the host a sandbox does not see, and how what it wrote is removed: with folders that stand for the host's root."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from penstock.sandbox import covers, overlay
from penstock.sandbox.overlay import Cover
from penstock.sandbox.removal import remove_tree
from penstock.sandbox.space import KEPT, keeps, size

# --- covers -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """`host(mounts)`: what shows of the folder `data`, when these are mounted (device, folder in it, place)."""
    for name in ("data/inner", "opt", "optical", "srv/data"):
        (tmp_path / name).mkdir(parents=True)

    def visible(mounts: list[tuple[str, str, str]], *exposed: str, private: str = "data") -> list[str]:
        rows = [("8:1", "/", "/"), *((device, root, f"{tmp_path}/{place}") for device, root, place in mounts)]
        monkeypatch.setattr(covers, "_mounts", lambda: rows)
        found = covers.visible([f"{tmp_path}/{private}"], [f"{tmp_path}/{name}" for name in exposed])
        return [path.removeprefix(f"{tmp_path}/") for path in found]

    return visible


def test_what_shows_by_its_own_name(host):
    assert host([], "data") == ["data"]
    assert host([], ".") == ["data"]
    assert host([], "opt", "optical") == []
    assert host([], "data/inner", "opt") == ["data/inner"]  # a shown folder inside of it is a part of it
    assert host([], "opt", private="opt/gone") == []


def test_what_shows_where_it_is_mounted_again(host, tmp_path):
    root = str(tmp_path)
    assert host([("8:1", f"{root}/data", "opt/again")], "opt") == ["opt/again"]
    assert host([("8:1", f"{root}/data/inner", "opt/part")], "opt") == ["opt/part"]
    assert host([("8:1", root, "opt/all")], "opt") == ["opt/all/data"]
    assert host([("8:1", root, "opt/all"), ("8:1", f"{root}/data", "opt/again")], "opt", "data") == [
        "data", "opt/again", "opt/all/data",
    ]  # fmt: skip
    assert host([("8:2", f"{root}/data", "opt/again")], "opt") == []
    assert host([("8:1", f"{root}/dat", "opt/other"), ("8:1", f"{root}/database", "opt/other")], "opt") == []


def test_a_folder_is_of_the_file_system_that_is_mounted_nearest(host):
    assert host([("8:2", "/kept", "data"), ("8:2", "/kept", "opt/again"), ("8:2", "/", "srv")], "opt", "srv") == [
        "opt/again", "srv/kept",
    ]  # fmt: skip


def test_what_is_not_there_keeps_nothing_else_from_view(host, tmp_path):
    assert covers.visible([f"{tmp_path}/gone", f"{tmp_path}/data"], [str(tmp_path)]) == [f"{tmp_path}/data"]


def test_links_lead_to_what_they_mean(host, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "data")
    (tmp_path / "shown").symlink_to(tmp_path / "opt")
    assert host([], "data", private="link") == ["data"]
    assert host([("8:1", f"{tmp_path}/data", "opt/again")], "shown", private="link") == ["opt/again"]


def test_mounts_as_the_kernel_writes_them(monkeypatch, tmp_path):
    rows = tmp_path / "mountinfo"
    rows.write_bytes(
        b"1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 0:5 /a\\040b /mnt/tab\\011here\\134x rw shared:1 - tmpfs t rw\n"
    )
    monkeypatch.setattr(covers, "open", lambda _path, mode: rows.open(mode), raising=False)
    assert covers._mounts() == [("8:1", "/", "/"), ("0:5", "/a b", "/mnt/tab\there\\x")]


# --- overlays ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def layers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """A lower layer and the cover above it. Marks that only root can make are noted in `whited` and `opaque` instead."""
    lower = tmp_path / "lower"
    for name in ("etc/ssl/private", "etc/apt", "opt", "var/lib/apt", "var/lib/secret"):
        (lower / name).mkdir(parents=True)
    (lower / "etc/apt/key").touch()
    (lower / "link").symlink_to("etc")
    (lower / "etc").chmod(0o751)
    found = SimpleNamespace(lower=str(lower)[1:], upper=tmp_path / "upper", whited=[], opaque=[])

    def mknod(path: str, mode: int, device: int) -> None:
        assert (mode, device) == (stat.S_IFCHR, 0)
        found.whited.append(path.partition("/lower/")[2])
        Path(path).touch()

    def setxattr(path: str, name: str, value: bytes) -> None:
        assert (name, value) == ("trusted.overlay.opaque", b"y")
        found.opaque.append(path.partition("/lower/")[2])

    monkeypatch.setattr(overlay.os, "mknod", mknod)
    monkeypatch.setattr(overlay.os, "setxattr", setxattr)
    found.upper.mkdir()
    found.cover = Cover(str(found.upper))
    found.above = lambda name: found.upper / found.lower / name
    return found


def test_a_path_is_hidden_once_below_folders_that_are_like_the_hosts(layers):
    layers.cover.remove(f"{layers.lower}/etc/ssl/private")
    layers.cover.remove(f"{layers.lower}/etc/ssl/private")
    layers.cover.remove(f"{layers.lower}/etc/apt/key")
    assert layers.whited == ["etc/ssl/private", "etc/apt/key"]
    assert stat.S_IMODE(layers.above("etc").stat().st_mode) == 0o751
    assert stat.S_IMODE(layers.above("etc/apt").stat().st_mode) == stat.S_IMODE(
        Path("/", layers.lower, "etc/apt").stat().st_mode
    )


@pytest.mark.parametrize("name", ["etc/none", "none/at/all", "link/apt"])
def test_what_is_not_there_needs_no_cover(layers, name):
    layers.cover.remove(f"{layers.lower}/{name}")
    layers.cover.remove("")
    assert layers.whited == []


def test_what_a_parent_hides_is_hidden(layers):
    layers.cover.remove(f"{layers.lower}/etc/ssl")
    layers.cover.remove(f"{layers.lower}/etc/ssl/private")
    layers.cover.empty(f"{layers.lower}/etc/ssl/private", 0o700)
    assert layers.whited == ["etc/ssl"]
    assert layers.opaque == []
    layers.cover.empty(f"{layers.lower}/etc/apt", 0o755)
    layers.cover.remove(f"{layers.lower}/etc/apt/key")
    layers.cover.remove(f"{layers.lower}/etc/apt")
    assert layers.whited == ["etc/ssl"]
    assert layers.cover.opaque == {f"{layers.lower}/etc/apt"}


def test_a_folder_is_emptied_with_its_mode_whatever_hid_it(layers):
    for name, mode in (("opt", 0o1777), ("var", 0o700)):
        layers.cover.empty(f"{layers.lower}/{name}", mode)
        assert stat.S_IMODE(layers.above(name).stat().st_mode) == mode
    layers.cover.remove(f"{layers.lower}/etc/apt")
    layers.cover.empty(f"{layers.lower}/etc/apt", 0o755)
    layers.cover.empty(f"{layers.lower}/etc/apt", 0o711)
    assert layers.above("etc/apt").is_dir()
    assert stat.S_IMODE(layers.above("etc/apt").stat().st_mode) == 0o711
    assert layers.opaque == ["opt", "var", "etc/apt", "etc/apt"]


def test_only_what_is_named_is_kept(layers):
    layers.cover.keep_only(f"{layers.lower}/var/lib", ("apt",))
    layers.cover.keep_only(f"{layers.lower}/etc/apt/key", ())
    layers.cover.keep_only(f"{layers.lower}/none", ())
    assert layers.whited == ["var/lib/secret"]


def test_files_that_others_may_not_read_are_private(layers):
    top = Path("/", layers.lower, "opt")
    for name, mode in (("read", 0o644), ("own", 0o640), ("written", 0o602)):
        (top / name).touch()
        (top / name).chmod(mode)
    for name, mode in (("open", 0o755), ("listed", 0o754), ("entered", 0o751), ("shut", 0o700)):
        (top / name).mkdir()
        (top / name / "inner").touch(mode=0o600)
        (top / name).chmod(mode)
    (top / "link").symlink_to("own")
    name = f"{layers.lower}/opt"
    private = ["entered", "listed", "open/inner", "own", "shut", "written"]
    assert sorted(overlay.private_paths(name)) == [f"{name}/{inner}" for inner in private]
    layers.cover.private_files(name)
    assert sorted(layers.whited) == [f"opt/{inner}" for inner in private]
    assert overlay.private_paths(f"{name}/none") == []


def test_too_much_to_look_at_is_private_as_a_whole(layers, monkeypatch):
    assert overlay._SCAN_LIMIT == 20_000
    name = f"{layers.lower}/etc/apt"
    for number in range(3):
        Path("/", name, f"f{number}").touch(mode=0o644)
    for limit, found in ((4, []), (3, [name])):
        monkeypatch.setattr(overlay, "_SCAN_LIMIT", limit)
        assert overlay.private_paths(name) == found


def test_accounts_without_a_single_hash(monkeypatch, tmp_path):
    host = {
        "/etc/shadow": "root:$6$hash:19000:0:99999:7:::\nhalf:x\ndaemon:*:1:0\n",
        "/etc/gshadow": None,
    }

    def opened(path: str, mode: str = "r", **more: Any) -> Any:
        if path not in host:
            return open(path, mode, **more)
        if host[path] is None:
            raise FileNotFoundError(path)
        (tmp_path / "source").write_text(host[path])
        return (tmp_path / "source").open(mode, **more)

    monkeypatch.setattr(overlay, "open", opened, raising=False)
    etc = tmp_path / "etc"
    etc.mkdir()
    for name in ("shadow", "gshadow"):  # on a host that has this file only
        there = {path: None for path in host} | {f"/etc/{name}": host["/etc/shadow"] or host["/etc/gshadow"]}
        host.update(there)
        (etc / name).symlink_to("/dev/null")
        overlay.write_accounts(str(etc))
        assert (etc / name).read_text() == "root:*:19000:0:99999:7:::\ndaemon:*:1:0\n"
        assert stat.S_IMODE((etc / name).lstat().st_mode) == 0o640
        assert [path.name for path in etc.iterdir()] == [name]
        (etc / name).unlink()


def test_names_that_lead_to_the_sandbox_itself(tmp_path):
    overlay.write_hosts(str(tmp_path), "build", ["a.example", "b.example"])
    assert (tmp_path / "hosts").read_text() == (
        "127.0.0.1 localhost build\n::1 localhost\n127.0.0.1 a.example\n127.0.0.1 b.example\n"
    )
    assert stat.S_IMODE((tmp_path / "hosts").stat().st_mode) == 0o644


# --- space and removal ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("blocks", "kept"), [(10 * KEPT // 4096, KEPT), (10 * KEPT // 4096 - 10, KEPT - 4096), (7, 2867)]
)
def test_a_tenth_of_the_disk_is_kept_and_a_gigabyte_at_most(blocks, kept):
    assert keeps(SimpleNamespace(f_blocks=blocks, f_frsize=4096)) == kept  # type: ignore[arg-type]


def test_sizes_as_people_say_them():
    assert [size(count) for count in (0, 1 << 20, 999 << 20, 1000 << 20, 1 << 30, 3 << 29, 145 << 30, 1 << 40)] == [
        "0 MB", "1 MB", "999 MB", "0.977 GB", "1 GB", "1.5 GB", "145 GB", "1 TB",
    ]  # fmt: skip


@contextlib.contextmanager
def without_rights() -> Iterator[Path]:
    """A folder of a user whom permissions bind."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))  # noqa: S108 - pytest's own folders are root's alone
    user = os.geteuid()
    try:
        if user == 0:
            os.chown(folder, 64_321, 64_321)
            os.seteuid(64_321)
        yield folder
    finally:
        os.seteuid(user)
        shutil.rmtree(folder, ignore_errors=True)


def test_whatever_a_sandbox_left_is_removed_and_nothing_else():
    with without_rights() as folder:
        kept = folder / "kept"
        kept.mkdir()
        (kept / "file").touch()
        top = folder / "top"
        for name in ("a/b/c/d", "a/b/e", "removed-0/removed-1", "removed-1", "f"):
            (top / name).mkdir(parents=True)
            (top / name / "file").touch()
        (top / "a" / "link").symlink_to(kept)
        (top / "removed-2").symlink_to(kept)
        (top / "file").touch(mode=0o000)
        for name in ("a/b/c/d", "a/b/c", "a/b", "a", "removed-1", "."):
            (top / name).chmod(0o000)
        remove_tree(top)
        assert not top.exists()
        assert [path.name for path in kept.iterdir()] == ["file"]


def test_folders_that_are_deeper_than_a_path_is_long_are_removed(tmp_path):
    (tmp_path / "top").mkdir()
    here = os.open(tmp_path / "top", os.O_RDONLY)
    for _ in range(40):
        os.mkdir("d" * 200, dir_fd=here)
        inner = os.open("d" * 200, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)
    remove_tree(tmp_path / "top")
    assert list(tmp_path.iterdir()) == []
