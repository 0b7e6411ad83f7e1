"""What doctor finds at the machine, the server and its database, on either side of each boundary."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import re
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from penstock_commands import GIB, answering, options, server_of

from penstock.cli import (
    doctor,
)
from penstock.cli.checks import findings, machine, server, stores
from penstock.cli.checks.findings import Finding, Installation, Verdict
from penstock.cli.exits import Exit
from penstock.store.database import PROCESS_CONNECTIONS

pytestmark = pytest.mark.usefixtures("plain")


@pytest.fixture
def examined(tmp_path) -> Installation:
    tmp_path.chmod(0o700)
    engine = sa.create_engine("sqlite://")
    return Installation(data_dir=tmp_path, database="", master_key_file=tmp_path / "key", engine=engine)


@pytest.mark.parametrize(
    ("free", "verdict", "message"),
    [
        ((16 << 20) - 1, Verdict.FAIL, "the disk is full"), (16 << 20, Verdict.WARN, "0.0 GiB free"), (GIB - 1, Verdict.WARN, "1.0 GiB free"),
        (GIB, Verdict.OK, "1.0 GiB free"),
    ],
)  # fmt: skip
def test_room_on_the_disk(examined, monkeypatch, free, verdict, message):
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _folder: SimpleNamespace(free=free))
    mend = "" if verdict is Verdict.OK else "make room: writes fail when the disk is full"
    assert list(machine.data_dir(examined)) == [Finding(verdict, "data dir", message, mend)]


def test_a_folder_that_others_may_enter_or_that_takes_no_writes(examined, monkeypatch):
    examined.data_dir.chmod(0o701)
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _folder: SimpleNamespace(free=GIB))
    monkeypatch.setattr(machine.os, "statvfs", lambda _folder: SimpleNamespace(f_flag=os.ST_RDONLY))
    first, second, _ = machine.data_dir(examined)
    assert (first.verdict, first.message) == (Verdict.FAIL, f"others may enter {examined.data_dir} (mode 701)")
    assert (second.verdict, "read-only: Read-only file system" in second.message) == (Verdict.FAIL, True)
    examined.data_dir = examined.data_dir / "none"
    assert [finding.verdict for finding in machine.data_dir(examined)] == [Verdict.WARN]


def test_files_that_others_may_read(examined):
    for number in range(4):
        (examined.data_dir / f"f{number}").touch(0o640)
    for name in ("builds/x", "tls/server.pem"):
        (examined.data_dir / name).parent.mkdir()
        (examined.data_dir / name).touch(0o644)
    os.symlink("/etc/hostname", examined.data_dir / "link")
    [finding] = machine.file_modes(examined)
    assert re.fullmatch(r"others may read (\S+/f\d, ){2}\S+/f\d and more", finding.message)
    for number in range(4):
        (examined.data_dir / f"f{number}").chmod(0o600)
    assert list(machine.file_modes(examined)) == []
    (examined.data_dir / "logs" / "builds").mkdir(parents=True)
    for number in range(2):
        (examined.data_dir / "logs" / "builds" / f"l{number}").touch(0o604)
    [finding] = machine.file_modes(examined)
    assert not finding.message.endswith("and more")


def test_twenty_thousand_files_are_looked_at(examined, monkeypatch):
    assert machine._CHECKED == 20_000
    monkeypatch.setattr(machine, "_CHECKED", 3)
    for name, count in (("a", 3), ("a/b", 1)):
        (examined.data_dir / name).mkdir()
        for number in range(count):
            (examined.data_dir / name / f"f{number}").touch(0o600)
    (examined.data_dir / "a" / "b" / "c").mkdir()
    (examined.data_dir / "a" / "b" / "c" / "open").touch(0o644)
    assert list(machine.file_modes(examined)) == []
    monkeypatch.setattr(machine, "_CHECKED", 4)
    assert len(list(machine.file_modes(examined))) == 1


@pytest.mark.parametrize(
    ("days", "verdict"), [(15, Verdict.OK), (14, Verdict.WARN), (0, Verdict.WARN), (-1, Verdict.FAIL)]
)
def test_how_long_a_certificate_lasts(examined, monkeypatch, days, verdict):
    now = dt.datetime.now(tz=dt.UTC)
    certificate = SimpleNamespace(not_valid_after_utc=now + dt.timedelta(days=days, hours=1))
    monkeypatch.setattr(machine.x509, "load_pem_x509_certificate", lambda _pem: certificate)
    assert list(machine.certificate(examined)) == []
    (examined.data_dir / "tls").mkdir()
    (examined.data_dir / "tls" / "server.pem").touch()
    [finding] = machine.certificate(examined)
    ends = certificate.not_valid_after_utc
    said = f"lasts {days} more days" if days >= 0 else f"has ended on {ends:%Y-%m-%d}"
    assert (finding.verdict, finding.message) == (verdict, f"the server's certificate {said}")
    assert bool(finding.mend) is (verdict is not Verdict.OK)


@pytest.mark.parametrize(
    ("off", "verdict"), [(60, Verdict.OK), (-60, Verdict.OK), (60.5, Verdict.FAIL), (-61, Verdict.FAIL)]
)
def test_how_far_clocks_may_differ(monkeypatch, off, verdict):
    monkeypatch.setattr(findings.time, "time", lambda: 1000.0)
    [finding] = findings.clock("x", 1000.0 + off)
    assert finding.verdict is verdict


def test_a_server_that_answers_or_does_not(examined):
    assert list(server.server(examined)) == []
    (examined.data_dir / "server.json").write_text("{")
    assert [finding.verdict for finding in server.server(examined)] == [Verdict.WARN]
    (examined.data_dir / "server.json").write_text('{"url": "nonsense", "region": "r"}')
    [finding] = server.server(examined)
    assert (finding.verdict, finding.mend) == (Verdict.WARN, "start it: penstock up")
    with answering(200) as url:
        server_of(examined.data_dir, url=url)
        assert [finding.verdict for finding in server.server(examined)] == [Verdict.OK, Verdict.OK]
    with answering(200, date="Thu, 01 Jan 2026 00:00:00 GMT") as url:
        server_of(examined.data_dir, url=url)
        assert [finding.what for finding in server.server(examined)] == ["server", "clock"]
    for body, faults in ((b"one\ntwo\n", ["one", "two"]), (b"", ["status 503"])):
        with answering(503, body) as url:
            server_of(examined.data_dir, url=url)
            said = [finding.message for finding in server.server(examined)]
            assert said == [f"{url} is not ready: {fault}" for fault in faults]


class Postgres:
    """An engine whose settings are what a test says."""

    dialect = SimpleNamespace(name="postgresql")

    def __init__(self, **settings: str) -> None:
        self.settings = {
            "fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "max_connections": str(4 * PROCESS_CONNECTIONS),
            "transaction_read_only": "off",
        } | settings  # fmt: skip

    @contextlib.contextmanager
    def connect(self):
        yield self

    def execute(self, statement: Any) -> Any:
        return SimpleNamespace(scalar_one=lambda: self.settings[str(statement).removeprefix("SHOW ")])


@pytest.mark.parametrize(
    ("settings", "verdicts"),
    [
        ({}, []), ({"fsync": "off"}, [Verdict.FAIL]), ({"full_page_writes": "off", "synchronous_commit": "off"}, [Verdict.FAIL] * 2),
        ({"transaction_read_only": "on"}, [Verdict.FAIL]), ({"max_connections": str(4 * PROCESS_CONNECTIONS - 1)}, [Verdict.WARN]),
    ],
)  # fmt: skip
def test_how_a_database_server_is_set(examined, settings, verdicts):
    examined.engine = Postgres(**settings)  # type: ignore[assignment]
    assert [finding.verdict for finding in stores.postgresql(examined)] == verdicts
    examined.engine = sa.create_engine("sqlite://")
    assert list(stores.postgresql(examined)) == []


@pytest.mark.parametrize(("verdicts", "code"), [([Verdict.OK, Verdict.WARN], Exit.DONE), ([Verdict.OK, Verdict.FAIL], Exit.FAILED)])  # fmt: skip
def test_doctor_exits_as_it_found(tmp_path, monkeypatch, capsys, verdicts, code):
    (tmp_path / "penstock.db").touch()

    def check(_examined):
        for number, verdict in enumerate(verdicts):
            yield Finding(verdict, "thing", f"message {number}", "mend it" if number else "")

    def broken(_examined):
        raise sa.exc.OperationalError("SELECT", {}, Exception("no route\nmore"))
        yield

    monkeypatch.setattr(doctor, "CHECKS", (check, check))
    given = options(data_dir=tmp_path, database="", master_key_file=None, rotation_command=[], histories=False)
    assert doctor.run(given) == code
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["ok    thing     message 0", f"{verdicts[1]:<4}  thing     message 1", "                → mend it"]
    assert (
        doctor.run(
            options(
                data_dir=tmp_path, database="", master_key_file=None, rotation_command=[], histories=False, json=True
            )
        )
        == code
    )
    assert [one["message"] for one in json.loads(capsys.readouterr().out)] == ["message 0", "message 1"]
    monkeypatch.setattr(doctor, "CHECKS", (broken, broken))
    assert doctor.run(given) == Exit.FAILED
    assert capsys.readouterr().out.splitlines()[0] == "FAIL  store     the database cannot be read: no route"
    assert (
        doctor.run(
            options(data_dir=tmp_path / "none", database="", master_key_file=None, rotation_command=[], histories=False)
        )
        == Exit.USAGE
    )
