"""IAM roles and whom they trust."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import sqlalchemy as sa

from penstock.application import Call
from penstock.identity import naming, records
from penstock.identity.authority import Authority
from penstock.identity.document_texts import size
from penstock.identity.documents import invalid_principal, trust_policy
from penstock.identity.errors import EntityAlreadyExistsException, InvalidInputException, LimitExceededException
from penstock.identity.linked_roles import PATH, find_changeable_role
from penstock.identity.operations import iam
from penstock.identity.operations.boundaries import boundary_of
from penstock.identity.operations.entities import (
    change_row,
    find_role,
    listed,
    may_tag,
    merged_tags,
    new_arn,
    new_role_output,
    path_arn,
    policy_keys,
    role_arn,
    role_output,
    tags,
    tags_page,
    trusts_to_api,
    without_tags,
)
from penstock.identity.operations.instance_profiles import refuse_while_in_profile
from penstock.identity.operations.users import refuse_while_policies
from penstock.wire.call import Input, Output

MAX_TRUST = 4096  # characters without white space; AWS's quota is 2048, and up to this on request
DEFAULT_SESSION = 3600  # seconds


@iam("CreateRole", resource=new_arn("role", "RoleName"), keys=policy_keys)
async def create_role(authority: Authority, call: Call, input: Input) -> Output:
    """A new role, which whom it trusts may assume, and which may do nothing yet."""
    await may_tag(call, input, "Role", "RoleName")
    name, path, document = input["RoleName"], input.get("Path", "/"), input["AssumeRolePolicyDocument"]
    if path.startswith(PATH):
        raise InvalidInputException(f"Roles below {PATH} are made by CreateServiceLinkedRole. Choose another path.")

    def tx(conn: sa.Connection) -> None:
        if records.role(conn, call.account, name) is not None:
            raise EntityAlreadyExistsException(kind="Role", name=name)
        new_role(
            conn,
            call,
            account=call.account,
            name=name,
            path=path,
            trust=document,
            description=input.get("Description"),
            boundary=boundary_of(conn, call, input),
            max_session=input.get("MaxSessionDuration", DEFAULT_SESSION),
            tags=tags(input.get("Tags")),
        )

    await authority.change(tx)
    return {"Role": new_role_output(await call.app.store.read(find_role, call.account, name))}


def new_role(
    conn: sa.Connection, call: Call, *, account: str, name: str, trust: str, path: str = "/", **more: Any
) -> dict[str, Any]:
    """Write a role of an account, which has none of that name."""
    row = {
        "id": naming.unique_id(naming.ROLE),
        "account": account,
        "key": name.lower(),
        "name": name,
        "path": path,
        "arn": naming.arn(call.partition, account, "role", path, name),
        "trust": trust,
        "trusted": _trusted(conn, trust),
        "max_session": DEFAULT_SESSION,
        "tags": [],
        "created": call.now,
        **more,
    }
    conn.execute(records.roles.insert().values(row))
    return row


@iam("GetRole", resource=role_arn)
async def get_role(authority: Authority, call: Call, input: Input) -> Output:
    """A role by name."""
    return {"Role": await call.app.store.read(_role_to_api, authority, call, input)}


@iam("ListRoles", resource=path_arn("role"))
async def list_roles(authority: Authority, call: Call, input: Input) -> Output:
    """The account's roles, by name."""
    found, more = await listed(call, input, records.roles)
    trusts = await call.app.store.scan(trusts_to_api, found)
    return {"Roles": [role_output(row, trust) for row, trust in zip(found, trusts, strict=True)], **more}


@iam("UpdateRole", resource=role_arn)
async def update_role(authority: Authority, call: Call, input: Input) -> Output:
    """Change a role's description and longest session; of a service-linked role the description only."""
    changed = {"Description": "description", "MaxSessionDuration": "max_session"}
    values = {column: input[member] for member, column in changed.items() if member in input}
    find: Callable[..., Any] = find_changeable_role if "MaxSessionDuration" in input else find_role
    await change_row(
        authority,
        records.roles,
        partial(find, account=call.account, name=input["RoleName"]),
        lambda _row: values,
    )
    return {}


@iam("UpdateRoleDescription", resource=role_arn)
async def update_role_description(authority: Authority, call: Call, input: Input) -> Output:
    """Change a role's description."""
    await _update(authority, call, input["RoleName"], lambda _row: {"description": input["Description"]})
    return {"Role": await call.app.store.read(_role_to_api, authority, call, input)}


@iam("UpdateAssumeRolePolicy", resource=role_arn)
async def update_assume_role_policy(authority: Authority, call: Call, input: Input) -> None:
    """Change whom a role trusts."""
    document = input["PolicyDocument"]

    def tx(conn: sa.Connection) -> None:
        row = find_changeable_role(conn, call.account, input["RoleName"])
        values = {"trust": document, "trusted": _trusted(conn, document)}
        conn.execute(records.roles.update().where(records.roles.c.id == row.id).values(values))

    await authority.change(tx)


@iam("DeleteRole", resource=role_arn)
async def delete_role(authority: Authority, call: Call, input: Input) -> None:
    """Forget a role without policies; its sessions end at once."""

    def tx(conn: sa.Connection) -> None:
        row = find_changeable_role(conn, call.account, input["RoleName"])
        refuse_while_in_profile(conn, row.id)
        refuse_while_policies(conn, row.id)
        conn.execute(records.roles.delete().where(records.roles.c.id == row.id))

    await authority.change(tx)


@iam("TagRole", resource=role_arn)
async def tag_role(authority: Authority, call: Call, input: Input) -> None:
    """Add or replace tags."""
    await _update(authority, call, input["RoleName"], lambda row: {"tags": merged_tags(row.tags, input["Tags"])})


@iam("UntagRole", resource=role_arn)
async def untag_role(authority: Authority, call: Call, input: Input) -> None:
    """Remove tags by key."""
    await _update(authority, call, input["RoleName"], lambda row: {"tags": without_tags(row.tags, input["TagKeys"])})


@iam("ListRoleTags", resource=role_arn)
async def list_role_tags(authority: Authority, call: Call, input: Input) -> Output:
    """A role's tags, a page at a time."""
    row = await call.app.store.read(find_role, call.account, input["RoleName"])
    return tags_page(call, input, row.tags)


def _role_to_api(conn: sa.Connection, authority: Authority, call: Call, input: Input) -> Output:
    row = find_role(conn, call.account, input["RoleName"])
    (trust,) = trusts_to_api(conn, [row])
    return role_output(row, trust, authority.uses)


async def _update(authority: Authority, call: Call, name: str, values: Callable[[sa.Row[Any]], dict[str, Any]]) -> None:
    await change_row(authority, records.roles, partial(find_role, account=call.account, name=name), values)


def _trusted(conn: sa.Connection, document: str) -> dict[str, str]:
    """The ids of the principals that a trust policy names, which must exist.

    Raises MalformedPolicyDocument, or LimitExceeded for a document beyond the quota.
    """
    policy = trust_policy(document)
    if size(document) > MAX_TRUST:
        raise LimitExceededException(quota="ACLSizePerRole", limit=MAX_TRUST)
    found = {}
    for arn in sorted(policy.named_principals()):
        row = records.by_arn(conn, arn)
        if row is None:
            raise invalid_principal("AWS", arn)
        found[arn] = row.id
    return found
