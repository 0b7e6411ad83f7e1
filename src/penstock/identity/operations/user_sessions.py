"""Sessions of the console: our own operations, since on AWS nobody can see or end them."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from penstock.application import Call
from penstock.identity import console_sessions, naming, records
from penstock.identity.authority import Authority
from penstock.identity.errors import InvalidNextTokenException, NoSuchUserException, ValidationException
from penstock.identity.operations import ours
from penstock.identity.operations.sign_in_links import named_user_arn
from penstock.wire.call import Input, Output, PrincipalKind
from penstock.wire.pages import Pages

_PAGE = 100
_PAGES = Pages(lambda _token: InvalidNextTokenException())


async def _arn(call: Call, input: Input) -> str:
    if input.get("everybody"):
        return naming.arn(call.partition, call.account, "*", "", "")
    return await named_user_arn(call, input) if "userName" in input else call.session.arn


@ours("ListConsoleSessions", resource=_arn)
async def list_console_sessions(authority: Authority, call: Call, input: Input) -> Output:
    """Where a user, the caller, or everybody of the account is signed in, the oldest session first."""
    after = _PAGES.after(call, input)

    def read(conn: sa.Connection) -> tuple[list[Any], dict[str, Any]]:
        found = console_sessions.live(conn, _whose(conn, call, input), call.now, after, _PAGE + 1)
        return found, console_sessions.principals(conn, found)

    found, principals = await call.app.store.read(read)
    page = _PAGES.page(call, input, found, limit=_PAGE, keyset=lambda row: [row.begun, row.id])
    return {"sessions": [_to_api(row) | principals.get(row.id, {}) for row in page.rows], **page.more}


@ours("EndConsoleSessions", resource=_arn)
async def end_console_sessions(authority: Authority, call: Call, input: Input) -> Output:
    """Sign a user, the caller, or everybody of the account out: everywhere, or of the sessions that are named. One that has ended is no error."""

    def tx(conn: sa.Connection) -> None:
        console_sessions.end_of(conn, _whose(conn, call, input), input.get("sessionIds"))

    await call.app.store.write(tx)
    return {}


def _whose(conn: sa.Connection, call: Call, input: Input) -> sa.ColumnElement[bool]:
    if input.get("everybody"):
        if "userName" in input:
            raise ValidationException("everybody and userName exclude each other. Give one of them.")
        return console_sessions.of_account(call.account)
    if "userName" in input:
        row = records.user(conn, call.account, input["userName"])
        if row is None:
            raise NoSuchUserException(name=input["userName"])
        return console_sessions.of_user(row.id)
    if call.session.kind is PrincipalKind.USER:
        return console_sessions.of_user(call.session.principal_id)
    return console_sessions.of_person(conn, call.session.console)


def _to_api(row: Any) -> dict[str, Any]:
    return {
        "sessionId": row.id,
        "beginTime": row.begun,
        "lastRequestTime": row.seen,
        "endTime": row.until,
        "sourceAddress": row.address,
        "userAgent": row.agent,
    }
