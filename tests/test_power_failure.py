"""A disk that loses what was not synced: whatever was acknowledged is there after a power failure, and nothing is half there.

One run is recorded by strace with real clients beside it; then the server is started on states of the disk that were possible at some
moment of that run (tests/support/penstock_disk.py says which).
"""

from __future__ import annotations

import configparser
import contextlib
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import botocore.config
import pytest
from botocore.exceptions import ClientError
from penstock_disk import Disk, command
from penstock_git import Clone, git_environment, with_key
from penstock_live import boto_session
from penstock_starter import PENSTOCK, start

State = dict[str, Any]  # what a client sees, by what it looks at; what is not there is missing
GROUP = {"logGroupName": "kept", "logStreamName": "stream"}
LARGE = random.Random(1).randbytes(5 << 20)  # noqa: S311 -- no secret


@dataclass
class Step:
    """One acknowledged request: from which byte of the log to which it was under way, and what holds after it."""

    begun: int
    ended: int
    after: State


@contextlib.contextmanager
def missing(*codes: str) -> Iterator[None]:
    """Go on when one of these errors says that something is not there."""
    try:
        yield
    except ClientError as error:
        if error.response["Error"]["Code"] not in codes:
            raise


@dataclass
class Client:
    """A client of a server, with the administrator's keys or others."""

    url: str
    keys: dict[str, str]

    def __call__(self, service: str) -> Any:
        config = botocore.config.Config(retries={"total_max_attempts": 1}, read_timeout=30)
        return boto_session().client(
            service, endpoint_url=self.url, region_name="us-east-1", config=config, **self.keys
        )

    def git(self, folder: Path) -> Clone:
        return Clone(folder, git_environment(folder.parent))

    def address(self) -> str:
        return with_key(f"{self.url}/v1/repos/kept", self.keys)


def administrator(folder: Path) -> dict[str, str]:
    parser = configparser.ConfigParser()
    parser.read(folder / "data" / "credentials")
    return {name: parser["penstock"][name] for name in ("aws_access_key_id", "aws_secret_access_key")}


def options(folder: Path) -> list[str]:
    return [
        "--data-dir", str(folder / "data"), "--master-key-file", str(folder / "keys" / "master"), "--port", "0",
        "--build-runtime", "process", "--allow-unisolated-builds",
    ]  # fmt: skip


ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PENSTOCK_"))}


@dataclass
class Run:
    """The recorded run."""

    folder: Path
    log: Path
    steps: list[Step] = field(default_factory=list)
    state: State = field(default_factory=dict)
    users: dict[str, dict[str, str]] = field(default_factory=dict)
    end: int = 0

    def record(self) -> None:
        """Start the server, do everything once, end it."""
        line = [sys.executable, "-m", "penstock.cli.main", "up", *options(self.folder)]
        process = subprocess.Popen(
            [*command(self.folder, self.log), *line], env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert process.stdout is not None
        with process.stdout:
            ready = process.stdout.readline().decode()
            assert ready.startswith("penstock ready"), ready
            self.steps.append(Step(0, self.log.stat().st_size, {}))
            self.do_everything(Client(ready.split()[-1], administrator(self.folder)))
        (server,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(server), 15)
        assert process.wait(60) == 0
        self.end = self.log.stat().st_size

    def step(self, call: Callable[..., Any], given: dict[str, Any], **after: Any) -> Any:
        """One request, and what it changes."""
        begun = self.log.stat().st_size
        answer = call(**given)
        self.state = {name: value for name, value in (self.state | after).items() if value is not None}
        self.steps.append(Step(begun, self.log.stat().st_size, self.state))
        return answer

    def do_everything(self, client: Client) -> None:
        s3, logs, iam = client("s3"), client("logs"), client("iam")
        self.step(s3.create_bucket, {"Bucket": "kept"})
        for key, body in (
            ("small", b"1"),
            ("gone", b"2"),
            ("twice", b"3"),
            ("twice", b"4"),
            ("middle", LARGE[:300_000]),
        ):
            self.step(s3.put_object, {"Bucket": "kept", "Key": key, "Body": body}, **{f"object {key}": body})
        self.step(s3.delete_object, {"Bucket": "kept", "Key": "gone"}, **{"object gone": None})
        at = {"Bucket": "kept", "Key": "parts"}
        at["UploadId"] = s3.create_multipart_upload(**at)["UploadId"]
        parts = [
            {"PartNumber": number, "ETag": s3.upload_part(**at, PartNumber=number, Body=body)["ETag"]}
            for number, body in ((1, LARGE), (2, b"end"))
        ]
        complete = at | {"MultipartUpload": {"Parts": parts}}
        self.step(s3.complete_multipart_upload, complete, **{"object parts": LARGE + b"end"})
        self.step(client("codecommit").create_repository, {"repositoryName": "kept"})
        work = self.folder.parent / "work"
        work.mkdir()
        clone = client.git(work)
        clone("init", "-q", "-b", "main")
        for text in ("one", "two"):
            commit = clone.commit(text)
            self.push(clone, client, commit)
        logs.create_log_group(logGroupName="kept")
        logs.create_log_stream(**GROUP)
        said: tuple[str, ...] = ()
        for number in range(3):
            said = (*said, f"line {number} " * 100)  # longer than a sector
            events = [{"timestamp": int(time.time() * 1000) + number, "message": said[-1]}]
            self.step(logs.put_log_events, GROUP | {"logEvents": events}, log=said)
        for name in ("ann", "ben"):
            iam.create_user(UserName=name)
            key = self.step(iam.create_access_key, {"UserName": name}, **{f"user {name}": True})["AccessKey"]
            self.users[name] = {
                "aws_access_key_id": key["AccessKeyId"],
                "aws_secret_access_key": key["SecretAccessKey"],
            }

    def push(self, clone: Clone, client: Client, commit: str) -> None:
        self.step(lambda: clone("push", "-q", client.address(), "main"), {}, commit=commit)

    def seen(self, client: Client, folder: Path) -> State:
        """What a client sees. What is listed must be readable."""
        found: State = {}
        s3 = client("s3")
        for bucket in s3.list_buckets()["Buckets"]:
            for item in s3.list_objects_v2(Bucket=bucket["Name"]).get("Contents", []):
                found[f"object {item['Key']}"] = s3.get_object(Bucket=bucket["Name"], Key=item["Key"])["Body"].read()
        with missing("RepositoryDoesNotExistException", "BranchDoesNotExistException"):
            branch = client("codecommit").get_branch(repositoryName="kept", branchName="main")["branch"]
            client.git(folder)("clone", "-q", client.address(), "cloned")
            clone = client.git(folder / "cloned")
            clone("fsck", "--strict")
            found["commit"] = branch["commitId"]
            assert clone("rev-parse", "HEAD").stdout.strip() == found["commit"]
        with missing("ResourceNotFoundException"):
            events = client("logs").get_log_events(**GROUP, startFromHead=True)["events"]
            found["log"] = tuple(event["message"] for event in events)
        for name, keys in self.users.items():
            with missing("InvalidClientTokenId"):
                found[f"user {name}"] = Client(client.url, keys)("sts").get_caller_identity()["Arn"].endswith(name)
        return {name: value for name, value in found.items() if value != ()}

    def check(self, target: Path, disk: Disk, point: int, how: str | int) -> None:
        """Start a server on the disk as it may have been at a byte of the log, to which `disk` has not come yet."""
        disk.follow(self.log, point)
        target.mkdir()
        disk.failed(target / "disk", how)
        with (target / "stderr").open("w") as errors:
            line = ["up", *options(target / "disk")]
            process = start(PENSTOCK, *line, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=errors, text=True)
        assert process.stdout is not None
        try:
            ready = process.stdout.readline()
            assert ready.startswith("penstock ready"), (target / "stderr").read_text()
            seen = self.seen(Client(ready.split()[-1], administrator(target / "disk")), target)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
        done = [step for step in self.steps if step.ended <= point]
        before: State = done[-1].after if done else {}
        after = next((step.after for step in self.steps[len(done) :] if step.begun <= point), before)
        if point < self.end:  # log events are synced behind PutLogEvents, or when the server ends
            said = seen.pop("log", ())
            assert said == after.get("log", ())[: len(said)]
            before, after = ({k: v for k, v in each.items() if k != "log"} for each in (before, after))
        for name in {*before, *after, *seen}:
            assert seen.get(name) in (before.get(name), after.get(name)), (name, point, how)
        shutil.rmtree(target)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("power") / "recorded"
    folder.mkdir()
    run = Run(folder, folder.parent / "log")
    run.record()
    disk = Disk(folder)
    disk.follow(run.log)
    disk.same_as(folder)
    return run


@pytest.mark.needs("strace")
@pytest.mark.parametrize(("ended", "how"), [(False, "harsh"), (False, "hollow"), (True, "harsh")])
def test_what_was_acknowledged_survives_a_power_failure(recorded: Run, tmp_path: Path, ended: bool, how: str):
    point = recorded.end if ended else recorded.steps[-1].ended
    recorded.check(tmp_path / "failed", Disk(recorded.folder), point, how)


@pytest.mark.prove
@pytest.mark.needs("strace")
@pytest.mark.timeout(1200)
def test_every_moment_survives_a_power_failure(recorded: Run, tmp_path: Path):
    rng = random.Random(6)  # noqa: S311
    moments = [moment for step in recorded.steps for moment in (step.ended, rng.randint(step.begun, step.ended))]
    disk = Disk(recorded.folder)
    for number, moment in enumerate(sorted(moments)):
        for how in ("harsh", "hollow", rng.randrange(1000), rng.randrange(1000)):
            recorded.check(tmp_path / str(number), disk, moment, how)
