"""Pipeline invoke: starts another pipeline. AWS: action-reference-PipelineInvoke.

The page does not say whether the action waits for the other execution. The only permission that it asks for is StartPipelineExecution,
with which nobody could learn how that ended, so it does not, unless a key that AWS does not have says so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from penstock.pipelines.actions.provider import Action, Failed, Outcome, Provider, Running, Succeeded
from penstock.pipelines.model import DAY, HOUR, ActionType, ActionTypeId, Property
from penstock.wire.errors import AccessDenied, ServiceError, passes

_WAITS = "WaitForCompletion"
_LOOKS = 2_000  # ms between two looks at an execution that is waited for
_LISTS = {"SourceRevisions": "sourceRevisions", "Variables": "variables"}


def _refuse(action: Mapping[str, Any]) -> str | None:
    configuration = action.get("configuration", {})
    for key in _LISTS:
        text = configuration.get(key, "")
        if text and "#{" not in text:
            try:
                _list(text)
            except ValueError as error:
                return f"{key} of action '{action['name']}' cannot be read: {error}"
    return None


def _time(configuration: Mapping[str, str]) -> int:
    return HOUR if configuration.get(_WAITS, "false") == "false" else 7 * DAY


def _list(text: str) -> list[dict[str, str]]:
    """A JSON list of objects with strings. Raises ValueError."""
    try:
        document = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(document, list):
        raise ValueError("it must be a JSON list of objects")  # noqa: TRY004 - all are faults of one text
    for entry in document:
        if not isinstance(entry, dict) or not all(isinstance(value, str) for value in entry.values()):
            raise ValueError("it must be a JSON list of objects whose values are strings")
    return document


class PipelineInvoke(Provider):
    """Answers when the other pipeline has begun, or when it has ended."""

    types = (
        ActionType(
            id=ActionTypeId(category="Invoke", owner="AWS", provider="CodePipeline"),
            properties=(
                Property(name="PipelineName", description="The pipeline", required=True, key=True),
                Property(name="SourceRevisions", description="Revisions of its sources, as a JSON list"),
                Property(name="Variables", description="Values of its variables, as a JSON list"),
                Property(
                    name=_WAITS,
                    description="Whether to wait for its end, and to end as it does",
                    values=("true", "false"),
                ),
            ),
            inputs=(0, 0),
            outputs=(0, 0),
            timeout=HOUR,
            time_for=_time,
            v2_only=True,
            entity_url="/console/pipelines/{Config:PipelineName}",
            execution_url="/console/pipelines/{Config:PipelineName}",
            works_on="codepipeline:pipeline",
            starts="codepipeline:execution",
            refuse=_refuse,
        ),
    )

    async def start(self, action: Action) -> Outcome:
        """StartPipelineExecution, once per action execution."""
        name = action.configuration["PipelineName"]
        if action.flag(_WAITS) and name == action.pipeline:
            return Failed(
                code="ConfigurationError",
                message=f"Pipeline {name} cannot wait for a run of itself, which waits for its stages in turn. Set {_WAITS} to false.",
            )
        request: dict[str, Any] = {"name": name, "clientRequestToken": action.token}
        for key, member in _LISTS.items():
            try:
                values = _list(action.configuration.get(key) or "[]")
            except ValueError as error:
                return Failed(code="ConfigurationError", message=f"{key} cannot be read: {error}")
            if values:
                request[member] = values
        try:
            started = await action.invoke("codepipeline", "StartPipelineExecution", request)
        except AccessDenied as error:
            return Failed(code="PermissionError", message=str(error))
        except ServiceError as error:
            if passes(error):
                raise
            return Failed(
                code="JobFailed" if error.wire_code.endswith("LimitExceededException") else "ConfigurationError",
                message=f"{error.message} (Service: AWSCodePipeline; Status Code: {error.status}; Error Code: {error.wire_code})",
            )
        execution = started["pipelineExecutionId"]
        if action.flag(_WAITS):
            return Running(external_id=execution, summary=f"Pipeline {name} started", check_after=_LOOKS)
        return _ended(execution, f"Pipeline {name} started")

    async def observe(self, action: Action) -> Outcome:
        """GetPipelineExecution."""
        name, execution = action.configuration["PipelineName"], action.external_id
        asked = {"pipelineName": name, "pipelineExecutionId": execution}
        run = (await action.invoke("codepipeline", "GetPipelineExecution", asked))["pipelineExecution"]
        status = run["status"]
        if status in ("InProgress", "Stopping"):
            return Running(external_id=execution, check_after=_LOOKS)
        if status == "Succeeded":
            return _ended(execution, f"Pipeline {name} succeeded")
        why = f": {run['statusSummary']}" if run.get("statusSummary") else "."
        return Failed(
            code="JobFailed",
            message=f"Execution {execution} of pipeline {name} ended as {status}{why}",
            external_id=execution,
        )

    async def stop(self, action: Action) -> None:
        """StopPipelineExecution of one that is waited for."""
        if not (action.external_id and action.flag(_WAITS)):
            return
        asked = {
            "pipelineName": action.configuration["PipelineName"],
            "pipelineExecutionId": action.external_id,
            "reason": f"Action {action.name} of pipeline {action.pipeline} has ended"[:200],
        }
        try:
            await action.invoke("codepipeline", "StopPipelineExecution", asked)
        except ServiceError as error:
            if error.wire_code not in ("PipelineExecutionNotStoppableException", "DuplicatedStopRequestException"):
                raise


def _ended(execution: str, summary: str) -> Succeeded:
    return Succeeded(external_id=execution, summary=summary, variables={"PipelineExecutionId": execution})


PROVIDER = PipelineInvoke()
