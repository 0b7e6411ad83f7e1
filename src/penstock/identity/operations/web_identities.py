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
from penstock.identity.operations.session_requests import Tags, narrowing, tags_of
from penstock.identity.policy import Named
from penstock.identity.settings import IdentitySettings
from penstock.identity.web_tokens import WebIdentity, read, verify
from penstock.wire.call import ANONYMOUS, Input, Output, Vouched
from penstock.wire.registry import Access

# Claims by which roles may choose people, of the issuer by which they sign in; AWS knows no such keys.
_OF_PEOPLE = ("groups", "roles")
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
    role = await authority.role(arn)
    tags = tags_of(identity.tags, identity.transitive, replace(ANONYMOUS, provider=provider.arn))
    refused = (
        _ACTION if role is None else first_refused(call, role, provider, identity=identity, tags=tags, input=input)
    )
    if role is None or refused:
        raise AccessDeniedException(f"Not authorized to perform {refused}")
    source = identity.source_identity
    seconds = duration(role, input)
    given = await narrowing(call, input, role.account, tags)
    output = await assumed(
        authority, call, input, role, tags=tags, given=given, seconds=seconds, identity=source, provider=provider.arn
    )
    return {
        **output,
        "SubjectFromWebIdentityToken": identity.subject,
        "Provider": provider.arn,
        "Audience": identity.audience,
    }


def first_refused(call: Call, role: Any, provider: Any, *, identity: WebIdentity, tags: Tags, input: Input) -> str:
    """The first action that a role's trust policy does not let somebody take for whom a provider vouches; "" when it lets them in.

    Whoever signed the request: what counts is the token.
    """
    shown = replace(call, session=replace(ANONYMOUS, provider=provider.arn))
    source = identity.source_identity
    people = f"https://{provider.url}" == call.app.settings.of(IdentitySettings).sign_in_issuer
    keys = {**identity.keys(provider.url, _OF_PEOPLE if people else ()), **asked(input, source, tags)}
    for action in trusted_actions(_ACTION, tags, source):
        context = RequestContext(shown, action, role.arn, keys)
        if trusts(role, shown.session, action, call.region, context) is not Named.ITSELF:
            return action
    return ""


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
