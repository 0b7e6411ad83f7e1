"""Instance profiles: the role that a host's metadata endpoint gives credentials of, under a name of its own."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import sqlalchemy as sa

from penstock.application import Call
from penstock.identity import naming, records
from penstock.identity.authority import Authority
from penstock.identity.errors import (
    DeleteConflictException,
    EntityAlreadyExistsException,
    LimitExceededException,
    NoSuchEntityException,
)
from penstock.identity.linked_roles import find_changeable_role
from penstock.identity.operations import iam
from penstock.identity.operations.entities import (
    change_row,
    find_role,
    listed,
    may_tag,
    merged_tags,
    new_arn,
    page,
    path_arn,
    role_arn,
    role_output,
    tags,
    tags_page,
    trusts_to_api,
    without_tags,
)
from penstock.store.keysets import rows_behind
from penstock.wire.call import Input, Output

_NOT_OF_A_PROFILE = frozenset({"Description", "MaxSessionDuration"})


async def _arn(call: Call, input: Input) -> str:
    name = input["InstanceProfileName"]
    row = await call.app.store.read(records.instance_profile, call.account, name)
    return naming.arn(call.partition, call.account, "instance-profile", "/", name) if row is None else row.arn


@iam("CreateInstanceProfile", resource=new_arn("instance-profile", "InstanceProfileName"))
async def create_instance_profile(authority: Authority, call: Call, input: Input) -> Output:
    """A new profile, without a role."""
    name, path = input["InstanceProfileName"], input.get("Path", "/")
    await may_tag(call, input, "InstanceProfile", "InstanceProfileName", path_kind="instance-profile")

    def tx(conn: sa.Connection) -> Output:
        if records.instance_profile(conn, call.account, name) is not None:
            raise EntityAlreadyExistsException(f"Instance Profile {name} already exists.")
        conn.execute(
            records.instance_profiles.insert().values(
                id=naming.unique_id(naming.INSTANCE_PROFILE),
                account=call.account,
                key=name.lower(),
                name=name,
                path=path,
                arn=naming.arn(call.partition, call.account, "instance-profile", path, name),
                tags=tags(input.get("Tags")),
                created=call.now,
            )
        )
        return profile_outputs(conn, [_find(conn, call.account, name)], full=bool(input.get("Tags")))[0]

    return {"InstanceProfile": await authority.change(tx)}


@iam("GetInstanceProfile", resource=_arn)
async def get_instance_profile(authority: Authority, call: Call, input: Input) -> Output:
    """A profile and its role."""

    def read(conn: sa.Connection) -> Output:
        return profile_outputs(conn, [_find(conn, call.account, input["InstanceProfileName"])], full=True)[0]

    return {"InstanceProfile": await call.app.store.read(read)}


@iam("ListInstanceProfiles", resource=path_arn("instance-profile"))
async def list_instance_profiles(authority: Authority, call: Call, input: Input) -> Output:
    """The account's profiles, by name."""
    found, more = await listed(call, input, records.instance_profiles)
    return {"InstanceProfiles": await call.app.store.scan(profile_outputs, found), **more}


@iam("ListInstanceProfilesForRole", resource=role_arn)
async def list_instance_profiles_for_role(authority: Authority, call: Call, input: Input) -> Output:
    """The profiles that have a role, by name."""
    p = records.instance_profiles

    def read(conn: sa.Connection) -> tuple[list[Any], Output]:
        role = find_role(conn, call.account, input["RoleName"])

        def after(keyset: list[Any] | None, limit: int) -> list[Any]:
            found = sa.select(p).where(p.c.role == role.id)
            return list(conn.execute(rows_behind(found, [p.c.key], keyset, limit=limit)).all())

        return page(call, input, after, "key")

    found, more = await call.app.store.read(read)
    return {"InstanceProfiles": await call.app.store.scan(profile_outputs, found), **more}


@iam("AddRoleToInstanceProfile", resource=_arn)
async def add_role(authority: Authority, call: Call, input: Input) -> None:
    """Give a profile its role, of which it has one. Hosts get the role's credentials, so the caller must be allowed to pass it."""
    # The role's own ARN has its path, by which policies may name it.
    role = await role_arn(call, input)
    await authority.pass_role(call, role, source_arn=await _arn(call, input), service="ec2.amazonaws.com")

    def tx(conn: sa.Connection) -> None:
        profile = _find(conn, call.account, input["InstanceProfileName"])
        row = find_changeable_role(conn, call.account, input["RoleName"])
        if row.arn != role:
            raise NoSuchEntityException(kind="role", name=input["RoleName"])  # another role since it was asked for
        if profile.role is not None:
            raise LimitExceededException(quota="InstanceSessionsPerInstanceProfile", limit=1)
        _set_role(conn, profile, row.id)

    await authority.change(tx)


@iam("RemoveRoleFromInstanceProfile", resource=_arn)
async def remove_role(authority: Authority, call: Call, input: Input) -> None:
    """Take a profile's role away."""

    def tx(conn: sa.Connection) -> None:
        profile = _find(conn, call.account, input["InstanceProfileName"])
        role = find_changeable_role(conn, call.account, input["RoleName"])
        if profile.role != role.id:
            raise NoSuchEntityException(f"Role {role.name} in Instance Profile {profile.name} cannot be found.")
        _set_role(conn, profile, None)

    await authority.change(tx)


@iam("DeleteInstanceProfile", resource=_arn)
async def delete_instance_profile(authority: Authority, call: Call, input: Input) -> None:
    """Forget a profile without a role."""

    def tx(conn: sa.Connection) -> None:
        profile = _find(conn, call.account, input["InstanceProfileName"])
        if profile.role is not None:
            raise DeleteConflictException(first="remove roles from instance profile")
        conn.execute(records.instance_profiles.delete().where(records.instance_profiles.c.id == profile.id))

    await authority.change(tx)


@iam("TagInstanceProfile", resource=_arn)
async def tag_instance_profile(authority: Authority, call: Call, input: Input) -> None:
    """Add or replace tags."""
    await _retag(authority, call, input, lambda old: merged_tags(old, input["Tags"]))


@iam("UntagInstanceProfile", resource=_arn)
async def untag_instance_profile(authority: Authority, call: Call, input: Input) -> None:
    """Remove tags by key."""
    await _retag(authority, call, input, lambda old: without_tags(old, input["TagKeys"]))


@iam("ListInstanceProfileTags", resource=_arn)
async def list_instance_profile_tags(authority: Authority, call: Call, input: Input) -> Output:
    """A profile's tags, a page at a time."""
    row = await call.app.store.read(_find, call.account, input["InstanceProfileName"])
    return tags_page(call, input, row.tags)


def refuse_while_in_profile(conn: sa.Connection, role: str) -> None:
    """A role that a profile has cannot be deleted. Raises DeleteConflict."""
    p = records.instance_profiles.c
    if conn.execute(sa.select(p.id).where(p.role == role).limit(1)).first() is not None:
        raise DeleteConflictException(first="remove roles from instance profile")


def _find(conn: sa.Connection, account: str, name: str) -> Any:
    row = records.instance_profile(conn, account, name)
    if row is None:
        raise NoSuchEntityException(f"Instance Profile {name} cannot be found.")
    return row


def _set_role(conn: sa.Connection, profile: Any, role: str | None) -> None:
    table = records.instance_profiles
    conn.execute(table.update().where(table.c.id == profile.id).values(role=role))


async def _retag(authority: Authority, call: Call, input: Input, tagged: Any) -> None:
    find = partial(_find, account=call.account, name=input["InstanceProfileName"])
    await change_row(authority, records.instance_profiles, find, lambda row: {"tags": tagged(row.tags)})


def profile_outputs(conn: sa.Connection, rows: Sequence[Any], *, full: bool = False) -> list[Output]:
    """The `InstanceProfile` shapes. Lists leave tags out."""
    roles = records.roles_by_id(conn, {row.role for row in rows if row.role is not None})
    trusts = dict(zip((role.id for role in roles), trusts_to_api(conn, roles), strict=True))
    shown = {role.id: _role_output(role, trusts[role.id]) for role in roles}
    return [
        {
            "Path": row.path,
            "InstanceProfileName": row.name,
            "InstanceProfileId": row.id,
            "Arn": row.arn,
            "CreateDate": row.created,
            "Roles": [shown[row.role]] if row.role in shown else [],
            **({"Tags": row.tags} if full else {}),
        }
        for row in rows
    ]


def _role_output(row: Any, trust: str) -> Output:
    shown = role_output(row, trust)
    return {name: value for name, value in shown.items() if name not in _NOT_OF_A_PROFILE}
