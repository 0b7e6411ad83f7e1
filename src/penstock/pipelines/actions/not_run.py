"""What providers have in common whose actions may be declared, but are not run here yet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from penstock.pipelines.actions.provider import Action, Failed, Outcome, Provider
from penstock.pipelines.model import Category


class NotRun(Provider):
    """Fails every action at once, with the reason and with what to do instead."""

    why: ClassVar[str]  # sentences

    def acts(self, configuration: Mapping[str, str]) -> bool:  # noqa: ARG002 - the contract's
        """It uses nothing, so no role is needed."""
        return False

    async def start(self, action: Action) -> Outcome:
        """Fail."""
        named = action.type
        what = "rules" if named.category == Category.RULE else f"{named.category} actions"
        return Failed(
            code="ConfigurationError",
            message=f"Penstock does not run {what} of provider {named.provider}. {self.why}",
        )
