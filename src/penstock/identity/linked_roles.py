"""Service-linked roles: roles that accounts make for a service, and that the service alone may have changed.

Components say which of their services have one (`penstock.component.LinkedRole`). Such a role is known by its path, which no other role can
have. (AWS: IAM User Guide, "Create a service-linked role".)
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from penstock.identity import records
from penstock.identity.errors import NoSuchEntityException, UnmodifiableEntityException
from penstock.store.schema import Json, metadata

if TYPE_CHECKING:
    from penstock.component import LinkedRole

PATH = "/aws-service-role/"

deletions = sa.Table(  # that were asked for, and what became of them
    "iam_role_deletions",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),  # a UUID, the end of the task's id
    sa.Column("account", sa.String(12), nullable=False),
    sa.Column("task", sa.String(1000), nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("reason", sa.Text),  # why the role is still there; none when it is gone
    sa.Column("uses", Json, nullable=False),  # {region: ARNs of what needs it}
)


def trust_of(linked: LinkedRole) -> str:
    """The trust policy of a service's role."""
    trusted = {"Effect": "Allow", "Principal": {"Service": linked.service}, "Action": "sts:AssumeRole"}
    return json.dumps({"Version": "2012-10-17", "Statement": [trusted]})


def is_linked(row: Any) -> bool:
    """Whether a role is linked to a service."""
    return row.path.startswith(PATH)


def find_changeable_role(conn: sa.Connection, account: str, name: str) -> Any:
    """A role that its account may change. Raises NoSuchEntity, and UnmodifiableEntity for one that is linked to a service."""
    row = records.role(conn, account, name)
    if row is None:
        raise NoSuchEntityException(kind="role", name=name)
    if is_linked(row):
        raise UnmodifiableEntityException(name=row.name)
    return row
