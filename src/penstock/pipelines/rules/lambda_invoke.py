"""LambdaInvoke: declared as on AWS; a rule of it fails, since there are no functions here. AWS: rule-reference-LambdaInvoke."""

from __future__ import annotations

from collections.abc import Mapping

from penstock.pipelines.actions.provider import Action, Failed, Outcome, Provider
from penstock.pipelines.model import ActionType, ActionTypeId, Property


class LambdaInvoke(Provider):
    """Says that it cannot."""

    types = (
        ActionType(
            id=ActionTypeId(category="Rule", owner="AWS", provider="LambdaInvoke"),
            properties=(
                Property(name="FunctionName", description="The function", required=True, key=True),
                Property(name="UserParameters", description="What the function is given"),
            ),
            inputs=(0, 5),
            outputs=(0, 0),
            skips=True,
        ),
    )

    def acts(self, configuration: Mapping[str, str]) -> bool:  # noqa: ARG002
        """Never."""
        return False

    async def start(self, action: Action) -> Outcome:
        """There is nothing to start."""
        name = action.configuration["FunctionName"]
        message = f"Penstock does not run functions: {name[:200]} cannot be invoked. Use a rule of another provider."
        return Failed(code="ConfigurationError", message=message)


PROVIDER = LambdaInvoke()
