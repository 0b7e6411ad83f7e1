"""STS: who am I, whose key is this, and sessions that a user asks for."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa

from penstock.application import Call
from penstock.identity import naming, records, sessions
from penstock.identity.authority import Authority
from penstock.identity.errors import AccessDeniedException, ValidationErrorException
from penstock.identity.operations import sts
from penstock.identity.operations.session_requests import (
    credentials,
    narrowing,
    requested_tags,
    second_factor,
)
from penstock.wire.call import Input, Output, PrincipalKind, Session
from penstock.wire.registry import Access

DEFAULT_SECONDS = 43_200

# What no session of a user may do of STS, beside GetCallerIdentity, which nobody is denied (AWS: "Compare AWS STS credentials").
_OF_STS = (
    "sts:AssumeRoot", "sts:DecodeAuthorizationMessage", "sts:GetAccessKeyInfo", "sts:GetDelegatedAccessToken",
    "sts:GetFederationToken", "sts:GetSessionToken", "sts:GetWebIdentityToken",
)  # fmt: skip


def _document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements}, separators=(",", ":"))


_WITHOUT_MFA = {"BoolIfExists": {"aws:MultiFactorAuthPresent": "false"}}
# These deny, since what a resource's policy grants to a user by name is beyond what a session policy merely does not allow.
_OF_A_USER = _document(
    {"Effect": "Allow", "Action": "*", "Resource": "*"},
    {"Effect": "Deny", "Action": "iam:*", "Resource": "*", "Condition": _WITHOUT_MFA},
    {"Effect": "Deny", "Action": _OF_STS, "Resource": "*"},
)
_OF_A_FEDERATED_USER = _document({"Effect": "Deny", "Action": ["iam:*", "sts:*"], "Resource": "*"})


@sts("GetCallerIdentity", access=Access.AUTHENTICATED)
async def get_caller_identity(authority: Authority, call: Call, input: Input) -> Output:
    """Whose credentials these are; needs no permission."""
    session = call.session
    return {"UserId": session.principal_id, "Account": session.account, "Arn": session.arn}


@sts("GetAccessKeyInfo")
async def get_access_key_info(authority: Authority, call: Call, input: Input) -> Output:
    """The account of an access key, by its id; whether there still is such a key is not looked at, as on AWS."""
    key_id = input["AccessKeyId"]
    try:
        account = naming.account_of_key(key_id)
    except ValueError:
        account = ""

    def read(conn: sa.Connection) -> bool:
        c = records.accounts.c
        return conn.execute(sa.select(c.account).where(c.account == account)).first() is not None

    if not account or not await call.app.store.read(read):
        raise ValidationErrorException(f"{key_id} is no access key of an account of this installation.")
    return {"Account": account}


@sts("GetSessionToken", access=Access.AUTHENTICATED)
async def get_session_token(authority: Authority, call: Call, input: Input) -> Output:
    """Temporary credentials of the calling user, with all that it may do but IAM and most of STS."""
    session = _user(call)
    mfa = await second_factor(call, input)
    grant = sessions.Grant(
        access_key_id=naming.access_key_id(naming.TEMPORARY, session.account),
        secret=naming.secret(),
        kind=PrincipalKind.USER,
        account=session.account,
        principal=session.principal_id,
        arn=session.arn,
        issued=call.now,
        expires=call.now + input.get("DurationSeconds", DEFAULT_SECONDS) * 1000,
        policies=(_OF_A_USER,),
        narrowed=True,
        mfa=mfa,
    )
    return {"Credentials": credentials(call, grant)}


@sts("GetFederationToken", access=Access.AUTHENTICATED)
async def get_federation_token(authority: Authority, call: Call, input: Input) -> Output:
    """Temporary credentials for somebody for whom the calling user vouches.

    They have what both the user's policies and the session policies allow. Without a session policy that is nothing but what the
    policies of resources grant to the federated user by name.
    """
    session, name = _user(call), input["Name"]
    arn = naming.federated_arn(call.partition, session.account, name)
    call.memo["resources"] = (arn,)
    tags = requested_tags(input, session)
    for action in ("sts:GetFederationToken", *(("sts:TagSession",) if tags.given else ())):
        call.memo["asked"] = lambda: tags.keys
        await call.app.identity.authorize(call, action, (arn,))
    given = await narrowing(call, input, session.account, tags)
    grant = sessions.Grant(
        access_key_id=naming.access_key_id(naming.TEMPORARY, session.account),
        secret=naming.secret(),
        kind=PrincipalKind.FEDERATED,
        account=session.account,
        principal=session.principal_id,
        arn=session.arn,
        session_name=name,
        issued=call.now,
        expires=call.now + input.get("DurationSeconds", DEFAULT_SECONDS) * 1000,
        policies=(_OF_A_FEDERATED_USER, *given.policies),
        policy_arns=given.arns,
        narrowed=True,
        tags=tags.all,
    )
    return {
        "Credentials": credentials(call, grant),
        "FederatedUser": {"FederatedUserId": f"{session.account}:{name}", "Arn": arn},
        "PackedPolicySize": given.percent,
    }


def _user(call: Call) -> Session:
    """The caller, who must be a user with a key of its own. Raises AccessDenied."""
    if call.session.kind is not PrincipalKind.USER or call.session.issued:
        raise AccessDeniedException(f"Cannot call {call.operation} with session credentials")
    return call.session
