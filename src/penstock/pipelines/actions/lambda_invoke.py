"""Lambda invoke: declared, not run. Invokes a function, which says how it ended. AWS: action-reference-Lambda."""

from __future__ import annotations

from penstock.pipelines.actions.not_run import NotRun
from penstock.pipelines.model import DAY, ActionType, ActionTypeId, Property


class LambdaInvoke(NotRun):
    """Invokes a function, which says how it ended."""

    types = (
        ActionType(
            id=ActionTypeId(category="Invoke", owner="AWS", provider="Lambda"),
            properties=(
                Property(name="FunctionName", description="The function", required=True, key=True),
                Property(name="UserParameters", description="What the function gets"),
            ),
            inputs=(0, 5),
            outputs=(0, 5),
            timeout=DAY,
        ),
    )
    why = "Penstock has no functions yet. Use a CodeBuild action that runs the code."


PROVIDER = LambdaInvoke()
