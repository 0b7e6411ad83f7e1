"""What a project may be: the rules of CreateProject and UpdateProject, and of a start's overrides. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from penstock.builds.buildspec import is_inline
from penstock.builds.errors import InvalidInputException
from penstock.wire.tags import TagRules

DEFAULT_TIMEOUT = 60  # minutes
DEFAULT_QUEUED_TIMEOUT = 480
MAX_SECONDARY = 12
_TAGS = TagRules(
    too_many=lambda: InvalidInputException("A project has at most 50 tags"),
    reserved=lambda key: InvalidInputException(f"The tag key {key} begins with aws:, which is reserved for AWS"),
    duplicate=lambda key: InvalidInputException(f"The tag key {key} is given more than once"),
    malformed=lambda key, _value: InvalidInputException(f"The tag {key} is not valid"),
)

SOURCES_SERVED = ("CODEPIPELINE", "S3", "CODECOMMIT", "NO_SOURCE")
_GIT_HOSTS = ("GITHUB", "GITHUB_ENTERPRISE", "GITLAB", "GITLAB_SELF_MANAGED", "BITBUCKET")
_IDENTIFIER = re.compile(r"[A-Za-z0-9_]{1,127}\Z")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9\-_]{1,254}\Z")
_ROLE = re.compile(r"arn:[a-z-]+:iam::\d{12}:role/.+\Z")
_LOGS_OFF = "DISABLED"


def check_name(name: str) -> None:
    """Raises InvalidInputException unless a project may be called so."""
    if not _NAME.match(name):
        raise InvalidInputException(
            f"Invalid project name: {name[:64]}. It must be 2 to 255 letters, digits, hyphens and underscores, "
            "and begin with a letter or digit"
        )


def check_project(project: Mapping[str, Any]) -> None:
    """Raises InvalidInputException with a reason when the members do not go together."""
    source, artifacts = project["source"], project["artifacts"]
    _check_source(source, secondary=False)
    _check_artifacts(artifacts)
    if (source["type"] == "CODEPIPELINE") != (artifacts["type"] == "CODEPIPELINE"):
        raise InvalidInputException(
            "Project source and artifacts types must both be CODEPIPELINE, or neither: "
            f"source is {source['type']}, artifacts are {artifacts['type']}"
        )
    _check_secondary(project.get("secondarySources", ()), "sourceIdentifier", "sources", _check_source)
    _check_secondary(project.get("secondaryArtifacts", ()), "artifactIdentifier", "artifacts", _check_artifacts)
    known = {s["sourceIdentifier"] for s in project.get("secondarySources", ())}
    for version in project.get("secondarySourceVersions", ()):
        if version["sourceIdentifier"] not in known:
            raise InvalidInputException(f"There is no secondary source {version['sourceIdentifier']}")
    check_environment(project["environment"])
    if not _ROLE.match(project["serviceRole"]):
        raise InvalidInputException(f"Invalid service role: {project['serviceRole'][:200]} is not the ARN of a role")
    _TAGS.check((tag.get("key", ""), tag.get("value", "")) for tag in project.get("tags", ()))
    if project.get("badgeEnabled"):
        raise InvalidInputException("Build badges are not served: leave badgeEnabled out, or set it to false")
    if project.get("autoRetryLimit", 0) < 0:
        raise InvalidInputException("autoRetryLimit must be at least 0")
    limit = project.get("concurrentBuildLimit")
    if limit is not None and limit < 1:
        raise InvalidInputException("concurrentBuildLimit must be at least 1")


def _check_source(source: Mapping[str, Any], *, secondary: bool = True) -> None:
    kind, location = source["type"], source.get("location", "")
    if kind not in (*SOURCES_SERVED, *_GIT_HOSTS):
        raise InvalidInputException(f"Invalid source type: {kind}")
    if kind in _GIT_HOSTS:
        raise InvalidInputException(
            f"Sources of type {kind} are not served yet: use CODECOMMIT, S3, CODEPIPELINE or NO_SOURCE"
        )
    if kind in ("S3", "CODECOMMIT") and not location:
        raise InvalidInputException(f"Project source location is required for source type {kind}")
    if kind == "S3" and "/" not in re.sub(r"\Aarn:[^:]*:s3:::", "", location):
        raise InvalidInputException("Invalid project source: location must be a valid S3 source (bucket/key)")
    if kind == "NO_SOURCE" and location:
        raise InvalidInputException("Source location must not be given for source type NO_SOURCE")
    buildspec = source.get("buildspec", "")
    if kind == "NO_SOURCE" and not secondary and not (is_inline(buildspec) or buildspec.startswith("arn:")):
        raise InvalidInputException(
            "Invalid project source: source type NO_SOURCE needs its buildspec inline: there is no file to read"
        )
    if source.get("reportBuildStatus"):
        raise InvalidInputException(f"Source type {kind} does not support reporting of build status")


def _check_artifacts(artifacts: Mapping[str, Any]) -> None:
    kind = artifacts["type"]
    if kind not in ("CODEPIPELINE", "S3", "NO_ARTIFACTS"):
        raise InvalidInputException(f"Invalid artifacts type: {kind}")
    if kind == "S3" and not artifacts.get("location"):
        raise InvalidInputException("Invalid artifacts: location must be a bucket for artifacts type S3")
    if ".." in f"{artifacts.get('path', '')}/{artifacts.get('name', '')}".split("/"):
        raise InvalidInputException("Invalid artifacts: path and name must not contain '..'")


def _check_secondary(items: Sequence[Mapping[str, Any]], member: str, what: str, check: Any) -> None:
    if len(items) > MAX_SECONDARY:
        raise InvalidInputException(f"A project has at most {MAX_SECONDARY} secondary {what}")
    seen: set[str] = set()
    for item in items:
        identifier = item.get(member, "")
        if not _IDENTIFIER.match(identifier):
            raise InvalidInputException(
                f"{member} of secondary {what} must be letters, digits and underscores: {identifier[:64]!r}"
            )
        if identifier in seen:
            raise InvalidInputException(f"Secondary {what} must have distinct identifiers: {identifier}")
        seen.add(identifier)
        if item["type"] == "CODEPIPELINE":
            raise InvalidInputException(f"Secondary {what} cannot be of type CODEPIPELINE")
        check(item)


def check_environment(environment: Mapping[str, Any]) -> None:
    """Raises InvalidInputException with a reason when builds cannot have such an environment."""
    if environment["type"].startswith(("WINDOWS", "MAC")):
        raise InvalidInputException(f"Environments of type {environment['type']} are not served: builds run on Linux")
    seen: set[str] = set()
    for variable in environment.get("environmentVariables", ()):
        name = variable["name"]
        if not name or "=" in name or "\0" in name + variable["value"]:
            raise InvalidInputException(f"Invalid environment variable name: {name[:64]!r}")
        if name in seen:
            raise InvalidInputException(f"Duplicate environment variable: {name}")
        if name.startswith("CODEBUILD_"):
            raise InvalidInputException(f"Environment variable names starting with CODEBUILD_ are reserved: {name}")
        seen.add(name)


_OVERRIDES = {
    "sourceVersion": ("sourceVersion",),
    "secondarySourcesOverride": ("secondarySources",),
    "secondarySourcesVersionOverride": ("secondarySourceVersions",),
    "artifactsOverride": ("artifacts",),
    "secondaryArtifactsOverride": ("secondaryArtifacts",),
    "sourceTypeOverride": ("source", "type"),
    "sourceLocationOverride": ("source", "location"),
    "sourceAuthOverride": ("source", "auth"),
    "gitCloneDepthOverride": ("source", "gitCloneDepth"),
    "gitSubmodulesConfigOverride": ("source", "gitSubmodulesConfig"),
    "buildspecOverride": ("source", "buildspec"),
    "insecureSslOverride": ("source", "insecureSsl"),
    "reportBuildStatusOverride": ("source", "reportBuildStatus"),
    "buildStatusConfigOverride": ("source", "buildStatusConfig"),
    "environmentTypeOverride": ("environment", "type"),
    "imageOverride": ("environment", "image"),
    "computeTypeOverride": ("environment", "computeType"),
    "certificateOverride": ("environment", "certificate"),
    "registryCredentialOverride": ("environment", "registryCredential"),
    "imagePullCredentialsTypeOverride": ("environment", "imagePullCredentialsType"),
    "privilegedModeOverride": ("environment", "privilegedMode"),
    "fleetOverride": ("environment", "fleet"),
    "hostKernelOverride": ("environment", "hostKernel"),
    "cacheOverride": ("cache",),
    "serviceRoleOverride": ("serviceRole",),
    "timeoutInMinutesOverride": ("timeoutInMinutes",),
    "queuedTimeoutInMinutesOverride": ("queuedTimeoutInMinutes",),
    "encryptionKeyOverride": ("encryptionKey",),
    "logsConfigOverride": ("logsConfig",),
    "autoRetryLimitOverride": ("autoRetryLimit",),
}


def with_overrides(project: Mapping[str, Any], start: Mapping[str, Any]) -> dict[str, Any]:
    """A project as StartBuild's overrides make it for one build. Raises InvalidInputException."""
    made = dict(project)
    for member, path in _OVERRIDES.items():
        if member not in start:
            continue
        if len(path) == 1:
            made[path[0]] = start[member]
        else:
            made[path[0]] = made[path[0]] | {path[1]: start[member]}
    if start.get("sourceTypeOverride") in ("NO_SOURCE", "CODEPIPELINE") and "sourceLocationOverride" not in start:
        made["source"] = {key: value for key, value in made["source"].items() if key != "location"}
    if "environmentVariablesOverride" in start:
        variables = {v["name"]: v for v in made["environment"].get("environmentVariables", ())}
        variables |= {v["name"]: v for v in start["environmentVariablesOverride"]}
        made["environment"] = made["environment"] | {"environmentVariables": list(variables.values())}
    check_project(made)
    return made


def logs_of(
    project: Mapping[str, Any], *, uuid: str, region: str, account: str, partition: str, public_url: str
) -> dict[str, Any]:
    """The API's LogsLocation of a build; without a group when the project's logs are switched off."""
    config = project.get("logsConfig", {}).get("cloudWatchLogs", {"status": "ENABLED"})
    answer: dict[str, Any] = {"cloudWatchLogs": config, "s3Logs": {"status": _LOGS_OFF}}
    if config.get("status") == _LOGS_OFF:
        return answer
    group = config.get("groupName") or f"/aws/codebuild/{project['name']}"
    prefix = config.get("streamName", "")
    stream = f"{prefix}/{uuid}" if prefix else uuid
    return answer | {
        "groupName": group,
        "streamName": stream,
        "deepLink": f"{public_url}/console/builds/{project['name']}:{uuid}" if public_url else "",
        "cloudWatchLogsArn": f"arn:{partition}:logs:{region}:{account}:log-group:{group}:log-stream:{stream}",
    }
