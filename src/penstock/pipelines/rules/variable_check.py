"""VariableCheck: compares a variable with a value. AWS: rule-reference-VariableCheck."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.pipelines.actions.provider import Action, Failed, Outcome, Provider, Succeeded
from penstock.pipelines.model import ActionType, ActionTypeId, Property
from penstock.wire.patterns import compiled

_SHOWN = 200  # characters of a value in a sentence
_FAILS = {
    "EQ": "is not equal to",
    "NE": "is equal to",
    "CONTAINS": "does not contain",
    "MATCHES": "does not match",
}


def _refuse(rule: Mapping[str, Any]) -> str | None:
    configuration = rule.get("configuration", {})
    value = configuration.get("Value", "")
    if configuration.get("Operator") != "MATCHES" or "#{" in value:
        return None
    try:
        compiled(value)
    except ValueError as error:
        return f"The Value of rule '{rule['name']}' is no regular expression: {error}"
    return None


class VariableCheck(Provider):
    """Answers at once, and asks nobody."""

    types = (
        ActionType(
            id=ActionTypeId(category="Rule", owner="AWS", provider="VariableCheck"),
            properties=(
                Property(
                    name="Variable", description="The variable, such as #{SourceVariables.BranchName}", required=True
                ),
                Property(name="Value", description="What it is compared with", required=True),
                Property(name="Operator", description="How it is compared", required=True, values=tuple(_FAILS)),
            ),
            inputs=(0, 0),
            outputs=(0, 0),
            skips=True,
            refuse=_refuse,
        ),
    )

    def acts(self, configuration: Mapping[str, str]) -> bool:  # noqa: ARG002
        """Never."""
        return False

    async def start(self, action: Action) -> Outcome:
        """Compare."""
        variable, value = action.configuration["Variable"], action.configuration["Value"]
        operator = action.configuration["Operator"]
        try:
            holds = _holds(operator, variable, value)
        except ValueError as error:
            return Failed(code="ConfigurationError", message=f"The Value is no regular expression: {error}")
        if holds is None:
            message = f"The Operator is {operator[:_SHOWN]}: it must be one of {', '.join(_FAILS)}."
            return Failed(code="ConfigurationError", message=message)
        if holds:
            return Succeeded(summary=f"The variable is “{variable[:_SHOWN]}”.")
        return Failed(
            code="JobFailed",
            message=f"The variable is “{variable[:_SHOWN]}”, which {_FAILS[operator]} “{value[:_SHOWN]}”.",
        )


def _holds(operator: str, variable: str, value: str) -> bool | None:
    """None for an operator that there is not. Raises ValueError for what is no regular expression."""
    match operator:
        case "EQ":
            return variable == value
        case "NE":
            return variable != value
        case "CONTAINS":
            return value in variable
        case "MATCHES":
            return compiled(value).fullmatch(variable) is not None
    return None


PROVIDER = VariableCheck()
