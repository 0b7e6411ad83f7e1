"""Policy documents: their text, checked as AWS checks it, and compiled. Pure.

The checks come in the order that the real service has: shape, version, what its legacy parser refuses, unique Sids, and then actions and
resources. (AWS: IAM User Guide, "IAM JSON policy elements reference".)
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from penstock.identity.conditions import LEGACY, SYNTAX, compile_condition
from penstock.identity.document_texts import digest
from penstock.identity.errors import MalformedPolicyDocumentException
from penstock.identity.policy import Patterns, Policy, Principals, Statement
from penstock.identity.variables import Template, template
from penstock.identity.variables import keys_as_written as variables_of
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
_PARTITION = "(aws|aws-us-gov|aws-cn)"
_ROOT = re.compile(rf"arn:{_PARTITION}:iam::([0-9]{{12}}):root")
_PRINCIPAL = re.compile(
    rf"arn:{_PARTITION}:(iam::[0-9]{{12}}:(user|role)/[\x21-\x29\x2b-\x3e\x40-\x7e]+"
    r"|sts::[0-9]{12}:(assumed-role/[\w+=,.@-]+/[\w+=,.@-]+|federated-user/[\w+=,.@-]+))",
    re.ASCII,
)
_PROVIDER = re.compile(rf"arn:{_PARTITION}:iam::[0-9]{{12}}:(oidc-provider|saml-provider)/[\x21-\x29\x2b-\x7e]+")
_TOP = {"Version", "Id", "Statement"}
_PAIRS = (("Action", "NotAction"), ("Resource", "NotResource"), ("Principal", "NotPrincipal"))
_FIELDS = {"Sid", "Effect", "Condition", *(name for pair in _PAIRS for name in pair)}
_TRUST_ACTIONS = "AssumeRole policy may only specify STS AssumeRole actions."


def identity_policy(document: str) -> Policy:
    """Compile a policy of a user, a group, a role or a session, or a boundary.

    Raises MalformedPolicyDocumentException with a sentence.
    """
    return _Document(document).identity()


def check_managed(document: str) -> None:
    """Raises MalformedPolicyDocumentException unless a managed policy may have this document: it says its version."""
    found = _Document(document)
    if found.version != VERSIONS[0]:
        raise MalformedPolicyDocumentException("Policy document must be version 2012-10-17 or greater.")
    found.identity()


def trust_policy(document: str) -> Policy:
    """Compile a role's trust policy.

    Raises MalformedPolicyDocumentException with a sentence.
    """
    try:
        json.loads(document[: MAX_CHARACTERS + 1])
    except (ValueError, RecursionError):
        raise MalformedPolicyDocumentException("This policy contains invalid Json") from None
    return _Document(document).trust()


def resource_policy(document: str) -> Policy:
    """Compile the policy of a resource, such as a bucket or a key.

    Raises MalformedPolicyDocumentException with a sentence.
    """
    return _Document(document).resource()


def keys_as_written(document: str, asked: Collection[str]) -> dict[str, str]:
    """The condition keys of a document as it spells them, by their lower case, in its order; only those that are `asked` for."""
    found: dict[str, str] = {}
    for statement in _Document(document).statements:
        texts = [*_texts(statement, "Resource")]
        keys: list[str] = []
        for clauses in statement.get("Condition", {}).values():
            keys += clauses
            for values in clauses.values():
                texts += [
                    value for value in (values if isinstance(values, list) else [values]) if isinstance(value, str)
                ]
        for key in (*(key for text in texts for key in variables_of(text)), *keys):
            if key.lower() in asked:
                found.setdefault(key.lower(), key)
    return found


def statement_at(document: str, number: int) -> dict[str, Any]:
    """A statement of a document that has been compiled, as it is written."""
    return _Document(document).statements[number]


class _Document:
    """A document whose shape has been checked."""

    def __init__(self, text: str) -> None:
        top = _parse(text)
        if not isinstance(top, dict) or not set(top) <= _TOP or not isinstance(top.get("Id", ""), str):
            raise MalformedPolicyDocumentException(SYNTAX)
        self.version = top.get("Version", VERSIONS[1])
        if self.version not in VERSIONS:
            raise MalformedPolicyDocumentException(SYNTAX)
        statements = top.get("Statement")
        listed = [statements] if isinstance(statements, dict) else statements
        if not isinstance(listed, list) or not listed:
            raise MalformedPolicyDocumentException(SYNTAX)
        for statement in listed:
            _check_shape(statement)
        self.statements: list[dict[str, Any]] = listed
        self._digest = digest(text)

    def identity(self) -> Policy:
        conditions = self._conditions()
        self._legacy()
        self._sids(alphanumeric=True)
        for statement in self.statements:
            if "Principal" in statement or "NotPrincipal" in statement:
                raise MalformedPolicyDocumentException("Policy document should not specify a principal.")
        actions = [_listed(s, "Action", "Policy statement must contain actions.") for s in self.statements]
        resources = [_listed(s, "Resource", "Policy statement must contain resources.") for s in self.statements]
        for found in resources:
            for resource in found:
                _check_resource(resource)
        for found in actions:
            _check_actions(found)
        return self._policy(conditions, [_resources(s, self.version) for s in self.statements], None)

    def trust(self) -> Policy:
        conditions = self._conditions()
        self._legacy()
        self._sids(alphanumeric=True)
        for statement in self.statements:
            for name in ("Resource", "NotResource", "NotPrincipal"):
                if name in statement:
                    raise MalformedPolicyDocumentException(f"Has prohibited field {name}")
            if "Principal" not in statement:
                raise MalformedPolicyDocumentException("Missing required field Principal")
            actions = _listed(statement, "Action", "Missing required field Action")
            if "NotAction" in statement or any(not action.lower().startswith("sts:") for action in actions):
                raise MalformedPolicyDocumentException(_TRUST_ACTIONS)
            _check_actions(actions)
        return self._policy(conditions, None, [_principals(s) for s in self.statements])

    def resource(self) -> Policy:
        conditions = self._conditions()
        self._legacy()
        self._sids(alphanumeric=False)
        for statement in self.statements:
            if "Principal" not in statement and "NotPrincipal" not in statement:
                raise MalformedPolicyDocumentException("Missing required field Principal")
            _check_actions(_listed(statement, "Action", "Policy statement must contain actions."))
            for resource in _listed(statement, "Resource", "Policy statement must contain resources."):
                _check_resource(resource)
        principals = [_principals(s) for s in self.statements]
        return self._policy(conditions, [_resources(s, self.version) for s in self.statements], principals)

    def _policy(self, conditions: list[Any], resources: list[Patterns] | None, who: list[Principals] | None) -> Policy:
        return Policy(
            tuple(
                Statement(
                    allow=statement["Effect"] == "Allow",
                    actions=_actions(statement),
                    resources=None if resources is None else resources[number],
                    principals=None if who is None else who[number],
                    condition=conditions[number],
                    number=number,
                    sid=statement.get("Sid", ""),
                )
                for number, statement in enumerate(self.statements)
            ),
            self._digest,
        )

    def _conditions(self) -> list[Any]:
        return [compile_condition(statement.get("Condition", {}), self.version) for statement in self.statements]

    def _legacy(self) -> None:
        for statement in self.statements:
            if statement["Effect"] not in ("Allow", "Deny"):
                raise MalformedPolicyDocumentException(LEGACY)
            for resource in _texts(statement, "Resource"):
                segments = resource.split(":", 5)
                whole = resource.startswith("arn:") and not resource.endswith("*")
                if whole and len(segments) == 5:
                    raise MalformedPolicyDocumentException(LEGACY)
                if whole and self.version == VERSIONS[0] and "${" in ":".join(segments[:5]):
                    raise MalformedPolicyDocumentException(LEGACY)  # variables stand behind the fifth colon only

    def _sids(self, *, alphanumeric: bool) -> None:
        sids: set[str] = set()
        for statement in self.statements:
            sid = statement.get("Sid", "")
            if sid and sid in sids:
                raise MalformedPolicyDocumentException("Statement IDs (SID) in a single policy must be unique.")
            if alphanumeric and not _SID.fullmatch(sid):
                raise MalformedPolicyDocumentException(
                    "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression [0-9A-Za-z]*"
                )
            sids.add(sid)


def _parse(document: str) -> Any:
    if len(document) > MAX_CHARACTERS:
        raise MalformedPolicyDocumentException(SYNTAX)
    try:
        return json.loads(document, object_pairs_hook=_once, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise MalformedPolicyDocumentException(SYNTAX) from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key stands twice")  # which of the two would count is anybody's guess
    return result


def _refuse(name: str) -> Any:
    raise ValueError(name)


def _check_shape(statement: Any) -> None:
    if not isinstance(statement, dict) or not set(statement) <= _FIELDS:
        raise MalformedPolicyDocumentException(SYNTAX)
    if any(plain in statement and negated in statement for plain, negated in _PAIRS):
        raise MalformedPolicyDocumentException(SYNTAX)
    effect = statement.get("Effect")
    spelt = isinstance(effect, str) and effect.lower() in ("allow", "deny")
    if not spelt or not isinstance(statement.get("Sid", ""), str):
        raise MalformedPolicyDocumentException(SYNTAX)
    if not isinstance(statement.get("Condition", {}), dict):
        raise MalformedPolicyDocumentException(SYNTAX)
    for plain, negated in _PAIRS[:2]:
        for value in (statement.get(plain, []), statement.get(negated, [])):
            texts = [value] if isinstance(value, str) else value
            if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
                raise MalformedPolicyDocumentException(SYNTAX)


def _texts(statement: Mapping[str, Any], name: str) -> list[str]:
    value = statement.get(name, statement.get(f"Not{name}", []))
    return [value] if isinstance(value, str) else value


def _listed(statement: Mapping[str, Any], name: str, missing: str) -> list[str]:
    found = _texts(statement, name)
    if not found:
        raise MalformedPolicyDocumentException(missing)
    return found


def _check_actions(actions: list[str]) -> None:
    for action in actions:
        if _ACTION.fullmatch(action):
            continue
        if ":" not in action:
            raise MalformedPolicyDocumentException(
                "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."
            )
        vendor = action.partition(":")[0]
        if not re.fullmatch("[A-Za-z0-9.-]+", vendor):
            raise MalformedPolicyDocumentException(f"Vendor {vendor[:100]} is not valid")
        raise MalformedPolicyDocumentException("Actions/Condition can contain only one colon.")


def _check_resource(resource: str) -> None:
    if resource == "*":
        return
    segments = resource.split(":", 5)
    excerpt = resource[:2048]
    if segments[0] != "arn" or len(segments) < 2:
        raise MalformedPolicyDocumentException(f'Resource {excerpt} must be in ARN format or "*".')
    if "*" not in segments[1] and "?" not in segments[1] and segments[1] not in ("aws", "aws-us-gov", "aws-cn"):
        padded = _padded(resource)[:2048]
        raise MalformedPolicyDocumentException(f'Partition "{segments[1][:100]}" is not valid for resource "{padded}".')
    if len(segments) == 2 and not resource.endswith("*"):
        raise MalformedPolicyDocumentException("Resource vendor must be fully qualified and cannot contain regexes.")
    if len(segments) < 6:
        return
    service, region, named = segments[2], segments[3], segments[5]
    if service == "iam" and region not in ("", "*"):
        raise MalformedPolicyDocumentException(f"IAM resource {excerpt} cannot contain region information.")
    if service == "s3" and region not in ("", "*"):
        raise MalformedPolicyDocumentException(f"Resource {excerpt} can not contain region information.")
    if service == "iam" and named != "root" and not named.startswith(("*", "$", *_IAM_KINDS)):
        raise MalformedPolicyDocumentException(
            f'IAM resource path must either be "*", root, or start with {", ".join(_IAM_KINDS)}.'
        )


def _padded(resource: str) -> str:
    """A short form with the segments that it leaves out: any. A wildcard at its end reaches over them by itself."""
    return resource if resource.endswith("*") else resource + ":*" * (5 - resource.count(":"))


def _actions(statement: Mapping[str, Any]) -> Patterns:
    exact: set[str] = set()
    prefixes: list[str] = []
    actions = map(str.lower, _texts(statement, "Action"))
    others = [wildcard(action) for action in actions if not _sort(action, exact, prefixes)]
    return Patterns(frozenset(exact), tuple(prefixes), tuple(others), negated="NotAction" in statement)


def _resources(statement: Mapping[str, Any], version: str) -> Patterns:
    exact: set[str] = set()
    prefixes: list[str] = []
    others: list[Matcher] = []
    templates: list[Template] = []
    for resource in _texts(statement, "Resource"):
        padded = _padded(resource)
        if version == VERSIONS[0] and (found := template(padded)):
            templates.append(found)
        elif not _sort(padded, exact, prefixes):
            others.append(arn_wildcard(padded))
    return Patterns(
        frozenset(exact), tuple(prefixes), tuple(others), tuple(templates), negated="NotResource" in statement
    )


def _sort(pattern: str, exact: set[str], prefixes: list[str]) -> bool:
    """Put a pattern where it costs nothing to compare: as a whole, or as a beginning. False for one with other wildcards."""
    stem = pattern.removesuffix("*")
    if "*" in stem or "?" in stem:
        return False
    if stem == pattern:
        exact.add(pattern)
    else:
        prefixes.append(stem)
    return True


def _principals(statement: Mapping[str, Any]) -> Principals:
    negated = "NotPrincipal" in statement
    value = statement["NotPrincipal" if negated else "Principal"]
    if value == "*":
        return Principals(anyone=True, negated=negated)
    if not isinstance(value, dict) or not value:
        raise MalformedPolicyDocumentException(SYNTAX)
    anyone = False
    found: dict[str, set[str]] = {"accounts": set(), "arns": set(), "services": set(), "federated": set()}
    for kind, name in _named(value):
        if kind == "AWS" and name == "*":
            anyone = True
        elif kind == "AWS" and _ACCOUNT.fullmatch(name):
            found["accounts"].add(name)
        elif kind == "AWS" and (root := _ROOT.fullmatch(name)):
            found["accounts"].add(root[2])
        elif kind == "AWS" and _PRINCIPAL.fullmatch(name):
            found["arns"].add(name)
        elif kind == "Service" and _SERVICE.fullmatch(name):
            found["services"].add(name)
        elif kind == "Federated" and _PROVIDER.fullmatch(name):
            found["federated"].add(name)
        else:
            raise invalid_principal(kind, name)
    return Principals(anyone, **{kind: frozenset(names) for kind, names in found.items()}, negated=negated)


def _named(value: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for kind, named in value.items():
        names = [named] if isinstance(named, str) else named
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise MalformedPolicyDocumentException(SYNTAX)
        yield from ((kind, name) for name in names)


def invalid_principal(kind: str, name: str) -> MalformedPolicyDocumentException:
    """AWS's refusal of a principal that cannot exist or does not."""
    kind = kind if kind == "AWS" else kind.upper()
    return MalformedPolicyDocumentException(f'Invalid principal in policy: "{kind[:20]}":"{name[:2048]}"')
