"""Projects and builds on a live server."""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from penstock_waiting import until

from penstock.builds.workspace import OWN_TREES

TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "codebuild.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}


class Builder:
    """Projects and builds on a live server."""

    def __init__(self, live: Any) -> None:
        self.live = live
        self.codebuild = live.client("codebuild", parameter_validation=False)
        self.logs = live.client("logs")
        self.s3 = live.client("s3")
        self.role = self.make_role("logs:*", "s3:*", "codecommit:*")

    def make_role(self, *actions: str, service: str = "codebuild.amazonaws.com") -> str:
        iam = self.live.client("iam")
        name = f"build-{uuid.uuid4().hex[:8]}"
        trust = json.loads(json.dumps(TRUST).replace("codebuild.amazonaws.com", service))
        arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
        if actions:
            allow = {
                "Version": "2012-10-17",
                "Statement": [{"Effect": "Allow", "Action": list(actions), "Resource": "*"}],
            }
            iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=json.dumps(allow))
        return arn

    def project(self, spec: str | dict[str, Any] | None = None, **more: Any) -> str:
        name = f"project-{uuid.uuid4().hex[:8]}"
        text = json.dumps(spec) if isinstance(spec, dict) else spec
        source = more.pop("source", {"type": "NO_SOURCE"})
        if text is not None:
            source = source | {"buildspec": text}
        self.codebuild.create_project(
            **{
                "name": name,
                "source": source,
                "artifacts": {"type": "NO_ARTIFACTS"},
                "environment": {"type": "LINUX_CONTAINER", "image": "aws/codebuild/standard:7.0", "computeType": "BUILD_GENERAL1_SMALL"},
                "serviceRole": self.role,
            }
            | more
        )  # fmt: skip
        return name

    def start(self, name: str, **more: Any) -> str:
        return self.codebuild.start_build(projectName=name, **more)["build"]["id"]

    def get(self, id_: str) -> dict[str, Any]:
        return self.codebuild.batch_get_builds(ids=[id_])["builds"][0]

    def until(self, id_: str, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The build once the condition holds for it."""

        def found_now() -> dict[str, Any] | None:
            return build if condition(build := self.get(id_)) else None

        return until(found_now, why=lambda: f"{self.get(id_)}\n{self.log(id_)}")

    def ended(self, id_: str) -> dict[str, Any]:
        return self.until(id_, lambda build: build["buildComplete"])

    def run(self, name: str, **more: Any) -> dict[str, Any]:
        return self.ended(self.start(name, **more))

    def file(self, id_: str, name: str) -> Path:
        """A file that the commands of a running build made, as it lies outside of their sandbox."""
        uuid_ = id_.rpartition(":")[2]
        trees = (self.live.data_dir / "builds" / uuid_ / "tree", OWN_TREES / uuid_)
        (found,) = (path for tree in trees for path in tree.rglob(name))
        return found

    def log(self, id_: str) -> str:
        project, _, stream = id_.partition(":")
        try:
            events = self.logs.get_log_events(
                logGroupName=f"/aws/codebuild/{project}", logStreamName=stream, startFromHead=True
            )
        except self.logs.exceptions.ResourceNotFoundException:
            return ""
        return "\n".join(event["message"] for event in events["events"])


def phases(build: dict[str, Any]) -> dict[str, str]:
    return {phase["phaseType"]: phase.get("phaseStatus", "") for phase in build["phases"]}


def failure(build: dict[str, Any], phase: str) -> tuple[str, str]:
    context = next(p for p in build["phases"] if p["phaseType"] == phase)["contexts"][0]
    return context["statusCode"], context["message"]


def commands(*lines: str, **more: Any) -> dict[str, Any]:
    return {"version": "0.2", "phases": {"build": {"commands": list(lines)}}} | more


def sleeping(seconds: str) -> int:
    """How many processes of this machine sleep for so long."""
    asked = f"sleep\0{seconds}\0".encode()
    found = 0
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found += path.read_bytes() == asked
    return found
