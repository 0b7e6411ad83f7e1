"""Compiled policies: read once into an immutable form (`penstock.identity.documents`), then asked many times. Pure.

Each kind of policy that speaks of a request is asked by itself: identity policies, a boundary and session policies by `decide`, the policy
of the resource (a trust policy is one) by `grant`. `weigh` makes one decision of what they said.
(AWS: IAM User Guide, "Policy evaluation logic".)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import NamedTuple

from penstock.identity.conditions import Condition
from penstock.identity.variables import NOTHING, Context, Template
from penstock.identity.wildcards import Matcher, arn_wildcard

_ACTIONS = 128  # whose statements a policy remembers


class Verdict(Enum):
    """What a set of policies says about one action on one resource."""

    ALLOWED = "allowed"
    DENIED = "denied"  # by an explicit Deny, which always wins
    SILENT = "silent"  # nothing speaks of it: denied by default


class Named(IntEnum):
    """How the policy of a resource lets a caller do something. A higher one needs less from the caller's own policies."""

    DENIED = -1
    SILENT = 0
    ACCOUNT = 1  # lets its account, which must let the caller
    BEHIND = 2  # lets the role of a session, or the user of a federated one: what narrows the session counts
    ITSELF = 3  # lets the user, the session or the service itself, or everybody


@dataclass(frozen=True, slots=True)
class Patterns:
    """A set of patterns, or everything outside it."""

    exact: frozenset[str] = frozenset()
    prefixes: tuple[str, ...] = ()
    others: tuple[Matcher, ...] = ()
    templates: tuple[Template, ...] = ()  # resources with variables
    negated: bool = False

    def cover(self, text: str, context: Context = NOTHING) -> bool:
        """Whether the element applies to the text."""
        covered = text in self.exact or text.startswith(self.prefixes)
        if not covered and self.others:
            covered = any(matcher(text) for matcher in self.others)
        if not covered and self.templates:
            covered = any(one.compare(arn_wildcard, text, context) for one in self.templates)
        return covered is not self.negated


@dataclass(frozen=True, slots=True)
class Principals:
    """Whom a statement of a resource's policy speaks of, or whom it does not."""

    anyone: bool = False
    accounts: frozenset[str] = frozenset()  # 12 digits
    arns: frozenset[str] = frozenset()  # users, roles, sessions
    services: frozenset[str] = frozenset()  # such as codepipeline.amazonaws.com
    federated: frozenset[str] = frozenset()  # ARNs of identity providers
    negated: bool = False

    def name(self, caller: Caller) -> Named:
        """How they name the caller; SILENT when they do not."""
        if self.negated:
            return Named.SILENT if self.anyone or self._leave_out(caller) else Named.ITSELF
        if caller.itself & self.arns or caller.services & self.services or caller.federated & self.federated:
            return Named.ITSELF
        if self.anyone and not caller.services:
            return Named.ITSELF
        if caller.behind & self.arns:
            return Named.BEHIND
        return Named.ACCOUNT if caller.account in self.accounts and not caller.services else Named.SILENT

    def _leave_out(self, caller: Caller) -> bool:
        """Whether NotPrincipal lists every name of the caller: a session by its own, its role's and its account's."""
        if caller.services:
            return bool(caller.services & self.services)
        names = caller.itself | caller.behind
        return bool(names) and names <= self.arns and caller.account in self.accounts


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement. `resources` is None in trust policies, `principals` in all but the policies of resources."""

    allow: bool
    actions: Patterns
    resources: Patterns | None
    principals: Principals | None
    condition: Condition | None = None
    number: int = 0  # where it stands in its document
    sid: str = ""

    @property
    def conditional(self) -> bool:
        """Whether what it says of an action and a resource depends on the request."""
        return self.condition is not None or (self.resources is not None and bool(self.resources.templates))

    @property
    def keys(self) -> frozenset[str]:
        """The condition keys that it asks for, in lower case, those of its variables among them."""
        variables = () if self.resources is None else self.resources.templates
        asked = frozenset() if self.condition is None else self.condition.keys
        return asked.union(*(one.keys for one in variables))

    def applies(self, resource: str, context: Context) -> bool:
        """Whether it speaks of a resource and a request, for an action that it covers."""
        if self.resources is not None and not self.resources.cover(resource, context):
            return False
        return self.condition is None or self.condition.holds(context)


@dataclass(frozen=True, slots=True)
class Policy:
    """A compiled document."""

    statements: tuple[Statement, ...]
    digest: str = field(default="", compare=False)  # of its document, by which it is found again
    _covering: dict[str, tuple[Statement, ...]] = field(default_factory=dict, compare=False, repr=False)

    @property
    def conditional(self) -> bool:
        """Whether what it says of an action and a resource depends on the request."""
        return any(statement.conditional for statement in self.statements)

    def covering(self, action: str) -> tuple[Statement, ...]:
        """The statements that speak of an action, given in lower case; those that deny come first."""
        found = self._covering.get(action)
        if found is None:
            covering = [statement for statement in self.statements if statement.actions.cover(action)]
            found = tuple(sorted(covering, key=lambda statement: statement.allow))
            if len(self._covering) >= _ACTIONS:
                self._covering.clear()
            self._covering[action] = found
        return found

    def named_principals(self) -> frozenset[str]:
        """ARNs of the users, roles and sessions that it names: what has an id. A federated user has none."""
        named = (arn for s in self.statements if s.principals is not None for arn in s.principals.arns)
        return frozenset(arn for arn in named if ":federated-user/" not in arn)

    @property
    def keys(self) -> frozenset[str]:
        """The condition keys that it asks for, in lower case, those of its variables among them."""
        return frozenset(key for statement in self.statements for key in statement.keys)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who calls, by all the names that the policy of a resource may give it."""

    account: str  # 12 digits; empty when anonymous
    itself: frozenset[str] = frozenset()  # ARNs of the user, the role's session or the federated user
    behind: frozenset[str] = frozenset()  # ARN of the role of a session, or of the user of a federated one
    services: frozenset[str] = frozenset()  # every name of one of our services; empty for other callers
    federated: frozenset[str] = frozenset()  # the identity provider that vouches for it


class Denying(NamedTuple):
    """Which statement denies."""

    policy: str  # `Policy.digest`
    number: int  # `Statement.number`


@dataclass(frozen=True, slots=True)
class Decision:
    """What all policies together say, and which kind of them it is because of."""

    allowed: bool
    explicit: bool = False  # denied by a Deny
    kind: str = ""  # as AWS names it: "identity-based policy", "permissions boundary" …
    by: Denying | None = None  # the Deny


IDENTITY, RESOURCE = "identity-based policy", "resource-based policy"
BOUNDARY, SESSION = "permissions boundary", "session policy"


def decide(policies: Iterable[Policy], action: str, resource: str, context: Context = NOTHING) -> Verdict:
    """What policies of one kind say. `resource` is an ARN, or `*` for an action that knows no resource."""
    verdict = Verdict.SILENT
    action = action.lower()
    for policy in policies:
        for statement in policy.covering(action):
            if statement.allow and verdict is Verdict.ALLOWED:
                break  # only those that allow follow
            if statement.applies(resource, context):
                if not statement.allow:
                    return Verdict.DENIED
                verdict = Verdict.ALLOWED
                break
    return verdict


def grant(policies: Iterable[Policy], action: str, resource: str, caller: Caller, context: Context = NOTHING) -> Named:
    """What the policies of a resource say of a caller taking `action`. Trust policies know no resource."""
    named = Named.SILENT
    action = action.lower()
    for policy in policies:
        for statement in policy.covering(action):
            principals = statement.principals
            how = Named.SILENT if principals is None else principals.name(caller)
            if how > (named if statement.allow else Named.SILENT) and statement.applies(resource, context):
                if not statement.allow:
                    return Named.DENIED
                named = how
    return named


def denying(
    policies: Iterable[Policy], action: str, resource: str, context: Context, caller: Caller | None = None
) -> Denying | None:
    """The first statement that denies; those of a resource's policies have to name the `caller`."""
    for policy in policies:
        for statement in policy.covering(action.lower()):
            if statement.allow:
                break  # only those that allow follow
            principals = statement.principals
            named = caller is None or (principals is not None and principals.name(caller) is not Named.SILENT)
            if named and statement.applies(resource, context):
                return Denying(policy.digest, statement.number)
    return None


def asked_for(policies: Iterable[Policy], action: str) -> Iterator[str]:
    """The condition keys that statements on an action ask for, in lower case, some of them more than once."""
    for policy in policies:
        for statement in policy.covering(action.lower()):
            yield from sorted(statement.keys)


def matching(
    policies: Iterable[Policy], action: str, resource: str, context: Context
) -> Iterator[tuple[int, Statement]]:
    """The statements that apply to a request, each with the number of its policy: what a simulation shows."""
    for number, policy in enumerate(policies):
        for statement in policy.covering(action.lower()):
            if statement.applies(resource, context):
                yield number, statement


def weigh(
    *,
    identity: Verdict,
    boundary: Verdict | None = None,
    session: Verdict | None = None,
    resource: Named | None = None,
    same_account: bool = True,
    resource_must: bool = False,
) -> Decision:
    """One decision of what each kind of policy says; None for a kind that there is not.

    `same_account` is whether the resource belongs to the caller's account; `resource_must` that its policy has to allow in any case,
    as those of roles and keys have to. (AWS: IAM User Guide, "Policy evaluation logic", and "Permissions boundaries" for what a resource's
    policy grants beyond a boundary.)
    """
    said = ((IDENTITY, identity), (BOUNDARY, boundary), (SESSION, session))
    if resource is Named.DENIED:
        return Decision(False, True, RESOURCE)
    for kind, verdict in said:
        if verdict is Verdict.DENIED:
            return Decision(False, True, kind)
    by_resource = Named.SILENT if resource is None else resource
    if same_account and by_resource is Named.ITSELF:
        return Decision(True)
    for kind, verdict in said:
        if kind is IDENTITY and same_account and by_resource is Named.BEHIND:
            continue
        if verdict is Verdict.SILENT:
            return Decision(False, False, kind)
    if by_resource is Named.SILENT and (resource_must or not same_account):
        return Decision(False, False, RESOURCE)
    return Decision(True)
