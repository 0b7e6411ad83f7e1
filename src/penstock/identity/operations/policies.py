"""Policies of users, groups and roles: inline ones, and attachments of managed ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from penstock.application import Call
from penstock.identity import records
from penstock.identity.authority import Authority
from penstock.identity.document_texts import size
from penstock.identity.documents import identity_policy
from penstock.identity.errors import LimitExceededException, NoSuchEntityException, PolicyNotAttachableException
from penstock.identity.linked_roles import find_changeable_role
from penstock.identity.managed import managed_policy
from penstock.identity.operations import iam
from penstock.identity.operations.entities import (
    encoded,
    find_group,
    find_role,
    find_user,
    group_arn,
    page,
    policy_keys,
    role_arn,
    user_arn,
)
from penstock.identity.operations.managed_policies import checked_arn
from penstock.store.keysets import rows_behind
from penstock.wire.call import Input, Output

MAX_ATTACHED = 20  # AWS's quota is 10, and up to this on request
MAX_INLINE = {"User": 2048, "Group": 5120, "Role": 10_240}  # (AWS: IAM quotas)


@dataclass(frozen=True, slots=True)
class _Owner:
    """What has policies. The operations on them are the same for users, groups and roles but for their names."""

    kind: str
    find: Callable[[sa.Connection, str, str], sa.Row[Any]]  # by account and name; raises NoSuchEntity
    change: Callable[[sa.Connection, str, str], sa.Row[Any]]  # the same, to be changed

    @property
    def max_inline(self) -> int:
        """Characters without white space of all its inline policies together."""
        return MAX_INLINE[self.kind]

    @property
    def member(self) -> str:
        """The input's member that names it."""
        return f"{self.kind}Name"


_USER = _Owner("User", find_user, find_user)
_GROUP = _Owner("Group", find_group, find_group)
_ROLE = _Owner("Role", find_role, find_changeable_role)


def _owner(input: Input) -> _Owner:
    return next((owner for owner in (_ROLE, _GROUP) if owner.member in input), _USER)


@iam("PutUserPolicy", resource=user_arn, keys=policy_keys)
@iam("PutGroupPolicy", resource=group_arn, keys=policy_keys)
@iam("PutRolePolicy", resource=role_arn, keys=policy_keys)
async def put_policy(authority: Authority, call: Call, input: Input) -> None:
    """Write an inline policy; it counts from the next request on."""
    owner = _owner(input)
    document = input["PolicyDocument"]
    identity_policy(document)

    def tx(conn: sa.Connection) -> None:
        row = owner.change(conn, call.account, input[owner.member])
        table = records.inline_policies
        this = (table.c.owner == row.id) & (table.c.name == input["PolicyName"])
        others = sa.select(table.c.document).where(table.c.owner == row.id, table.c.name != input["PolicyName"])
        used = sum(size(text) for text in conn.execute(others).scalars())
        if used + size(document) > owner.max_inline:
            raise LimitExceededException(
                f"Maximum policy size of {owner.max_inline} bytes exceeded for {owner.kind.lower()} {row.name}"
            )
        if not conn.execute(table.update().where(this).values(document=document)).rowcount:
            conn.execute(
                table.insert().values(owner=row.id, name=input["PolicyName"], account=call.account, document=document)
            )

    await authority.change(tx)


@iam("GetUserPolicy", resource=user_arn)
@iam("GetGroupPolicy", resource=group_arn)
@iam("GetRolePolicy", resource=role_arn)
async def get_policy(authority: Authority, call: Call, input: Input) -> Output:
    """An inline policy."""
    owner = _owner(input)

    def read(conn: sa.Connection) -> Output:
        row = owner.find(conn, call.account, input[owner.member])
        return {
            owner.member: row.name,
            "PolicyName": input["PolicyName"],
            "PolicyDocument": encoded(_inline(conn, owner.kind, row.id, input["PolicyName"]).document),
        }

    return await call.app.store.read(read)


@iam("ListUserPolicies", resource=user_arn)
@iam("ListGroupPolicies", resource=group_arn)
@iam("ListRolePolicies", resource=role_arn)
async def list_policies(authority: Authority, call: Call, input: Input) -> Output:
    """Names of the inline policies."""
    owner = _owner(input)
    table = records.inline_policies

    def read(conn: sa.Connection) -> tuple[list[Any], Output]:
        row = owner.find(conn, call.account, input[owner.member])

        def after(keyset: list[Any] | None, limit: int) -> list[Any]:
            found = sa.select(table.c.name).where(table.c.owner == row.id)
            return list(conn.execute(rows_behind(found, [table.c.name], keyset, limit=limit)).all())

        return page(call, input, after, "name")

    found, more = await call.app.store.read(read)
    return {"PolicyNames": [row.name for row in found], **more}


@iam("DeleteUserPolicy", resource=user_arn, keys=policy_keys)
@iam("DeleteGroupPolicy", resource=group_arn, keys=policy_keys)
@iam("DeleteRolePolicy", resource=role_arn, keys=policy_keys)
async def delete_policy(authority: Authority, call: Call, input: Input) -> None:
    """Forget an inline policy."""
    owner = _owner(input)

    def tx(conn: sa.Connection) -> None:
        row = owner.change(conn, call.account, input[owner.member])
        _inline(conn, owner.kind, row.id, input["PolicyName"])
        table = records.inline_policies
        conn.execute(table.delete().where(table.c.owner == row.id, table.c.name == input["PolicyName"]))

    await authority.change(tx)


@iam("AttachUserPolicy", resource=user_arn, keys=policy_keys)
@iam("AttachGroupPolicy", resource=group_arn, keys=policy_keys)
@iam("AttachRolePolicy", resource=role_arn, keys=policy_keys)
async def attach_policy(authority: Authority, call: Call, input: Input) -> None:
    """Attach a managed policy; attaching it twice is no error."""
    owner = _owner(input)
    arn = checked_arn(input)

    def tx(conn: sa.Connection) -> None:
        row = owner.change(conn, call.account, input[owner.member])
        _refuse_unattachable(conn, call, arn)
        present = records.attached(conn, row.id)
        if arn in present:
            return
        if len(present) >= MAX_ATTACHED:
            raise LimitExceededException(quota=f"PoliciesPer{owner.kind}", limit=MAX_ATTACHED)
        conn.execute(records.attachments.insert().values(owner=row.id, arn=arn, account=call.account))

    await authority.change(tx)


@iam("DetachUserPolicy", resource=user_arn, keys=policy_keys)
@iam("DetachGroupPolicy", resource=group_arn, keys=policy_keys)
@iam("DetachRolePolicy", resource=role_arn, keys=policy_keys)
async def detach_policy(authority: Authority, call: Call, input: Input) -> None:
    """Detach a managed policy."""
    owner = _owner(input)
    checked_arn(input)

    def tx(conn: sa.Connection) -> None:
        row = owner.change(conn, call.account, input[owner.member])
        table = records.attachments
        gone = table.delete().where(table.c.owner == row.id, table.c.arn == input["PolicyArn"])
        if not conn.execute(gone).rowcount:
            raise NoSuchEntityException(f"Policy {input['PolicyArn']} was not found.")

    await authority.change(tx)


@iam("ListAttachedUserPolicies", resource=user_arn)
@iam("ListAttachedGroupPolicies", resource=group_arn)
@iam("ListAttachedRolePolicies", resource=role_arn)
async def list_attached_policies(authority: Authority, call: Call, input: Input) -> Output:
    """The attached managed policies."""
    owner = _owner(input)
    table = records.attachments
    prefix = input.get("PathPrefix", "/")

    def read(conn: sa.Connection) -> tuple[list[Any], Output, list[Output]]:
        row = owner.find(conn, call.account, input[owner.member])

        def after(keyset: list[Any] | None, limit: int) -> list[Any]:
            found = conn.execute(sa.select(table.c.arn).where(table.c.owner == row.id).order_by(table.c.arn)).all()
            return [one for one in found if _path(one.arn).startswith(prefix) and (not keyset or one.arn > keyset[0])][
                :limit
            ]

        page_items, more = page(call, input, after, "arn")
        names = [{"PolicyName": one.arn.rpartition("/")[2], "PolicyArn": one.arn} for one in page_items]
        return page_items, more, names

    _, more, names = await call.app.store.read(read)
    return {"AttachedPolicies": names, **more}


def _inline(conn: sa.Connection, kind: str, owner: str, name: str) -> sa.Row[Any]:
    table = records.inline_policies
    row = conn.execute(sa.select(table).where(table.c.owner == owner, table.c.name == name)).first()
    if row is None:
        raise NoSuchEntityException(f"The {kind.lower()} policy with name {name} cannot be found.")
    return row


def _refuse_unattachable(conn: sa.Connection, call: Call, arn: str) -> None:
    """Raises NoSuchEntity, and PolicyNotAttachable for a policy that service-linked roles alone have."""
    managed = managed_policy(arn, call.partition)
    if managed is not None:
        if managed.is_for_linked_roles:
            raise PolicyNotAttachableException
        return
    row = records.policy(conn, arn)
    if row is None or row.account != call.account:
        raise NoSuchEntityException(f"Policy {arn} does not exist or is not attachable.")


def _path(arn: str) -> str:
    return arn.partition(":policy")[2].rpartition("/")[0] + "/"
