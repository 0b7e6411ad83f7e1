"""The order of write, sync, rename and COMMIT: kill -9 keeps the page cache, so only a recorded order shows a sync that is missing."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa

from penstock import app, durable
from penstock.builds.supervisor.journal import Journal
from penstock.builds.supervisor.run import Build
from penstock.logfiles.streams import StreamFiles
from penstock.objects.backend import DiskBackend
from penstock.store import sealing
from penstock.store.clock import ManualClock
from penstock.store.database import Store
from penstock.wire import tls
from penstock_agent import appspec, install, layout, switch


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


def test_the_master_key_is_on_disk_before_it_seals_anything(tmp_path: Path, disk: Disk):
    sealing.write_key_file(tmp_path / "keys" / "master", [sealing.new_key()])
    (made, temporary), *rest = disk.steps
    assert (made, temporary[:7]) == ("sync", "master.")
    assert rest == [("link", temporary, "master"), ("sync", "keys")]


def test_the_authority_of_the_server_is_on_disk(tmp_path: Path, disk: Disk):
    sealer = sealing.Sealer([sealing.new_key()])
    tls.own_authority(tmp_path / "tls", ("localhost",), sealer, now=dt.datetime.now(tz=dt.UTC))
    names = ("ca.key", "ca.pem", "server.key", "server.pem")
    assert disk.steps == [step for name in names for step in written(name, "tls")]


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
    assert disk.steps == [("sync", "blobs"), ("sync", tmp_path.name)]
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
    assert disk.steps == [("sync", files.path.name), ("sync", files.index_path.name)]
    files.close()


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


def test_the_end_of_a_build_is_on_disk_with_its_log(tmp_path: Path, disk: Disk):
    journal = Journal(str(tmp_path), log_limit=1000, masked=[], session=str(tmp_path / "session"))
    journal.report("phase_started", phase="BUILD")
    assert disk.steps == []
    journal.report("ended", durable=True, status="", message="")
    assert disk.steps == [("sync", "progress")]
    journal.sync()
    assert disk.steps[1:] == [("sync", "log"), ("sync", "progress")]


def test_what_the_agent_keeps_is_on_disk(tmp_path: Path, disk: Disk):
    layout.write_durably(str(tmp_path / "record"), b"text")
    assert (tmp_path / "record").read_bytes() == b"text"
    assert disk.steps == [
        ("sync", "record.writing"),
        ("rename", "record.writing", "record"),
        ("sync", tmp_path.name),
    ]


def test_an_install_is_on_disk_step_by_step(tmp_path: Path, disk: Disk):
    """The journal names all temporary files before the first one is made, and says `switch` and `commit` before each begins."""
    places = layout.Layout(str(tmp_path / "state"))
    places.prepare()
    group, deployment = places.group("g"), places.deployment("g", "d-1")
    archive = Path(deployment.archive)
    archive.mkdir(parents=True)
    (archive / "a").write_text("new")
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
        ("sync", journal),
        ("_switch",),
        ("link", "a", ".penstock-old-t-0"),
        ("rename", ".penstock-new-t-0", "a"),
        ("sync", journal),
        ("_finish",),
        *kept(os.path.basename(group.cleanup)),
        *kept("g_last_successful_install"),
        ("remove",),
    ]


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
