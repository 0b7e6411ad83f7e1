"""Accounts, users, roles, policies and sessions: IAM and STS, and the Identity that the wire layer asks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.component import Component, Guard
from penstock.identity import records, role_pages, user_pages
from penstock.identity.authority import Authority
from penstock.identity.errors import InvalidPathException
from penstock.identity.linked_roles import deletions
from penstock.identity.operations import (
    account,
    assumed_roles,
    authorization_details,
    authorization_messages,
    boundaries,
    credential_reports,
    groups,
    installation_accounts,
    instance_profiles,
    linked_roles,
    login_profiles,
    managed_policies,
    mfa_devices,
    oidc_providers,
    organizations,
    passkey_registration,
    password_policies,
    policies,
    policy_tags,
    policy_versions,
    roles,
    security_tokens,
    service_credentials,
    sign_in_links,
    simulations,
    user_sessions,
    users,
    web_identities,
)
from penstock.identity.pages import PAGE
from penstock.identity.settings import IdentitySettings
from penstock.identity.single_sign_on import SingleSignOn
from penstock.store.retention import Expiring
from penstock.wire.profiles import ErrorProfile, MemberError, MemberProfile
from penstock.wire.regions import Scope
from penstock.wire.services import Service

if TYPE_CHECKING:
    from penstock.application import App

__all__ = ["SETTINGS", "component"]

SETTINGS = IdentitySettings
_BAD_PATH = MemberError(invalid=InvalidPathException)
_REQUESTS_KEPT = 90 * 86_400_000  # ms, of what became of a request for an account


def component(app: App) -> Component[Authority]:
    """IAM and STS, accounts and sign-in links of our own service, and the application's Identity."""
    authority = Authority(app)
    if app.settings.of(IdentitySettings).sign_in_issuer:
        authority.single_sign_on = SingleSignOn(app, authority)
    return Component(
        name="identity",
        state=authority,
        services=(
            # Markers are sealed and longer than AWS's.
            Service(
                name="iam",
                scope=Scope.GLOBAL,
                profile=MemberProfile(
                    code="ValidationError", prints_values=False, members=dict.fromkeys(("Path", "NewPath"), _BAD_PATH)
                ),
                patch={"shapes": {"markerType": {"max": 4096}}},
                secrets=tuple(
                    f"{operation}MFADeviceRequest$AuthenticationCode{number}"
                    for operation in ("Enable", "Resync")
                    for number in (1, 2)
                ),
            ),
            Service(name="organizations", scope=Scope.GLOBAL, profile=ErrorProfile(code="InvalidInputException")),
            # STS repeats the value that it refuses, IAM never does.
            Service(
                name="sts",
                scope=Scope.BOTH,
                profile=ErrorProfile(code="ValidationError"),
                secrets=("AssumeRoleRequest$TokenCode", "GetSessionTokenRequest$TokenCode"),
            ),
        ),
        operations=(
            account,
            users,
            groups,
            instance_profiles,
            oidc_providers,
            login_profiles,
            password_policies,
            mfa_devices,
            passkey_registration,
            service_credentials,
            roles,
            linked_roles,
            policies,
            boundaries,
            authorization_details,
            credential_reports,
            managed_policies,
            policy_versions,
            policy_tags,
            installation_accounts,
            organizations,
            sign_in_links,
            simulations,
            user_sessions,
            security_tokens,
            assumed_roles,
            authorization_messages,
            web_identities,
        ),
        expiring=(
            Expiring(
                table=records.account_requests, over=lambda now: records.account_requests.c.at < now - _REQUESTS_KEPT
            ),
            Expiring(table=deletions, over=linked_roles.over),
        ),
        guards=(Guard(service="iam", keys={"aws:resourcetag/": _tags, "iam:resourcetag/": _tags}),),
        pages=(*user_pages.PAGES, *role_pages.PAGES, PAGE),
        templates=Path(__file__).parent / "templates",
        start=(authority.start,),
        stop=(authority.stop,),
        identity=authority,
    )


async def _tags(authority: Authority, arn: str) -> Mapping[str, str]:
    """Of a user, a role, a policy, a provider or an instance profile."""
    return await authority.tags(arn)
