"""Manual approval: waits until someone answers with PutApprovalResult, or its time is out. AWS: approvals."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from penstock.pipelines.actions.provider import Action, Display, Failed, Link, Outcome, Provider, Waiting
from penstock.pipelines.model import APPROVAL_TIMEOUT, ActionType, ActionTypeId, Property
from penstock.wire.errors import AccessDenied, ServiceError, passes
from penstock.wire.scalars import iso

_CHANGES, _SUMMARY = 20, 200  # revisions, characters of what each says
_SUBJECT = 100  # characters (AWS: Publish)
_MINUTES = len("2026-01-01T00:00")
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
    return None


def _request(action: Action) -> dict[str, Any]:
    """What a topic is sent. (AWS: CodePipeline User Guide, "JSON data format for manual approval notifications".)"""
    pipeline = f"{action.site}/console/pipelines/{quote(action.pipeline, safe='')}"
    configuration = action.configuration
    approval = {
        "pipelineName": action.pipeline,
        "stageName": action.stage,
        "actionName": action.name,
        "token": action.approval,
        "expires": f"{iso(action.ends)[:_MINUTES]}Z",
        "externalEntityLink": configuration.get("ExternalEntityLink"),
        "approvalReviewLink": f"{pipeline}/approvals/{quote(action.stage, safe='')}/{quote(action.name, safe='')}",
        "customData": configuration.get("CustomData"),
        # An addition: AWS sends nothing of what is to be approved.
        "changes": [{"id": one.id, "summary": one.summary[:_SUMMARY]} for one in action.brought[:_CHANGES]] or None,
    }
    said = {name: value for name, value in approval.items() if value is not None}
    return {"region": action.region, "consoleLink": pipeline, "approval": said}


class ManualApproval(Provider):
    """Starts nothing; tells a topic that somebody is asked."""

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

    shows_revisions = True

    def acts(self, configuration: Mapping[str, str]) -> bool:
        """Only where a topic is notified."""
        return bool(configuration.get("NotificationArn"))

    async def start(self, action: Action) -> Outcome:
        """Tell the topic, and wait for the answer. One that starts again after a crash may tell it twice."""
        topic = action.configuration.get("NotificationArn")
        if topic:
            subject = f"APPROVAL NEEDED: AWS CodePipeline {action.pipeline} for action {action.name}"
            asked = {"TopicArn": topic, "Subject": subject[:_SUBJECT], "Message": json.dumps(_request(action))}
            if topic.endswith(".fifo"):
                asked |= {"MessageGroupId": action.pipeline, "MessageDeduplicationId": action.token}
            try:
                await action.invoke("sns", "Publish", asked)
            except AccessDenied as error:
                return Failed(code="PermissionError", message=str(error))
            except ServiceError as error:
                if passes(error):
                    raise
                return Failed(code="JobFailed", message=f"The topic {topic} could not be told: {error.message}")
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
