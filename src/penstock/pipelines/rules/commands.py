"""Commands: the condition holds where shell commands succeed. AWS: rule-reference-Commands."""

from __future__ import annotations

from dataclasses import replace

from penstock.pipelines.actions.commands import Commands
from penstock.pipelines.model import ActionTypeId


class CommandsRule(Commands):
    """What the action of that name does, without anything that is kept of it."""

    types = (
        replace(
            Commands.types[0],
            id=ActionTypeId(category="Rule", owner="AWS", provider="Commands"),
            properties=(),
            inputs=(0, 5),
            outputs=(0, 0),
            v2_only=False,  # conditions are
            members=("commands",),
        ),
    )


PROVIDER = CommandsRule()
