"""Builds that an action of a pipeline starts: what its job says of their sources and artifacts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.action_jobs import calling_job
from penstock.application import Call
from penstock.builds.errors import InvalidInputException
from penstock.wire.call import Input


async def context_of(call: Call, input: Input, project_arn: str) -> dict[str, Any]:
    """What the action that calls StartBuild asks for. Raises InvalidInputException when no action of a pipeline calls.

    Artifacts are places with the version and SHA-256 of the write that made them; a build that finds something else there fails.
    """
    job = await calling_job(call, project_arn, {"ProjectName": input["projectName"]})
    if job is None:
        raise InvalidInputException(
            "Build of a project with source type CODEPIPELINE can only be started by a pipeline"
        )
    data = job["data"]
    inputs = [_artifact(artifact) for artifact in data["inputArtifacts"]]
    names = [artifact["name"] for artifact in inputs]
    primary = data["actionConfiguration"]["configuration"].get("PrimarySource") or names[0]
    if primary not in names:
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
