"""The order of write, sync, rename and COMMIT: kill -9 keeps the page cache, so only a recorded order shows a sync that is missing."""

from __future__ import annotations

import contextlib
import datetime as dt
import errno
import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa

from penstock import app, durable
from penstock.blobs.backend import DiskBackend
from penstock.builds.supervisor import log as build_log
from penstock.builds.supervisor import run
from penstock.builds.supervisor.artifacts import pack_artifact
from penstock.builds.supervisor.journal import Journal
from penstock.builds.supervisor.run import Build
from penstock.logfiles.streams import StreamFiles
from penstock.repositories import changes, records
from penstock.repositories.git import Git
from penstock.store import masterkeys, sealing
from penstock.store.clock import ManualClock
from penstock.store.database import Store
from penstock.wire import requestlog, tls
from penstock_agent import appspec, failures, install, layout, local, switch
from penstock_agent.output import Output


class Disk:
    """Records what a program asks of the disk, each with the last part of the path."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.steps: list[tuple[str, ...]] = []
        self._patch = patch
        for name in ("fsync", "fdatasync"):
            patch.setattr(os, name, self._synced)
        for name in ("rename", "replace", "link"):
            self._wrap(os, name)

    def _synced(self, descriptor: int) -> None:
        self.steps.append(("sync", Path(os.readlink(f"/proc/self/fd/{descriptor}")).name))

    def _wrap(self, owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def call(*paths: Any, **more: Any) -> Any:
            done = real(*paths, **more)
            self.steps.append((name, *(Path(path).name for path in paths[:2])))
            return done

        self._patch.setattr(owner, name, call)

    def watch(self, owner: Any, name: str) -> None:
        """Record calls of a function by its name alone."""
        real = getattr(owner, name)

        def call(*arguments: Any, **more: Any) -> Any:
            self.steps.append((name,))
            return real(*arguments, **more)

        self._patch.setattr(owner, name, call)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def written(name: str, folder: str) -> list[tuple[str, ...]]:
    return [("sync", f"{name}.new"), ("replace", f"{name}.new", name), ("sync", folder)]


def test_a_file_is_replaced_with_what_is_on_disk(tmp_path: Path, disk: Disk):
    folder = tmp_path / "folder"
    folder.mkdir()
    for content in (b"long one", b"two"):
        durable.write(folder / "file", content)
        assert (folder / "file").read_bytes() == content
    assert (folder / "file").stat().st_mode & 0o777 == 0o600
    assert disk.steps == written("file", "folder") * 2
    with pytest.raises(FileExistsError):
        durable.create(folder / "file", b"three")


class FullDisk:
    """Takes so many bytes and no more."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.room = 1 << 30
        real = os.write

        def write(descriptor: int, data: Any) -> int:
            if not self.room:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            written = real(descriptor, bytes(data)[: self.room])
            self.room -= written
            return written

        patch.setattr(os, "write", write)


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> FullDisk:
    return FullDisk(monkeypatch)


def _request_log(path: Path, _: contextlib.ExitStack) -> Any:
    file = requestlog._File(path, 1 << 20)
    return lambda name: file.write([{"line": name}])


def _progress_of_a_build(path: Path, _: contextlib.ExitStack) -> Any:
    journal = Journal(str(path.parent), log_limit=1000, masked=[], session=str(path.parent / "session"))
    (path.parent / "progress").replace(path)
    return lambda name: journal.report(name)


def _log_of_a_build(path: Path, _: contextlib.ExitStack) -> Any:
    log = build_log.Log(str(path.parent), limit=1000, session=str(path.parent / "session"), written=lambda: None)
    (path.parent / "log").replace(path)
    return lambda name: log.output(name.encode() + b"\n")


def _log_of_hooks(path: Path, ends: contextlib.ExitStack) -> Any:
    output = Output(str(path), 1 << 20)
    ends.callback(output.close)
    return lambda name: output.write([name])


def _journal_of_an_install(path: Path, _: contextlib.ExitStack) -> Any:
    journal = switch.Journal(str(path))
    return journal.mark


FILES_OF_LINES = [_request_log, _progress_of_a_build, _log_of_a_build, _log_of_hooks, _journal_of_an_install]


@pytest.mark.parametrize("opened", FILES_OF_LINES)
def test_a_full_disk_leaves_complete_lines(
    tmp_path: Path, full_disk: FullDisk, monkeypatch: pytest.MonkeyPatch, opened: Any
):
    """Half a line is not there when the disk has room again: the next line would have been added to it."""
    monkeypatch.setattr(build_log, "_FULL_S", 0)
    path = tmp_path / "lines"
    ends = contextlib.ExitStack()
    write = opened(path, ends)
    write("first-line")
    length = len(path.read_bytes())
    for room in range(length):
        full_disk.room = room
        with contextlib.suppress(OSError):
            write("other-line")
        assert len(path.read_bytes()) == length
    full_disk.room = 1 << 20
    write("third-line")
    ends.close()
    first, third, end = path.read_bytes().split(b"\n")
    assert b"first-line" in first
    assert b"third-line" in third
    assert (len(first), end) == (len(third), b"")


def test_a_disk_that_has_room_again_gets_every_line(
    tmp_path: Path, full_disk: FullDisk, monkeypatch: pytest.MonkeyPatch
):
    """A build that fills the disk is being ended, and its log says why."""
    monkeypatch.setattr(build_log, "_FULL_PAUSE_S", 0)
    log = build_log.Log(str(tmp_path), limit=1000, session=str(tmp_path / "session"), written=lambda: None)

    def ended() -> None:
        full_disk.room += 7

    log.disk_full = ended
    full_disk.room = 20
    log.output(b"one\ntwo\nthree\n")
    assert [line.split(b" ")[1] for line in (tmp_path / "log").read_bytes().splitlines()] == [b"one", b"two", b"three"]


def test_half_a_line_that_a_crash_left_goes(tmp_path: Path):
    path = tmp_path / "requests.jsonl"
    path.write_bytes(b'{"line":1}\n{"li')
    requestlog._File(path, 1 << 20).write([{"line": 2}])
    assert [json.loads(line) for line in path.read_text().splitlines()] == [{"line": 1}, {"line": 2}]
    path.write_bytes(b'{"li')
    requestlog._File(path, 1 << 20).write([{"line": 3}])
    assert json.loads(path.read_text()) == {"line": 3}


GAP = b"\0" * 700 + b"half of it\n" + b"another\n" * 200_000  # longer than what is read at once


@pytest.mark.parametrize(
    ("name", "opened"), [("requests.jsonl", _request_log), ("log", _log_of_a_build), ("scripts.log", _log_of_hooks)]
)
def test_what_is_behind_a_gap_of_a_power_failure_goes(tmp_path: Path, name: str, opened: Any):
    """What was not synced reaches the disk in any order: lines behind zeros would be read as one with them."""
    path = tmp_path / name
    with contextlib.ExitStack() as ends:
        opened(path, ends)("first-line")
    whole = path.read_bytes()
    path.write_bytes(whole + GAP)
    with contextlib.ExitStack() as ends:
        opened(path, ends)("third-line")
    assert path.read_bytes().startswith(whole)
    (third,) = path.read_bytes()[len(whole) :].splitlines()
    assert b"third-line" in third


@pytest.mark.parametrize("left", [b"resto", b"\0" * 9, b"resto\0\0\0\0"])
def test_a_step_of_an_install_that_a_crash_damaged_is_none(tmp_path: Path, left: bytes):
    journal = switch.Journal(str(tmp_path / "journal"))
    journal.create({"deployment": "d"})
    journal.mark("switch")
    with (tmp_path / "journal").open("ab") as file:
        file.write(left)
    for steps in (["switch"], ["switch", "restored"]):
        again = switch.Journal(str(tmp_path / "journal"))
        assert again.load()
        assert (again.header, again.steps) == ({"deployment": "d"}, steps)
        again.mark("restored")


def test_a_zero_byte_of_a_command_is_no_gap(tmp_path: Path):
    log = build_log.Log(str(tmp_path), limit=1000, session=str(tmp_path / "session"), written=lambda: None)
    log.output(b"one\0\ntwo\n")
    log.close()
    assert [line.split(b" ")[1] for line in (tmp_path / "log").read_bytes().splitlines()] == [
        b"one\xef\xbf\xbd",
        b"two",
    ]


def test_a_full_disk_leaves_a_stream_of_logs_readable(tmp_path: Path, full_disk: FullDisk):
    files = StreamFiles(tmp_path / "stream.log")
    files.append([(1, "one")], 2)
    sizes = [path.stat().st_size for path in (files.path, files.index_path)]
    for room in range(sum(sizes)):
        full_disk.room = room
        with pytest.raises(OSError, match="No space left"):
            files.append([(3, "two")], 4)
        assert [path.stat().st_size for path in (files.path, files.index_path)] == sizes
    full_disk.room = 1 << 20
    files.append([(5, "six")], 6)
    assert [(batch.lowest, batch.events) for batch in files.batches()] == [(1, 1), (5, 1)]
    assert files.batches()[1].end == files.path.stat().st_size
    files.close()


async def test_a_new_repository_is_on_disk(tmp_path: Path, disk: Disk):
    folder = tmp_path / "git" / "new.git"
    await Git(tmp_path).create(folder)
    assert disk.steps[0] == ("sync", tmp_path.name)  # which holds the name of git
    assert sorted(disk.steps[1:-2]) == sorted(
        ("sync", name) for name in ("HEAD", "config", "info", "pack", "objects", "heads", "tags", "refs")
    )
    assert disk.steps[-2:] == [("sync", "new.git"), ("sync", "git")]


async def test_references_are_on_disk_before_their_rows(tmp_path: Path, disk: Disk):
    """Git syncs what is in a file, and no name of one."""
    row = SimpleNamespace(id="r", account="1", region="us-east-1", default_branch=None)

    class Store:
        async def read(self, fn: Any, *_: object) -> Any:
            return row if fn is records.by_id else [SimpleNamespace(id="i", at=1_500_000_000_000, caller="somebody")]

        async def write(self, _: Any, **__: object) -> None:
            disk.steps.append(("COMMIT",))

    kept = changes.Changes(SimpleNamespace(settings=SimpleNamespace(data_dir=tmp_path), store=Store()))  # type: ignore[arg-type]
    folder = kept.path(row)
    await kept.git.create(folder)
    os.utime(folder / "refs" / "tags", (1, 1))  # nothing was pushed there
    disk.steps.clear()
    await kept._settle("r")
    assert disk.steps == [("sync", name) for name in ("pack", "r.git", "refs", "heads")] + [("COMMIT",)]


def test_the_master_key_is_on_disk_before_it_seals_anything(tmp_path: Path, disk: Disk):
    masterkeys.write_key_file(tmp_path / "keys" / "master", [masterkeys.new_key()])
    above, (made, temporary), *rest = disk.steps
    assert above == ("sync", tmp_path.name)
    assert (made, temporary[:7]) == ("sync", "master.")
    assert rest == [("link", temporary, "master"), ("sync", "keys")]


def test_the_authority_of_the_server_is_on_disk(tmp_path: Path, disk: Disk):
    sealer = sealing.Sealer([masterkeys.new_key()])
    tls.own_authority(tmp_path / "tls", ("localhost",), sealer, now=dt.datetime.now(tz=dt.UTC))
    names = ("ca.key", "ca.pem", "server.key", "server.pem")
    assert disk.steps == [("sync", tmp_path.name), *(step for name in names for step in written(name, "tls"))]


def test_the_credentials_of_the_administrator_are_on_disk(tmp_path: Path, disk: Disk):
    (tmp_path / "keys").mkdir()
    (tmp_path / "data").mkdir()
    for _ in range(2):  # what is there already is not written again
        app._write_outside(tmp_path / "data" / "credentials", tmp_path / "keys" / "master", "[default]\n")
    (target,) = (tmp_path / "keys").iterdir()
    assert disk.steps == [*written(target.name, "keys"), ("replace", "credentials.new", "credentials")]


def test_a_blob_is_on_disk_when_it_is_kept(tmp_path: Path, disk: Disk):
    backend = DiskBackend(tmp_path / "blobs")
    backend.prepare()
    assert disk.steps == [("sync", tmp_path.name), ("sync", "blobs")]
    disk.steps.clear()
    sink = backend.create("ab12")
    sink.write([b"one", b"two"])
    assert disk.steps == []
    sink.commit()
    assert disk.steps == [("sync", "ab12"), ("sync", "ab")]


def test_a_stream_of_logs_is_on_disk_when_it_is_synced(tmp_path: Path, disk: Disk):
    files = StreamFiles(tmp_path / "stream.log")
    files.append([(1, "one")], 2)
    disk.steps.clear()
    files.sync()
    synced = [("sync", files.path.name), ("sync", files.index_path.name)]
    assert disk.steps == [*synced, ("sync", tmp_path.name)]  # the names once, the bytes each time
    files.sync()
    assert disk.steps[3:] == synced
    files.close()


def test_what_was_appended_is_on_disk_before_a_stream_is_let_go_of(tmp_path: Path, disk: Disk):
    """Nobody would sync it afterwards."""
    files = StreamFiles(tmp_path / "stream.log")
    files.append([(1, "one")], 2)
    disk.steps.clear()
    files.complete()
    assert disk.steps == [("sync", files.path.name), ("sync", files.index_path.name), ("sync", tmp_path.name)]


def test_an_index_that_is_restored_is_on_disk_behind_what_it_speaks_of(tmp_path: Path, disk: Disk):
    files = StreamFiles(tmp_path / "stream.log")
    files.append([(1, "one")], 2)
    files.append([(2, "two")], 3)
    files.close()
    os.truncate(files.index_path, files.index_path.stat().st_size // 2)
    disk.steps.clear()
    again = StreamFiles(tmp_path / "stream.log")
    again.append([(3, "three")], 4)
    assert disk.steps[:2] == [("sync", files.path.name), ("sync", files.index_path.name)]
    again.close()


def test_every_folder_above_is_on_disk(tmp_path: Path, disk: Disk):
    durable.make_folder(tmp_path / "one" / "two")
    assert disk.steps == [("sync", tmp_path.name), ("sync", "one")]
    assert (tmp_path / "one").stat().st_mode & 0o777 == 0o700
    durable.make_folder(tmp_path / "one" / "two")
    assert len(disk.steps) == 2


def test_a_build_is_marked_before_its_first_command(tmp_path: Path, disk: Disk):
    build = Build.__new__(Build)
    build.directory = str(tmp_path)
    reported: list[str] = []
    build.journal = SimpleNamespace(report=reported.append)  # type: ignore[assignment]
    build._mark_started()
    assert reported == ["started"]
    assert disk.steps == [("sync", "started"), ("sync", tmp_path.name)]
    with pytest.raises(FileExistsError):  # it never runs twice
        build._mark_started()


def test_the_end_of_a_build_is_on_disk_after_its_log(tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch):
    def build(_job: Any, _directory: str, journal: Journal) -> SimpleNamespace:
        return SimpleNamespace(run=lambda: journal.report("phase_started", phase="BUILD"))

    monkeypatch.setattr(run, "Build", build)
    for name in ("dup2", "umask"):  # it is a process of its own
        monkeypatch.setattr(os, name, lambda *_: None)
    assert run.supervise({"log_limit": 1000}, str(tmp_path)) == 0
    assert disk.steps == [("sync", "log"), ("sync", "progress")]
    last = (tmp_path / "progress").read_bytes().splitlines()[-1]
    assert json.loads(last)["event"] == "ended"


def test_an_artifact_is_on_disk_when_it_is_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """It is packed by a child, which notes what it syncs."""
    synced = tmp_path / "synced"

    def note(descriptor: int) -> None:
        synced.write_text(f"{os.readlink(f'/proc/self/fd/{descriptor}')} {os.fstat(descriptor).st_size}")

    monkeypatch.setattr(os, "fsync", note)
    source, packed = tmp_path / "source", tmp_path / "artifact.zip"
    source.mkdir()
    (source / "a").write_text("text")
    failure = pack_artifact(
        {"files": ["a"], "base_directory": "", "exclude_paths": []},
        str(packed), source=str(source), compress=True, enter=lambda: None, read=lambda fd: os.read(fd, 65536), say=str,
    )  # fmt: skip
    assert failure == ""
    assert synced.read_text() == f"{packed} {packed.stat().st_size}"


def test_what_the_agent_keeps_is_on_disk(tmp_path: Path, disk: Disk):
    layout.write_durably(str(tmp_path / "record"), b"text")
    assert (tmp_path / "record").read_bytes() == b"text"
    assert disk.steps == [
        ("sync", "record.writing"),
        ("rename", "record.writing", "record"),
        ("sync", tmp_path.name),
    ]


def test_an_install_is_on_disk_step_by_step(tmp_path: Path, disk: Disk):
    """The journal names all temporary files before the first one is made, and says `switch` and `commit` before each begins.

    Each of its steps begins when what the step before did is on the disk: files, their folders and their names.
    """
    places = layout.Layout(str(tmp_path / "state"))
    places.prepare()
    group, deployment = places.group("g"), places.deployment("g", "d-1")
    archive = Path(deployment.archive)
    archive.mkdir(parents=True)
    (archive / "a").write_text("new")
    (archive / "made").mkdir()
    (archive / "made" / "b").write_text("new")
    root = tmp_path / "root"
    (root / "srv").mkdir(parents=True)
    (root / "srv" / "a").write_text("old")
    spec = appspec.parse(b"version: 0.0\nos: linux\nfiles: [{source: /, destination: /srv}]\n")
    plan = install.make_plan(spec, str(archive), install_root=str(root), behavior="OVERWRITE", previous=[])
    disk.steps.clear()
    for name in ("_prepare", "_switch", "_finish"):
        disk.watch(switch, name)
    disk.watch(switch.Journal, "remove")
    switch.install(plan, group, deployment, "t")
    journal = os.path.basename(group.journal)

    def kept(name: str) -> list[tuple[str, ...]]:
        return [("sync", f"{name}.writing"), ("rename", f"{name}.writing", name), ("sync", "deployment-instructions")]

    assert disk.steps == [
        *kept(journal),
        ("_prepare",),
        ("sync", ".penstock-new-t-1"),
        ("sync", "b"),
        ("sync", ".penstock-new-t-0"),
        ("sync", "srv"),
        ("sync", journal),
        ("_switch",),
        ("link", "a", ".penstock-old-t-0"),
        ("rename", ".penstock-new-t-0", "made"),
        ("rename", ".penstock-new-t-1", "a"),
        ("sync", "srv"),
        ("sync", journal),
        ("_finish",),
        *kept(os.path.basename(group.cleanup)),
        ("sync", "srv"),
        *kept("g_last_successful_install"),
        ("remove",),
    ]


def test_an_install_that_is_undone_is_on_disk_before_its_journal_goes(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
):
    places = layout.Layout(str(tmp_path / "state"))
    places.prepare()
    group, deployment = places.group("g"), places.deployment("g", "d-1")
    (Path(deployment.archive) / "kept").mkdir(parents=True)
    (Path(deployment.archive) / "a").write_text("new")
    root = tmp_path / "root"
    (root / "srv" / "kept").mkdir(parents=True)
    (root / "srv" / "a").write_text("old")
    spec = appspec.parse(
        b"version: 0.0\nos: linux\nfiles: [{source: /, destination: /srv}]\n"
        b"permissions: [{object: /srv, type: [directory], mode: '0700'}]\n"
    )
    earlier = [str(root / "srv" / "kept")]  # made by an earlier deployment, and used by this one
    plan = install.make_plan(spec, deployment.archive, install_root=str(root), behavior="OVERWRITE", previous=earlier)

    def fail(*_: object) -> None:
        (root / "srv" / "a").rename(root / "srv" / ".penstock-old-t-0")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(switch, "_switch", fail)
    disk.watch(switch, "_undo")
    disk.watch(switch.Journal, "remove")
    with pytest.raises(failures.InstallFailed):
        switch.install(plan, group, deployment, "t")
    undone = disk.steps[disk.steps.index(("_undo",)) + 1 :]
    journal = os.path.basename(group.journal)
    assert undone == [
        ("rename", ".penstock-old-t-0", "a"),
        ("sync", "kept"),
        ("sync", "srv"),
        ("sync", journal),
        ("sync", "srv"),
        ("remove",),
    ]


@pytest.mark.parametrize("many", [False, True])
def test_a_revision_is_on_disk_before_it_is_reported(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch, many: bool
):
    """Hooks run from it and Install copies it, so an empty file in it would be deployed as if it were right."""
    if many:
        monkeypatch.setattr(layout, "_FEW", 0)
        disk.watch(os, "sync")
    source = tmp_path / "source"
    (source / "scripts").mkdir(parents=True)
    (source / "appspec.yml").write_text("version: 0.0\nos: linux\nfiles: []\n")
    (source / "scripts" / "start").write_text("exit 0\n")
    options = SimpleNamespace(
        config=None,
        root_dir=str(tmp_path / "state"),
        install_root="",
        bundle=str(source),
        type=None,
        events="DownloadBundle",
        deployment_group="g",
        deployment_group_name="g",
        application_name="app",
        appspec_filename="appspec.yml",
        file_exists_behavior="DISALLOW",
    )
    assert local.deploy(options) == 0
    (deployment,) = [path.name for path in (tmp_path / "state" / "g").iterdir()]
    each = [("sync", name) for name in ("appspec.yml", "start", "scripts", "unpacking")]
    expected = [
        *([("sync",)] if many else each),
        ("rename", "unpacking", "deployment-archive"),
        ("sync", deployment),
        ("sync", "g_most_recent_install.writing"),
        ("rename", "g_most_recent_install.writing", "g_most_recent_install"),
        ("sync", "deployment-instructions"),
    ]
    assert disk.steps[: len(expected)] == expected  # Install follows


async def test_sqlite_waits_for_the_disk_where_it_writes(store: Store):
    def pragmas(conn: sa.Connection) -> list[Any]:
        names = ("synchronous", "journal_mode", "foreign_keys", "query_only")
        return [conn.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names]

    assert await store.write(pragmas) == [2, "wal", 1, 0]  # 2 is FULL


async def test_postgresql_waits_for_the_disk_where_it_writes(postgresql_url: str, clock: ManualClock):
    store = await Store.open(postgresql_url, clock=clock)
    names = ("fsync", "synchronous_commit", "full_page_writes")
    assert [
        await store.write(lambda conn, name=name: conn.exec_driver_sql(f"SHOW {name}").scalar()) for name in names
    ] == [
        "on",
        "on",
        "on",
    ]
    await store.close()
