"""Grants: what lets a principal use one key beside its policy, until it is retired or revoked."""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from penstock.application import Call
from penstock.keys import engine, granting, records
from penstock.keys.engine import Need
from penstock.keys.errors import (
    InvalidArnException,
    InvalidGrantIdException,
    LimitExceededException,
    NotFoundException,
    ValidationException,
)
from penstock.keys.granting import EQUALS, SOURCE, SUBSET
from penstock.keys.lookup import key_of, locked
from penstock.keys.operations import LIMIT, after, check_tokens, dry, key_arn, keys_of, kms, page
from penstock.keys.vault import Vault
from penstock.wire.call import Input, Output, PrincipalKind, Session
from penstock.wire.identity import PolicyRefused, ResourcePolicy

# Members that name a principal: of a person, of a service.
_GRANTEE = ("GranteePrincipal", "GranteeServicePrincipal")
_RETIRING = ("RetiringPrincipal", "RetiringServicePrincipal")
_ID = re.compile(r"[0-9a-f]{64}")
Keys = Mapping[str, "str | tuple[str, ...]"]


def _keys_of_grant(call: Call, input: Input) -> Keys:
    """KMS's condition keys of requests about grants."""
    return {**keys_of(call, input), "kms:grantisforawsresource": "true" if call.called_via else "false"}


def _keys_of_new(call: Call, input: Input) -> Keys:
    """Those of a request for a grant: what a policy asks of an encryption context, it asks of its constraint."""
    constraints = _constraints(input)
    context = constraints.get(EQUALS) or constraints.get(SUBSET) or {}
    found = {**_keys_of_grant(call, {**input, "EncryptionContext": context})}
    found["kms:grantoperations"] = tuple(input["Operations"])
    types = tuple(name for name in (EQUALS, SUBSET) if name in constraints)
    if types:
        found["kms:grantconstrainttype"] = types
    for members in (_GRANTEE, _RETIRING):
        if principal := input.get(members[0]) or input.get(members[1]):
            found[f"kms:{members[0].lower()}"] = principal
    return found


async def _granting(call: Call, input: Input) -> str:
    row = await key_of(call, input, aliased=False)
    call.memo["asked of grants"] = granting.Asked(
        source_arn=call.session.source_arn, operations=input["Operations"], constraints=_constraints(input)
    )
    return row.arn


@kms("CreateGrant", resource=_granting, keys=_keys_of_new)
async def create_grant(vault: Vault, call: Call, input: Input) -> Output:
    """Let a principal use a key. The same request with the same Name makes no second grant."""
    check_tokens(input)
    row = await key_of(call, input)
    grantee = _principal(input, _GRANTEE, required=True)
    retiring = _principal(input, _RETIRING)
    operations, constraints = list(dict.fromkeys(input["Operations"])), _constraints(input)
    engine.check(row, Need.USABLE)
    granting.check(row, operations, constraints)
    if not grantee.startswith("arn:") and (SOURCE not in constraints or not retiring):
        raise ValidationException(f"A grant for a service has a {SOURCE} constraint and a retiring principal.")
    same = {
        "account": call.account,
        "name": input.get("Name", ""),
        "grantee": grantee,
        "retiring": retiring,
        "operations": operations,
        "constraints": constraints,
    }

    def tx(conn: sa.Connection) -> str:
        key = locked(conn, row)
        engine.check(key, Need.USABLE)
        ids = {**_id_of(conn, call, grantee), **_id_of(conn, call, retiring)}
        of_grantee = records.grants_to(conn, key.id, (grantee,))
        if same["name"]:
            for known in of_grantee:
                if known.ids == ids and all(getattr(known, name) == value for name, value in same.items()):
                    return known.id
        if len(of_grantee) >= granting.MAX_GRANTS_OF_ONE:
            raise LimitExceededException(
                f"A key can have no more than {granting.MAX_GRANTS_OF_ONE} grants for one principal. Retire those that nothing uses."
            )
        if records.count_grants(conn, key.id) >= granting.MAX_GRANTS:
            raise LimitExceededException(
                f"A key can have no more than {granting.MAX_GRANTS} grants. Retire those that nothing uses."
            )
        found = secrets.token_hex(32)
        records.insert_grant(
            conn, **same, key=key.id, id=found, region=key.region, arn=key.arn, ids=ids, created=call.now
        )
        return found

    dry(input)
    grant_id = await call.app.store.write(tx)
    return {"GrantId": grant_id, "GrantToken": granting.token(row.id, grant_id, os.urandom(8))}


@kms("ListGrants", resource=key_arn(), keys=_keys_of_grant)
async def list_grants(vault: Vault, call: Call, input: Input) -> Output:
    """The grants of a key by id."""
    row, limit = await key_of(call, input), input.get("Limit", LIMIT)
    only = {"id": _checked_id(input["GrantId"])} if "GrantId" in input else {}
    for member in _GRANTEE:
        if member in input:
            only["grantee"] = input[member]
    found = await call.app.store.read(records.page_of_grants, row.id, after=after(call, input), limit=limit + 1, **only)
    return await _listed(call, input, found, limit)


@kms("ListRetirableGrants")
async def list_retirable_grants(vault: Vault, call: Call, input: Input) -> Output:
    """The grants, of whatever account's keys, that a principal of the caller's account may retire."""
    limit, retiring = input.get("Limit", LIMIT), _principal(input, _RETIRING, required=True)
    is_person = retiring.startswith("arn:")
    if is_person and retiring.split(":", 5)[4:5] != [call.account]:
        raise InvalidArnException(f"The retiring principal is not one of account {call.account}: {retiring}")
    found = await call.app.store.read(
        records.page_of_retirable,
        retiring,
        call.region,
        after=after(call, input),
        limit=limit + 1,
        issuer=None if is_person else call.account,
    )
    return await _listed(call, input, found, limit)


async def _retired(call: Call, input: Input) -> str:
    """ARN of the key of the grant that an input names, by its token or its id. Raises NotFoundException."""
    if ("GrantToken" in input) is ("KeyId" in input and "GrantId" in input):
        raise ValidationException("Name the grant by its GrantToken, or by its KeyId and GrantId.")
    if "GrantToken" in input:
        key_id, grant_id = granting.named(input["GrantToken"])
        key = await call.app.store.read(records.key, key_id)
        if key is None or key.region != call.region:
            raise NotFoundException(f"Grant ID {grant_id} not found")
    else:
        key, grant_id = await key_of(call, input, aliased=False), _checked_id(input["GrantId"])
    call.memo["retired"] = await call.app.store.read(records.grant, key.id, grant_id)
    return key.arn


@kms("RetireGrant", resource=_retired, keys=keys_of)
async def retire_grant(vault: Vault, call: Call, input: Input) -> None:
    """End a grant whose work is done. Whom the grant itself lets retire it needs nothing else in its own account."""
    row = call.memo["retired"]
    if row is None:
        raise NotFoundException("There is no such grant any more.")
    dry(input)
    if not await call.app.store.write(records.delete_grant, row.key, row.id):
        raise NotFoundException(f"Grant ID {row.id} not found")


@kms("RevokeGrant", resource=key_arn(), keys=_keys_of_grant)
async def revoke_grant(vault: Vault, call: Call, input: Input) -> None:
    """End a grant."""
    row, grant_id = await key_of(call, input), _checked_id(input["GrantId"])
    if await call.app.store.read(records.grant, row.id, grant_id) is None:
        raise NotFoundException(f"Grant ID {grant_id} not found")
    dry(input)
    if not await call.app.store.write(records.delete_grant, row.id, grant_id):
        raise NotFoundException(f"Grant ID {grant_id} not found")


async def granted(vault: Vault, call: Call, action: str, key_id: str) -> Sequence[ResourcePolicy]:
    """The grants of a key that speak of a request, each as a policy of the key."""
    operation = action.removeprefix("kms:")
    asked = call.memo.get("asked of grants", granting.Asked(source_arn=call.session.source_arn))
    if operation == "RetireGrant":
        row = call.memo.get("retired")
        if row is None or row.key != key_id:
            return ()
        may = [row.retiring, f"arn:{call.partition}:iam::{row.account}:root"]
        if granting.allows(row.operations, row.constraints, operation, asked):
            may.append(row.grantee)
        return [_policy(row, principal, action) for principal in may if principal]
    if not granting.is_grantable(operation):
        return ()
    rows = await vault.app.store.read(records.grants_to, key_id, _names(call.session, call.partition))
    return [
        _policy(row, row.grantee, action)
        for row in rows
        if granting.allows(row.operations, row.constraints, operation, asked)
    ]


def _policy(row: Any, principal: str, action: str) -> ResourcePolicy:
    owner = row.arn.split(":", 5)[4]
    return ResourcePolicy(
        account=owner, documents=(granting.document(principal, action),), ids=row.ids, must_allow=True
    )


def _names(session: Session, partition: str) -> list[str]:
    """As whom a session may have been granted something."""
    if session.kind is PrincipalKind.SERVICE:
        return [session.service]
    names = (session.arn, session.role_arn, session.user_arn, f"arn:{partition}:iam::{session.account}:root")
    return list(dict.fromkeys(name for name in names if name))


def _constraints(input: Input) -> dict[str, Any]:
    given = input.get("Constraints") or {}
    return {name: given[name] for name in (EQUALS, SUBSET, SOURCE) if name in given}


def _principal(input: Input, members: tuple[str, str], *, required: bool = False) -> str:
    """The principal that an input names, of a person or of a service; empty when it names none."""
    named = [input[member] for member in members if member in input]
    if len(named) > 1 or (required and not named):
        raise ValidationException(f"Name {members[0]} or {members[1]}, and not both.")
    if members[0] in input and not named[0].startswith("arn:"):
        raise _no_principal(named[0])
    return named[0] if named else ""


def _id_of(conn: sa.Connection, call: Call, principal: str) -> dict[str, str]:
    """The id of a principal, where it has one. Raises InvalidArnException for one that there is not."""
    if not principal:
        return {}
    try:
        return call.app.identity.check_policy(conn, granting.document(principal, "kms:*"))
    except PolicyRefused:
        raise _no_principal(principal) from None


def _no_principal(principal: str) -> InvalidArnException:
    return InvalidArnException(f"ARN does not refer to a valid principal: {principal}")


def _checked_id(grant_id: str) -> str:
    if not _ID.fullmatch(grant_id):
        raise InvalidGrantIdException
    return grant_id


async def _listed(call: Call, input: Input, rows: list[Any], limit: int) -> Output:
    shown, more = page(call, input, rows, limit, "id")

    def outputs(conn: sa.Connection) -> list[Output]:
        return [_output(conn, call, row) for row in shown]

    return {"Grants": await call.app.store.read(outputs), **more}


def _output(conn: sa.Connection, call: Call, row: Any) -> Output:
    found = {
        "KeyId": row.arn,
        "GrantId": row.id,
        "Name": row.name,
        "CreationDate": row.created,
        "IssuingAccount": f"arn:{call.partition}:iam::{row.account}:root",
        "Operations": row.operations,
        "Constraints": row.constraints,
    }
    for members, principal in ((_GRANTEE, row.grantee), (_RETIRING, row.retiring)):
        found[members[not principal.startswith("arn:")]] = _principal_to_api(conn, call, principal, row.ids)
    return {name: value for name, value in found.items() if value}


def _principal_to_api(conn: sa.Connection, call: Call, principal: str, ids: Mapping[str, str]) -> str:
    """A principal as readers of its grant see it: one that is gone by its id."""
    if principal not in ids:
        return principal
    known = call.app.identity.policy_to_api(conn, granting.document(principal, "kms:*"), ids)
    return json.loads(known)["Statement"]["Principal"]["AWS"]
