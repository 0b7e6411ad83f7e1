"""What IAM knows of an account as a whole: its alias, and how much of what it has."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from penstock.application import Call
from penstock.identity import records, sign_in_records
from penstock.identity.authority import Authority
from penstock.identity.errors import EntityAlreadyExistsException, NoSuchEntityException
from penstock.identity.operations import iam
from penstock.identity.operations.entities import cut
from penstock.identity.operations.groups import MAX_GROUPS
from penstock.identity.operations.managed_policies import MAX_SIZE
from penstock.identity.operations.policies import MAX_ATTACHED, MAX_INLINE
from penstock.identity.operations.policy_versions import MAX_VERSIONS
from penstock.identity.operations.roles import MAX_TRUST
from penstock.identity.operations.users import MAX_KEYS
from penstock.wire.call import Input, Output

# The first ones are kept here. The others are AWS's, for who reads them; nothing here stops at them.
# (AWS: IAM User Guide, "IAM and AWS STS quotas".)
_QUOTAS = {
    "AccessKeysPerUserQuota": MAX_KEYS,
    "AssumeRolePolicySizeQuota": MAX_TRUST,
    "AttachedPoliciesPerGroupQuota": MAX_ATTACHED,
    "AttachedPoliciesPerRoleQuota": MAX_ATTACHED,
    "AttachedPoliciesPerUserQuota": MAX_ATTACHED,
    "GroupPolicySizeQuota": MAX_INLINE["Group"],
    "GroupsPerUserQuota": MAX_GROUPS,
    "PolicySizeQuota": MAX_SIZE,
    "RolePolicySizeQuota": MAX_INLINE["Role"],
    "UserPolicySizeQuota": MAX_INLINE["User"],
    "VersionsPerPolicyQuota": MAX_VERSIONS,
    "GroupsQuota": 300,
    "InstanceProfilesQuota": 1000,
    "PoliciesQuota": 1500,
    "PolicyVersionsInUseQuota": 10_000,
    "RolesQuota": 1000,
    "ServerCertificatesQuota": 20,
    "SigningCertificatesPerUserQuota": 2,
    "UsersQuota": 5000,
}
_COUNTED = {
    "Users": records.users,
    "Groups": records.groups,
    "Roles": records.roles,
    "Policies": records.policies,
    "InstanceProfiles": records.instance_profiles,
    "Providers": records.oidc_providers,
    "MFADevices": sign_in_records.mfa_devices,
}
# Nobody signs in as an account itself, and there are no certificates.
_NONE = (
    "AccountAccessKeysPresent", "AccountMFAEnabled", "AccountPasswordPresent", "AccountSigningCertificatesPresent",
    "ServerCertificates",
)  # fmt: skip
_TOKENS = 1  # GlobalEndpointTokenVersion: the tokens of the global endpoint are valid in every region


@iam("CreateAccountAlias")
async def create_account_alias(authority: Authority, call: Call, input: Input) -> None:
    """Give the account a name, in place of the one that it has."""
    alias = input["AccountAlias"]

    def tx(conn: sa.Connection) -> None:
        c = records.accounts.c
        holder = conn.execute(sa.select(c.account).where(c.alias == alias)).scalar()
        if holder is not None and holder != call.account:
            raise EntityAlreadyExistsException(f"The account alias {alias} already exists.")
        _set_alias(conn, call.account, alias)

    await authority.change(tx)


@iam("DeleteAccountAlias")
async def delete_account_alias(authority: Authority, call: Call, input: Input) -> None:
    """Take the account's name away."""
    alias = input["AccountAlias"]

    def tx(conn: sa.Connection) -> None:
        if _alias(conn, call.account) != alias:
            raise NoSuchEntityException(f"The account alias with name {alias} cannot be found.")
        _set_alias(conn, call.account, None)

    await authority.change(tx)


@iam("ListAccountAliases")
async def list_account_aliases(authority: Authority, call: Call, input: Input) -> Output:
    """The account's name; there is at most one."""
    alias = await call.app.store.read(_alias, call.account)
    found, more = cut(call, input, [alias] if alias else [], str)
    return {"AccountAliases": found, **more}


@iam("GetAccountSummary")
async def get_account_summary(authority: Authority, call: Call, input: Input) -> Output:
    """How much of everything the account has, and how much it may have."""

    def read(conn: sa.Connection) -> dict[str, int]:
        counts = {name: _count(conn, table.c.account == call.account) for name, table in _COUNTED.items()}
        d, k = sign_in_records.mfa_devices.c, sign_in_records.passkeys.c
        passkeys = _count(conn, k.account == call.account)
        counts["MFADevices"] += passkeys
        counts["MFADevicesInUse"] = passkeys + _count(conn, (d.account == call.account) & d.user_id.is_not(None))
        p, v = records.policies.c, records.policy_versions.c
        versions = sa.select(sa.func.count()).join_from(records.policies, records.policy_versions, p.id == v.policy)
        counts["PolicyVersionsInUse"] = conn.execute(versions.where(p.account == call.account)).scalar_one()
        return counts

    counts = await call.app.store.scan(read)
    return {"SummaryMap": dict.fromkeys(_NONE, 0) | _QUOTAS | counts | {"GlobalEndpointTokenVersion": _TOKENS}}


def _count(conn: sa.Connection, where: sa.ColumnElement[bool]) -> int:
    return conn.execute(sa.select(sa.func.count()).where(where)).scalar_one()


def _alias(conn: sa.Connection, account: str) -> Any:
    c = records.accounts.c
    return conn.execute(sa.select(c.alias).where(c.account == account)).scalar()


def _set_alias(conn: sa.Connection, account: str, alias: str | None) -> None:
    c = records.accounts.c
    conn.execute(records.accounts.update().where(c.account == account).values(alias=alias))
