"""An account with an administrator and a number of one's choice: our own operation. Organizations chooses the number, and makes a role."""

from __future__ import annotations

import re

import sqlalchemy as sa

from penstock.application import Call
from penstock.component import only_first_account
from penstock.identity import accounts
from penstock.identity.authority import Authority
from penstock.identity.errors import AccountExistsException, InvalidAccountIdException
from penstock.identity.operations import ours
from penstock.identity.operations.organizations import account_arn
from penstock.wire.call import Input, Output

_ACCOUNT = re.compile(r"[0-9]{12}")


@ours("CreateAccount")
async def create_account(authority: Authority, call: Call, input: Input) -> Output:
    """A new account with its administrator; the only answer that shows the administrator's secret."""
    only_first_account(call, "accounts are kept")
    account = input["accountId"]
    if not _ACCOUNT.fullmatch(account):
        raise InvalidAccountIdException

    def tx(conn: sa.Connection) -> str:
        if accounts.administrator_key(conn, account) is not None:
            raise AccountExistsException(account=account)
        return accounts.create_account(
            conn,
            call.app.sealer,
            account=account,
            partition=call.partition,
            name=input.get("accountName"),
            now=call.now,
        )

    key_id = await authority.change(tx)
    call.memo["resources"] = (account_arn(call, account),)
    credential = await authority.credential(key_id, "")
    return {
        "accountId": account,
        "userName": accounts.ADMINISTRATOR,
        "accessKeyId": key_id,
        "secretAccessKey": credential.secret,
    }
