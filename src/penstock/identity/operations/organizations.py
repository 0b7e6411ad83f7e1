"""Organizations, as far as it makes and shows accounts. The management account is the installation's first one."""

from __future__ import annotations

import hashlib
import json
import secrets
from typing import Any

import sqlalchemy as sa

from penstock.application import Call
from penstock.component import operations_of
from penstock.identity import accounts, records
from penstock.identity.authority import Authority
from penstock.identity.errors import (
    AccountNotFoundException,
    ConstraintViolationException,
    CreateAccountStatusNotFoundException,
    InvalidValueException,
)
from penstock.identity.operations.roles import new_role
from penstock.store.keysets import rows_behind
from penstock.wire.call import Input, Output
from penstock.wire.errors import AccessDenied
from penstock.wire.pages import Pages

ROLE = "OrganizationAccountAccessRole"  # AWS: Organizations User Guide, "Accessing member accounts"
MAX_ACCOUNTS = 10_000  # of an organization (AWS: the most that its quota is raised to)
_DIGITS = "abcdefghijklmnopqrstuvwxyz0123456789"
_PAGES = Pages(lambda _token: InvalidValueException(), member="NextToken")
_LIMIT = 20  # accounts of a page

organizations = operations_of("organizations")


@organizations("CreateAccount")
async def create_account(authority: Authority, call: Call, input: Input) -> Output:
    """A new account with a role that the first account may assume. It is complete when this answers; AWS needs minutes for it."""
    _check_management(call)
    if "Tags" in input:
        raise InvalidValueException("Accounts have no tags here: make the account without them.")
    name, email, role = input["AccountName"], input["Email"], input.get("RoleName", ROLE)
    request = {"id": f"car-{secrets.token_hex(16)}", "name": name, "at": call.now}

    def tx(conn: sa.Connection) -> Any:
        known = records.accounts
        if conn.execute(sa.select(known.c.account).where(known.c.email == email.lower())).first():
            result = {"failure": "EMAIL_ALREADY_EXISTS"}
        elif conn.execute(sa.select(sa.func.count()).select_from(known)).scalar_one() >= MAX_ACCOUNTS:
            raise ConstraintViolationException
        else:
            account = _free_number(conn)
            accounts.insert_account(conn, account=account, name=name, email=email.lower(), now=call.now)
            trust = json.dumps(
                {
                    "Version": "2012-10-17",
                    "Statement": [
                        {
                            "Effect": "Allow",
                            "Principal": {"AWS": f"arn:{call.partition}:iam::{call.account}:root"},
                            "Action": "sts:AssumeRole",
                        }
                    ],
                }
            )
            row = new_role(conn, call, account=account, name=role, trust=trust)
            accounts.attach_everything(conn, row["id"], account, call.partition)
            result = {"account": account}
        conn.execute(records.account_requests.insert().values(request | result))
        return _request(conn, request["id"])

    ended = await authority.change(tx)
    if ended.account is not None:
        call.memo["resources"] = (account_arn(call, ended.account),)
    return {"CreateAccountStatus": _status(ended)}


@organizations("DescribeCreateAccountStatus")
async def describe_create_account_status(authority: Authority, call: Call, input: Input) -> Output:
    """How a request for an account ended."""
    _check_management(call)
    found = await call.app.store.read(_request, input["CreateAccountRequestId"])
    if found is None:
        raise CreateAccountStatusNotFoundException
    return {"CreateAccountStatus": _status(found)}


@organizations("DescribeAccount", resource=lambda call, given: account_arn(call, given["AccountId"]))
async def describe_account(authority: Authority, call: Call, input: Input) -> Output:
    """One account."""
    _check_management(call)
    wanted = sa.select(records.accounts).where(records.accounts.c.account == input["AccountId"])
    found = await call.app.store.read(lambda conn: conn.execute(wanted).first())
    if found is None:
        raise AccountNotFoundException
    return {"Account": _account(call, found)}


@organizations("ListAccounts")
async def list_accounts(authority: Authority, call: Call, input: Input) -> Output:
    """Every account by its number, a page at a time."""
    _check_management(call)
    limit = input.get("MaxResults", _LIMIT)
    after, table = _PAGES.after(call, input), records.accounts

    query = rows_behind(sa.select(table), [table.c.account], after, limit=limit + 1)
    found = await call.app.store.read(lambda conn: conn.execute(query).all())
    page = _PAGES.page(call, input, found, limit=limit, keyset=lambda row: [row.account])
    return {"Accounts": [_account(call, row) for row in page.rows], **page.more}


def _check_management(call: Call) -> None:
    """Accounts are isolated: only the installation's first one knows the others."""
    if call.account != call.app.settings.account:
        raise AccessDenied("You don't have permissions to access this resource.")


def _free_number(conn: sa.Connection) -> str:
    taken = records.accounts.c.account
    while True:
        number = str(10**11 + secrets.randbelow(9 * 10**11))
        if conn.execute(sa.select(taken).where(taken == number)).first() is None:
            return number


def _request(conn: sa.Connection, id: str) -> Any:
    table = records.account_requests
    return conn.execute(sa.select(table).where(table.c.id == id)).first()


def _status(row: Any) -> dict[str, Any]:
    ended = {"RequestedTimestamp": row.at, "CompletedTimestamp": row.at}
    if row.failure is not None:
        return {"Id": row.id, "AccountName": row.name, "State": "FAILED", "FailureReason": row.failure, **ended}
    return {"Id": row.id, "AccountName": row.name, "State": "SUCCEEDED", "AccountId": row.account, **ended}


def account_arn(call: Call, account: str) -> str:
    """The ARN of an account of the installation."""
    first = call.app.settings.account
    return f"arn:{call.partition}:organizations::{first}:account/{_organization(first)}/{account}"


def _account(call: Call, row: Any) -> dict[str, Any]:
    first = call.app.settings.account
    return {
        "Id": row.account,
        "Arn": account_arn(call, row.account),
        "Name": row.name or row.account,
        **({"Email": row.email} if row.email else {}),
        "Status": "ACTIVE",
        "State": "ACTIVE",
        "JoinedMethod": "INVITED" if row.account == first else "CREATED",
        "JoinedTimestamp": row.created,
    }


def _organization(first: str) -> str:
    """The id of the organization, which an installation is; always the same for its first account."""
    digest = hashlib.sha256(f"organization of {first}".encode()).digest()
    return "o-" + "".join(_DIGITS[byte % len(_DIGITS)] for byte in digest[:10])
