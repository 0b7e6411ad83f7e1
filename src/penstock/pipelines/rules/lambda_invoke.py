"""LambdaInvoke: declared, not run. A function says whether the condition holds. AWS: rule-reference-LambdaInvoke."""

from __future__ import annotations

from penstock.pipelines.actions.not_run import NotRun
from penstock.pipelines.model import ActionType, ActionTypeId, Property


class LambdaInvoke(NotRun):
    """A function says whether the condition holds."""

    types = (
        ActionType(
            id=ActionTypeId(category="Rule", owner="AWS", provider="LambdaInvoke"),
            properties=(
                Property(name="FunctionName", description="The function", required=True, key=True),
                Property(name="UserParameters", description="What the function gets"),
            ),
            inputs=(0, 5),
            outputs=(0, 0),
            skips=True,
        ),
    )
    why = "There are no functions yet. Use a CodeBuild rule that runs the code."


PROVIDER = LambdaInvoke()
