"""Commands: declared, not run. Shell commands say whether the condition holds. AWS: rule-reference-Commands."""

from __future__ import annotations

from penstock.pipelines.actions.not_run import NotRun
from penstock.pipelines.model import MINUTE, ActionType, ActionTypeId


class Commands(NotRun):
    """Shell commands say whether the condition holds."""

    types = (
        ActionType(
            id=ActionTypeId(category="Rule", owner="AWS", provider="Commands"),
            properties=(),
            inputs=(0, 5),
            outputs=(0, 0),
            timeout=55 * MINUTE,
            members=("commands",),
        ),
    )
    why = "Commands do not run without a build project yet. Use a CodeBuild rule whose buildspec has them."


PROVIDER = Commands()
