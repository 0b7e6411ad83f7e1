"""Pipeline invoke: starts another pipeline, and does not wait for it. AWS: action-reference-PipelineInvoke.

The page does not say whether the action waits. The only permission that it asks for is StartPipelineExecution, with which nobody
could learn how the other execution ended.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from penstock.pipelines.actions.provider import Action, Failed, Outcome, Provider, Succeeded
from penstock.pipelines.model import HOUR, ActionType, ActionTypeId, Property
from penstock.wire.errors import AccessDenied, ServiceError, passes

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
    """Answers when the other pipeline has begun."""

    types = (
        ActionType(
            id=ActionTypeId(category="Invoke", owner="AWS", provider="CodePipeline"),
            properties=(
                Property(name="PipelineName", description="The pipeline", required=True, key=True),
                Property(name="SourceRevisions", description="Revisions of its sources, as a JSON list"),
                Property(name="Variables", description="Values of its variables, as a JSON list"),
            ),
            inputs=(0, 0),
            outputs=(0, 0),
            timeout=HOUR,
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
        return Succeeded(
            external_id=execution,
            summary=f"Pipeline {name} started",
            variables={"PipelineExecutionId": execution},
        )


PROVIDER = PipelineInvoke()
