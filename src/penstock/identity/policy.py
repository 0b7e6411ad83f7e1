"""Policy documents: read once into an immutable compiled form, then asked many times. Pure.

What is evaluated: Effect, Action, NotAction, Resource, NotResource with wildcards, the conditions of penstock.identity.conditions,
and in trust policies Principal (AWS accounts, users, roles and sessions; services). A document that says anything else (other
conditions, NotPrincipal, policy variables, federated principals) is refused when it is put: applying it without that part
would grant or deny something its author did not write. (AWS: IAM User Guide, "Policy evaluation logic", "IAM JSON policy elements reference".)
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from penstock.identity.conditions import NOTHING, Condition, Context, compile_condition
from penstock.identity.errors import MalformedPolicyDocumentException
from penstock.identity.wildcards import Matcher, arn_wildcard, wildcard

VERSIONS = ("2012-10-17", "2008-10-17")
MAX_CHARACTERS = 131_072  # of any document; the quotas per kind are lower and belong to the operations

_ACTION = re.compile(r"\*|\*:\*|[A-Za-z0-9.-]+:[^:]+")
_IAM_KINDS = (
    "user/", "federated-user/", "role/", "group/", "instance-profile/", "mfa/", "server-certificate/", "policy/",
    "sms-mfa/", "saml-provider/", "oidc-provider/", "report/", "access-report/",
)  # fmt: skip
_SID = re.compile(r"[0-9A-Za-z]*")
_SERVICE = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)*\.amazonaws\.com(\.cn)?")
_ACCOUNT = re.compile(r"[0-9]{12}")
_ROOT = re.compile(r"arn:(aws|aws-us-gov|aws-cn):iam::([0-9]{12}):root")
_PRINCIPAL = re.compile(
    r"arn:(aws|aws-us-gov|aws-cn):(iam::[0-9]{12}:(user|role)/[\x21-\x29\x2b-\x3e\x40-\x7e]+"
    r"|sts::[0-9]{12}:assumed-role/[\w+=,.@-]+/[\w+=,.@-]+)",
    re.ASCII,
)
_LEGACY = "The policy failed legacy parsing"
_TOP = {"Version", "Id", "Statement"}
_FIELDS = {
    "Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Principal", "NotPrincipal", "Condition",
}  # fmt: skip


class Verdict(Enum):
    """What a set of policies says about one action on one resource."""

    ALLOWED = "allowed"
    DENIED = "denied"  # by an explicit Deny, which always wins
    SILENT = "silent"  # nothing speaks of it: denied by default


class Trust(Enum):
    """What a trust policy says about one caller."""

    NAMED = "named"  # trusts the principal itself
    ACCOUNT = "account"  # trusts its account, which must let the principal do it
    DENIED = "denied"
    SILENT = "silent"


@dataclass(frozen=True, slots=True)
class Patterns:
    """A set of patterns, or everything outside it."""

    matchers: tuple[Matcher, ...]
    negated: bool

    def cover(self, text: str) -> bool:
        """Whether the element applies to the text."""
        return any(matcher(text) for matcher in self.matchers) is not self.negated


@dataclass(frozen=True, slots=True)
class Principals:
    """Whom a statement of a trust policy speaks of."""

    anyone: bool = False
    accounts: frozenset[str] = frozenset()  # 12 digits
    arns: frozenset[str] = frozenset()  # users, roles, sessions
    services: frozenset[str] = frozenset()  # such as codepipeline.amazonaws.com


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement. `resources` is None in trust policies, `principals` in all others."""

    allow: bool
    actions: Patterns
    resources: Patterns | None
    principals: Principals | None
    condition: Condition | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """A compiled document."""

    statements: tuple[Statement, ...]

    @property
    def conditional(self) -> bool:
        """Whether what it says of an action and a resource depends on the request."""
        return any(statement.condition is not None for statement in self.statements)

    def named_principals(self) -> frozenset[str]:
        """ARNs of the users, roles and sessions that a trust policy names."""
        return frozenset(arn for s in self.statements if s.principals is not None for arn in s.principals.arns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who wants to assume a role: an account's principal, or a service."""

    account: str
    arns: frozenset[str] = frozenset()  # every ARN that a trust policy may name it by
    services: frozenset[str] = frozenset()  # every name of a service; empty for other callers


def decide(policies: Iterable[Policy], action: str, resource: str, context: Context = NOTHING) -> Verdict:
    """What identity policies say. `resource` is an ARN, or `*` for an action that knows no resource."""
    verdict = Verdict.SILENT
    action = action.lower()
    for policy in policies:
        for statement in policy.statements:
            if statement.allow and verdict is Verdict.ALLOWED:
                continue
            resources = statement.resources
            if statement.actions.cover(action) and resources is not None and resources.cover(resource):
                if statement.condition is not None and not statement.condition.holds(context):
                    continue
                if not statement.allow:
                    return Verdict.DENIED
                verdict = Verdict.ALLOWED
    return verdict


def trust(policy: Policy, action: str, caller: Caller, context: Context = NOTHING) -> Trust:
    """What a trust policy says about `caller` taking `action`, such as `sts:AssumeRole`."""
    verdict = Trust.SILENT
    action = action.lower()
    for statement in policy.statements:
        principals = statement.principals
        if principals is None or not statement.actions.cover(action):
            continue
        named = bool(principals.arns & caller.arns or principals.services & caller.services)
        # Everyone and an account are both the account's to hand on: its own policies must allow it too. A service
        # has no policies of its own, so only its name counts.
        covered = not caller.services and (principals.anyone or caller.account in principals.accounts)
        if not named and not covered:
            continue
        if statement.condition is not None and not statement.condition.holds(context):
            continue
        if not statement.allow:
            return Trust.DENIED
        verdict = Trust.NAMED if named or verdict is Trust.NAMED else Trust.ACCOUNT
    return verdict


def identity_policy(document: str) -> Policy:
    """Compile a policy of a user, a role or a session.

    Raises MalformedPolicyDocumentException with a sentence.
    """
    return Policy(tuple(_identity_statement(s, version) for s, version in _statements(document)))


def check_managed(document: str) -> None:
    """Raises MalformedPolicyDocumentException unless a managed policy may have this document: it says its version."""
    found = _statements(document)
    if any(version != VERSIONS[0] for _, version in found):
        raise MalformedPolicyDocumentException("Policy document must be version 2012-10-17 or greater.")
    identity_policy(document)


def trust_policy(document: str) -> Policy:
    """Compile a role's trust policy.

    Raises MalformedPolicyDocumentException with a sentence.
    """
    try:
        json.loads(document[: MAX_CHARACTERS + 1])
    except (ValueError, RecursionError):
        raise MalformedPolicyDocumentException("This policy contains invalid Json") from None
    return Policy(tuple(_trust_statement(s, version) for s, version in _statements(document)))


def size(document: str) -> int:
    """The characters that IAM's quotas count: all but white space."""
    return sum(not c.isspace() for c in document)


def _statements(document: str) -> list[tuple[dict[str, Any], str]]:
    top = _parse(document)
    if not isinstance(top, dict) or not set(top) <= _TOP:
        raise MalformedPolicyDocumentException("Syntax errors in policy.")
    version = top.get("Version", "2008-10-17")
    if version not in VERSIONS:
        raise MalformedPolicyDocumentException("Syntax errors in policy.")
    if not isinstance(top.get("Id", ""), str):
        raise MalformedPolicyDocumentException("Syntax errors in policy.")
    statements = top.get("Statement")
    if isinstance(statements, dict):
        statements = [statements]
    if not isinstance(statements, list) or not statements:
        raise MalformedPolicyDocumentException("Syntax errors in policy.")
    sids: set[str] = set()
    for statement in statements:
        _check_statement(statement)
        sid = statement.get("Sid", "")
        if sid and sid in sids:
            raise MalformedPolicyDocumentException("Statement IDs (SID) in a single policy must be unique.")
        sids.add(sid)
    return [(statement, version) for statement in statements]


def _parse(document: str) -> Any:
    if len(document) > MAX_CHARACTERS:
        raise MalformedPolicyDocumentException("Syntax errors in policy.")
    try:
        return json.loads(document, object_pairs_hook=_once, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise MalformedPolicyDocumentException("Syntax errors in policy.") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key stands twice")  # which of the two would count is anybody's guess
    return result


def _refuse(name: str) -> Any:
    raise ValueError(name)


def _check_statement(statement: Any) -> None:
    if not isinstance(statement, dict) or not set(statement) <= _FIELDS:
        raise MalformedPolicyDocumentException("Syntax errors in policy.")
    sid = statement.get("Sid", "")
    if not isinstance(sid, str):
        raise MalformedPolicyDocumentException("Syntax errors in policy.")
    if not _SID.fullmatch(sid):
        raise MalformedPolicyDocumentException(
            "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression [0-9A-Za-z]*"
        )
    effect = statement.get("Effect")
    if effect not in ("Allow", "Deny"):
        spelt = isinstance(effect, str) and effect.lower() in ("allow", "deny")
        raise MalformedPolicyDocumentException(_LEGACY if spelt else "Syntax errors in policy.")
    if not isinstance(statement.get("Condition", {}), dict):
        raise MalformedPolicyDocumentException("Syntax errors in policy.")
    if "NotPrincipal" in statement:
        raise MalformedPolicyDocumentException("Has prohibited field NotPrincipal")


def _identity_statement(statement: dict[str, Any], version: str) -> Statement:
    if "Principal" in statement:
        raise MalformedPolicyDocumentException("Policy document should not specify a principal.")
    acting = _one_of(statement, "Action", "NotAction", "Policy statement must contain actions.")
    _texts(statement[acting], "Policy statement must contain actions.")
    name = _one_of(statement, "Resource", "NotResource", "Policy statement must contain resources.")
    resources = _texts(statement[name], "Policy statement must contain resources.")
    for resource in resources:
        _check_resource(resource, version)
    return Statement(
        allow=statement["Effect"] == "Allow",
        actions=_actions(statement),
        resources=Patterns(tuple(arn_wildcard(_padded(resource)) for resource in resources), name == "NotResource"),
        principals=None,
        condition=compile_condition(statement.get("Condition", {}), version),
    )


def _trust_statement(statement: dict[str, Any], version: str) -> Statement:
    for name in ("Resource", "NotResource"):
        if name in statement:
            raise MalformedPolicyDocumentException(f"Has prohibited field {name}")
    if "Principal" not in statement:
        raise MalformedPolicyDocumentException("Missing required field Principal")
    name = _one_of(statement, "Action", "NotAction", "Policy statement must contain actions.")
    if name == "NotAction" or any(
        not action.lower().startswith("sts:") for action in _texts(statement[name], "Missing required field Action")
    ):
        raise MalformedPolicyDocumentException("AssumeRole policy may only specify STS AssumeRole actions.")
    return Statement(
        allow=statement["Effect"] == "Allow",
        actions=_actions(statement),
        resources=None,
        principals=_principals(statement["Principal"]),
        condition=compile_condition(statement.get("Condition", {}), version),
    )


def _one_of(statement: Mapping[str, Any], plain: str, negated: str, missing: str) -> str:
    if plain in statement and negated in statement:
        raise MalformedPolicyDocumentException("Syntax errors in policy.")
    if plain in statement:
        return plain
    if negated in statement:
        return negated
    raise MalformedPolicyDocumentException(missing)


def _texts(value: Any, empty: str) -> list[str]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise MalformedPolicyDocumentException("Syntax errors in policy.")
    if not texts:
        raise MalformedPolicyDocumentException(empty)
    return texts


def _actions(statement: dict[str, Any]) -> Patterns:
    name = _one_of(statement, "Action", "NotAction", "Policy statement must contain actions.")
    actions = _texts(statement[name], "Policy statement must contain actions.")
    for action in actions:
        if not _ACTION.fullmatch(action):
            if ":" not in action:
                raise MalformedPolicyDocumentException(
                    "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."
                )
            vendor = action.partition(":")[0]
            if not re.fullmatch("[A-Za-z0-9.-]+", vendor):
                raise MalformedPolicyDocumentException(f"Vendor {vendor[:100]} is not valid")
            raise MalformedPolicyDocumentException("Actions/Condition can contain only one colon.")
    return Patterns(tuple(wildcard(action.lower()) for action in actions), name == "NotAction")


def _check_resource(resource: str, version: str) -> None:
    if resource == "*":
        return
    if "${" in resource and version == "2012-10-17":  # in a 2008 document it is plain text
        raise MalformedPolicyDocumentException(
            f"Policy variables are not evaluated here; the document is refused because of Resource {resource[:2048]}."
        )
    segments = resource.split(":", 5)
    excerpt = resource[:2048]
    if segments[0] != "arn" or len(segments) < 2:
        raise MalformedPolicyDocumentException(f'Resource {excerpt} must be in ARN format or "*".')
    if "*" not in segments[1] and "?" not in segments[1] and segments[1] not in ("aws", "aws-us-gov", "aws-cn"):
        padded = _padded(resource)[:2048]
        raise MalformedPolicyDocumentException(f'Partition "{segments[1][:100]}" is not valid for resource "{padded}".')
    if len(segments) == 2 and not resource.endswith("*"):
        raise MalformedPolicyDocumentException("Resource vendor must be fully qualified and cannot contain regexes.")
    if len(segments) == 5 and not resource.endswith("*"):
        raise MalformedPolicyDocumentException(_LEGACY)
    if len(segments) < 6:
        return
    service, region, named = segments[2], segments[3], segments[5]
    if service == "iam" and region not in ("", "*"):
        raise MalformedPolicyDocumentException(f"IAM resource {excerpt} cannot contain region information.")
    if service == "s3" and region not in ("", "*"):
        raise MalformedPolicyDocumentException(f"Resource {excerpt} can not contain region information.")
    if service == "iam" and named != "root" and not named.startswith(("*", *_IAM_KINDS)):
        raise MalformedPolicyDocumentException(
            f'IAM resource path must either be "*", root, or start with {", ".join(_IAM_KINDS)}.'
        )


def _padded(resource: str) -> str:
    """A short form with the segments that it leaves out: any. A wildcard at its end reaches over them by itself."""
    missing = 5 - resource.count(":")
    return resource if missing <= 0 or resource.endswith("*") else resource + ":*" * missing


def _principals(value: Any) -> Principals:
    if value == "*":
        return Principals(anyone=True)
    if not isinstance(value, dict) or not value:
        raise MalformedPolicyDocumentException("Syntax errors in policy.")
    anyone = False
    accounts: set[str] = set()
    arns: set[str] = set()
    services: set[str] = set()
    for kind, named in value.items():
        for name in _texts(named, "Syntax errors in policy."):
            if kind == "AWS" and name == "*":
                anyone = True
            elif kind == "AWS" and _ACCOUNT.fullmatch(name):
                accounts.add(name)
            elif kind == "AWS" and (root := _ROOT.fullmatch(name)):
                accounts.add(root[2])
            elif kind == "AWS" and _PRINCIPAL.fullmatch(name):
                arns.add(name)
            elif kind == "Service" and _SERVICE.fullmatch(name):
                services.add(name)
            elif kind in ("Federated", "CanonicalUser"):
                raise MalformedPolicyDocumentException(f"Principals of the kind {kind} are not evaluated here.")
            else:
                raise invalid_principal(kind, name)
    return Principals(anyone, frozenset(accounts), frozenset(arns), frozenset(services))


def invalid_principal(kind: str, name: str) -> MalformedPolicyDocumentException:
    """AWS's refusal of a principal that cannot exist or does not."""
    kind = kind if kind == "AWS" else kind.upper()
    return MalformedPolicyDocumentException(f'Invalid principal in policy: "{kind[:20]}":"{name[:2048]}"')
