"""kill -9 at every named point of this package: one push is one event, and nothing is left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import boto3
import botocore.config
import botocore.exceptions
import pytest
from penstock_git import with_key
from penstock_starter import PENSTOCK, start

from penstock.repositories.events import REFERENCE_UPDATED
from penstock.store.failpoints import points
from penstock.store.packing import unpack

OURS = [name for name in points() if name.startswith("repositories.")]
OF_A_PUSH = [name for name in OURS if name not in ("repositories.folder_made", "repositories.row_deleted")]


class Server:
    """A server process of its own on a data directory."""

    def __init__(self, folder: Path, crash: str = "") -> None:
        self.data = folder / "data"
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PENSTOCK_"))}
        if crash:
            environment["PENSTOCK_CRASH_POINT"] = crash
        self.log = (folder / "server.log").open("a")
        self.process = start(
            PENSTOCK, "up", "--data-dir", str(self.data), "--port", "0",
            "--master-key-file", str(folder / "master.key"), "--builds", "0",
            env=environment, stdout=subprocess.PIPE, stderr=self.log, text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("penstock ready "), (folder / "server.log").read_text()
        self.url = line.split()[2]

    @property
    def keys(self) -> dict[str, str]:
        lines = (self.data / "credentials").read_text().splitlines()
        values = dict(line.split(" = ") for line in lines if " = " in line)
        return {name: values[name] for name in ("aws_access_key_id", "aws_secret_access_key")}

    @property
    def repository(self) -> str:
        return with_key(f"{self.url}/v1/repos/app", self.keys)

    def codecommit(self):
        return boto3.client(
            "codecommit",
            endpoint_url=self.url,
            region_name="us-east-1",
            config=botocore.config.Config(retries={"total_max_attempts": 1}),
            **self.keys,
        )

    def died(self) -> bool:
        return self.process.wait(60) == -signal.SIGKILL


@contextlib.contextmanager
def server(folder: Path, crash: str = "") -> Iterator[Server]:
    running = Server(folder, crash)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.process.terminate()
            assert running.process.wait(60) == 0
        running.process.stdout.close()
        running.log.close()


def rows(folder: Path, query: str) -> list[tuple]:
    with contextlib.closing(sqlite3.connect(f"file:{folder}/data/penstock.db?mode=ro", uri=True)) as conn:
        return conn.execute(query).fetchall()


def published(folder: Path) -> list[tuple[str, str]]:
    found = rows(folder, "SELECT content FROM events ORDER BY position")
    payloads = [
        payload for payload, *about in (unpack(content) for (content,) in found) if REFERENCE_UPDATED.name in about
    ]
    return [(one.get("oldCommitId", ""), one.get("commitId", "")) for one in payloads]


def test_the_points_are_there():
    assert set(OF_A_PUSH) == {
        "repositories.intent_written",
        "repositories.receiving",
        "repositories.references_changed",
        "repositories.references_compared",
        "repositories.references_written",
        "repositories.references_published",
    }


@pytest.mark.parametrize("crash", OF_A_PUSH)
def test_one_push_is_one_event_whenever_the_server_dies(tmp_path, working, crash):
    work = working()
    with server(tmp_path, f"{crash}:2") as up:  # at its second pass, which the second push makes
        up.codecommit().create_repository(repositoryName="app")
        first = work.commit("one")
        work("push", "-q", up.repository, "main")
        second = work.commit("two")
        pushed = work("push", "-q", up.repository, "main", check=False)
        assert pushed.returncode != 0, "a push was reported as done by a server that had died"
        assert up.died()
    with server(tmp_path) as up:
        assert rows(tmp_path, "SELECT * FROM repository_intents") == []
        stored = work("ls-remote", up.repository, "refs/heads/main").stdout.split()[0]
        branch = up.codecommit().get_branch(repositoryName="app", branchName="main")["branch"]["commitId"]
        assert branch == stored
        assert published(tmp_path) == [("", first), (first, second)][: 1 if stored == first else 2]
        work("push", "-q", up.repository, "main")
        third = work.commit("three")
        work("push", "-q", up.repository, "main")
        assert published(tmp_path) == [("", first), (first, second), (second, third)]


@pytest.mark.parametrize("crash", [name for name in OF_A_PUSH if name != "repositories.receiving"])
def test_the_default_branch_is_one_whenever_the_server_dies(tmp_path, working, crash):
    work = working()
    with server(tmp_path, f"{crash}:2") as up:
        up.codecommit().create_repository(repositoryName="app")
        work.commit("one")
        work("push", "-q", up.repository, "main", "main:other")
        with pytest.raises(botocore.exceptions.BotoCoreError):
            up.codecommit().update_default_branch(repositoryName="app", defaultBranchName="other")
        assert up.died()
    with server(tmp_path) as up:
        answer = up.codecommit().get_repository(repositoryName="app")["repositoryMetadata"]["defaultBranch"]
        assert f"ref: refs/heads/{answer}\t" in work("ls-remote", "--symref", up.repository, "HEAD").stdout
        assert answer == ("main" if crash == "repositories.intent_written" else "other")


def test_a_repository_is_made_whole_or_not_at_all(tmp_path, working):
    with server(tmp_path, "repositories.folder_made") as up:
        with pytest.raises(botocore.exceptions.BotoCoreError):
            up.codecommit().create_repository(repositoryName="app")
        assert up.died()
    left = list((tmp_path / "data" / "git").glob("*/*/*.git"))
    assert len(left) == 1
    os.utime(left[0], (0, 0))
    with server(tmp_path) as up:
        assert up.codecommit().list_repositories()["repositories"] == []
        assert not left[0].exists()
        up.codecommit().create_repository(repositoryName="app")
        work = working()
        work.commit("one")
        work("push", "-q", up.repository, "main")


def test_a_deleted_repository_stays_deleted(tmp_path, working):
    work = working()
    work.commit("one")
    with server(tmp_path, "repositories.row_deleted") as up:
        up.codecommit().create_repository(repositoryName="app")
        work("push", "-q", up.repository, "main")
        with pytest.raises(botocore.exceptions.BotoCoreError):
            up.codecommit().delete_repository(repositoryName="app")
        assert up.died()
    (left,) = (tmp_path / "data" / "git").glob("*/*/*.git")
    os.utime(left, (0, 0))
    with server(tmp_path) as up:
        assert up.codecommit().list_repositories()["repositories"] == []
        assert not left.exists()
        up.codecommit().create_repository(repositoryName="app")
        assert work("ls-remote", up.repository).stdout == ""
