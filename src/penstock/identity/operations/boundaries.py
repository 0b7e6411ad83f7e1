"""Permissions boundaries of users and roles: a managed policy beyond which their own policies grant nothing."""

from __future__ import annotations

import sqlalchemy as sa

from penstock.application import Call
from penstock.identity import records
from penstock.identity.authority import Authority
from penstock.identity.errors import InvalidInputException, NoSuchEntityException
from penstock.identity.linked_roles import find_changeable_role
from penstock.identity.managed import managed_policy
from penstock.identity.operations import iam
from penstock.identity.operations.entities import find_user, policy_keys, role_arn, user_arn
from penstock.wire.call import Input


def boundary_of(conn: sa.Connection, call: Call, input: Input) -> str | None:
    """The boundary that an input names, which must exist. Raises InvalidInput or NoSuchEntity."""
    arn = input.get("PermissionsBoundary")
    if arn is None:
        return None
    parts = arn.split(":", 5)
    if len(parts) != 6 or parts[2] != "iam" or not parts[5].startswith("policy/"):
        raise InvalidInputException(f"ARN {arn} is not valid.")
    if managed_policy(arn, call.partition) is None:
        row = records.policy(conn, arn)
        if row is None or row.account != call.account:
            raise NoSuchEntityException(f"Scope ARN: {arn} does not exist or is not attachable.")
    return arn


@iam("PutUserPermissionsBoundary", resource=user_arn, keys=policy_keys)
@iam("PutRolePermissionsBoundary", resource=role_arn, keys=policy_keys)
async def put_boundary(authority: Authority, call: Call, input: Input) -> None:
    """Bound what a user or role may do; it counts from the next request on."""
    await authority.change(lambda conn: _set(conn, call, input, boundary_of(conn, call, input)))


@iam("DeleteUserPermissionsBoundary", resource=user_arn, keys=policy_keys)
@iam("DeleteRolePermissionsBoundary", resource=role_arn, keys=policy_keys)
async def delete_boundary(authority: Authority, call: Call, input: Input) -> None:
    """Bound it no more."""

    def tx(conn: sa.Connection) -> None:
        if _set(conn, call, input, None) is None:
            kind, name = ("role", input["RoleName"]) if "RoleName" in input else ("user", input["UserName"])
            raise NoSuchEntityException(f"The {kind} with name {name} has no permissions boundary.")

    await authority.change(tx)


def _set(conn: sa.Connection, call: Call, input: Input, boundary: str | None) -> str | None:
    """Set it; what it was before."""
    table, row = (
        (records.roles, find_changeable_role(conn, call.account, input["RoleName"]))
        if "RoleName" in input
        else (records.users, find_user(conn, call.account, input["UserName"]))
    )
    conn.execute(table.update().where(table.c.id == row.id).values(boundary=boundary))
    return row.boundary
