"""STS: what is behind a denial, for those who may know it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import sqlalchemy as sa

from penstock.application import Call
from penstock.identity import denials, documents, records
from penstock.identity.authority import Authority
from penstock.identity.context import as_documented
from penstock.identity.denials import Denial
from penstock.identity.document_texts import digest
from penstock.identity.errors import InvalidAuthorizationMessageException
from penstock.identity.operations import sts
from penstock.identity.operations.owned_policies import Owned, policies_of
from penstock.identity.policy import BOUNDARY, IDENTITY, RESOURCE, Denying
from penstock.identity.simulation import BOUNDARY as BOUNDARY_POLICY
from penstock.identity.simulation import IDENTITY as IDENTITY_POLICY
from penstock.identity.simulation import RESOURCE as RESOURCE_POLICY
from penstock.wire.call import Input, Output


class _Found(NamedTuple):
    """A policy that denied, as it still is."""

    name: str  # its ARN, or its own and its owner's names, as simulations have it
    kind: str
    document: str


@sts("DecodeAuthorizationMessage")
async def decode_authorization_message(authority: Authority, call: Call, input: Input) -> Output:
    """Who was denied what, what the policies asked for, and the statement that denies, when one does."""
    denial = denials.decode(call.app.sealer, call.account, input["EncodedMessage"])
    if denial is None:
        raise InvalidAuthorizationMessageException
    found = None if denial.by is None else await _policy(authority, call, denial, denial.by)
    return {"DecodedMessage": json.dumps(_told(denial, found), separators=(",", ":"))}


async def _policy(authority: Authority, call: Call, denial: Denial, by: Denying) -> _Found | None:
    """The policy that denied, unless it was changed or taken away since."""
    if denial.kind == RESOURCE:
        root = authority.decisions.root_of(denial.resource)
        policy = await authority.decisions.policy_of(root)
        texts = () if policy is None or policy.account != call.account else policy.documents
        if (role := await authority.role(denial.resource)) is not None and role.account == call.account:
            texts = (role.trust,)
        return next((_Found(root, RESOURCE_POLICY, text) for text in texts if digest(text) == by.policy), None)
    if denial.kind not in (IDENTITY, BOUNDARY):
        return None  # a session policy is nowhere but in the token of its session
    owned = await call.app.store.read(_owned, call, denial.entity, denial.kind == BOUNDARY)
    kind = BOUNDARY_POLICY if denial.kind == BOUNDARY else IDENTITY_POLICY
    same = (one for one in owned if digest(one.document.text) == by.policy)
    return next((_Found(one.arn or one.document.name, kind, one.document.text) for one in same), None)


def _owned(conn: sa.Connection, call: Call, entity: str, boundary: bool) -> list[Owned]:  # noqa: FBT001 - of `read`
    row = (records.role_by_id if entity.startswith("AROA") else records.user_by_id)(conn, entity)
    if row is None:
        return []
    found = policies_of(conn, call, row.arn)
    return (found.boundary or []) if boundary else found.policies


def _told(denial: Denial, found: _Found | None) -> Output:
    """The members that AWS has, and beside them why, and which policy it is."""
    principal = {"id": denial.principal, "arn": denial.arn}
    if ":user/" in denial.arn:
        principal["name"] = denial.arn.rpartition("/")[2]
    conditions = [
        {"key": as_documented(key), "values": _items(() if value is None else value)}
        for key, value in denial.told_conditions.items()
    ]
    return {
        "allowed": False,
        "explicitDeny": denial.explicit,
        "matchedStatements": {"items": [] if denial.by is None else [_statement(denial, denial.by, found)]},
        "failures": {"items": []},
        "context": {
            "principal": principal,
            "action": denial.action,
            "resource": denial.resource,
            "conditions": {"items": conditions},
        },
        "deniedBy": denial.kind,
        "conditionsLeftOut": denial.left_out,
    }


def _statement(denial: Denial, by: Denying, found: _Found | None) -> Output:
    told: Output = {"statementNumber": by.number + 1, "effect": "DENY"}
    if found is None:
        return told
    statement = documents.statement_at(found.document, by.number)
    told |= {
        "statementId": statement.get("Sid", ""),
        "principals": _items(denial.entity),
        "principalGroups": {"items": []},
        "conditions": {"items": list(_conditions(statement.get("Condition", {})))},
        "sourcePolicyId": found.name,
        "sourcePolicyType": found.kind,
    }
    for element in ("Action", "NotAction", "Resource", "NotResource"):
        if element in statement:
            told[f"{element[0].lower()}{element[1:]}s"] = _items(statement[element])
    return told


def _conditions(condition: Mapping[str, Mapping[str, Any]]) -> Iterable[Output]:
    for operator, clauses in condition.items():
        for key, values in clauses.items():
            yield {"operator": operator, "key": key, "values": _items(values)}


def _items(values: Any) -> Output:
    listed = values if isinstance(values, list | tuple) else [values]
    return {"items": [{"value": value} for value in listed]}
