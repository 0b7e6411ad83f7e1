"""IAM login profiles: the passwords with which users sign in to the console."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from penstock.application import Call
from penstock.identity import records, sign_in_records, signin
from penstock.identity.authority import Authority
from penstock.identity.console_sessions import end_all, end_others
from penstock.identity.errors import (
    AccessDeniedException,
    EntityAlreadyExistsException,
    InvalidInputException,
    InvalidUserTypeException,
    NoSuchEntityException,
)
from penstock.identity.operations import iam
from penstock.identity.operations.entities import find_user, user_arn, user_name
from penstock.identity.password_policy import NewPassword, new_password
from penstock.wire.call import Input, Output, PrincipalKind
from penstock.wire.errors import AccessDenied

_WRONG = "The old password was incorrect."


@iam("CreateLoginProfile", resource=user_arn)
async def create_login_profile(authority: Authority, call: Call, input: Input) -> Output:
    """Give a user a password. A link to choose one that the user has not followed yet is void by it."""
    _refuse_reset(input)
    password = await _chosen(authority, call, input)

    def tx(conn: sa.Connection) -> str:
        row = find_user(conn, call.account, user_name(call, conn, input))
        profile = _profile(conn, row.id)
        if profile is not None and profile.password:
            raise EntityAlreadyExistsException(f"Login Profile for user {row.name} already exists.")
        if profile is not None:
            _replace(conn, profile, password, _later(call, profile))
            return row.name
        conn.execute(
            sign_in_records.login_profiles.insert().values(
                user_id=row.id,
                account=call.account,
                password=password.kept,
                created=call.now,
                changed=call.now,
            )
        )
        password.write(conn, row.id, call.now)
        return row.name

    name = await authority.change(tx)
    return {"LoginProfile": {"UserName": name, "CreateDate": call.now, "PasswordResetRequired": False}}


@iam("GetLoginProfile", resource=user_arn)
async def get_login_profile(authority: Authority, call: Call, input: Input) -> Output:
    """Whether a user has a password, and since when."""

    def rows(conn: sa.Connection) -> tuple[Any, Any]:
        row = find_user(conn, call.account, user_name(call, conn, input))
        return row, _existing(conn, row)

    row, profile = await call.app.store.read(rows)
    return {"LoginProfile": {"UserName": row.name, "CreateDate": profile.created, "PasswordResetRequired": False}}


@iam("UpdateLoginProfile", resource=user_arn)
async def update_login_profile(authority: Authority, call: Call, input: Input) -> None:
    """Set another password; who is signed in with the old one is signed out."""
    _refuse_reset(input)
    password = await _chosen(authority, call, input)

    def tx(conn: sa.Connection) -> None:
        row = find_user(conn, call.account, input["UserName"])
        profile = _existing(conn, row)
        end_all(conn, row.id)
        _replace(conn, profile, password, _later(call, profile))

    await authority.change(tx)


@iam("DeleteLoginProfile", resource=user_arn)
async def delete_login_profile(authority: Authority, call: Call, input: Input) -> None:
    """Take the password away; the user's access keys stay."""

    def tx(conn: sa.Connection) -> None:
        row = find_user(conn, call.account, user_name(call, conn, input))
        _existing(conn, row)
        end_all(conn, row.id)
        conn.execute(sign_in_records.login_profiles.delete().where(sign_in_records.login_profiles.c.user_id == row.id))

    await authority.change(tx)


async def _own_arn(call: Call, input: Input) -> str:
    return await user_arn(call, {})


@iam("ChangePassword", resource=_own_arn)
async def change_password(authority: Authority, call: Call, input: Input) -> None:
    """Replace the caller's own password by another; sessions end, but for the one of the console that calls.

    Wrong old passwords are counted as those at the sign-in page are.
    """
    if call.session.kind is not PrincipalKind.USER:
        raise InvalidUserTypeException
    user = await call.app.store.read(records.user_by_id, call.session.principal_id)
    try:
        shown = await signin.sign_in(
            call.app,
            authority.passwords,
            account=call.account,
            user_name="" if user is None else user.name,
            password=input["OldPassword"],
            address=call.source_ip,
            wrong=_WRONG,
        )
    except AccessDenied as refused:
        raise AccessDeniedException(refused.message) from None
    user_id, new = call.session.principal_id, input["NewPassword"]
    password = await new_password(call.app, authority.passwords, call.account, user_id, new, own=True)

    def tx(conn: sa.Connection) -> None:
        profile = _profile(conn, call.session.principal_id)
        if profile is None or profile.changed != shown.changed:
            raise AccessDeniedException(_WRONG)
        changed = _later(call, profile)
        end_others(conn, call, profile.user_id, changed=changed)
        _replace(conn, profile, password, changed)

    await authority.change(tx)


def _later(call: Call, profile: Any) -> int:
    return max(call.now, profile.changed + 1)


async def _chosen(authority: Authority, call: Call, input: Input) -> NewPassword:
    """The password that an administrator gives to a user."""
    row = await call.app.store.read(lambda conn: find_user(conn, call.account, user_name(call, conn, input)))
    return await new_password(call.app, authority.passwords, call.account, row.id, input.get("Password", ""), own=False)


def _replace(conn: sa.Connection, profile: Any, password: NewPassword, changed: int) -> None:
    c = sign_in_records.login_profiles.c
    same = c.user_id == profile.user_id
    conn.execute(sign_in_records.login_profiles.update().where(same).values(password=password.kept, changed=changed))
    password.write(conn, profile.user_id, changed)


def _refuse_reset(input: Input) -> None:
    """Nobody is made to choose another password here, so nobody may believe to have asked for it."""
    if input.get("PasswordResetRequired"):
        raise InvalidInputException(
            "A new password at the next sign-in is not asked for here; the request is refused rather than granted without it."
        )


def _profile(conn: sa.Connection, user_id: str) -> Any:
    profiles = sign_in_records.login_profiles
    return conn.execute(sa.select(profiles).where(profiles.c.user_id == user_id)).first()


def _existing(conn: sa.Connection, row: Any) -> Any:
    profile = _profile(conn, row.id)
    if profile is None:
        raise NoSuchEntityException(f"Login Profile for User {row.name} cannot be found.")
    return profile
