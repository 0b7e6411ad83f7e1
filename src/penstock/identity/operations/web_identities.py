"""STS: temporary credentials of roles for whom an identity provider vouches."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from penstock.application import Call
from penstock.identity import records
from penstock.identity.authority import Authority
from penstock.identity.context import RequestContext
from penstock.identity.errors import (
    AccessDeniedException,
    ExpiredTokenException,
    InvalidIdentityTokenException,
    ValidationErrorException,
)
from penstock.identity.guarded import trusts
from penstock.identity.operations import sts
from penstock.identity.operations.assumed_roles import asked, assumed, duration, role_arn, trusted_actions
from penstock.identity.operations.session_requests import narrowing, tags_of
from penstock.identity.policy import Named
from penstock.identity.web_tokens import WebIdentity, read, verify
from penstock.wire.call import ANONYMOUS, Input, Output, Vouched
from penstock.wire.registry import Access

_ACTION = "sts:AssumeRoleWithWebIdentity"


@sts("AssumeRoleWithWebIdentity", access=Access.UNSIGNED)
async def assume_role_with_web_identity(authority: Authority, call: Call, input: Input) -> Output:
    """Temporary credentials of a role that trusts the identity provider whose token is shown.

    It is open to everybody: the token is what the caller shows. A role that is missing and one that does not trust are refused alike.
    """
    authority.refusals.check(call.source_ip, call.now)
    with authority.strangers.place(call.source_ip):
        try:
            return await _assume(authority, call, input)
        except (AccessDeniedException, InvalidIdentityTokenException, ExpiredTokenException):
            authority.refusals.count(call.source_ip, call.now)
            raise


async def _assume(authority: Authority, call: Call, input: Input) -> Output:
    arn = role_arn(input)
    if "ProviderId" in input:
        raise ValidationErrorException(
            "ProviderId names a provider of OAuth 2.0 access tokens, and none is known here. Leave it out for OpenID Connect ID tokens."
        )
    account = arn.split(":", 5)[4]
    provider, identity = await _identity(authority, call, input["WebIdentityToken"], account)
    call.memo["resources"] = (arn,)
    call.memo["who"] = Vouched(account, provider.arn, identity.audience, identity.subject)
    # Whoever signed the request: what counts is the token.
    shown = replace(call, session=replace(ANONYMOUS, provider=provider.arn))
    tags = tags_of(identity.tags, identity.transitive, shown.session)
    source = identity.source_identity
    keys = {**identity.keys(provider.url), **asked(input, source, tags)}
    role = await authority.role(arn)
    for action in trusted_actions(_ACTION, tags, source):
        context = RequestContext(shown, action, arn, keys)
        if role is None or trusts(role, shown.session, action, call.region, context) is not Named.ITSELF:
            raise AccessDeniedException(f"Not authorized to perform {action}")
    assert role is not None  # trust was asked for one action at least
    seconds = duration(role, input)
    given = await narrowing(call, input, role.account, tags)
    output = assumed(call, input, role, tags=tags, given=given, seconds=seconds, identity=source, provider=provider.arn)
    return {
        **output,
        "SubjectFromWebIdentityToken": identity.subject,
        "Provider": provider.arn,
        "Audience": identity.audience,
    }


async def _identity(authority: Authority, call: Call, text: str, account: str) -> tuple[Any, WebIdentity]:
    """The provider of an account that vouches, and for whom. Raises what the issuer's keys and the token's checks raise."""
    token = read(text)
    arn = f"arn:{call.partition}:iam::{account}:oidc-provider/{token.issuer}"
    provider = await call.app.store.read(records.oidc_provider, arn)
    if provider is None:
        raise InvalidIdentityTokenException(
            f"No OpenIDConnect provider found in your account for https://{token.issuer}"
        )
    key = await authority.issuers.key(token, provider.thumbprints)
    return provider, verify(token, key, clients=provider.clients, now=call.now)
