"""Manual approval: waits until someone answers with PutApprovalResult, or its time is out. AWS: approvals."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from penstock.pipelines.actions.provider import Action, Display, Failed, Link, Outcome, Provider, Waiting
from penstock.pipelines.approval_rules import ANYBODY, asks
from penstock.pipelines.model import APPROVAL_TIMEOUT, ActionType, ActionTypeId, ApprovalRule, Property
from penstock.wire.errors import AccessDenied, ServiceError, passes
from penstock.wire.scalars import iso

_CHANGES, _SUMMARY = 20, 200  # revisions, characters of what each says
_SUBJECT = 100  # characters (AWS: Publish)
_MINUTES = len("2026-01-01T00:00")
_ARN = re.compile(r"arn:aws[\w-]*:([^:]+):([^:]*):([0-9]{12}):([^:]+)")


_MOST, _APPROVERS = 10, 50  # approvals, names of approvers
_NAME = re.compile(
    r"(?:(?:user|group|role)/)?[A-Za-z0-9_+=,.@-]{1,128}|arn:aws[a-z-]*:iam::[0-9]{12}:(?:(?:user|group|role)/[!-~]{1,600}|root)"
)


def _rule(configuration: Mapping[str, str]) -> ApprovalRule:
    return ApprovalRule(
        required=int(configuration.get("RequiredApprovals", "1")),
        approvers=_named(configuration),
        self_approval=configuration.get("AllowSelfApproval", "true") == "true",
    )


def _named(configuration: Mapping[str, str]) -> tuple[str, ...]:
    given = configuration.get("Approvers")
    return () if given is None else tuple(dict.fromkeys(one.strip() for one in given.split(",")))


def _refuse_rule(name: str, configuration: Mapping[str, str]) -> str | None:
    where = f"of the approval action {name}"
    for key in ("RequiredApprovals", "Approvers", "AllowSelfApproval"):
        if "#{" in configuration.get(key, ""):
            return f"{key} {where} may not hold variables: whoever starts a run would choose who approves it."
    required = configuration.get("RequiredApprovals", "1")
    if not re.fullmatch("[1-9][0-9]?", required) or int(required) > _MOST:
        return f"RequiredApprovals {where} must be a number from 1 to {_MOST}."
    approvers = _named(configuration)
    if len(approvers) > _APPROVERS:
        return f"Approvers {where} names {len(approvers)} users, groups and roles. At most {_APPROVERS} may be named."
    wrong = next((one for one in approvers if not _NAME.fullmatch(one)), None)
    if wrong is not None:
        return (
            f"Approvers {where} must be names of users, groups and roles with commas between them: NAME, user/NAME, group/NAME, "
            f"role/NAME or an ARN. This is none of them: {wrong[:100]!r}."
        )
    people = [one for one in approvers if one.startswith("user/") or ":user/" in one]
    if approvers and len(people) == len(approvers) < int(required):
        return f"RequiredApprovals {where} is {required}, but Approvers names {len(people)} users only."
    return None


def _refuse(action: Mapping[str, Any]) -> str | None:
    configuration = action.get("configuration", {})
    return _refuse_rule(action["name"], configuration) or _refuse_topic(action)


def _refuse_topic(action: Mapping[str, Any]) -> str | None:
    arn = action.get("configuration", {}).get("NotificationArn")
    if arn is None or "#{" in arn:
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
    rule = _rule(configuration)
    if rule != ANYBODY:  # an addition too, with the keys that ask for it
        approval |= {"requiredApprovals": rule.required, "approvers": list(rule.approvers) or None}
        approval |= {"selfApproval": None if rule.self_approval else False}
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
                Property(name="RequiredApprovals", description="How many people have to approve (1 to 10)"),
                Property(
                    name="Approvers",
                    description="The users, groups and roles that may answer, with commas between them",
                ),
                Property(
                    name="AllowSelfApproval",
                    description="Whether whoever started the run may approve it",
                    values=("true", "false"),
                ),
            ),
            inputs=(0, 0),
            outputs=(0, 0),
            timeout=APPROVAL_TIMEOUT,
            refuse=_refuse,
            answered_by=_rule,
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
        return Display(
            line="A person decides", question=configuration.get("CustomData", ""), needs=asks(_rule(configuration))
        )


PROVIDER = ManualApproval()
