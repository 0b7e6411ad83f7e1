"""STS: who am I, and sessions of roles and users."""

from __future__ import annotations

import re
from typing import Any

import orjson
import sqlalchemy as sa

from penstock.application import Call
from penstock.identity import naming, records, sessions
from penstock.identity.authority import Authority
from penstock.identity.context import RequestContext
from penstock.identity.documents import identity_policy, size
from penstock.identity.errors import (
    AccessDeniedException,
    MalformedPolicyDocumentException,
    PackedPolicyTooLargeException,
    ValidationErrorException,
)
from penstock.identity.guarded import trusts
from penstock.identity.managed import managed_policy
from penstock.identity.operations import sts
from penstock.identity.operations.entities import SESSION_TAGS
from penstock.identity.variables import Context
from penstock.wire.call import Input, Output, PrincipalKind
from penstock.wire.registry import Access
from penstock.wire.tags import pairs_of

CHAINED_SECONDS = 3600  # longest session of a role that a role assumes (AWS: IAM roles terms, role chaining)
MAX_POLICY = 2048  # characters of a session policy, as AWS counts them
MAX_POLICY_ARNS = 10
_ROLE_ARN = re.compile(r"arn:(aws|aws-us-gov|aws-cn):iam::[0-9]{12}:role/[\x21-\x7e]+")

# What the session of a user may not do (AWS: GetSessionToken): nothing of IAM, and of STS only these two.
_OF_A_USER = (
    '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","NotAction":["iam:*","sts:*"],"Resource":"*"},'
    '{"Effect":"Allow","Action":["sts:AssumeRole","sts:GetCallerIdentity"],"Resource":"*"}]}'
)


@sts("GetCallerIdentity", access=Access.AUTHENTICATED)
async def get_caller_identity(authority: Authority, call: Call, input: Input) -> Output:
    """Whose credentials these are; needs no permission."""
    session = call.session
    return {"UserId": session.principal_id, "Account": session.account, "Arn": session.arn}


@sts("AssumeRole", access=Access.AUTHENTICATED)
async def assume_role(authority: Authority, call: Call, input: Input) -> Output:
    """Temporary credentials of a role that trusts the caller.

    It is public since both sides decide here: the role's trust policy, and the caller's own policies where the trust is in
    the caller's account rather than in the caller (AWS: cross-account policy evaluation logic).
    """
    arn, name = input["RoleArn"], input["RoleSessionName"]
    if not _ROLE_ARN.fullmatch(arn):
        raise ValidationErrorException(f"{arn} is invalid")
    if call.session.kind is PrincipalKind.ROOT:
        raise AccessDeniedException("Roles may not be assumed by root accounts.")
    if "TokenCode" in input or "SerialNumber" in input:
        raise AccessDeniedException("MultiFactorAuthentication failed with invalid MFA one time pass code.")
    tags = _session_tags(input)
    role = await authority.role(arn)
    actions = ["sts:AssumeRole"]
    if tags:
        actions.append("sts:TagSession")
    identity = _source_identity(call, input, arn)
    if identity:
        actions.append("sts:SetSourceIdentity")
    for action in actions:
        await _check_trust(authority, call, input, role, action=action)
    assert role is not None  # _check_trust refuses a role that is not there
    seconds = _duration(call, role, input.get("DurationSeconds", 3600))
    policies, arns, packed = await _narrowed(call, input)
    grant = sessions.Grant(
        access_key_id=naming.access_key_id(naming.TEMPORARY),
        secret=naming.secret(),
        kind=PrincipalKind.ROLE,
        account=role.account,
        principal=role.id,
        arn=role.arn,
        session_name=name,
        expires=call.now + seconds * 1000,
        policies=policies,
        policy_arns=arns,
        narrowed=bool(policies or arns),
        tags=tags,
        source_identity=identity,
    )
    output: Output = {
        "Credentials": _credentials(call, grant),
        "AssumedRoleUser": {"AssumedRoleId": f"{role.id}:{name}", "Arn": naming.session_arn(role.arn, name)},
    }
    if packed:
        output["PackedPolicySize"] = packed
    if identity:
        output["SourceIdentity"] = identity
    return output


@sts("GetSessionToken", access=Access.AUTHENTICATED)
async def get_session_token(authority: Authority, call: Call, input: Input) -> Output:
    """Temporary credentials of the calling user, with all that it may do but IAM and most of STS."""
    session = call.session
    if session.kind is not PrincipalKind.USER or session.expires is not None:
        raise AccessDeniedException("Cannot call GetSessionToken with session credentials")
    if "TokenCode" in input or "SerialNumber" in input:
        raise AccessDeniedException("MultiFactorAuthentication failed with invalid MFA one time pass code.")
    seconds = input.get("DurationSeconds", 43_200)
    grant = sessions.Grant(
        access_key_id=naming.access_key_id(naming.TEMPORARY),
        secret=naming.secret(),
        kind=PrincipalKind.USER,
        account=session.account,
        principal=session.principal_id,
        arn=session.arn,
        expires=call.now + seconds * 1000,
        policies=(_OF_A_USER,),
        narrowed=True,
    )
    return {"Credentials": _credentials(call, grant)}


def _source_identity(call: Call, input: Input, role: str) -> str:
    """Who is behind the session. It stays along a chain of roles, and nobody in it can say otherwise (AWS: AssumeRole)."""
    said, known = input.get("SourceIdentity", ""), call.session.source_identity
    if known and said not in ("", known):
        raise AccessDeniedException(arn=call.session.arn, action="sts:SetSourceIdentity", resource=role)
    return known or said


def _session_tags(input: Input) -> dict[str, str]:
    """The tags of the session. Raises ValidationError for what a policy could not rely on."""
    if input.get("TransitiveTagKeys") or input.get("ProvidedContexts"):
        raise ValidationErrorException(
            "Transitive tags and provided contexts are not handed on here; the request is refused rather than granted "
            "without them."
        )
    return SESSION_TAGS.check(pairs_of(input.get("Tags")))


def _asked(call: Call, input: Input, action: str) -> Context:
    """The condition keys of the request."""
    own = {"sts:rolesessionname": input["RoleSessionName"]}
    if "ExternalId" in input:
        own["sts:externalid"] = input["ExternalId"]
    if identity := input.get("SourceIdentity") or call.session.source_identity:
        own["sts:sourceidentity"] = identity
    return RequestContext(call, action, input["RoleArn"], own)


async def _check_trust(
    authority: Authority, call: Call, input: Input, role: sa.Row[Any] | None, *, action: str
) -> None:
    """Raises AccessDenied unless the role and the caller's own policies let the caller take `action`."""
    session, arn, context = call.session, input["RoleArn"], _asked(call, input, action)
    denied = AccessDeniedException(
        arn=session.arn if session.kind is not PrincipalKind.SERVICE else session.service, action=action, resource=arn
    )
    if role is None:
        raise denied
    same_account = role.account == session.account
    if session.kind is PrincipalKind.SERVICE and not same_account:
        # A service works for one account at a time: a role of another one is not its to take, whomever that trusts.
        raise denied
    decision = await authority.decisions.decision(
        session,
        action,
        arn,
        context,
        named=trusts(role, session, action, call.region, context),
        same_account=same_account,
        resource_must=True,
    )
    if not decision.allowed:
        raise denied


def _duration(call: Call, role: sa.Row[Any], seconds: int) -> int:
    if seconds > role.max_session:
        raise ValidationErrorException(
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
        )
    if call.session.kind is PrincipalKind.ROLE and seconds > CHAINED_SECONDS:
        raise ValidationErrorException(
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining."
        )
    return seconds


async def _narrowed(call: Call, input: Input) -> tuple[tuple[str, ...], tuple[str, ...], int]:
    """The session policies of the input, and the percentage of their room that they take together with the tags."""
    document: str = input.get("Policy", "")
    arns = tuple(one.get("arn", "") for one in input.get("PolicyArns", ()))
    if len(arns) > MAX_POLICY_ARNS:
        raise ValidationErrorException(f"The number of policy ARNs exceeds {MAX_POLICY_ARNS}.")
    if len(document) > MAX_POLICY:
        raise PackedPolicyTooLargeException
    if document:
        identity_policy(document)
    for arn in arns:
        if managed_policy(arn, call.partition) is None:
            row = await call.app.store.read(records.policy, arn)
            if row is None or row.account != _owner(input["RoleArn"]):
                raise MalformedPolicyDocumentException(f"Policy {arn} does not exist or is not attachable.")
    tags = orjson.dumps(input.get("Tags", ()))
    used = size(document) + sum(map(len, arns)) + (len(tags) if len(tags) > 2 else 0)
    if used > sessions.MAX_PACKED:
        raise PackedPolicyTooLargeException
    return (document,) if document else (), arns, -(-used * 100 // sessions.MAX_PACKED)


def _owner(arn: str) -> str:
    return arn.split(":", 5)[4]


def _credentials(call: Call, grant: sessions.Grant) -> Output:
    return {
        "AccessKeyId": grant.access_key_id,
        "SecretAccessKey": grant.secret,
        "SessionToken": sessions.seal(call.app.sealer, grant),
        "Expiration": grant.expires,
    }
