"""kill -9 of the server at each of its moments with a worker, and of the worker: each action ends once, and its work is not lost.

The worker is examples/custom-action/worker.py, as people run it.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import socket
import sqlite3
import zipfile
from pathlib import Path

import boto3
import botocore.config
import pytest
from penstock_ports import reserved_port
from penstock_starter import PENSTOCK, Program, start
from penstock_waiting import until

from penstock.store.failpoints import points

POINTS = [point for point in points() if point.startswith("workers.")]
EXAMPLE = Path(__file__).parents[2] / "examples" / "custom-action"
WORKER = Program(str(EXAMPLE / "worker.py"), ("boto3",))
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "codepipeline.amazonaws.com"}, "Action": "sts:AssumeRole"}
    ],
}
MAY = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


class Scene:
    """A server and a worker that are started again whenever they die."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, reserved_port()
        self.log = (folder / "log").open("ab")
        self.server = self.worker = None

    def serve(self, crash: str = "") -> None:
        self.server = start(
            PENSTOCK, "up", "--data-dir", str(self.folder / "data"), "--port", str(self.port),
            "--master-key-file", str(self.folder / "keys" / "master.key"), "--builds", "0",
            env={**os.environ, "PENSTOCK_CRASH_POINT": crash}, stdout=self.log, stderr=self.log,
        )  # fmt: skip
        until(self._answers)

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=10).close()
        except ConnectionRefusedError:
            return False
        return (self.folder / "data" / "credentials").exists()

    def keys(self) -> dict[str, str]:
        lines = (self.folder / "data" / "credentials").read_text().splitlines()
        return {name: value for name, _, value in (line.partition(" = ") for line in lines) if value}

    def client(self, service: str):
        keys = self.keys()
        config = botocore.config.Config(retries={"total_max_attempts": 10})
        return boto3.client(
            service, endpoint_url=f"http://127.0.0.1:{self.port}", region_name="us-east-1", config=config,
            aws_access_key_id=keys["aws_access_key_id"], aws_secret_access_key=keys["aws_secret_access_key"],
        )  # fmt: skip

    def work(self) -> None:
        """Start the worker, unless it is at work: one that finds no server ends."""
        if self.worker is not None and self.worker.poll() is None:
            return
        keys = self.keys()
        environment = {
            **os.environ, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}", "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": keys["aws_access_key_id"], "AWS_SECRET_ACCESS_KEY": keys["aws_secret_access_key"], "AWS_MAX_ATTEMPTS": "1",
        }  # fmt: skip
        options = ("--pool", "linux", "--pause", "0.05", "--memory", str(self.folder / "memory"))
        self.worker = start(WORKER, *options, env=environment, stdout=self.log, stderr=self.log)

    def kill_worker(self) -> None:
        if self.worker is not None and self.worker.poll() is None:
            os.killpg(self.worker.pid, signal.SIGKILL)
            self.worker.wait(60)

    def end(self) -> None:
        self.kill_worker()
        if self.server is not None and self.server.poll() is None:
            self.server.kill()
            self.server.wait(60)
        self.log.close()

    def furnish(self) -> None:
        """A pipeline that builds in a custom action."""
        iam, s3, pipelines = self.client("iam"), self.client("s3"), self.client("codepipeline")
        role = iam.create_role(RoleName="pipeline", AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["Arn"]
        iam.put_role_policy(RoleName="pipeline", PolicyName="all", PolicyDocument=json.dumps(MAY))
        s3.create_bucket(Bucket="store")
        s3.put_bucket_versioning(Bucket="store", VersioningConfiguration={"Status": "Enabled"})
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("app.txt", "hello")
        s3.put_object(Bucket="store", Key="app.zip", Body=packed.getvalue())
        pipelines.create_custom_action_type(**json.loads((EXAMPLE / "action-type.json").read_text()))
        # Held up until it is let go, so that it can be killed in the middle.
        held = f"[ -e {self.folder}/go ] || {{ touch {self.folder}/held; sleep 10000; }}"
        command = f"{held}; mkdir out; tr a-z A-Z < app.txt > out/app.txt; echo $TOKEN >> {self.folder}/runs"
        source = {
            "name": "Fetch",
            "actionTypeId": {"category": "Source", "owner": "AWS", "provider": "S3", "version": "1"},
            "configuration": {"S3Bucket": "store", "S3ObjectKey": "app.zip", "PollForSourceChanges": "false"},
            "outputArtifacts": [{"name": "App"}],
        }
        build = {
            "name": "Make",
            "actionTypeId": {"category": "Build", "owner": "Custom", "provider": "Shell", "version": "1"},
            "configuration": {"Pool": "linux", "Command": command, "Token": "sealed"},
            "inputArtifacts": [{"name": "App"}],
            "outputArtifacts": [{"name": "Made"}],
        }
        pipeline = {
            "name": "made",
            "roleArn": role,
            "artifactStore": {"type": "S3", "location": "store"},
            "stages": [{"name": "Source", "actions": [source]}, {"name": "Build", "actions": [build]}],
        }
        pipelines.create_pipeline(pipeline=pipeline)

    def end_offers(self) -> None:
        """An offer that was lost on its way is made again a minute later, which is now."""
        with contextlib.closing(sqlite3.connect(self.folder / "data" / "penstock.db")) as database, database:
            database.execute("UPDATE jobs SET until = 1 WHERE state = 'offered'")

    def status(self, number: int) -> str:
        self.work()
        runs = self.client("codepipeline").list_pipeline_executions(pipelineName="made")["pipelineExecutionSummaries"]
        return runs[len(runs) - number]["status"]


@pytest.fixture
def scene(tmp_path):
    made = Scene(tmp_path)
    yield made
    made.end()


def test_each_crash_point_has_a_scene():
    assert POINTS == ["workers.acknowledged", "workers.before_result_commit", "workers.offered", "workers.result_put"]


@pytest.mark.timeout(200)
def test_a_killed_server_and_a_killed_worker_lose_and_double_nothing(scene):
    scene.serve()
    scene.furnish()
    scene.work()
    until(lambda: (scene.folder / "held").exists())
    scene.kill_worker()  # in the middle of its command
    (scene.folder / "go").touch()
    until(lambda: scene.status(1) == "Succeeded")  # it remembers its job
    runs = [*POINTS, "workers.before_result_commit:2", "workers.result_put:2"]
    for number, crash in enumerate(runs, 2):
        scene.server.kill()
        scene.server.wait(60)
        scene.serve(crash)
        scene.client("codepipeline").start_pipeline_execution(name="made")
        until(lambda: (scene.work(), scene.server.poll())[1] is not None)
        scene.end_offers()
        scene.serve()
        until(lambda number=number: scene.status(number) == "Succeeded")
    found = scene.client("codepipeline").list_action_executions(pipelineName="made")["actionExecutionDetails"]
    made = [one for one in found if one["actionName"] == "Make"]
    assert len(made) == len(runs) + 1
    assert {one["status"] for one in made} == {"Succeeded"}
    s3 = scene.client("s3")
    for one in made:
        (artifact,) = one["output"]["outputArtifacts"]
        place = artifact["s3location"]
        body = s3.get_object(Bucket=place["bucket"], Key=place["key"])["Body"].read()
        assert zipfile.ZipFile(io.BytesIO(body)).read("app.txt") == b"HELLO"
        assert one["output"]["outputVariables"] == {"Bytes": str(len(body))}
        assert one["output"]["executionResult"]["externalExecutionSummary"] == f"Built {len(body)} bytes."
    assert set((scene.folder / "runs").read_text().split()) == {"sealed"}
