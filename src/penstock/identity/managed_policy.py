"""One managed policy of AWS's, and the words of which their documents are made."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from typing import Any

ARN = ":iam::aws:policy/"


@dataclass(frozen=True, slots=True)
class ManagedPolicy:
    """One of them."""

    name: str
    path: str  # "/", "/service-role/" or "/aws-service-role/"
    description: str
    text: str  # the document in the partition aws
    version: str  # of the document, which is the only one that is there and the default

    @property
    def policy_id(self) -> str:
        """A policy id that is the same in every installation."""
        return "ANPA" + base64.b32encode(hashlib.sha256(self.name.encode()).digest()).decode()[:17]

    @property
    def is_for_linked_roles(self) -> bool:
        """Whether service-linked roles alone can have it."""
        return self.path == "/aws-service-role/"

    def arn(self, partition: str) -> str:
        """Its ARN in a partition."""
        return f"arn:{partition}{ARN}{self.path[1:]}{self.name}"

    def document(self, partition: str) -> str:
        """The document in a partition."""
        return self.text if partition == "aws" else self.text.replace("arn:aws:", f"arn:{partition}:")


Statement = dict[str, Any]


def allow(*actions: str, on: str | list[str] = "*", **condition: dict[str, Any]) -> Statement:
    """Actions are allowed on a resource, under a condition: its operators and what they compare."""
    statement: Statement = {"Effect": "Allow", "Action": list(actions), "Resource": on}
    return statement | ({"Condition": condition} if condition else {})


def passing(*services: str, on: str = "*") -> Statement:
    """Roles may be handed to services."""
    named = {"iam:PassedToService": [f"{name}.amazonaws.com" for name in services]}
    return allow("iam:PassRole", on=on, StringEquals=named)


def notifying(resource: str, *more: str) -> Statement:
    """Rules of notifications about resources of a service are made, changed and subscribed to."""
    verbs = (
        "CreateNotificationRule",
        "DescribeNotificationRule",
        "UpdateNotificationRule",
        "Subscribe",
        "Unsubscribe",
        *more,
    )
    about = {"codestar-notifications:NotificationsForResource": resource}
    return allow(*(f"codestar-notifications:{verb}" for verb in verbs), ArnLike=about)


def policy(name: str, description: str, *statements: Statement, version: int = 1) -> ManagedPolicy:
    """A policy; its name begins with its path, if it has one."""
    path, _, short = name.rpartition("/")
    document = json.dumps({"Version": "2012-10-17", "Statement": list(statements)}, indent=4)
    return ManagedPolicy(short, f"/{path}/" if path else "/", description, document, f"v{version}")
