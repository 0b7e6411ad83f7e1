"""Builds that an action of a pipeline starts: what its job says of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from penstock.action_jobs import calling_job
from penstock.application import Call
from penstock.builds import commands
from penstock.builds.errors import InvalidInputException
from penstock.wire.call import Input


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandsJob:
    """What an action asks for that runs commands without a project."""

    name: str  # that stands for the project
    context: Mapping[str, Any]  # as `context_of` answers it
    made: Mapping[str, Any]  # what the project would be
    kept: Mapping[str, Any]  # see `commands.kept_of`


async def context_of(call: Call, input: Input, project_arn: str) -> dict[str, Any]:
    """What the action that calls StartBuild asks for. Raises InvalidInputException when no action of a pipeline calls.

    Artifacts are places with the version and SHA-256 of the write that made them; a build that finds something else there fails.
    """
    job = await calling_job(call, project_arn, {"ProjectName": input["projectName"]})
    if job is None:
        raise InvalidInputException(
            "Build of a project with source type CODEPIPELINE can only be started by a pipeline"
        )
    return _context(job)


async def commands_of(call: Call) -> CommandsJob | None:
    """What the action that calls our own service has to run; None when no action that has commands calls. Raises InvalidInputException."""
    job = await calling_job(call, call.arn("penstock", "commands"), {})
    if job is None or "commands" not in job["data"]:
        return None
    if job["accountId"] != call.account:
        raise InvalidInputException(
            f"Commands run in the account of their pipeline, {job['accountId']}, and the role {job['roleArn']} is of another one: "
            "give the action a role of its own account"
        )
    context = _context(job)
    name = commands.name_for(context["pipelineName"])
    arn, key = call.arn("codebuild", f"project/{name}"), call.arn("kms", "alias/aws/s3")
    made = commands.made_of(job, name=name, arn=arn, key=key)
    return CommandsJob(name=name, context=context, made=made, kept=commands.kept_of(job))


def _context(job: Mapping[str, Any]) -> dict[str, Any]:
    data = job["data"]
    inputs = [_artifact(artifact) for artifact in data["inputArtifacts"]]
    names = [artifact["name"] for artifact in inputs]
    primary = data["actionConfiguration"]["configuration"].get("PrimarySource") or "".join(names[:1])
    if primary and primary not in names:
        raise InvalidInputException(f"The primary source {primary} is not among the input artifacts")
    context = {
        "pipelineName": data["pipelineContext"]["pipelineName"],
        "executionId": data["pipelineContext"]["pipelineExecutionId"],
        "actionExecutionId": job["id"],
        "inputArtifacts": inputs,
        "outputArtifacts": [_artifact(artifact) for artifact in data["outputArtifacts"]],
        "primarySource": primary,
    }
    key = data.get("encryptionKey", {}).get("id")
    return context | {"encryptionKey": key} if key else context


def _artifact(artifact: Mapping[str, Any]) -> dict[str, Any]:
    place = dict(artifact["location"]["s3Location"])
    location = {"bucket": place.pop("bucketName"), "key": place.pop("objectKey"), **place}
    found = {"name": artifact["name"], "location": location}
    return found | {"revision": artifact["revision"]} if "revision" in artifact else found
