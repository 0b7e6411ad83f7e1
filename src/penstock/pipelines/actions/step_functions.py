"""Step Functions: declared, not run. Runs a state machine. AWS: action-reference-StepFunctions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.pipelines.actions.not_run import NotRun
from penstock.pipelines.model import DAY, ActionType, ActionTypeId, Property


def _refuse(action: Mapping[str, Any]) -> str | None:
    configuration = action.get("configuration", {})
    if configuration.get("InputType") == "FilePath" and "Input" not in configuration:
        return f"Action configuration for action '{action['name']}' is missing required configuration 'Input'"
    return None


class StepFunctions(NotRun):
    """Runs a state machine."""

    types = (
        ActionType(
            id=ActionTypeId(category="Invoke", owner="AWS", provider="StepFunctions"),
            properties=(
                Property(name="StateMachineArn", description="The state machine", required=True, key=True),
                Property(name="ExecutionNamePrefix", description="What names of executions begin with"),
                Property(name="InputType", description="Where the input comes from", values=("Literal", "FilePath")),
                Property(name="Input", description="The input, or its file in the artifact"),
            ),
            inputs=(0, 1),
            outputs=(0, 1),
            timeout=7 * DAY,
            refuse=_refuse,
        ),
    )
    why = "Penstock has no state machines yet. Use a CodeBuild action that does the work."


PROVIDER = StepFunctions()
