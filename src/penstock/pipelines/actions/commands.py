"""Commands: shell commands on a machine of their own, without a build project. AWS: action-reference-Commands."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from penstock.pipelines.actions.codebuild import ended_badly
from penstock.pipelines.actions.provider import Action, Failed, Outcome, Provider, Running, Succeeded
from penstock.pipelines.model import MINUTE, ActionType, ActionTypeId, Property
from penstock.wire.errors import AccessDenied, ServiceError


class Commands(Provider):
    """Has the builds run the commands, once per action execution, and learns of their end by an event.

    The role needs no permission for that: what it may is what its commands may. AWS asks it only for the log's.
    """

    types = (
        ActionType(
            id=ActionTypeId(category="Compute", owner="AWS", provider="Commands"),
            properties=(
                Property(
                    name="EnvironmentType",
                    description="The kind of machine",
                    values=("LINUX_CONTAINER", "WINDOWS_SERVER_2022_CONTAINER"),
                ),
                Property(
                    name="ComputeType",
                    description="Its size",
                    values=("BUILD_GENERAL1_SMALL", "BUILD_GENERAL1_MEDIUM", "BUILD_GENERAL1_LARGE"),
                ),
                Property(name="VpcId", description="The network that the machine is in"),
                Property(name="Subnets", description="Its subnets, with commas between them"),
                Property(name="SecurityGroupIds", description="Its security groups, with commas between them"),
            ),
            inputs=(1, 10),
            outputs=(0, 1),
            timeout=55 * MINUTE,
            v2_only=True,
            members=("commands", "outputVariables", "environmentVariables", "files"),
            execution_url="/console/builds/{ExternalExecutionId}",
            works_on="penstock:commands",
            starts="codebuild:build",
        ),
    )
    reports: ClassVar = {"codebuild.build.state_changed": lambda payload: payload["build-id"].partition(":build/")[2]}

    async def start(self, action: Action) -> Outcome:
        """StartActionCommands, which asks for the job of the action to learn what to run."""
        try:
            return _outcome(action, await action.invoke("penstock", "StartActionCommands", {}))
        except AccessDenied as error:
            return Failed(code="PermissionError", message=str(error))
        except ServiceError as error:
            if error.server_fault:
                raise
            return Failed(code="ConfigurationError", message=error.message)

    async def observe(self, action: Action) -> Outcome:
        """GetActionCommands."""
        try:
            return _outcome(action, await action.invoke("penstock", "GetActionCommands", _named(action)))
        except AccessDenied:
            message = f"The build {action.external_id} of the commands does not exist any more. Retry the stage."
            return Failed(code="JobFailed", message=message, external_id=action.external_id)

    async def stop(self, action: Action) -> None:
        """StopActionCommands."""
        with contextlib.suppress(AccessDenied):  # they never began
            await action.invoke("penstock", "StopActionCommands", _named(action))


def _named(action: Action) -> dict[str, str]:
    return {"pipelineName": action.pipeline}


def _outcome(action: Action, answer: Mapping[str, Any]) -> Outcome:
    run = answer["run"]
    shared = {
        "external_id": run["id"],
        "url": run.get("logUrl", ""),
        "log_stream": run.get("logStreamARN", ""),
    }
    match run["status"]:
        case "IN_PROGRESS":
            return Running(**shared)
        case "SUCCEEDED":
            variables, put = run.get("outputVariables", {}), run.get("outputArtifact", {})
            outputs = tuple(
                replace(output, version_id=put.get("versionId", ""), etag=put["eTag"], sha256=put["sha256"])
                for output in action.outputs
                if (put.get("bucketName"), put.get("objectKey")) == (output.bucket, output.key)
            )
            return Succeeded(**shared, variables=variables, outputs=outputs)
        case status:
            return ended_badly(status, run.get("failure", {}), **shared)


PROVIDER = Commands()
