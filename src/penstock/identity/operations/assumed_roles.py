"""STS: temporary credentials of roles."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from penstock.application import Call
from penstock.identity import naming, sessions
from penstock.identity.authority import Authority
from penstock.identity.context import RequestContext
from penstock.identity.errors import AccessDeniedException, ValidationErrorException
from penstock.identity.guarded import distrusting, trust_of, trusts
from penstock.identity.operations import sts
from penstock.identity.operations.session_requests import (
    Narrowing,
    Tags,
    credentials,
    narrowing,
    requested_tags,
    second_factor,
)
from penstock.identity.policy import RESOURCE, Decision
from penstock.identity.variables import Context, Value
from penstock.wire.call import Input, Output, PrincipalKind
from penstock.wire.registry import Access

DEFAULT_SECONDS = 3600
CHAINED_SECONDS = 3600  # longest session of a role that a role assumes (AWS: IAM roles terms, role chaining)
_ROLE_ARN = re.compile(r"arn:(aws|aws-us-gov|aws-cn):iam::[0-9]{12}:role/[\x21-\x7e]+")


@sts("AssumeRole", access=Access.AUTHENTICATED)
async def assume_role(authority: Authority, call: Call, input: Input) -> Output:
    """Temporary credentials of a role that trusts the caller.

    It is public since both sides decide here: the role's trust policy, and the caller's own policies where the trust is in
    the caller's account rather than in the caller (AWS: cross-account policy evaluation logic).
    """
    arn = role_arn(input)
    call.memo["resources"] = (arn,)
    if call.session.kind is PrincipalKind.ROOT:
        raise AccessDeniedException("Roles may not be assumed by root accounts.")
    mfa = await second_factor(call, input)
    if mfa:
        # The trust policy sees it, and so do the caller's own; the role's session does not (AWS: "Secure API access with MFA").
        call = replace(call, session=replace(call.session, mfa=mfa))
    if input.get("ProvidedContexts"):
        raise ValidationErrorException(
            "Provided contexts are not handed on here; the request is refused rather than granted without them."
        )
    tags = requested_tags(input, call.session)
    role = await authority.role(arn)
    identity = _source_identity(call, input, arn)
    context = asked(input, identity, tags)
    for action in trusted_actions("sts:AssumeRole", tags, identity):
        await _check_trust(
            authority, call, role, action=action, arn=arn, context=RequestContext(call, action, arn, context)
        )
    assert role is not None  # _check_trust refuses a role that is not there
    seconds = duration(role, input)
    if call.session.kind is PrincipalKind.ROLE and seconds > CHAINED_SECONDS:
        raise ValidationErrorException(
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining."
        )
    given = await narrowing(call, input, role.account, tags)
    return await assumed(authority, call, input, role, tags=tags, given=given, seconds=seconds, identity=identity)


async def assumed(
    authority: Authority,
    call: Call,
    input: Input,
    role: sa.Row[Any],
    *,
    tags: Tags,
    given: Narrowing,
    seconds: int,
    identity: str,
    provider: str = "",
) -> Output:
    """The answer for a session that has been granted. Raises AccessDenied where its name belongs to somebody else."""
    name = input["RoleSessionName"]
    reserved = await authority.reservations.of(role.arn, name)
    if reserved.by and call.session.source_arn != reserved.by:
        raise AccessDeniedException(
            f"The session {name} of the role {role.arn} belongs to a host that has joined by certificate. Choose another RoleSessionName."
        )
    grant = sessions.Grant(
        access_key_id=naming.access_key_id(naming.TEMPORARY, role.account),
        secret=naming.secret(),
        kind=PrincipalKind.ROLE,
        account=role.account,
        principal=role.id,
        arn=role.arn,
        session_name=name,
        issued=call.now,
        expires=call.now + seconds * 1000,
        policies=given.policies,
        policy_arns=given.arns,
        narrowed=bool(given.policies or given.arns),
        tags=tags.all,
        transitive=(*tags.inherited, *tags.transitive),
        source_identity=identity,
        provider=provider,
        by=reserved.by,
        since=reserved.since,
    )
    output: Output = {
        "Credentials": credentials(call, grant),
        "AssumedRoleUser": {"AssumedRoleId": f"{role.id}:{name}", "Arn": naming.session_arn(role.arn, name)},
    }
    if given.percent:
        output["PackedPolicySize"] = given.percent
    if identity:
        output["SourceIdentity"] = identity
    return output


def role_arn(input: Input) -> str:
    """The role that is asked for. Raises ValidationError."""
    arn = input["RoleArn"]
    if not _ROLE_ARN.fullmatch(arn):
        raise ValidationErrorException(f"{arn} is invalid")
    return arn


def _source_identity(call: Call, input: Input, role: str) -> str:
    """Who is behind the session. It stays along a chain of roles, and nobody in it can say otherwise (AWS: AssumeRole)."""
    said, known = input.get("SourceIdentity", ""), call.session.source_identity
    if known and said not in ("", known):
        raise AccessDeniedException(arn=call.session.arn, action="sts:SetSourceIdentity", resource=role)
    return known or said


def trusted_actions(first: str, tags: Tags, identity: str) -> list[str]:
    """What a trust policy must let the caller do. Tags that go on along a chain are set anew in each of its sessions."""
    actions = [first]
    if tags.all:
        actions.append("sts:TagSession")
    if identity:
        actions.append("sts:SetSourceIdentity")
    return actions


def asked(input: Input, identity: str, tags: Tags) -> dict[str, Value]:
    """The condition keys of the request."""
    own: dict[str, Value] = {"sts:rolesessionname": input["RoleSessionName"], **tags.keys}
    if "ExternalId" in input:
        own["sts:externalid"] = input["ExternalId"]
    if identity:
        own["sts:sourceidentity"] = identity
    return own


async def _check_trust(
    authority: Authority, call: Call, role: sa.Row[Any] | None, *, action: str, arn: str, context: Context
) -> None:
    """Raises AccessDenied unless the role and the caller's own policies let the caller take `action`."""
    session = call.session
    same_account = naming.account_of(arn) == session.account
    decision = Decision(False, kind=RESOURCE)
    # A service works for one account at a time: a role of another one is not its to take, whomever that trusts.
    if role is not None and (same_account or session.kind is not PrincipalKind.SERVICE):
        decision = await authority.decisions.decision(
            session,
            action,
            arn,
            context,
            named=trusts(role, session, action, call.region, context),
            same_account=same_account,
            resource_must=True,
        )
        if decision.allowed:
            return
        if decision.explicit and decision.kind == RESOURCE:
            decision = replace(decision, by=distrusting(role, session, action, call.region, context))
    # The sentence is the same for a role that is missing.
    denied = AccessDeniedException(
        arn=session.arn if session.kind is not PrincipalKind.SERVICE else session.service, action=action, resource=arn
    )
    denied.authorization = await authority.decisions.message(
        call,
        action,
        arn,
        decision if same_account else None,
        policies=() if role is None else trust_of(role),
        context=context,
    )
    raise denied


def duration(role: sa.Row[Any], input: Input) -> int:
    """Seconds. Raises ValidationError."""
    seconds = input.get("DurationSeconds", DEFAULT_SECONDS)
    if seconds > role.max_session:
        raise ValidationErrorException(
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
        )
    return seconds
