"""Server and workers as processes of their own on PostgreSQL: a pipeline runs to its end, even when its worker is killed."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import signal
import subprocess
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import botocore.config
import pytest
import sqlalchemy as sa
from penstock_starter import PENSTOCK, Started, run, start
from penstock_waiting import until

from penstock.store import migrate

ROLE = "arn:aws:iam::111111111111:role/delivery"


class Installation:
    """The processes that share a database, a data directory and a master key."""

    def __init__(self, folder: Path, database: str, *options: str) -> None:
        self.folder = folder
        self.data_dir = folder / "data"
        self._common = [
            "--database", database, "--data-dir", str(self.data_dir), "--master-key-file", str(folder / "master.key"),
            *options,
        ]  # fmt: skip
        self._processes: list[Started] = []
        self.url = self._ready(self.start("server", "--port", "0"))

    def start(self, command: str, *options: str) -> Started:
        log = (self.folder / f"{command}-{len(self._processes)}.log").open("w")
        with log:
            process = start(PENSTOCK, command, *self._common, *options, stdout=subprocess.PIPE, stderr=log, text=True)
        self._processes.append(process)
        return process

    def worker(self) -> Started:
        options = ["--public-url", self.url, "--build-runtime", "process", "--allow-unisolated-builds", "--lease", "2"]
        worker = self.start("worker", *options)
        self._ready(worker)
        return worker

    def _ready(self, process: Started) -> str:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("penstock ready "), self.logs()
        return line.split()[2]

    def client(self, service: str) -> Any:
        lines = (self.data_dir / "credentials").read_text().splitlines()
        keys = dict(line.replace(" ", "").split("=", 1) for line in lines if line.startswith("aws_"))
        config = botocore.config.Config(retries={"total_max_attempts": 1})
        return boto3.client(service, region_name="us-east-1", endpoint_url=self.url, config=config, **keys)

    def logs(self) -> str:
        return "\n".join(f"{path.name}:\n{path.read_text()[-3000:]}" for path in self.folder.glob("*.log"))

    def stop(self) -> None:
        for process in reversed(self._processes):
            if process.poll() is None:
                process.terminate()
        for process in self._processes:
            process.wait(60)
            if process.stdout is not None:
                process.stdout.close()


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that builds, which run as a user of their own, may read and write."""
    folder = Path(tempfile.mkdtemp(prefix="penstock-scale-"))
    folder.chmod(0o777)  # noqa: S103
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def empty(postgresql: Any) -> Iterator[str]:
    """The address of a database without a schema."""
    name = postgresql.create()
    yield postgresql.url(name)
    postgresql.drop(name)


@pytest.fixture
def installation(empty: str, tmp_path: Path) -> Iterator[Callable[..., Installation]]:
    engine = sa.create_engine(empty.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as conn:
        migrate.upgrade(conn)
    engine.dispose()
    with contextlib.ExitStack() as stack:

        def start(*options: str) -> Installation:
            made = Installation(tmp_path, empty, *options)
            stack.callback(made.stop)
            return made

        yield start


def make_pipeline(installed: Installation, *commands: str) -> None:
    """Role, bucket, project and a pipeline of three stages, which builds and runs commands; the source object is there."""
    iam = installed.client("iam")
    services = ["codepipeline.amazonaws.com", "codebuild.amazonaws.com"]
    trust = {"Effect": "Allow", "Principal": {"Service": services}, "Action": "sts:AssumeRole"}
    allow = {"Effect": "Allow", "Action": ["s3:*", "codebuild:*", "logs:*"], "Resource": "*"}
    iam.create_role(RoleName="delivery", AssumeRolePolicyDocument=policy(trust))
    iam.put_role_policy(RoleName="delivery", PolicyName="all", PolicyDocument=policy(allow))
    s3 = installed.client("s3")
    s3.create_bucket(Bucket="scale-out")
    s3.put_bucket_versioning(Bucket="scale-out", VersioningConfiguration={"Status": "Enabled"})
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("buildspec.yml", json.dumps({"version": 0.2, "phases": {"build": {"commands": commands}}}))
    s3.put_object(Bucket="scale-out", Key="source.zip", Body=packed.getvalue())
    installed.client("codebuild").create_project(
        name="scale-out",
        source={"type": "CODEPIPELINE"},
        artifacts={"type": "CODEPIPELINE"},
        environment={"type": "LINUX_CONTAINER", "image": "host", "computeType": "BUILD_GENERAL1_SMALL"},
        serviceRole=ROLE,
    )
    source = action("Source", "S3", {"S3Bucket": "scale-out", "S3ObjectKey": "source.zip"}) | {
        "outputArtifacts": [{"name": "Code"}]
    }
    build = action("Build", "CodeBuild", {"ProjectName": "scale-out"}) | {"inputArtifacts": [{"name": "Code"}]}
    look = action("Compute", "Commands", {}) | {
        "inputArtifacts": [{"name": "Code"}], "commands": ["test -e buildspec.yml && export SEEN=yes"],
        "outputVariables": ["SEEN"], "namespace": "look",
    }  # fmt: skip
    use = action("Compute", "Commands", {}) | {
        "name": "Use", "runOrder": 2, "inputArtifacts": [{"name": "Code"}], "commands": ["test #{look.SEEN} = yes"],
    }  # fmt: skip
    stages = [("Source", [source]), ("Build", [build, look, use]), ("Approve", [action("Approval", "Manual", {})])]
    installed.client("codepipeline").create_pipeline(
        pipeline={
            "name": "scale-out",
            "roleArn": ROLE,
            "artifactStore": {"type": "S3", "location": "scale-out"},
            "pipelineType": "V2",
            "stages": [{"name": name, "actions": actions} for name, actions in stages],
        }
    )


def policy(statement: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def action(category: str, provider: str, configuration: dict[str, str]) -> dict[str, Any]:
    kind = {"category": category, "owner": "AWS", "provider": provider, "version": "1"}
    return {"name": category, "actionTypeId": kind, "configuration": configuration}


def seen(installed: Installation, what: str, found_now: Callable[[], Any]) -> Any:
    return until(found_now, why=lambda: f"({what})\n{installed.logs()}")


def approve_and_end(installed: Installation) -> str:
    """Approve the run when it asks, and wait for its end; the status."""
    codepipeline = installed.client("codepipeline")

    def token() -> str | None:
        stages = codepipeline.get_pipeline_state(name="scale-out")["stageStates"]
        assert all(stage.get("latestExecution", {}).get("status") != "Failed" for stage in stages), stages
        return stages[2]["actionStates"][0].get("latestExecution", {}).get("token")

    codepipeline.put_approval_result(
        pipelineName="scale-out",
        stageName="Approve",
        actionName="Approval",
        token=seen(installed, "the approval", token),
        result={"status": "Approved", "summary": "go"},
    )

    def end() -> str | None:
        runs = codepipeline.list_pipeline_executions(pipelineName="scale-out")["pipelineExecutionSummaries"]
        assert len(runs) == 1
        return runs[0]["status"] if runs[0]["status"] != "InProgress" else None

    return seen(installed, "the end", end)


@pytest.mark.parametrize("options", [(), ("--no-notify",)], ids=["notify", "poll"])
def test_a_pipeline_runs_on_a_server_and_a_worker(installation, options):
    installed = installation(*options)
    installed.worker()
    make_pipeline(installed, "echo built")
    assert approve_and_end(installed) == "Succeeded"


def test_a_second_worker_ends_what_a_killed_one_began(installation, shared):
    installed = installation()
    first = installed.worker()
    make_pipeline(
        installed, f"echo started >> {shared}/effects", f"until test -e {shared}/go; do sleep 0.1; done", "echo built"
    )
    seen(installed, "the build's first command", (shared / "effects").exists)
    first.send_signal(signal.SIGKILL)
    first.wait()
    installed.worker()
    (shared / "go").touch()
    assert approve_and_end(installed) == "Succeeded"
    assert (shared / "effects").read_text() == "started\n"


def test_up_makes_the_schema_that_server_and_worker_ask_for(empty, tmp_path):
    common = ["--database", empty, "--data-dir", str(tmp_path / "data"), "--master-key-file", str(tmp_path / "key")]
    for refused in (("server", "--port", "0"), ("worker", "--public-url", "http://127.0.0.1:1")):
        done = run(PENSTOCK, refused[0], *common, *refused[1:], timeout=30)
        assert done.returncode == 1
        assert "penstock up" in done.stderr
    for name in ("up", "server"):
        process = start(PENSTOCK, name, *common, "--port", "0", stdout=subprocess.PIPE)
        assert process.stdout is not None
        with process.stdout:
            assert process.stdout.readline().startswith(b"penstock ready ")
            process.terminate()
            assert process.wait(60) == 0
