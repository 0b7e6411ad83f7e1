"""A backup, made as docs/how-to/backup-and-restore.md says and read byte by byte as by an attacker."""

from __future__ import annotations

import os
import re
import shlex
import signal
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest
from penstock_starter import PENSTOCK, start

DOC = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "backup-and-restore.md"


class Server:
    """`penstock up` with --tls, as a user with an open umask starts it: with paths relative to the folder, as the page does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data_dir = folder / "penstock-data"
        self.process = start(
            PENSTOCK, "up", "--data-dir", "penstock-data", "--port", "0", "--tls",
            "--master-key-file", "config/master.key", "--builds", "0",
            cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, umask=0o022,
        )  # fmt: skip
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().removeprefix("penstock ready ").strip()
        assert self.url, "the server did not start"

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return self.process.wait(60)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a server that ran once and had a build under way."""
    folder = tmp_path_factory.mktemp("backup")
    server = Server(folder)
    build = server.data_dir / "builds" / "0f3b5b9c-0000-4000-8000-000000000000"
    build.mkdir()
    (build / "credentials.json").write_text('{"Token": "session-of-a-build"}')
    assert server.stop() == 0
    return folder


def secrets(folder: Path) -> dict[str, bytes]:
    lines = (folder / "penstock-data" / "credentials").read_text().splitlines()
    values = dict(line.replace(" ", "").split("=", 1) for line in lines if "=" in line)
    keys = (folder / "config" / "master.key").read_text().splitlines()
    return {
        "administrator's secret": values["aws_secret_access_key"].encode(),
        "master key": keys[-1].split()[-1].encode(),
        "session of a build": b"session-of-a-build",
        "private key": b"BEGIN PRIVATE KEY",
        "private key of another form": b"BEGIN EC PRIVATE KEY",
    }


def test_a_backup_as_documented_holds_no_secret(stopped: Path):
    command = re.search(r"^tar .*$", DOC.read_text(), re.MULTILINE)
    assert command is not None
    subprocess.run(shlex.split(command.group()), cwd=stopped, check=True)
    wanted = secrets(stopped)
    found = []
    with tarfile.open(stopped / "penstock-backup.tgz") as archive:
        names = archive.getnames()
        for member in archive.getmembers():
            file = archive.extractfile(member) if member.isfile() else None
            content = b"" if file is None else file.read()
            found += [(member.name, what) for what, secret in wanted.items() if secret in content]
    assert found == []
    assert {"./penstock.db", "./tls/ca.key", "./credentials"} <= set(names)


def test_everything_in_the_data_dir_is_its_owners_only(stopped: Path):
    of_others = []
    for root, folders, files in os.walk(stopped / "penstock-data"):
        for name in (*folders, *files):
            path = Path(root) / name
            # A certificate is there to be handed out.
            if not path.is_symlink() and path.suffix != ".pem" and "0f3b5b9c" not in str(path):
                mode = stat.S_IMODE(path.lstat().st_mode)
                of_others += [(str(path.relative_to(stopped)), oct(mode))] if mode & 0o077 else []
    assert of_others == []


def test_a_restored_server_makes_the_credentials_anew(stopped: Path, tmp_path: Path):
    for name in ("penstock-data", "config"):
        subprocess.run(["cp", "-a", str(stopped / name), str(tmp_path / name)], check=True)
    for path in (tmp_path / "config").glob("credentials*"):
        path.unlink()
    before = secrets(stopped)["administrator's secret"]
    server = Server(tmp_path)
    try:
        link = tmp_path / "penstock-data" / "credentials"
        assert link.is_symlink()
        assert link.resolve().parent == tmp_path / "config"
        assert stat.S_IMODE(link.stat().st_mode) == 0o600
        assert secrets(tmp_path)["administrator's secret"] == before
    finally:
        assert server.stop() == 0
