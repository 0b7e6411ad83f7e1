"""Manual approval: waits until someone answers with PutApprovalResult, or its time is out. AWS: approvals."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from penstock.pipelines.actions.provider import Action, Display, Link, Outcome, Provider, Waiting
from penstock.pipelines.model import APPROVAL_TIMEOUT, ActionType, ActionTypeId, Property

_ARN = re.compile(r"arn:aws[\w-]*:([^:]+):([^:]*):([0-9]{12}):([^:]+)")


def _refuse(action: Mapping[str, Any]) -> str | None:
    arn = action.get("configuration", {}).get("NotificationArn")
    if arn is None:
        return None
    match = _ARN.fullmatch(arn)
    if match is None:
        return (
            f"The ARN {arn} you specified for sending notifications for the approval action {action['name']} contains a "
            "format error."
        )
    if match.group(1) != "sns":
        return (
            f"The ARN {arn} has been specified for sending notifications for the approval action {action['name']}, but "
            "the AWS service for this ARN cannot be used to send approval requests."
        )
    return (
        f"Penstock does not send approval requests to topics yet. Remove NotificationArn from action '{action['name']}'; "
        "open approvals are shown by GetPipelineState and in the console."
    )


class ManualApproval(Provider):
    """Starts nothing."""

    acts = False
    types = (
        ActionType(
            id=ActionTypeId(category="Approval", owner="AWS", provider="Manual"),
            properties=(
                Property(name="NotificationArn", description="The topic that is notified of the request"),
                Property(name="ExternalEntityLink", description="The address of what is to be reviewed"),
                Property(name="CustomData", description="What the reviewer should know"),
            ),
            inputs=(0, 0),
            outputs=(0, 0),
            timeout=APPROVAL_TIMEOUT,
            refuse=_refuse,
        ),
    )

    async def start(self, action: Action) -> Outcome:  # noqa: ARG002 - the contract's
        """Wait for the answer."""
        return Waiting()

    def link(self, link: Link, known: ActionType, configuration: Mapping[str, str], *, id: str = "") -> str:
        """What is to be reviewed is at an address of its own."""
        if link is Link.ENTITY:
            return configuration.get("ExternalEntityLink", "")
        return super().link(link, known, configuration, id=id)

    def shows(self, known: ActionType, configuration: Mapping[str, str]) -> Display:  # noqa: ARG002 - the contract's
        """Who acts, and what they are asked."""
        return Display(line="A person decides", question=configuration.get("CustomData", ""))


PROVIDER = ManualApproval()
