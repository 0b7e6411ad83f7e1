"""Builds and their worker's death: restarts adopt, kill -9 at every named point, each command's effect once or a FAULT with a reason."""

from __future__ import annotations

import configparser
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import botocore.config
import pytest
from penstock_builder import Builder, commands, sleeping
from penstock_pipeline_commands import Pipeline, result, run_commands, stage, store_of
from penstock_ports import reserved_port
from penstock_starter import PENSTOCK, Started, start
from penstock_waiting import until

from penstock.builds.workspace import OWN_TREES, Workspace
from penstock.store.failpoints import points


class Process:
    """`penstock up` as a process of its own, over and over on the same data."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data_dir = folder / "data"
        self.port = reserved_port()  # the same one after a restart, since builds have it
        self.child: Started | None = None
        self.url = ""

    def start(self, crash: str = "") -> Process:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PENSTOCK_"))}
        if crash:
            environment["PENSTOCK_CRASH_POINT"] = crash
        options = [
            "--data-dir", str(self.data_dir), "--master-key-file", str(self.folder / "master.key"),
            "--port", str(self.port), "--build-runtime", "process", "--allow-unisolated-builds",
        ]  # fmt: skip
        errors = (self.folder / "stderr").open("a")
        self.child = start(PENSTOCK, "up", *options, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True)
        errors.close()
        assert self.child.stdout is not None
        line = self.child.stdout.readline()
        assert line.startswith("penstock ready"), (self.folder / "stderr").read_text()
        self.url = line.split()[-1]
        return self

    def kill(self) -> None:
        assert self.child is not None
        self.child.kill()
        self.close()

    def terminate(self) -> int:
        assert self.child is not None
        self.child.send_signal(signal.SIGTERM)
        return self.close()

    def close(self) -> int:
        assert self.child is not None
        assert self.child.stdout is not None
        code = self.child.wait(60)
        self.child.stdout.close()
        return code

    def keys(self) -> dict[str, str]:
        parser = configparser.ConfigParser()
        parser.read(self.data_dir / "credentials")
        return {name: parser["penstock"][name] for name in ("aws_access_key_id", "aws_secret_access_key")}

    def client(self, service: str, **config: Any) -> Any:
        chosen = botocore.config.Config(retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=20, **config)
        return boto3.client(service, endpoint_url=self.url, region_name="us-east-1", config=chosen, **self.keys())


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Process]:
    process = Process(tmp_path)
    yield process
    if process.child is not None and process.child.poll() is None:
        process.kill()
    for path in (process.data_dir / "builds").glob("*-*"):
        Workspace(path, OWN_TREES / path.name).remove()


@pytest.fixture
def effects() -> Iterator[Path]:
    """A file that builds of any user may append to; pytest's own folders are closed to them."""
    folder = Path(tempfile.mkdtemp(prefix="penstock-effects-", dir="/var/tmp"))
    folder.chmod(0o711)
    path = folder / "effects"
    path.touch()
    path.chmod(0o666)
    yield path
    shutil.rmtree(folder)


def test_a_restarted_worker_adopts_a_running_build(server: Process, effects: Path):
    builder = Builder(server.start())
    go = effects.with_name("go")
    name = builder.project(
        commands(
            f"echo one >> {effects}",
            f"while ! test -e {go}; do sleep 0.05; done",
            f"echo two >> {effects}; echo after the restart",
        )
    )
    id_ = builder.start(name)
    until(lambda: effects.read_text() == "one\n")
    server.kill()
    builder = Builder(server.start())
    builder.until(id_, lambda build: build["currentPhase"] == "BUILD")
    assert server.terminate() == 0  # drained: the build is left to its supervisor
    builder = Builder(server.start())
    go.touch()
    build = builder.ended(id_)
    assert build["buildStatus"] == "SUCCEEDED"
    assert effects.read_text() == "one\ntwo\n"
    log = builder.log(id_)
    assert log.count("\nafter the restart") == 1
    assert log.count("Running command echo one") == 1


def test_a_build_that_ended_while_nobody_looked_is_finished(server: Process, effects: Path):
    builder = Builder(server.start())
    id_ = builder.start(builder.project(commands(f"echo one >> {effects}", f"sleep 1; echo two >> {effects}")))
    until(lambda: effects.read_text() == "one\n")
    server.kill()
    until(lambda: effects.read_text() == "one\ntwo\n")
    builder = Builder(server.start())
    build = builder.ended(id_)
    assert build["buildStatus"] == "SUCCEEDED"
    until(lambda: [p.name for p in (server.data_dir / "builds").iterdir()] == ["node"])


def test_a_build_whose_supervisor_was_killed_is_a_fault_with_a_reason(server: Process, effects: Path):
    builder = Builder(server.start())
    id_ = builder.start(builder.project(commands(f"echo one >> {effects}", "sleep 600")))
    until(lambda: effects.read_text() == "one\n")
    known = json.loads((server.data_dir / "builds" / id_.rpartition(":")[2] / "supervisor.json").read_text())
    os.kill(known["pid"], signal.SIGKILL)
    build = builder.ended(id_)
    assert build["buildStatus"] == "FAULT"
    context = next(p for p in build["phases"] if p["phaseType"] == "BUILD")["contexts"][0]
    assert "supervisor was killed while commands were running" in context["message"]
    assert effects.read_text() == "one\n"


def test_a_build_whose_role_is_gone_when_its_worker_comes_back_ends_with_what_it_runs(server: Process, effects: Path):
    builder = Builder(server.start())
    seconds = str(uuid.uuid4().int % 10**9 + 10**9)
    id_ = builder.start(builder.project(commands(f"sleep {seconds} & sleep {seconds}")))
    until(lambda: sleeping(seconds) == 2)
    iam, name = server.client("iam"), builder.role.rpartition("/")[2]
    iam.delete_role_policy(RoleName=name, PolicyName="p")
    iam.delete_role(RoleName=name)
    server.kill()
    builder = Builder(server.start())
    build = builder.ended(id_)
    assert build["buildStatus"] == "FAILED"
    context = next(p for p in build["phases"] if p["phaseType"] == "BUILD")["contexts"][0]
    assert "is not authorized to perform: sts:AssumeRole" in context["message"]
    assert sleeping(seconds) == 0


BUILDS = [name for name in points() if name.startswith("builds.")]


def test_every_crash_point_is_found():
    root = Path(__file__).parents[2] / "src" / "penstock" / "builds"
    named = {name for path in root.rglob("*.py") for name in re.findall(r'failpoint\("([^"]+)"\)', path.read_text())}
    assert named == set(BUILDS)
    assert len(named) >= 6


@pytest.mark.parametrize(
    ("point", "nth"),
    [
        *((name, 1) for name in BUILDS),
        ("builds.before_progress", 2),
        *(("logs.appended", nth) for nth in (1, 2, 3)),
    ],
)
def test_kill_9_at_a_named_point(server: Process, effects: Path, point: str, nth: int):
    builder = Builder(server.start(f"{point}:{nth}"))
    bucket = "kept-artifacts"
    builder.s3.create_bucket(Bucket=bucket)
    spec = commands(
        f"echo one >> {effects}; echo out > out", "sleep 0.5", f"echo two >> {effects}", artifacts={"files": "out"}
    )
    name = builder.project(spec, artifacts={"type": "S3", "location": bucket, "name": "out.zip", "packaging": "ZIP"})
    id_ = builder.start(name)

    def dead() -> bool:
        assert server.child is not None
        return server.child.poll() is not None

    until(dead)
    assert server.close() == -signal.SIGKILL
    builder = Builder(server.start())
    build = builder.ended(id_)
    # The supervisor outlives the worker, so that the build succeeds wherever the worker dies.
    assert build["buildStatus"] == "SUCCEEDED", build["phases"]
    assert effects.read_text() == "one\ntwo\n"
    assert builder.s3.head_object(Bucket=bucket, Key="out.zip")["ContentLength"] > 0
    lines = builder.log(id_).splitlines()
    assert len(lines) == len(set(lines)), "a line that was shipped twice"
    assert sum("Running command sleep 0.5" in line for line in lines) == 1
    kinds = [phase["phaseType"] for phase in build["phases"]]
    assert len(kinds) == len(set(kinds))


@pytest.mark.parametrize(
    "point",
    [
        "",  # while the first command waits
        "pipelines.after_start:3",  # asked for, and nobody knows yet: the sources are the first two
        "builds.provisioned",
        "builds.before_supervisor",
        "builds.after_supervisor",
        "builds.before_progress:2",
        "builds.commands_ended",
        "builds.uploaded",
        "builds.completed",
    ],
)
def test_commands_of_a_pipeline_outlive_kill_9(server: Process, effects: Path, point: str):
    builder = Builder(server.start(point))
    go = effects.with_name("go")
    make = run_commands(
        "Make",
        f"echo one >> {effects}; while ! test -e {go}; do sleep 0.05; done",
        f"export VERSION=7; echo out > out; echo two >> {effects}",
        outputArtifacts=[{"name": "Out", "files": ["out"]}],
        outputVariables=["VERSION"],
        namespace="made",
    )
    use = run_commands("Use", "test #{made.VERSION} = 7 && cat out", inputs=("Out",))
    pipeline = Pipeline(builder, store_of(builder), stage("Make", make), stage("Use", use))
    if point:
        go.touch()
        until(lambda: server.child is not None and server.child.poll() is not None)
        assert server.close() == -signal.SIGKILL
    else:
        until(lambda: effects.read_text() == "one\n")
        server.kill()
    builder = Builder(server.start())
    go.touch()
    pipeline = pipeline.at(builder)
    used = pipeline.ended("Use")
    made = pipeline.ended("Make")
    assert (made["status"], used["status"]) == ("Succeeded", "Succeeded"), (made, used)
    assert effects.read_text() == "one\ntwo\n"
    assert made["output"]["outputVariables"] == {"VERSION": "7"}
    project = builder.get(result(made)["externalExecutionId"])["projectName"]
    assert len(builder.codebuild.list_builds_for_project(projectName=project)["ids"]) == 2
