"""IAM groups: policies that several users have together."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from penstock.application import Call
from penstock.identity import naming, records
from penstock.identity.authority import Authority
from penstock.identity.errors import (
    DeleteConflictException,
    EntityAlreadyExistsException,
    LimitExceededException,
)
from penstock.identity.operations import iam
from penstock.identity.operations.entities import (
    find_group,
    find_user,
    group_arn,
    listed,
    new_arn,
    page,
    path_arn,
    rename,
    user_arn,
    user_output,
)
from penstock.identity.operations.users import refuse_while_policies
from penstock.store.keysets import rows_behind
from penstock.wire.call import Input, Output

MAX_GROUPS = 10  # that a user is in (AWS: IAM quotas)


@iam("CreateGroup", resource=new_arn("group", "GroupName"))
async def create_group(authority: Authority, call: Call, input: Input) -> Output:
    """A new group, which has no members."""
    name, path = input["GroupName"], input.get("Path", "/")

    def tx(conn: sa.Connection) -> Any:
        if records.group(conn, call.account, name) is not None:
            raise EntityAlreadyExistsException(kind="Group", name=name)
        conn.execute(
            records.groups.insert().values(
                id=naming.unique_id(naming.GROUP),
                account=call.account,
                key=name.lower(),
                name=name,
                path=path,
                arn=naming.arn(call.partition, call.account, "group", path, name),
                created=call.now,
            )
        )
        return records.group(conn, call.account, name)

    return {"Group": group_output(await authority.change(tx))}


@iam("GetGroup", resource=group_arn)
async def get_group(authority: Authority, call: Call, input: Input) -> Output:
    """A group and its members, by name."""
    u, m = records.users, records.members

    def read(conn: sa.Connection) -> tuple[Any, list[Any], Output]:
        group = find_group(conn, call.account, input["GroupName"])

        def after(keyset: list[Any] | None, limit: int) -> list[Any]:
            found = sa.select(u).join(m, m.c.user == u.c.id).where(m.c.group == group.id)
            return list(conn.execute(rows_behind(found, [u.c.key], keyset, limit=limit)).all())

        return group, *page(call, input, after, "key")

    group, found, more = await call.app.store.read(read)
    return {"Group": group_output(group), "Users": [user_output(row, full=False) for row in found], **more}


@iam("ListGroups", resource=path_arn("group"))
async def list_groups(authority: Authority, call: Call, input: Input) -> Output:
    """The account's groups, by name."""
    found, more = await listed(call, input, records.groups)
    return {"Groups": [group_output(row) for row in found], **more}


@iam("ListGroupsForUser", resource=user_arn)
async def list_groups_for_user(authority: Authority, call: Call, input: Input) -> Output:
    """The groups that a user is in, by name."""
    g, m = records.groups, records.members

    def read(conn: sa.Connection) -> tuple[list[Any], Output]:
        user = find_user(conn, call.account, input["UserName"])

        def after(keyset: list[Any] | None, limit: int) -> list[Any]:
            found = sa.select(g).join(m, m.c.group == g.c.id).where(m.c.user == user.id)
            return list(conn.execute(rows_behind(found, [g.c.key], keyset, limit=limit)).all())

        return page(call, input, after, "key")

    found, more = await call.app.store.read(read)
    return {"Groups": [group_output(row) for row in found], **more}


@iam("UpdateGroup", resource=group_arn)
async def update_group(authority: Authority, call: Call, input: Input) -> None:
    """Another name or path; members and policies follow."""
    await rename(authority, call, input, "Group")


@iam("DeleteGroup", resource=group_arn)
async def delete_group(authority: Authority, call: Call, input: Input) -> None:
    """Forget a group without members and policies."""

    def tx(conn: sa.Connection) -> None:
        row = find_group(conn, call.account, input["GroupName"])
        if conn.execute(sa.select(records.members.c.user).where(records.members.c.group == row.id).limit(1)).first():
            raise DeleteConflictException(first="remove users from group")
        refuse_while_policies(conn, row.id)
        conn.execute(records.groups.delete().where(records.groups.c.id == row.id))

    await authority.change(tx)


@iam("AddUserToGroup", resource=group_arn)
async def add_user_to_group(authority: Authority, call: Call, input: Input) -> None:
    """Let a user have the policies of a group; twice is no error."""

    def tx(conn: sa.Connection) -> None:
        user = find_user(conn, call.account, input["UserName"])
        group = find_group(conn, call.account, input["GroupName"])
        m = records.members
        present = set(conn.execute(sa.select(m.c.group).where(m.c.user == user.id)).scalars())
        if group.id in present:
            return
        if len(present) >= MAX_GROUPS:
            raise LimitExceededException(quota="GroupsPerUser", limit=MAX_GROUPS)
        conn.execute(m.insert().values(user=user.id, group=group.id, account=call.account))

    await authority.change(tx)


@iam("RemoveUserFromGroup", resource=group_arn)
async def remove_user_from_group(authority: Authority, call: Call, input: Input) -> None:
    """Take the policies of a group from a user; who is no member is no error."""

    def tx(conn: sa.Connection) -> None:
        user = find_user(conn, call.account, input["UserName"])
        group = find_group(conn, call.account, input["GroupName"])
        m = records.members
        conn.execute(m.delete().where(m.c.user == user.id, m.c.group == group.id))

    await authority.change(tx)


def group_output(row: Any) -> Output:
    """The `Group` shape."""
    return {
        "Path": row.path,
        "GroupName": row.name,
        "GroupId": row.id,
        "Arn": row.arn,
        "CreateDate": row.created,
    }
