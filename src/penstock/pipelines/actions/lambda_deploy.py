"""Lambda deploy: declared, not run. Gives a function other code, and moves traffic to it. AWS: action-reference-LambdaDeploy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.pipelines.actions.not_run import NotRun
from penstock.pipelines.model import DAY, ActionType, ActionTypeId, Property


def _refuse(action: Mapping[str, Any]) -> str | None:
    configuration = action.get("configuration", {})
    if not action.get("inputArtifacts") and "PublishedTargetVersion" not in configuration:
        return f"Action configuration for action '{action['name']}' is missing required configuration 'PublishedTargetVersion'"
    return None


class LambdaDeploy(NotRun):
    """Gives a function other code, and moves traffic to it."""

    types = (
        ActionType(
            id=ActionTypeId(category="Deploy", owner="AWS", provider="Lambda"),
            properties=(
                Property(name="FunctionName", description="The function", required=True, key=True),
                Property(name="FunctionAlias", description="The alias that gets the new version"),
                Property(name="PublishedTargetVersion", description="A published version, without an input artifact"),
                Property(name="DeployStrategy", description="How traffic moves to the new version"),
                Property(name="Alarms", description="Alarms that stop it, with commas between them"),
            ),
            inputs=(0, 1),
            outputs=(0, 0),
            timeout=2 * DAY,
            v2_only=True,
            refuse=_refuse,
        ),
    )
    why = "Penstock has no functions yet. Use a CodeBuild action that updates the function."


PROVIDER = LambdaDeploy()
