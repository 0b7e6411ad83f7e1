"""Policies of resources: a role's trust policy, and those that other components keep for buckets, keys and the like.

What a policy names is bound when it is put: a user or role that is deleted and made again is somebody else.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from penstock.identity import records
from penstock.identity.cache import Remembered
from penstock.identity.documents import resource_policy, trust_policy
from penstock.identity.errors import MalformedPolicyDocumentException
from penstock.identity.policy import Caller, Denying, Named, Policy, denying, grant
from penstock.identity.variables import Context
from penstock.wire.call import PrincipalKind, Session
from penstock.wire.identity import PolicyRefused, ResourcePolicy

_log = logging.getLogger("penstock.identity")
_DOCUMENT_BYTES = 16 << 20  # of compiled documents
_NOBODY = resource_policy('{"Statement": {"Effect": "Deny", "Principal": "*", "Action": "*", "Resource": "*"}}')


@dataclass(frozen=True, slots=True)
class Guarded:
    """The compiled policy of a resource."""

    root: str  # ARN of what has it, such as a bucket
    account: str
    policies: tuple[Policy, ...]
    ids: Mapping[str, str]  # ARN of a user or role that it names → its id when it was put
    must_allow: bool
    keys: frozenset[str]  # condition keys that it asks for

    @classmethod
    def of(cls, root: str, found: ResourcePolicy) -> Guarded:
        """Compile it. One that no longer compiles denies everything: what it would forbid is not known."""
        try:
            policies = tuple(_resource_policy(text) for text in found.documents)
        except MalformedPolicyDocumentException:
            _log.exception("identity.resource_policy_unreadable", extra={"resource": root})
            policies = (_NOBODY,)
        keys = frozenset(key for policy in policies for key in policy.keys)
        return cls(root, found.account, policies, found.ids, found.must_allow, keys)

    def name(self, session: Session, action: str, resource: str, region: str, context: Context) -> Named:
        """How it lets a session take an action."""
        if not self.policies:
            return Named.SILENT
        return grant(self.policies, action, resource, caller(session, self.ids, region), context)

    def denying(self, session: Session, action: str, resource: str, region: str, context: Context) -> Denying | None:
        """Which of its statements denies a session an action."""
        return denying(self.policies, action, resource, context, caller(session, self.ids, region))


def trusts(role: sa.Row[Any], session: Session, action: str, region: str, context: Context) -> Named:
    """What a role's trust policy says about a session taking `action` in a region."""
    return grant(trust_of(role), action, role.arn, caller(session, role.trusted, region), context)


def distrusting(role: sa.Row[Any], session: Session, action: str, region: str, context: Context) -> Denying | None:
    """Which statement of a role's trust policy denies a session an action."""
    return denying(trust_of(role), action, role.arn, context, caller(session, role.trusted, region))


def trust_of(role: sa.Row[Any]) -> tuple[Policy, ...]:
    """A role's trust policy; none where it cannot be read."""
    try:
        return (_trust_policy(role.trust),)
    except MalformedPolicyDocumentException:
        _log.exception("identity.trust_unreadable", extra={"role": role.arn})
        return ()


def caller(session: Session, ids: Mapping[str, str], region: str) -> Caller:
    """A session by the names that the policy of a resource may give it.

    `ids` are those that the users and roles which the policy names had when it was put: a name that was given to somebody else since is
    not the one that was meant.
    """
    if session.kind is PrincipalKind.SERVICE:
        name = session.service.removesuffix(".amazonaws.com")
        # Guides for some partitions name the service of one region; it is the same one of ours.
        names = {session.service, f"{name}.{region}.amazonaws.com", f"{name}.{region}.amazonaws.com.cn"}
        return Caller(account=session.account, services=frozenset(names))
    if session.kind is PrincipalKind.ANONYMOUS and session.provider:
        # Whom an identity provider vouches for, before a role was assumed: of no account, and of no name but the provider's.
        return Caller(account="", federated=frozenset((session.provider,)))

    def known(arn: str) -> frozenset[str]:
        return frozenset((arn,) if arn and ids.get(arn) == session.entity else ())

    # A user may have another name by now, which no role and no session can.
    user = frozenset(arn for arn, known_id in ids.items() if known_id == session.entity and ":user/" in arn)
    if session.kind is PrincipalKind.FEDERATED:
        # The name of a federated user is all that it is: there is nothing that could be deleted and made again.
        return Caller(account=session.account, itself=frozenset((session.arn,)), behind=user)
    itself = user if session.kind is PrincipalKind.USER else known(session.arn)
    return Caller(account=session.account, itself=itself, behind=known(session.role_arn))


def check_policy(conn: sa.Connection, document: str) -> dict[str, str]:
    """The ids of the users and roles that a resource's policy names. Raises PolicyRefused."""
    try:
        policy = resource_policy(document)
    except MalformedPolicyDocumentException as refused:
        raise PolicyRefused(refused.message, principal=refused.message.startswith("Invalid principal")) from None
    found = {}
    for arn in sorted(policy.named_principals()):
        row = records.by_arn(conn, arn)
        if row is None:
            raise PolicyRefused(f'Invalid principal in policy: "AWS":"{arn}"', principal=True)
        found[arn] = row.id
    return found


def policy_to_api(conn: sa.Connection, document: str, ids: Mapping[str, str]) -> str:
    """The document as its readers see it: a user by the name that it has now, a user or role that is gone by its id."""
    return as_named_now(document, ids, records.arns_of(conn, ids.values()))


def as_named_now(document: str, ids: Mapping[str, str], arns: Mapping[str, str]) -> str:
    """The same with what users and roles are called now, by their ids (`records.arns_of`)."""
    named_now = {arn: arns.get(known, known) for arn, known in ids.items() if known not in arns or ":user/" in arn}
    gone = {arn: now for arn, now in named_now.items() if arn != now}
    if not gone:
        return document
    top = json.loads(document)
    statements = top["Statement"] if isinstance(top["Statement"], list) else [top["Statement"]]
    for statement in statements:
        for element in ("Principal", "NotPrincipal"):
            named: Any = statement.get(element)
            if isinstance(named, dict) and "AWS" in named:
                arns = named["AWS"]
                named["AWS"] = gone.get(arns, arns) if isinstance(arns, str) else [gone.get(arn, arn) for arn in arns]
    return json.dumps(top, separators=(",", ":"))


_trust_policy = Remembered(trust_policy, _DOCUMENT_BYTES)
_resource_policy = Remembered(resource_policy, _DOCUMENT_BYTES)
