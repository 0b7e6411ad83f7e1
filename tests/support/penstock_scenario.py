"""The end-to-end scenario on one data dir: a server process that may die at any moment, a real agent, and users who try again.

with Scenario(folder) as scenario:
    scenario.start(crash_points)       # `penstock up`, dying at the first of them that it reaches
    scenario.lap("1.0.1")              # push, build, approve, deploy; restarts the server whenever it has died
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self, TypeVar

import botocore.config
import botocore.exceptions
from penstock_ports import reserved_port
from penstock_starter import PENSTOCK, Started, start

from penstock.cli.clients import Clients

T = TypeVar("T")

AGENT_SOURCE = Path(__file__).resolve().parents[2] / "agent" / "src"
BUCKET = "scenario-artifacts"
NAME = "scenario"
_TRANSIENT = ("InternalFailure", "InternalError", "ServiceUnavailable", "503", "500", "ThrottlingException", "SlowDown")

LINES = 40  # that a build writes while it runs

BUILDSPEC = """version: 0.2
phases:
  pre_build:
    commands:
      - echo "$CODEBUILD_BUILD_ID pre_build" >> {effects}
      - for n in $(seq 1 {lines}); do echo "line $n"; sleep 0.01; done
  build:
    commands:
      - echo "$CODEBUILD_BUILD_ID build" >> {effects}
      - printf '%s' "$(cat VERSION)" > release.txt
  post_build:
    commands:
      - echo "$CODEBUILD_BUILD_ID post_build" >> {effects}
artifacts:
  files: [appspec.yml, start.sh, release.txt]
"""
APPSPEC = """version: 0.0
os: linux
files:
  - source: release.txt
    destination: /srv
file_exists_behavior: OVERWRITE
hooks:
  ApplicationStart:
    - location: start.sh
      timeout: 30
"""
START = """#!/bin/sh
set -eu
printf '%s\\n' "$DEPLOYMENT_ID $(cat "$PENSTOCK_INSTALL_ROOT/srv/release.txt")" >> "$PENSTOCK_INSTALL_ROOT/started"
"""


class Scenario:
    """One installation, its users and its host."""

    def __init__(self, folder: Path, *, database: str = "", restart_database: Callable[[], None] | None = None) -> None:
        """With the address of a PostgreSQL database every third kill is `restart_database`, which crashes it and starts it again."""
        self.folder = folder
        self.database = database
        self._restart_database = restart_database
        self.data_dir = folder / "data"
        self.work = folder / "work"
        # Builds run as another user when the tests run as root, and pytest's folders are closed to others.
        self._open = Path(tempfile.mkdtemp(prefix="penstock-scenario-"))
        self.effects = self._open / "effects"
        self.host_root = folder / "host" / "root"
        self.port = reserved_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.deaths: list[str] = []  # names of the crash points that the server died at
        self.pushes = 0
        self._killed_at = 0.0
        self.kills = 0
        self._kill_times: Iterator[float] = iter(())
        self._next_kill = float("inf")
        self._points: list[str] = []
        self._server: Started | None = None
        self._agent: subprocess.Popen[bytes] | None = None
        self._clients: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._open.chmod(0o711)
        self.effects.touch()
        self.effects.chmod(0o666)
        return self

    def __exit__(self, *_: object) -> None:
        for process in (self._agent, self._server):
            if process is not None and process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(60)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
            if process is not None and process.stdout is not None:
                process.stdout.close()
        for client in self._clients.values():
            client.close()
        shutil.rmtree(self._open, ignore_errors=True)

    # --- the server ---------------------------------------------------------------------------------------------------

    def start(self, points: list[str]) -> None:
        """Start the server; it dies at the first of `points` (`name` or `name:pass`) that it reaches, and again at the others after restarts."""
        self._points = list(points)
        self._restart()

    def start_over(self, points: list[str]) -> None:
        """End the server in order, and start it with crash points."""
        assert self._server is not None
        self._server.send_signal(signal.SIGTERM)
        assert self._server.wait(60) == 0, self.log()[-3000:]
        assert self._server.stdout is not None
        self._server.stdout.close()
        self.start(points)

    @property
    def points_left(self) -> list[str]:
        """The crash points that no server has reached yet."""
        return self._points

    def _restart(self) -> None:
        for _ in range(len(self._points) + 1):
            if self._spawn():
                return
        raise AssertionError(f"the server does not start: {self.log()[-3000:]}")

    def _spawn(self) -> bool:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PENSTOCK_"))}
        environment["PENSTOCK_CRASH_POINT"] = ",".join(self._points)
        options = [
            "--data-dir", str(self.data_dir), "--port", str(self.port), "--master-key-file", str(self.folder / "master.key"),
            "--build-runtime", "process", "--allow-unisolated-builds",
        ]  # fmt: skip
        if self.database:
            # Leases of a killed process run out soon: on PostgreSQL nobody can know that it was alone.
            options += ["--database", self.database, "--lease", "3"]
        with (self.folder / "server.log").open("ab") as log:
            log.write(b"--- start\n")
            self._server = start(PENSTOCK, "up", *options, stdout=subprocess.PIPE, stderr=log, env=environment)
        assert self._server.stdout is not None
        line = self._server.stdout.readline()
        if line.startswith(b"penstock ready "):
            return True
        self._note_death()
        return False

    def _note_death(self) -> None:
        assert self._server is not None
        code = self._server.wait(60)
        assert self._server.stdout is not None
        self._server.stdout.close()
        said = [line for line in self.log().splitlines() if line.startswith("crash point ")]
        name = said[-1].removeprefix("crash point ") if said else ""
        assert code == -signal.SIGKILL, f"the server ended with {code}: {self.log()[-3000:]}"
        met = [point for point in self._points if point.partition(":")[0] == name]
        for point in met:
            self._points.remove(point)
            self.deaths.append(point)

    def kill_at(self, pauses: Iterator[float]) -> None:
        """kill -9 from now on, after each of these pauses in seconds."""
        self._kill_times = pauses
        self._next_kill = time.monotonic() + next(pauses)

    def _perhaps_kill(self) -> None:
        if time.monotonic() < self._next_kill:
            return
        assert self._server is not None
        self.kills += 1
        if self._restart_database is not None and self.kills % 3 == 0:
            self._restart_database()
            self._killed_at = time.monotonic()
        else:
            self._server.kill()
            self._killed_at = time.monotonic()
            self._note_death()
            self._restart()
        self._next_kill = time.monotonic() + next(self._kill_times, float("inf"))

    def log(self) -> str:
        """What the servers so far have logged."""
        return (self.folder / "server.log").read_text(errors="replace")

    def revive(self) -> bool:
        """Start the server again when it has died."""
        assert self._server is not None
        if self._server.poll() is None:
            return False
        self._note_death()
        self._restart()
        return True

    def client(self, service: str) -> Any:
        """A client of the administrator; one try, so that this file's `insist` is what tries again."""
        if service not in self._clients:
            clients = Clients.administrator(self.data_dir)
            config = botocore.config.Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=30)
            self._clients[service] = clients.session.client(service, endpoint_url=self.url, config=config)
        return self._clients[service]

    def insist(self, call: Callable[[], T], *, already: tuple[str, ...] = ()) -> T | None:
        """Call until it is answered, as a user with a retrying client does; errors in `already` mean that an earlier try counted."""
        deadline = time.monotonic() + 60
        while True:
            self._perhaps_kill()
            try:
                return call()
            except botocore.exceptions.ClientError as error:
                code = error.response["Error"]["Code"]
                if code in already:
                    return None
                if code not in _TRANSIENT:
                    raise
            except (botocore.exceptions.HTTPClientError, botocore.exceptions.ConnectionError, OSError):
                pass
            assert time.monotonic() < deadline, f"no answer within 60 s: {self.log()[-3000:]}"
            if not self.revive():
                time.sleep(0.05)

    def wait_for(self, what: str, found_now: Callable[[], T | None], seconds: float = 60) -> T:
        """Poll until there is something; restarts the server on the way.

        The time runs from the last kill: an agent that has met a dead server a dozen times asks again after up to 45 s only.
        """
        began = time.monotonic()
        while True:
            found = self.insist(found_now)
            if found:
                return found
            assert time.monotonic() < max(began, self._killed_at) + seconds, (
                f"{what}: not within {seconds:.0f} s; the log ends:\n{self.log()[-4000:]}"
            )
            self.revive()
            time.sleep(0.05)

    # --- what the scenario consists of ------------------------------------------------------------------------------------------

    def build(self) -> None:
        """Users, roles, repository, project, application, host and pipeline."""
        iam = self.client("iam")
        roles = {}
        for service in ("codepipeline", "codebuild", "codedeploy"):
            trust = _policy(
                {"Effect": "Allow", "Principal": {"Service": f"{service}.amazonaws.com"}, "Action": "sts:AssumeRole"}
            )
            exists = ("EntityAlreadyExists",)
            self.insist(lambda: iam.create_role(RoleName=service, AssumeRolePolicyDocument=trust), already=exists)  # noqa: B023
            self.insist(
                lambda: iam.put_role_policy(
                    RoleName=service,
                    PolicyName="all",
                    PolicyDocument=_policy({"Effect": "Allow", "Action": "*", "Resource": "*"}),
                )
            )  # noqa: B023
            roles[service] = f"arn:aws:iam::111111111111:role/{service}"
        self.insist(lambda: self.client("s3").create_bucket(Bucket=BUCKET), already=("BucketAlreadyOwnedByYou",))
        self.insist(
            lambda: self.client("codecommit").create_repository(repositoryName=NAME),
            already=("RepositoryNameExistsException",),
        )
        self.insist(
            lambda: self.client("codebuild").create_project(
                name=NAME,
                source={"type": "CODEPIPELINE"},
                artifacts={"type": "CODEPIPELINE"},
                environment={"type": "LINUX_CONTAINER", "image": "host", "computeType": "BUILD_GENERAL1_SMALL"},
                serviceRole=roles["codebuild"],
            ),
            already=("ResourceAlreadyExistsException",),
        )
        self._make_host()
        codedeploy = self.client("codedeploy")
        self.insist(
            lambda: codedeploy.create_application(applicationName=NAME), already=("ApplicationAlreadyExistsException",)
        )
        self.insist(
            lambda: codedeploy.create_deployment_group(
                applicationName=NAME,
                deploymentGroupName=NAME,
                onPremisesInstanceTagFilters=[{"Key": "scenario", "Value": "yes", "Type": "KEY_AND_VALUE"}],
                serviceRoleArn=roles["codedeploy"],
            ),
            already=("DeploymentGroupAlreadyExistsException",),
        )
        self.insist(
            lambda: self.client("codepipeline").create_pipeline(pipeline=_pipeline(roles["codepipeline"])),
            already=("PipelineNameInUseException",),
        )
        self._make_work()

    def _make_host(self) -> None:
        iam, codedeploy = self.client("iam"), self.client("codedeploy")
        self.insist(lambda: iam.create_user(UserName="host"), already=("EntityAlreadyExists",))
        read = _policy({"Effect": "Allow", "Action": "s3:Get*", "Resource": f"arn:aws:s3:::{BUCKET}/*"})
        self.insist(lambda: iam.put_user_policy(UserName="host", PolicyName="read", PolicyDocument=read))
        key = self.wait_for("a key of the host", lambda: iam.create_access_key(UserName="host")["AccessKey"])
        arn = "arn:aws:iam::111111111111:user/host"
        again = ("InstanceNameAlreadyRegisteredException", "IamUserArnAlreadyRegisteredException")
        self.insist(
            lambda: codedeploy.register_on_premises_instance(instanceName="host", iamUserArn=arn), already=again
        )
        self.insist(
            lambda: codedeploy.add_tags_to_on_premises_instances(
                tags=[{"Key": "scenario", "Value": "yes"}], instanceNames=["host"]
            )
        )
        config = {
            "endpoint": self.url,
            "region": "us-east-1",
            "iam_user_arn": arn,
            "aws_access_key_id": key["AccessKeyId"],
            "aws_secret_access_key": key["SecretAccessKey"],
            "root_dir": str(self.folder / "host" / "state"),
            "install_root": str(self.host_root),
        }
        self.host_root.mkdir(parents=True)
        path = self.folder / "host" / "agent.yml"
        path.write_text(json.dumps(config))
        path.chmod(0o600)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        with (self.folder / "agent.log").open("ab") as log:
            self._agent = subprocess.Popen(
                [sys.executable, "-m", "penstock_agent", "run", "--config", str(path)],
                env=environment | {"PYTHONPATH": str(AGENT_SOURCE)},
                stdout=log,
                stderr=log,
            )

    def _make_work(self) -> None:
        self.work.mkdir()
        (self.work / "buildspec.yml").write_text(BUILDSPEC.format(effects=self.effects, lines=LINES))
        (self.work / "appspec.yml").write_text(APPSPEC)
        (self.work / "start.sh").write_text(START)
        (self.work / "start.sh").chmod(0o755)
        keys = Clients.administrator(self.data_dir).session.get_credentials()
        helper = f"!f() {{ echo username={keys.access_key}; echo 'password={keys.secret_key}'; }}; f"
        for arguments in (
            ("init", "--quiet", "--initial-branch=main"),
            ("config", "user.name", "Scenario"),
            ("config", "user.email", "scenario@example.com"),
            ("config", "credential.helper", helper),
            ("remote", "add", "origin", f"{self.url}/v1/repos/{NAME}"),
        ):
            self._git(*arguments)

    def push(self, version: str) -> str:
        """Commit and push a version, again and again until the server has it; the commit."""
        (self.work / "VERSION").write_text(version)
        self._git("add", "--all")
        self._git("commit", "--quiet", "--message", version)
        commit = self._git("rev-parse", "HEAD").strip()
        deadline = time.monotonic() + 60
        while True:
            try:
                self._git("push", "--quiet", "origin", "main")
                break
            except subprocess.CalledProcessError:
                if time.monotonic() > deadline:
                    raise
                if not self.revive():
                    time.sleep(0.05)
        self.pushes += 1
        return commit

    def lap(self, version: str) -> dict[str, Any]:
        """Push a version and see its run to the end, approving on the way; the execution."""
        commit = self.push(version)
        codepipeline = self.client("codepipeline")
        execution = self.wait_for(f"a run of {version}", lambda: self._run_of(commit))

        def ended() -> dict[str, Any] | None:
            found = codepipeline.get_pipeline_execution(pipelineName=NAME, pipelineExecutionId=execution)[
                "pipelineExecution"
            ]
            if found["status"] != "InProgress":
                return found
            self._approve(execution)
            return None

        return self.wait_for(f"the end of {version}", ended, 90)

    def executions(self) -> list[dict[str, Any]]:
        """Every execution, the newest first."""
        pages = self.client("codepipeline").get_paginator("list_pipeline_executions").paginate(pipelineName=NAME)
        return [summary for page in pages for summary in page["pipelineExecutionSummaries"]]

    def _run_of(self, commit: str) -> str:
        for summary in self.executions():
            revisions, id_ = summary.get("sourceRevisions", []), summary["pipelineExecutionId"]
            if any(source.get("revisionId") == commit for source in revisions):
                return id_
            if (
                not revisions
                and summary["status"] == "Failed"
                and summary["trigger"]["triggerType"] != "CreatePipeline"
            ):
                # Ten workers in a row were killed before the source was known: the user does as the message says.
                codepipeline = self.client("codepipeline")
                with contextlib.suppress(
                    codepipeline.exceptions.StageNotRetryableException,
                    codepipeline.exceptions.NotLatestPipelineExecutionException,
                    codepipeline.exceptions.ConcurrentPipelineExecutionsLimitExceededException,
                ):
                    codepipeline.retry_stage_execution(
                        pipelineName=NAME, stageName="Source", pipelineExecutionId=id_, retryMode="FAILED_ACTIONS"
                    )
        return ""

    def _approve(self, execution: str) -> None:
        codepipeline = self.client("codepipeline")
        for stage in codepipeline.get_pipeline_state(name=NAME)["stageStates"]:
            for action in stage["actionStates"]:
                latest = action.get("latestExecution", {})
                if latest.get("token") and latest["status"] == "InProgress":
                    with contextlib.suppress(
                        codepipeline.exceptions.ApprovalAlreadyCompletedException,
                        codepipeline.exceptions.InvalidApprovalTokenException,
                    ):
                        codepipeline.put_approval_result(
                            pipelineName=NAME,
                            stageName=stage["stageName"],
                            actionName=action["actionName"],
                            token=latest["token"],
                            result={"status": "Approved", "summary": f"for {execution}"},
                        )

    def errand(self, number: int) -> None:
        """What a run does not do: multipart uploads, copies, deletions, a stopped deployment, repositories that come and go."""
        s3, key = self.client("s3"), f"errands/{number}"
        upload = self.wait_for("an upload", lambda: s3.create_multipart_upload(Bucket=BUCKET, Key=key)["UploadId"])
        part = self.wait_for(
            "a part",
            lambda: s3.upload_part(Bucket=BUCKET, Key=key, UploadId=upload, PartNumber=1, Body=b"x" * 1000)["ETag"],
        )
        self.insist(
            lambda: s3.complete_multipart_upload(
                Bucket=BUCKET, Key=key, UploadId=upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part}]}
            )
        )
        self.insist(lambda: s3.copy_object(Bucket=BUCKET, Key=f"{key}-copy", CopySource={"Bucket": BUCKET, "Key": key}))
        assert (
            self.wait_for("the copy", lambda: s3.get_object(Bucket=BUCKET, Key=f"{key}-copy")["Body"].read())
            == b"x" * 1000
        )
        self.insist(lambda: s3.delete_object(Bucket=BUCKET, Key=key))
        codecommit = self.client("codecommit")
        self.insist(
            lambda: codecommit.create_repository(repositoryName=f"errand-{number}"),
            already=("RepositoryNameExistsException",),
        )
        self.insist(lambda: codecommit.delete_repository(repositoryName=f"errand-{number}"))
        declared = _pipeline("arn:aws:iam::111111111111:role/codepipeline") | {"name": f"errand-{number}"}
        codepipeline = self.client("codepipeline")
        self.insist(lambda: codepipeline.create_pipeline(pipeline=declared), already=("PipelineNameInUseException",))
        self.insist(lambda: codepipeline.delete_pipeline(name=f"errand-{number}"))
        self._stopped_deployment()

    def why(self, execution: str) -> str:
        """What the actions of a run say, for a failing test's message."""
        details = self.client("codepipeline").list_action_executions(
            pipelineName=NAME, filter={"pipelineExecutionId": execution}
        )["actionExecutionDetails"]
        return "\n".join(
            f"{one['stageName']} {one['status']} {one.get('output', {}).get('executionResult', {})}" for one in details
        )

    def _stopped_deployment(self) -> None:
        codedeploy = self.client("codedeploy")
        revision = {"revisionType": "S3", "s3Location": {"bucket": BUCKET, "key": "not-there.zip", "bundleType": "zip"}}

        def create() -> str:
            return codedeploy.create_deployment(applicationName=NAME, deploymentGroupName=NAME, revision=revision)[
                "deploymentId"
            ]

        deployment = self.wait_for("a deployment", create)
        ended = ("DeploymentAlreadyCompletedException",)
        self.insist(
            lambda: codedeploy.stop_deployment(deploymentId=deployment, autoRollbackEnabled=False), already=ended
        )
        self.wait_for(
            "its end",
            lambda: (
                codedeploy.get_deployment(deploymentId=deployment)["deploymentInfo"]["status"] in ("Stopped", "Failed")
            ),
        )

    def _git(self, *arguments: str) -> str:
        environment = os.environ | {"GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_NOSYSTEM": "1"}
        done = subprocess.run(
            ["git", *arguments], cwd=self.work, env=environment, check=True, capture_output=True, text=True, timeout=60
        )
        return done.stdout

    def effects_of_builds(self) -> Iterator[tuple[str, str, int]]:
        """(build id, command, how often it took effect)."""
        lines = self.effects.read_text().splitlines()
        for line in sorted(set(lines)):
            build, _, command = line.partition(" ")
            yield build, command, lines.count(line)


def _policy(statement: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def _pipeline(role: str) -> dict[str, Any]:
    def stage(
        name: str, category: str, provider: str, configuration: dict[str, str], takes: str = "", gives: str = ""
    ) -> dict[str, Any]:
        action = {
            "name": name,
            "actionTypeId": {"category": category, "owner": "AWS", "provider": provider, "version": "1"},
            "configuration": configuration,
            "inputArtifacts": [{"name": takes}] if takes else [],
            "outputArtifacts": [{"name": gives}] if gives else [],
        }
        return {"name": name, "actions": [action]}

    return {
        "name": NAME,
        "roleArn": role,
        "artifactStore": {"type": "S3", "location": BUCKET},
        "executionMode": "QUEUED",
        "pipelineType": "V2",
        "stages": [
            stage("Source", "Source", "CodeCommit", {"RepositoryName": NAME, "BranchName": "main"}, gives="Source"),
            stage("Build", "Build", "CodeBuild", {"ProjectName": NAME}, "Source", "Release"),
            stage("Approve", "Approval", "Manual", {}),
            stage("Deploy", "Deploy", "CodeDeploy", {"ApplicationName": NAME, "DeploymentGroupName": NAME}, "Release"),
        ],
    }
