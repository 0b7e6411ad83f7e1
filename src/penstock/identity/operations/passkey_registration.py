"""Adding and listing passkeys: our own operations, since AWS lets them be added in its console only. IAM's list them and take them away.

Adding one is authorised as IAM's EnableMFADevice is, and listing as its ListMFADevices: what a policy says of factors, it says of these.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from penstock.application import Call
from penstock.identity import passkeys, records, second_factors
from penstock.identity.authority import Authority
from penstock.identity.console_sessions import end_others
from penstock.identity.errors import NoSuchUserException, ValidationException
from penstock.identity.operations import ours
from penstock.identity.operations.mfa_devices import MAX_DEVICES
from penstock.identity.operations.sign_in_links import named_user_arn
from penstock.wire.call import Input, Output
from penstock.wire.errors import AccessDenied

_ADD, _LIST = "iam:EnableMFADevice", "iam:ListMFADevices"


@ours("CreatePasskeyChallenge", resource=named_user_arn, action=_ADD)
async def create_passkey_challenge(authority: Authority, call: Call, input: Input) -> Output:
    """Ask the browser of the calling user for a new passkey. Good for five minutes and for this session of the console."""
    user = await call.app.store.read(_own, call, input)
    ceremony = await authority.passkeys.ask_for_new(user, call.session.console)
    return {"token": ceremony.token, "options": ceremony.options}


@ours("RegisterPasskey", resource=named_user_arn, action=_ADD)
async def register_passkey(authority: Authority, call: Call, input: Input) -> Output:
    """Make what the browser answers a passkey of the calling user, whose sessions end, but for the one that calls."""
    await call.app.store.read(_own, call, input)
    party = authority.passkeys.party.name
    challenge, credential = await authority.passkeys.verify_new(
        call.session.console, input["token"], input["credential"]
    )

    def tx(conn: sa.Connection) -> str:
        user, name = _own(conn, call, input), input["name"]
        passkeys.spend(conn, challenge, call.now)
        if name in (one.name for one in passkeys.of_user(conn, user.id)):
            raise ValidationException(f"You have a passkey {name} already. Give this one another name.")
        if second_factors.count(conn, user.id) >= MAX_DEVICES:
            raise ValidationException(f"A user has {MAX_DEVICES} second factors at most. Remove one first.")
        row = passkeys.add(conn, user, credential, name=name, party=party, now=call.now)
        if row is None:
            raise ValidationException("This passkey is registered already. Make another on this device.")
        end_others(conn, call, user.id, mfa=call.now)
        return passkeys.serial(user.arn, row)

    return {"serialNumber": await authority.change(tx)}


@ours("ListPasskeys", resource=named_user_arn, action=_LIST)
async def list_passkeys(authority: Authority, call: Call, input: Input) -> Output:
    """A user's passkeys by name, in one answer: there are no more than a user has second factors."""

    def read(conn: sa.Connection) -> list[Output]:
        user = _user(conn, call, input)
        return [_to_api(user, one) for one in passkeys.of_user(conn, user.id)]

    return {"passkeys": await call.app.store.read(read)}


def _user(conn: sa.Connection, call: Call, input: Input) -> Any:
    user = records.user(conn, call.account, input["userName"])
    if user is None:
        raise NoSuchUserException(name=input["userName"])
    return user


def _own(conn: sa.Connection, call: Call, input: Input) -> Any:
    """The user who calls. Raises AccessDenied for others: whoever has a passkey is the user, even after a change of the password."""
    user = _user(conn, call, input)
    if not call.session.console or call.session.principal_id != user.id:
        raise AccessDenied("Passkeys are added in the console only, by their own user.")
    return user


def _to_api(user: Any, row: Any) -> Output:
    return {
        "serialNumber": passkeys.serial(user.arn, row),
        "name": row.name,
        "relyingParty": row.party,
        "createTime": row.created,
        "lastUsedTime": row.used,
        "suspectedTime": row.suspected,
    }
