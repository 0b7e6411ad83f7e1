"""Accounts and their first administrator; users and access keys as they are written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from penstock.identity import naming, records
from penstock.identity.errors import EntityAlreadyExistsException
from penstock.store.statement import Statement

if TYPE_CHECKING:
    from penstock.store.sealing import Sealer

ADMINISTRATOR = "administrator"
PROFILE = "penstock"


def create_account(
    conn: sa.Connection, sealer: Sealer, *, account: str, partition: str, name: str | None = None, now: int
) -> str:
    """Make sure that an account and its administrator exist; the id of the administrator's first access key.

    The administrator is an IAM user with AdministratorAccess, not the root of the account: it can be looked at, limited and
    deleted like any other. A key that was taken away is not made again.
    """
    present = administrator_key(conn, account)
    if present is not None:
        return present
    user = insert_user(conn, account=account, partition=partition, name=ADMINISTRATOR, path="/", tagged=[], now=now)
    key_id, _ = insert_access_key(conn, sealer, user["id"], account, now)
    attach_everything(conn, user["id"], account, partition)
    insert_account(conn, account=account, administrator_key=key_id, name=name, now=now)
    return key_id


def insert_account(
    conn: sa.Connection,
    *,
    account: str,
    administrator_key: str = "",
    name: str | None = None,
    email: str | None = None,
    now: int,
) -> None:
    """Write a new account, which has no users and roles by that."""
    conn.execute(
        records.accounts.insert().values(
            account=account, administrator_key=administrator_key, created=now, name=name, email=email
        )
    )


def attach_everything(conn: sa.Connection, owner: str, account: str, partition: str) -> None:
    """Let a user or a role do everything."""
    everything = f"arn:{partition}:iam::aws:policy/AdministratorAccess"
    conn.execute(records.attachments.insert().values(owner=owner, arn=everything, account=account))


_ADMINISTRATOR_KEY = Statement(
    sa.select(records.accounts.c.administrator_key).where(records.accounts.c.account == sa.bindparam("account"))
)


def administrator_key(conn: sa.Connection, account: str) -> str | None:
    """The id of the first access key of an account's administrator, "" when it never had one; None when there is no such account."""
    row = _ADMINISTRATOR_KEY.first(conn, {"account": account})
    return row.administrator_key if row else None


def exist(conn: sa.Connection) -> bool:
    """Whether the installation holds accounts, and so secrets that a master key has sealed."""
    return conn.execute(sa.select(records.accounts.c.account).limit(1)).first() is not None


def credentials_file(key_id: str, secret: str, region: str) -> str:
    """A file in AWS's shared credentials format with the profile `penstock`."""
    return f"[{PROFILE}]\naws_access_key_id = {key_id}\naws_secret_access_key = {secret}\nregion = {region}\n"


def insert_user(
    conn: sa.Connection,
    *,
    account: str,
    partition: str,
    name: str,
    path: str,
    tagged: list[dict[str, str]],
    boundary: str | None = None,
    now: int,
) -> dict[str, Any]:
    """Write a new user. Raises EntityAlreadyExists."""
    if records.user(conn, account, name) is not None:
        raise EntityAlreadyExistsException(kind="User", name=name)
    row = {
        "id": naming.unique_id(naming.USER),
        "account": account,
        "key": name.lower(),
        "name": name,
        "path": path,
        "arn": naming.arn(partition, account, "user", path, name),
        "tags": tagged,
        "boundary": boundary,
        "created": now,
    }
    conn.execute(records.users.insert().values(row))
    return row


def insert_access_key(conn: sa.Connection, sealer: Sealer, user_id: str, account: str, now: int) -> tuple[str, str]:
    """Write a new active key of a user: its id and its secret."""
    key_id, secret = naming.access_key_id(naming.LONG_TERM, account), naming.secret()
    conn.execute(
        records.access_keys.insert().values(
            id=key_id,
            account=account,
            user_id=user_id,
            status="Active",
            secret=sealer.seal(secret.encode(), records.secret_context(key_id)),
            created=now,
        )
    )
    return key_id, secret
