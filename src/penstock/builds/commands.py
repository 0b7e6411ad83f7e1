"""Commands of a pipeline's action that run as a build without a project: what is made of the action's job. Pure.

Such a build has the pipeline in the place of a project, under a name that no project can have. (AWS: action-reference-Commands.)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.builds.buildspec import ArtifactSpec, Buildspec, PhaseSpec
from penstock.builds.errors import InvalidInputException
from penstock.builds.model import BuildState
from penstock.builds.phases import Status
from penstock.builds.projects import check_environment

IMAGE = "aws/codebuild/amazonlinux2-x86_64-standard:5.0"  # AWS: rule-reference-Commands
_PREFIX = "commands."
_EVERYTHING = ("**/*",)
_REGION = ("AWS_DEFAULT_REGION", "AWS_REGION")  # what AWS's own examples export


def name_for(pipeline: str) -> str:
    """What stands for a project in the builds of a pipeline's commands."""
    return f"{_PREFIX}{pipeline}"


def is_name(project: str) -> bool:
    """Whether a name stands for a project only."""
    return project.startswith(_PREFIX)


def made_of(job: Mapping[str, Any], *, name: str, arn: str, key: str) -> dict[str, Any]:
    """What a project would be that runs the job (`ActionJob` of our own service). `key`: the ARN under which artifacts are encrypted without one.

    Raises InvalidInputException.
    """
    data = job["data"]
    configuration = data["actionConfiguration"]["configuration"]
    environment = {
        "type": configuration.get("EnvironmentType", "LINUX_CONTAINER"),
        "image": IMAGE,
        "computeType": configuration.get("ComputeType", "BUILD_GENERAL1_SMALL"),
        "environmentVariables": list(data["environmentVariables"]),
    }
    check_environment(environment)
    if any("\0" in command for command in data["commands"]):
        raise InvalidInputException("A command holds a NUL character, which no shell can read")
    minutes = data["timeoutInMinutes"]
    made: dict[str, Any] = {
        "name": name,
        "arn": arn,
        "source": {"type": "CODEPIPELINE"},
        "artifacts": {"type": "CODEPIPELINE" if data["outputArtifacts"] else "NO_ARTIFACTS"},
        "environment": environment,
        "serviceRole": job["roleArn"],
        "encryptionKey": key,
        "timeoutInMinutes": minutes,
        "queuedTimeoutInMinutes": minutes,
        "logsConfig": {
            "cloudWatchLogs": {
                "status": "ENABLED",
                "groupName": f"/aws/codepipeline/{data['pipelineContext']['pipelineName']}",
            }
        },
    }
    if "VpcId" in configuration:
        made["vpcConfig"] = {
            "vpcId": configuration["VpcId"],
            "subnets": _listed(configuration.get("Subnets", "")),
            "securityGroupIds": _listed(configuration.get("SecurityGroupIds", "")),
        }
    return made


def _listed(text: str) -> list[str]:
    return [one.strip() for one in text.split(",") if one.strip()]


def kept_of(job: Mapping[str, Any]) -> dict[str, Any]:
    """What a run needs of the job and the API does not show: the member `commands` of a build's private values."""
    data = job["data"]
    files = [pattern for output in data["outputArtifacts"] for pattern in output.get("files", _EVERYTHING)]
    return {"commands": data["commands"], "outputVariables": data.get("outputVariables", []), "files": files}


def spec_of(kept: Mapping[str, Any]) -> Buildspec:
    """What the build runs and keeps."""
    return Buildspec(
        exported_variables=tuple(kept["outputVariables"]),
        phases=(PhaseSpec(name="build", commands=tuple(kept["commands"])),),
        artifacts=ArtifactSpec(files=tuple(kept["files"])) if kept["files"] else None,
    )


def exports(name: str) -> bool:
    """Whether commands may export a variable that is no secret: of AWS's own, the region."""
    return not name.startswith("AWS_") or name in _REGION


def to_api(document: Mapping[str, Any], state: BuildState) -> dict[str, Any]:
    """The shape `CommandsRun` of our own service."""
    logs, put = document.get("logs", {}), document.get("artifacts", {})
    answer: dict[str, Any] = {
        "id": document["id"],
        "status": state.status,
        "logUrl": logs.get("deepLink", ""),
        "logStreamARN": logs.get("cloudWatchLogsArn", ""),
        "outputVariables": {one["name"]: one["value"] for one in document.get("exportedEnvironmentVariables", ())},
    }
    failed = next((one for one in state.phases if one.end is not None and one.status != Status.SUCCEEDED), None)
    if failed is not None and (failed.code or failed.message):
        answer["failure"] = {"phase": failed.type, "code": failed.code, "message": failed.message}
    if "eTag" in put:
        bucket, _, key = put["location"].partition(":::")[2].partition("/")
        place = {"bucketName": bucket, "objectKey": key, "eTag": put["eTag"], "sha256": put["sha256sum"]}
        answer["outputArtifact"] = place | ({"versionId": put["versionId"]} if "versionId" in put else {})
    return answer
