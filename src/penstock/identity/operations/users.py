"""IAM users and their access keys."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import sqlalchemy as sa

from penstock.application import Call
from penstock.identity import records, second_factors, sign_in_records
from penstock.identity.accounts import insert_access_key, insert_user
from penstock.identity.authority import Authority
from penstock.identity.errors import (
    DeleteConflictException,
    LimitExceededException,
    NoSuchEntityException,
)
from penstock.identity.operations import iam
from penstock.identity.operations.boundaries import boundary_of
from penstock.identity.operations.entities import (
    change_row,
    find_user,
    listed,
    may_tag,
    merged_tags,
    new_arn,
    page,
    path_arn,
    policy_keys,
    rename,
    settable_status,
    tags,
    tags_page,
    user_arn,
    user_name,
    user_output,
    without_tags,
)
from penstock.identity.password_policy import forget
from penstock.identity.service_credentials import credentials
from penstock.store.keysets import rows_behind
from penstock.wire.call import Input, Output

MAX_KEYS = 2  # per user, so that one can be replaced while the other works


@iam("CreateUser", resource=new_arn("user", "UserName"), keys=policy_keys)
async def create_user(authority: Authority, call: Call, input: Input) -> Output:
    """A new user, who may do nothing yet."""
    await may_tag(call, input, "User", "UserName")

    def tx(conn: sa.Connection) -> dict[str, Any]:
        return insert_user(
            conn,
            account=call.account,
            partition=call.partition,
            name=input["UserName"],
            path=input.get("Path", "/"),
            tagged=tags(input.get("Tags")),
            boundary=boundary_of(conn, call, input),
            now=call.now,
        )

    row = await authority.change(tx)
    return {"User": user_output(await call.app.store.read(find_user, call.account, row["name"]))}


@iam("GetUser", resource=user_arn)
async def get_user(authority: Authority, call: Call, input: Input) -> Output:
    """A user by name, or the caller."""

    def read(conn: sa.Connection) -> Output:
        row = find_user(conn, call.account, user_name(call, conn, input))
        return user_output(row, signed_in=_sign_ins(conn, [row]).get(row.id))

    return {"User": await call.app.store.read(read)}


@iam("UpdateUser", resource=user_arn)
async def update_user(authority: Authority, call: Call, input: Input) -> None:
    """Another name or path. Keys, groups, policies and the password follow, and so do policies of resources that name the user."""
    await rename(authority, call, input, "User")


@iam("ListUsers", resource=path_arn("user"))
async def list_users(authority: Authority, call: Call, input: Input) -> Output:
    """The account's users, by name."""
    found, more = await listed(call, input, records.users)
    signed_in = await call.app.store.scan(_sign_ins, found)
    return {"Users": [user_output(row, full=False, signed_in=signed_in.get(row.id)) for row in found], **more}


@iam("DeleteUser", resource=user_arn)
async def delete_user(authority: Authority, call: Call, input: Input) -> None:
    """Forget a user who has neither keys nor policies."""

    def tx(conn: sa.Connection) -> None:
        row = find_user(conn, call.account, input["UserName"])
        if _has(conn, records.access_keys, records.access_keys.c.user_id, row.id):
            raise DeleteConflictException(first="delete access keys")
        if _has(conn, sign_in_records.login_profiles, sign_in_records.login_profiles.c.user_id, row.id):
            raise DeleteConflictException(first="delete login profile")
        if second_factors.kinds(conn, row.id):
            raise DeleteConflictException(first="delete MFA device")
        if _has(conn, credentials, credentials.c.user_id, row.id):
            raise DeleteConflictException(first="remove referenced objects")
        refuse_while_policies(conn, row.id)
        if _has(conn, records.members, records.members.c.user, row.id):
            raise DeleteConflictException(first="remove users from group")
        forget(conn, row.id)
        conn.execute(records.users.delete().where(records.users.c.id == row.id))

    await authority.change(tx)


@iam("TagUser", resource=user_arn)
async def tag_user(authority: Authority, call: Call, input: Input) -> None:
    """Add or replace tags."""
    await _retag(authority, call, input["UserName"], lambda old: merged_tags(old, input["Tags"]))


@iam("UntagUser", resource=user_arn)
async def untag_user(authority: Authority, call: Call, input: Input) -> None:
    """Remove tags by key."""
    await _retag(authority, call, input["UserName"], lambda old: without_tags(old, input["TagKeys"]))


@iam("ListUserTags", resource=user_arn)
async def list_user_tags(authority: Authority, call: Call, input: Input) -> Output:
    """A user's tags, a page at a time."""
    row = await call.app.store.read(find_user, call.account, input["UserName"])
    return tags_page(call, input, row.tags)


@iam("CreateAccessKey", resource=user_arn)
async def create_access_key(authority: Authority, call: Call, input: Input) -> Output:
    """A new access key; the only answer that ever shows its secret."""

    def tx(conn: sa.Connection) -> tuple[str, str, str]:
        row = find_user(conn, call.account, user_name(call, conn, input))
        count = sa.select(sa.func.count()).where(records.access_keys.c.user_id == row.id)
        if conn.execute(count).scalar_one() >= MAX_KEYS:
            raise LimitExceededException(quota="AccessKeysPerUser", limit=MAX_KEYS)
        return row.name, *insert_access_key(conn, call.app.sealer, row.id, call.account, call.now)

    name, key_id, secret = await authority.change(tx)
    return {
        "AccessKey": {
            "UserName": name,
            "AccessKeyId": key_id,
            "Status": "Active",
            "SecretAccessKey": secret,
            "CreateDate": call.now,
        }
    }


@iam("ListAccessKeys", resource=user_arn)
async def list_access_keys(authority: Authority, call: Call, input: Input) -> Output:
    """A user's access keys."""
    keys = records.access_keys

    def rows(conn: sa.Connection) -> tuple[str, list[Any], Output]:
        user = find_user(conn, call.account, user_name(call, conn, input))

        def after(keyset: list[Any] | None, limit: int) -> list[Any]:
            found = sa.select(keys).where(keys.c.user_id == user.id)
            return list(conn.execute(rows_behind(found, [keys.c.id], keyset, limit=limit)).all())

        return user.name, *page(call, input, after, "id")

    name, found, more = await call.app.store.read(rows)
    answer = [
        {"UserName": name, "AccessKeyId": row.id, "Status": row.status, "CreateDate": row.created} for row in found
    ]
    return {"AccessKeyMetadata": answer, **more}


@iam("UpdateAccessKey", resource=user_arn)
async def update_access_key(authority: Authority, call: Call, input: Input) -> None:
    """Switch a key on or off."""
    status = settable_status(input)

    def tx(conn: sa.Connection) -> None:
        row = _own_key(call, conn, input)
        conn.execute(records.access_keys.update().where(records.access_keys.c.id == row.id).values(status=status))

    await authority.change(tx)


@iam("DeleteAccessKey", resource=user_arn)
async def delete_access_key(authority: Authority, call: Call, input: Input) -> None:
    """Forget a key; what it signs from now on is refused."""

    def tx(conn: sa.Connection) -> None:
        row = _own_key(call, conn, input)
        conn.execute(records.access_keys.delete().where(records.access_keys.c.id == row.id))

    await authority.change(tx)


def refuse_while_policies(conn: sa.Connection, owner: str) -> None:
    """A user, group or role with policies cannot be deleted. Raises DeleteConflict."""
    if _has(conn, records.attachments, records.attachments.c.owner, owner):
        raise DeleteConflictException(first="detach all policies")
    if _has(conn, records.inline_policies, records.inline_policies.c.owner, owner):
        raise DeleteConflictException(first="delete policies")


def _sign_ins(conn: sa.Connection, users: Sequence[Any]) -> dict[str, int]:
    """When users have last signed in by their passwords (ms), by their ids."""
    p = sign_in_records.login_profiles.c
    query = sa.select(p.user_id, p.used).where(p.user_id.in_([user.id for user in users]), p.used.is_not(None))
    return {row.user_id: row.used for row in conn.execute(query)}


def _has(conn: sa.Connection, table: sa.Table, column: sa.Column[Any], value: str) -> bool:
    return conn.execute(sa.select(sa.literal(1)).select_from(table).where(column == value).limit(1)).first() is not None


def _own_key(call: Call, conn: sa.Connection, input: Input) -> sa.Row[Any]:
    user = find_user(conn, call.account, user_name(call, conn, input))
    row = records.access_key(conn, input["AccessKeyId"])
    if row is None or row.user_id != user.id:
        raise NoSuchEntityException(f"The Access Key with id {input['AccessKeyId']} cannot be found.")
    return row


async def _retag(authority: Authority, call: Call, name: str, tagged: Any) -> None:
    find = partial(find_user, account=call.account, name=name)
    await change_row(authority, records.users, find, lambda row: {"tags": tagged(row.tags)})
