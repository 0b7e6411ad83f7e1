"""CodeBuild: one build per action, with the action's artifacts as its sources. AWS: action-reference-CodeBuild."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from penstock.pipelines.actions.provider import Action, Failed, Outcome, Provider, Running, Succeeded
from penstock.pipelines.model import HOUR, ActionType, ActionTypeId, ArtifactLocation, Category, Property
from penstock.wire.errors import AccessDenied, ServiceError

_PROPERTIES = (
    Property(name="ProjectName", description="The build project", required=True, key=True),
    Property(name="PrimarySource", description="The input artifact whose directory the build starts in"),
    Property(name="BatchEnabled", description="Whether to run a batch build", values=("true", "false")),
    Property(name="CombineArtifacts", description="Whether to combine a batch's artifacts", values=("true", "false")),
    Property(name="BuildspecOverride", description="A buildspec in place of the project's"),
    Property(name="EnvironmentVariables", description="Variables for the build, as a JSON list", secret=True),
    Property(name="ServiceRoleArnOverride", description="A service role in place of the project's"),
)
_LONGEST = 2_000  # characters of a failure: the command that failed is in it
_VARIABLE_TYPES = ("PLAINTEXT", "PARAMETER_STORE", "SECRETS_MANAGER")


def _refuse(action: Mapping[str, Any]) -> str | None:
    name, configuration = action["name"], action.get("configuration", {})
    what = "rule" if "ruleTypeId" in action else "action"
    inputs = [artifact["name"] for artifact in action.get("inputArtifacts", ())]
    primary = configuration.get("PrimarySource")
    if primary is None and len(inputs) > 1:
        return (
            f"{what.capitalize()} configuration for {what} '{name}' is missing required configuration 'PrimarySource'"
        )
    if primary is not None and "#{" not in primary and primary not in inputs:
        return f"PrimarySource '{primary}' of {what} '{name}' is not one of its input artifacts"
    variables = configuration.get("EnvironmentVariables")
    if variables is not None and "#{" not in variables:
        try:
            _variables(variables)
        except ValueError as error:
            return f"EnvironmentVariables of {what} '{name}' cannot be read: {error}"
    return None


def _variables(text: str) -> list[dict[str, str]]:
    """The list of `[{"name", "value", "type"}]`. Raises ValueError."""
    try:
        document = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(document, list):
        raise ValueError("it must be a JSON list of objects with name, value and type")  # noqa: TRY004 - all are faults of one text
    variables = []
    for entry in document:
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str) or not entry["name"]:
            raise ValueError("every variable must have a name")
        if not isinstance(entry.get("value"), str):
            raise ValueError(f"the value of '{entry['name']}' must be a string")  # noqa: TRY004
        kind = entry.get("type", "PLAINTEXT")
        if kind not in _VARIABLE_TYPES:
            raise ValueError(f"the type of '{entry['name']}' must be one of {', '.join(_VARIABLE_TYPES)}")
        variables.append({"name": entry["name"], "value": entry["value"], "type": kind})
    return variables


def _type(category: str, hours: int) -> ActionType:
    return ActionType(
        id=ActionTypeId(category=category, owner="AWS", provider="CodeBuild"),
        properties=_PROPERTIES,
        inputs=(1, 5),
        outputs=(0, 5),
        timeout=hours * HOUR,
        entity_url="/console/builds?project={Config:ProjectName}",
        execution_url="/console/builds/{ExternalExecutionId}",
        works_on="codebuild:project",
        starts="codebuild:build",
        refuse=_refuse,
    )


class CodeBuild(Provider):
    """Starts a build and learns of its end by an event; the build fetches and uploads artifacts under its own role."""

    types = (_type("Build", 36), _type("Test", 8))
    reports: ClassVar = {"codebuild.build.state_changed": lambda payload: payload["build-id"].partition(":build/")[2]}

    async def start(self, action: Action) -> Outcome:
        """StartBuild, once per action execution. CodeBuild asks for the job to learn of the artifacts.

        Whatever the project's own source and artifacts are, those of the pipeline take their place (AWS: CodeBuild User
        Guide, "Use CodePipeline with CodeBuild").
        """
        configuration = action.configuration
        batched = next((key for key in ("BatchEnabled", "CombineArtifacts") if configuration.get(key) == "true"), None)
        if batched is not None:
            what = "rule" if action.type.category == Category.RULE else "action"
            return Failed(
                code="ConfigurationError",
                message=f"Penstock does not run batch builds from pipelines yet. Remove {batched} from {what} '{action.name}'.",
            )
        request: dict[str, Any] = {
            "projectName": configuration["ProjectName"],
            "idempotencyToken": action.token,
            "sourceTypeOverride": "CODEPIPELINE",
            "artifactsOverride": {"type": "CODEPIPELINE"},
        }
        if "EnvironmentVariables" in configuration:
            try:
                request["environmentVariablesOverride"] = _variables(configuration["EnvironmentVariables"])
            except ValueError as error:
                return Failed(code="ConfigurationError", message=f"EnvironmentVariables cannot be read: {error}")
        if "BuildspecOverride" in configuration:
            request["buildspecOverride"] = configuration["BuildspecOverride"]
        if "ServiceRoleArnOverride" in configuration:
            request["serviceRoleOverride"] = configuration["ServiceRoleArnOverride"]
        try:
            build = (await action.invoke("codebuild", "StartBuild", request))["build"]
        except AccessDenied as error:
            return Failed(
                code="PermissionError", message=_message("startBuild", str(error), 400, "AccessDeniedException")
            )
        except ServiceError as error:
            if error.server_fault:
                raise
            return Failed(
                code="JobFailed", message=_message("startBuild", error.message, error.status, error.wire_code)
            )
        return self._outcome(action, build)

    async def observe(self, action: Action) -> Outcome:
        """BatchGetBuilds."""
        found = await action.invoke("codebuild", "BatchGetBuilds", {"ids": [action.external_id]})
        if not found.get("builds"):
            return Failed(
                code="JobFailed",
                message=f"The build {action.external_id} does not exist.",
                external_id=action.external_id,
            )
        return self._outcome(action, found["builds"][0])

    async def stop(self, action: Action) -> None:
        """StopBuild."""
        if action.external_id:
            await action.invoke("codebuild", "StopBuild", {"id": action.external_id})

    def _outcome(self, action: Action, build: Mapping[str, Any]) -> Outcome:
        logs = build.get("logs", {})
        shared = {
            "external_id": build["id"],
            "url": logs.get("deepLink", ""),
            "log_stream": logs.get("cloudWatchLogsArn", ""),
        }
        status = build.get("buildStatus", "IN_PROGRESS")
        if status == "IN_PROGRESS":
            return Running(**shared)
        if status == "SUCCEEDED":
            exported = {v["name"]: v["value"] for v in build.get("exportedEnvironmentVariables", ())}
            outputs = _written(action, build)
            if len(outputs) < len(action.outputs):
                message = "The build did not say which objects it wrote as output artifacts. Retry the stage."
                return Failed(**shared, code="JobFailed", message=message)
            return Succeeded(**shared, variables=exported, outputs=outputs)
        return ended_badly(status, _failure(build), **shared)


def ended_badly(status: str, failure: Mapping[str, str], **shared: str) -> Failed:
    """The action whose build did not succeed. `failure` is the phase that broke it, with the `code` and `message` of its context, or empty.

    Both the summary and the error say it, as on AWS.
    """
    reason = f"Build terminated with state: {status}"
    if failure:
        reason += f". Phase: {failure['phase']}, Code: {failure['code']}, Message: {failure['message']}"
    if len(reason) > _LONGEST:
        reason = f"{reason[: _LONGEST - 1]}…"
    return Failed(**shared, code="JobFailed", message=reason, summary=reason)


def _failure(build: Mapping[str, Any]) -> dict[str, str]:
    """The first phase of a build that says why it did not succeed."""
    for phase in build.get("phases", ()):
        if phase.get("phaseStatus", "SUCCEEDED") in ("SUCCEEDED", "IN_PROGRESS"):
            continue
        for context in phase.get("contexts", ()):
            if context["statusCode"] or context["message"]:
                return {"phase": phase["phaseType"], "code": context["statusCode"], "message": context["message"]}
    return {}


def _written(action: Action, build: Mapping[str, Any]) -> tuple[ArtifactLocation, ...]:
    """The output artifacts, each with what the build's own PutObject answered."""
    puts = [put for put in (build.get("artifacts", {}), *build.get("secondaryArtifacts", ())) if "eTag" in put]
    by_place = {put["location"].partition(":::")[2]: put for put in puts}
    return tuple(
        replace(output, version_id=put.get("versionId", ""), etag=put["eTag"], sha256=put["sha256sum"])
        for output in action.outputs
        if (put := by_place.get(f"{output.bucket}/{output.key}"))
    )


def _message(call: str, message: str, status: int, code: str) -> str:
    return f"Error calling {call}: {message} (Service: AWSCodeBuild; Status Code: {status}; Error Code: {code})"


PROVIDER = CodeBuild()
