"""The policies of a user, a group or a role, by their names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import sqlalchemy as sa

from penstock.application import Call
from penstock.identity import records
from penstock.identity.errors import InvalidInputException, NoSuchEntityException
from penstock.identity.managed import managed_policy
from penstock.identity.operations.entities import find_group, find_role, find_user
from penstock.wire.call import Input

FIND = {"user": find_user, "group": find_group, "role": find_role}


class Document(NamedTuple):
    """A document before it is compiled."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Owned:
    """A policy of a user, a group or a role: an attached one by its ARN, or an inline one by its owner."""

    document: Document
    kind: str  # inline aws-managed user-managed
    arn: str = ""
    owner_kind: str = ""
    owner: str = ""
    policy_name: str = ""

    def excluded(self, one: Input) -> bool:
        """Whether the shape `PolicyIdentifier` names it."""
        if inline := one.get("InlinePolicyIdentifier"):
            named = (inline["AttachmentType"], inline["AttachmentName"].lower(), inline["PolicyName"])
            return named == (self.owner_kind, self.owner.lower(), self.policy_name)
        return one.get("PolicyType") == self.kind or (self.arn != "" and one.get("PolicyArn") == self.arn)


class Entity(NamedTuple):
    """What the database has of a user, a group or a role."""

    policies: list[Owned]
    boundary: list[Owned] | None  # none of it when the policy is gone: then it allows nothing

    @property
    def bounds(self) -> list[Document] | None:
        """The documents of the boundary; None without one."""
        return None if self.boundary is None else [one.document for one in self.boundary]


def policies_of(conn: sa.Connection, call: Call, arn: str) -> Entity:
    """The policies of a user with its groups, of a group or of a role. Raises InvalidInput or NoSuchEntity."""
    parts = arn.split(":", 5)
    kind, _, rest = parts[-1].partition("/")
    if len(parts) != 6 or parts[0] != "arn" or parts[2] != "iam" or kind not in FIND or not rest:
        raise InvalidInputException(f"Invalid Entity Arn: {arn} does not clearly define entity type and name.")
    name = rest.rpartition("/")[2]
    row = FIND[kind](conn, call.account, name)
    if row.arn != arn:
        raise NoSuchEntityException(kind=kind, name=name)
    holders = {row.id: (kind, row.name)}
    if kind == "user":
        g, m = records.groups, records.members
        joined = sa.select(g.c.id, g.c.name).join(m, m.c.group == g.c.id).where(m.c.user == row.id)
        holders |= {group.id: ("group", group.name) for group in conn.execute(joined.order_by(g.c.key))}
    policies = [one for owner, (held_by, named) in holders.items() for one in _inline(conn, owner, held_by, named)]
    attached = [one for owner in holders for one in records.attached(conn, owner)]
    policies += [found for one in dict.fromkeys(attached) if (found := _managed(conn, call, one)) is not None]
    boundary = getattr(row, "boundary", None)
    if boundary is None:
        return Entity(policies, None)
    bounding = _managed(conn, call, boundary)
    return Entity(policies, [] if bounding is None else [bounding])


def _inline(conn: sa.Connection, owner: str, kind: str, name: str) -> list[Owned]:
    c = records.inline_policies.c
    rows = conn.execute(sa.select(c.name, c.document).where(c.owner == owner).order_by(c.name))
    return [
        Owned(
            Document(f"{kind}_{name}_{row.name}", row.document),
            "inline",
            owner_kind=kind,
            owner=name,
            policy_name=row.name,
        )
        for row in rows
    ]


def _managed(conn: sa.Connection, call: Call, arn: str) -> Owned | None:
    managed, name = managed_policy(arn, call.partition), arn.rpartition("/")[2]
    if managed is not None:
        return Owned(Document(name, managed.document(call.partition)), "aws-managed", arn)
    texts, _ = records.merged_documents(conn, [], [arn])
    return Owned(Document(name, texts[0]), "user-managed", arn) if texts else None
