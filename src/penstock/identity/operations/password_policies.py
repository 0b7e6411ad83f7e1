"""The password policy of an account."""

from __future__ import annotations

import sqlalchemy as sa

from penstock.application import Call
from penstock.identity import sign_in_records
from penstock.identity.authority import Authority
from penstock.identity.errors import NoSuchEntityException
from penstock.identity.operations import iam
from penstock.identity.password_policy import of_account, row
from penstock.wire.call import Input, Output

_SHORTEST = 6  # characters where the input names no length (AWS: UpdateAccountPasswordPolicy)


@iam("UpdateAccountPasswordPolicy")
async def update_account_password_policy(authority: Authority, call: Call, input: Input) -> None:
    """Say what is asked of passwords from now on; what the input leaves out is asked no more."""
    rules = {
        "minimum": input.get("MinimumPasswordLength", _SHORTEST),
        "symbols": input.get("RequireSymbols", False),
        "numbers": input.get("RequireNumbers", False),
        "uppercase": input.get("RequireUppercaseCharacters", False),
        "lowercase": input.get("RequireLowercaseCharacters", False),
        "users_change": input.get("AllowUsersToChangePassword", False),
        "days": input.get("MaxPasswordAge", 0),
        "former": input.get("PasswordReusePrevention", 0),
        "hard": input.get("HardExpiry", False),
    }
    table = sign_in_records.password_policies

    def tx(conn: sa.Connection) -> None:
        if not conn.execute(table.update().where(table.c.account == call.account).values(rules=rules)).rowcount:
            conn.execute(table.insert().values(account=call.account, rules=rules))

    await authority.change(tx)


@iam("GetAccountPasswordPolicy")
async def get_account_password_policy(authority: Authority, call: Call, input: Input) -> Output:
    """What is asked of passwords."""

    def read(conn: sa.Connection) -> Output:
        if row(conn, call.account) is None:
            raise NoSuchEntityException(f"The Password Policy with domain name {call.account} cannot be found.")
        policy = of_account(conn, call.account)
        shown: Output = {
            "MinimumPasswordLength": policy.minimum,
            "RequireSymbols": policy.symbols,
            "RequireNumbers": policy.numbers,
            "RequireUppercaseCharacters": policy.uppercase,
            "RequireLowercaseCharacters": policy.lowercase,
            "AllowUsersToChangePassword": bool(policy.users_change),
            "ExpirePasswords": policy.days > 0,
            "HardExpiry": policy.hard,
        }
        given = {"MaxPasswordAge": policy.days, "PasswordReusePrevention": policy.former}
        return shown | {name: value for name, value in given.items() if value}

    return {"PasswordPolicy": await call.app.store.read(read)}


@iam("DeleteAccountPasswordPolicy")
async def delete_account_password_policy(authority: Authority, call: Call, input: Input) -> None:
    """Ask of passwords what an account without a policy asks."""
    table = sign_in_records.password_policies

    def tx(conn: sa.Connection) -> None:
        if not conn.execute(table.delete().where(table.c.account == call.account)).rowcount:
            raise NoSuchEntityException("The account policy with name PasswordPolicy cannot be found.")

    await authority.change(tx)
