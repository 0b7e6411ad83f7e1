"""Policies of topics: what they may say, how permissions are added to them, and what they let services do. Pure, but for the check by identity."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from penstock.application import App
from penstock.public_policies import listed, statements
from penstock.topics.attributes import default_policy
from penstock.topics.errors import InvalidParameterException, invalid
from penstock.topics.names import Place
from penstock.wire.identity import PolicyRefused, ResourcePolicy

_ACTIONS = {
    "AddPermission", "DeleteTopic", "GetDataProtectionPolicy", "GetTopicAttributes", "ListSubscriptionsByTopic", "ListTagsForResource", "Publish",
    "PutDataProtectionPolicy", "RemovePermission", "SetTopicAttributes", "Subscribe",
}  # fmt: skip
_ACTION = re.compile(r"(?i)(\*|sns:[a-z*?]+)")
_ACCOUNT = re.compile(r"\d{12}")
_SOURCE_OWNER = "aws:sourceowner"
_LARGEST = 30_720  # bytes (AWS: SNS quotas, topic policy)
# The service that says of its calls whose they are, as topics ask by default. AWS lets others ask the same, which Penstock does not have.
_SAYS_OWNER = "cloudwatch.amazonaws.com"


def resource_policy(row: Any, place: Place) -> ResourcePolicy:
    """What policies say of a topic, as identity takes it.

    The first policy of a topic, and many that were made from it, let in whoever acts for the account that `AWS:SourceOwner` names. Alarms
    are such; it is said in words that identity has for services.
    """
    document = row.policy or default_policy(place)
    documents = [document]
    if _asks_owner(document, place.account):
        implied = {
            "Effect": "Allow",
            "Principal": {"Service": _SAYS_OWNER},
            "Action": "SNS:Publish",
            "Resource": place.arn,
            "Condition": {"StringEquals": {"aws:SourceAccount": place.account}},
        }
        documents.append(json.dumps({"Version": "2012-10-17", "Statement": [implied]}))
    return ResourcePolicy(account=place.account, documents=documents, ids=row.policy_ids)


def _asks_owner(document: str, account: str) -> bool:
    for statement in statements(document):
        if statement["Effect"] != "Allow" or "*" not in _principals(statement):
            continue
        for operator, keys in statement.get("Condition", {}).items():
            owners = [value for key, value in keys.items() if key.lower() == _SOURCE_OWNER]
            if (
                operator == "StringEquals"
                and len(keys) == len(owners)
                and any(account in listed(one) for one in owners)
            ):
                return len(statement["Condition"]) == 1
    return False


def _principals(statement: dict[str, Any]) -> list[str]:
    principal = statement.get("Principal", ())
    return listed(principal.get("AWS", ()) if isinstance(principal, dict) else principal)


def checked(conn: sa.Connection, app: App, document: str, place: Place) -> dict[str, str]:
    """The ids of whom a policy names. Raises InvalidParameterException unless it is one of this topic."""
    if len(document.encode()) > _LARGEST:
        raise invalid("Policy", f"it is larger than {_LARGEST} bytes")
    try:
        ids = app.identity.check_policy(conn, document)
    except PolicyRefused as refused:
        why = f"PrincipalNotFound: {refused.message}" if refused.principal else refused.message
        raise InvalidParameterException(what=f"Policy Error: {why}") from None
    for statement in statements(document):
        for action in listed(statement.get("Action", statement.get("NotAction"))):
            if not _ACTION.fullmatch(action):
                raise invalid("Policy statement action out of service scope!")
        for resource in listed(statement.get("Resource", statement.get("NotResource"))):
            if resource not in ("*", place.arn):
                raise invalid("Policy", f"it speaks of {resource[:300]}. Write the ARN of the topic.")
    return ids


def with_permission(document: str, place: Place, label: str, accounts: Sequence[str], actions: Sequence[str]) -> str:
    """The policy with one statement more. Raises InvalidParameterException."""
    found = json.loads(document)
    found["Statement"] = list(statements(document))
    if any(statement.get("Sid") == label for statement in found["Statement"]):
        raise invalid("Statement already exists")
    if not accounts or not all(_ACCOUNT.fullmatch(account) for account in accounts):
        raise invalid("AWSAccountId")
    if not actions or not set(actions) <= _ACTIONS:
        raise invalid("Policy statement action out of service scope!")
    partition = place.arn.split(":")[1]
    roots = [f"arn:{partition}:iam::{account}:root" for account in accounts]
    found["Statement"].append(
        {
            "Sid": label,
            "Effect": "Allow",
            "Principal": {"AWS": _one_or_all(roots)},
            "Action": _one_or_all([f"SNS:{action}" for action in actions]),
            "Resource": place.arn,
        }
    )
    return json.dumps(found, separators=(",", ":"))


def without_permission(document: str, label: str) -> str:
    """The policy without the statement of a label."""
    found = json.loads(document)
    found["Statement"] = [one for one in statements(document) if one.get("Sid") != label]
    return json.dumps(found, separators=(",", ":"))


def _one_or_all(values: list[str]) -> str | list[str]:
    return values[0] if len(values) == 1 else values
