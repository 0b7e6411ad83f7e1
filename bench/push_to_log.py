"""git push → the build's first log line can be read: push, event, pipeline, source archive, build, log, all of it."""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.installation import BUCKET, role, runtime_options, until
from bench.run import Row
from bench.served import served

RUNS = 10
NAME = "bench"
_BUILDSPEC = "version: 0.2\nphases:\n  build:\n    commands:\n      - echo the first command speaks\n"


def measure() -> list[Row]:
    took: list[float] = []
    spoke: list[float] = []
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name, served(*runtime_options()) as server:
        client = server.clients()
        work = Path(name)
        _scenario(client)
        _clone(client, work, server.url)
        for number in range(RUNS + 1):
            (work / "VERSION").write_text(str(number))
            _git(work, "add", "--all")
            _git(work, "commit", "--quiet", "--message", str(number))
            known = _streams(client("logs"))
            began = time.time()
            _git(work, "push", "--quiet", "origin", "main")
            first, command = _first_lines(client, known)
            if number:  # the first push makes the log group
                took.append(first - began)
                spoke.append(command - began)
            time.sleep(0.5)
    p50 = statistics.median(took)
    return [
        Row(
            what=f"git push begins → first line of the build's log can be read, {RUNS} runs",
            measured=f"p50 {p50:.2f} s, max {max(took):.2f} (line of the build's first command: p50 {statistics.median(spoke):.2f} s)",
            bar="≤ 1 s",
            met=p50 <= 1,
        )
    ]


def _first_lines(client: Any, known: set[str]) -> tuple[float, float]:
    """When the first line of a new stream was read, and when that of the build's own command was."""
    logs = client("logs")

    def new() -> str:
        return next(iter(_streams(logs) - known), "")

    stream = until(new, every=0.01, what="a log stream")
    group = f"/aws/codebuild/{NAME}"
    first = 0.0
    while True:
        events = logs.get_log_events(logGroupName=group, logStreamName=stream, startFromHead=True)["events"]
        now = time.time()
        if events and not first:
            first = now
        if any(event["message"].strip() == "the first command speaks" for event in events):
            break
        time.sleep(0.01)
    states = ("SUCCEEDED", "FAILED")
    builds = client("codebuild")
    id_ = builds.list_builds_for_project(projectName=NAME, sortOrder="DESCENDING")["ids"][0]
    until(
        lambda: builds.batch_get_builds(ids=[id_])["builds"][0]["buildStatus"] in states,
        every=0.05,
        what="the build's end",
    )
    return first, now


def _streams(logs: Any) -> set[str]:
    try:
        found = logs.describe_log_streams(logGroupName=f"/aws/codebuild/{NAME}")["logStreams"]
    except logs.exceptions.ResourceNotFoundException:
        return set()
    return {one["logStreamName"] for one in found}


def _scenario(client: Any) -> None:
    roles = {service: role(client, service) for service in ("codepipeline", "codebuild")}
    client("s3").create_bucket(Bucket=BUCKET)
    client("codecommit").create_repository(repositoryName=NAME)
    client("codebuild").create_project(
        name=NAME,
        source={"type": "CODEPIPELINE"},
        artifacts={"type": "CODEPIPELINE"},
        environment={"type": "LINUX_CONTAINER", "image": "host", "computeType": "BUILD_GENERAL1_SMALL"},
        serviceRole=roles["codebuild"],
    )
    source = _action("Source", "Source", "CodeCommit", {"RepositoryName": NAME, "BranchName": "main"})
    builds = _action("Build", "Build", "CodeBuild", {"ProjectName": NAME})
    client("codepipeline").create_pipeline(
        pipeline={
            "name": NAME,
            "roleArn": roles["codepipeline"],
            "artifactStore": {"type": "S3", "location": BUCKET},
            "pipelineType": "V2",
            "stages": [
                {"name": "Source", "actions": [source | {"outputArtifacts": [{"name": "Source"}]}]},
                {"name": "Build", "actions": [builds | {"inputArtifacts": [{"name": "Source"}]}]},
            ],
        }
    )


def _action(name: str, category: str, provider: str, configuration: dict[str, str]) -> dict[str, Any]:
    kind = {"category": category, "owner": "AWS", "provider": provider, "version": "1"}
    return {"name": name, "actionTypeId": kind, "configuration": configuration}


def _clone(client: Any, work: Path, url: str) -> None:
    keys = client.session.get_credentials()
    helper = f"!f() {{ echo username={keys.access_key}; echo 'password={keys.secret_key}'; }}; f"
    (work / "buildspec.yml").write_text(_BUILDSPEC)
    _git(work, "init", "--quiet", "--initial-branch=main")
    for name, value in (("user.name", "Bench"), ("user.email", "bench@example.com"), ("credential.helper", helper)):
        _git(work, "config", name, value)
    _git(work, "remote", "add", "origin", f"{url}/v1/repos/{NAME}")


def _git(work: Path, *arguments: str) -> None:
    environment = os.environ | {"GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_NOSYSTEM": "1"}
    subprocess.run(["git", *arguments], cwd=work, env=environment, check=True, capture_output=True, timeout=60)
