"""Alexa Skills Kit: declared, not run. Deploys a skill. AWS: action-reference-Alexa."""

from __future__ import annotations

from penstock.pipelines.actions.not_run import NotRun
from penstock.pipelines.model import HOUR, ActionType, ActionTypeId, Property


class AlexaSkillsKit(NotRun):
    """Deploys a skill."""

    types = (
        ActionType(
            id=ActionTypeId(category="Deploy", owner="ThirdParty", provider="AlexaSkillsKit"),
            properties=(
                Property(name="ClientId", description="The client", required=True),
                Property(name="ClientSecret", description="Its secret", required=True, secret=True, masked=True),
                Property(
                    name="RefreshToken",
                    description="The token that renews its sessions",
                    required=True,
                    secret=True,
                    masked=True,
                ),
                Property(name="SkillId", description="The skill", required=True, key=True),
            ),
            inputs=(1, 2),
            outputs=(0, 0),
            timeout=HOUR,
        ),
    )
    why = "Penstock has no connection to Alexa. Use a CodeBuild action that deploys the skill."


PROVIDER = AlexaSkillsKit()
