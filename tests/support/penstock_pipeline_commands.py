"""Pipelines whose actions run commands, on a live server."""

from __future__ import annotations

import copy
import io
import uuid
import zipfile
from collections.abc import Callable
from typing import Any

from penstock_builder import Builder
from penstock_waiting import until


def zipped(**files: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return content.getvalue()


def store_of(builder: Builder) -> str:
    """A bucket with two source archives, where pipelines keep artifacts too."""
    name = f"artifacts-{uuid.uuid4().hex[:8]}"
    builder.s3.create_bucket(Bucket=name)
    builder.s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    for key, packed in (("app.zip", zipped(main="main")), ("lib.zip", zipped(lib="lib"))):
        builder.s3.put_object(Bucket=name, Key=key, Body=packed)
    return name


def action(name: str, category: str, provider: str, **more: Any) -> dict[str, Any]:
    kind = {"category": category, "owner": "AWS", "provider": provider, "version": "1"}
    return {"name": name, "actionTypeId": kind, **more}


def run_commands(name: str, *lines: str, inputs: tuple[str, ...] = ("app",), **more: Any) -> dict[str, Any]:
    given = [{"name": one} for one in inputs]
    return action(name, "Compute", "Commands", commands=list(lines), inputArtifacts=given, **more)


class Pipeline:
    """A pipeline that fetches both objects, and has the stages that are given."""

    def __init__(self, builder: Builder, bucket: str, *stages: dict[str, Any], role: str = "", **more: Any) -> None:
        self.builder = builder
        self.client = builder.live.client("codepipeline")
        self.name = f"pipe.{uuid.uuid4().hex[:8]}"
        self.role = role or builder.make_role(
            "logs:*", "s3:*", "secretsmanager:*", "sts:*", service="codepipeline.amazonaws.com"
        )
        sources = [
            action(name, "Source", "S3", outputArtifacts=[{"name": name}],
                   configuration={"S3Bucket": bucket, "S3ObjectKey": f"{name}.zip", "PollForSourceChanges": "false"})
            for name in ("app", "lib")
        ]  # fmt: skip
        self.client.create_pipeline(
            pipeline={
                "name": self.name,
                "roleArn": self.role,
                "artifactStore": {"type": "S3", "location": bucket},
                "pipelineType": "V2",
                "stages": [{"name": "Source", "actions": sources}, *stages],
                **more,
            }
        )

    def at(self, builder: Builder) -> Pipeline:
        """The same one on a server that was started again."""
        found = copy.copy(self)
        found.builder, found.client = builder, builder.live.client("codepipeline")
        return found

    def actions(self) -> list[dict[str, Any]]:
        return self.client.list_action_executions(pipelineName=self.name)["actionExecutionDetails"]

    def action(self, name: str, found: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The newest execution of an action, once it is as wanted."""
        return until(
            lambda: next((one for one in self.actions() if one["actionName"] == name and found(one)), None),
            why=self.actions,
        )

    def ended(self, name: str) -> dict[str, Any]:
        return self.action(name, lambda one: one["status"] != "InProgress")

    def started(self, name: str) -> str:
        """The id of the build of an action that runs."""
        return result(self.action(name, lambda one: "externalExecutionId" in result(one)))["externalExecutionId"]

    def started_rule(self) -> str:
        """The id of the build of the only rule, which runs."""

        def found() -> str | None:
            rules = self.client.list_rule_executions(pipelineName=self.name)["ruleExecutionDetails"]
            return next((id_ for one in rules if (id_ := result(one).get("externalExecutionId"))), None)

        return until(found)

    def log(self, id_: str) -> str:
        stream = self.builder.get(id_)["logs"]
        events = self.builder.logs.get_log_events(
            logGroupName=stream["groupName"], logStreamName=stream["streamName"], startFromHead=True
        )
        return "\n".join(event["message"] for event in events["events"])


def result(execution: dict[str, Any]) -> dict[str, Any]:
    return execution.get("output", {}).get("executionResult", {})


def stage(name: str, *actions: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": name, "actions": list(actions), **more}
