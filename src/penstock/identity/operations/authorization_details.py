"""Everything of an account that decides what its users and roles may do, in one list."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

import sqlalchemy as sa

from penstock.application import Call
from penstock.identity import records
from penstock.identity.authority import Authority
from penstock.identity.managed import POLICIES
from penstock.identity.operations import iam
from penstock.identity.operations.entities import PAGES, encoded, role_output, trusts_to_api, user_output
from penstock.identity.operations.groups import group_output
from penstock.identity.operations.instance_profiles import profile_outputs
from penstock.identity.operations.managed_policies import managed_output, policy_output, uses_of
from penstock.identity.operations.policy_versions import managed_version, version_output
from penstock.store.keysets import rows_behind
from penstock.wire.call import Input, Output

_TABLES = {
    "User": records.users,
    "Group": records.groups,
    "Role": records.roles,
    "LocalManagedPolicy": records.policies,
}
_MANAGED = "AWSManagedPolicy"
_KINDS = (*_TABLES, _MANAGED)


class _Entry(NamedTuple):
    """An entity or a policy, and what places it in the list."""

    kind: str
    key: str
    row: Any


@iam("GetAccountAuthorizationDetails")
async def get_account_authorization_details(authority: Authority, call: Call, input: Input) -> Output:
    """Users, groups, roles and managed policies with all their policies; of AWS's those that somebody has."""
    wanted, limit = input.get("Filter") or _KINDS, input.get("MaxItems", 100)

    def read(conn: sa.Connection) -> Output:
        entries = _entries(conn, call, wanted, PAGES.after(call, input), limit + 1)
        page = PAGES.page(call, input, entries, limit=limit, keyset=lambda entry: [entry.kind, entry.key])
        of = {kind: [entry.row for entry in page.rows if entry.kind == kind] for kind in _KINDS}
        return {
            "UserDetailList": _users(conn, of["User"]),
            "GroupDetailList": _groups(conn, of["Group"]),
            "RoleDetailList": _roles(conn, authority, of["Role"]),
            "Policies": [*_policies(conn, call, of["LocalManagedPolicy"]), *_managed(conn, call, of[_MANAGED])],
            "IsTruncated": bool(page.more),
            **page.more,
        }

    return await call.app.store.scan(read)


def _entries(
    conn: sa.Connection, call: Call, wanted: Collection[str], after: list[Any] | None, limit: int
) -> list[_Entry]:
    """Up to `limit` of what is behind a keyset, kind by kind."""
    kinds = [kind for kind in _KINDS if kind in wanted]
    if after is not None:
        kinds = kinds[kinds.index(after[0]) :]
    found: list[_Entry] = []
    for kind in kinds:
        behind = after[1:] if after is not None and kind == after[0] else None
        left = limit - len(found)
        if kind == _MANAGED:
            arns = {policy.arn(call.partition): policy for policy in POLICIES.values()}
            used = [arn for arn, uses in uses_of(conn, call.account, list(arns)).items() if any(uses.values())]
            rows = [(arn, arns[arn]) for arn in sorted(used) if not behind or arn > behind[0]][:left]
        else:
            c = _TABLES[kind].c
            query = sa.select(_TABLES[kind]).where(c.account == call.account)
            rows = (
                [(row.key, row) for row in conn.execute(rows_behind(query, [c.key], behind, limit=left))]
                if left
                else []
            )
        found += [_Entry(kind, key, row) for key, row in rows]
    return found


def _users(conn: sa.Connection, rows: list[Any]) -> list[Output]:
    inline, attached = _owned(conn, rows)
    m, g = records.members.c, records.groups.c
    joined = sa.select(m.user, g.name).join_from(records.members, records.groups, m.group == g.id)
    groups = _by(conn.execute(joined.where(m.user.in_([row.id for row in rows])).order_by(g.key)))
    return [
        user_output(row)
        | {
            "UserPolicyList": inline.get(row.id, []),
            "GroupList": [name for (name,) in groups.get(row.id, [])],
            "AttachedManagedPolicies": attached.get(row.id, []),
        }
        for row in rows
    ]


def _groups(conn: sa.Connection, rows: list[Any]) -> list[Output]:
    inline, attached = _owned(conn, rows)
    return [
        group_output(row)
        | {"GroupPolicyList": inline.get(row.id, []), "AttachedManagedPolicies": attached.get(row.id, [])}
        for row in rows
    ]


def _roles(conn: sa.Connection, authority: Authority, rows: list[Any]) -> list[Output]:
    inline, attached = _owned(conn, rows)
    p = records.instance_profiles
    own = conn.execute(sa.select(p).where(p.c.role.in_([row.id for row in rows])).order_by(p.c.key)).all()
    profiles: dict[str, list[Output]] = {}
    for profile, shown in zip(own, profile_outputs(conn, own), strict=True):
        profiles.setdefault(profile.role, []).append(shown)
    return [
        {name: value for name, value in role_output(row, trust, authority.uses).items() if name not in _NOT_OF_A_DETAIL}
        | {
            "InstanceProfileList": profiles.get(row.id, []),
            "RolePolicyList": inline.get(row.id, []),
            "AttachedManagedPolicies": attached.get(row.id, []),
        }
        for row, trust in zip(rows, trusts_to_api(conn, rows), strict=True)
    ]


_NOT_OF_A_DETAIL = frozenset({"Description", "MaxSessionDuration"})


def _policies(conn: sa.Connection, call: Call, rows: list[Any]) -> list[Output]:
    uses = uses_of(conn, call.account, [row.arn for row in rows])
    v = records.policy_versions
    query = sa.select(v).where(v.c.policy.in_([row.id for row in rows])).order_by(v.c.version.desc())
    versions: dict[str, list[Any]] = {}
    for version in conn.execute(query):
        versions.setdefault(version.policy, []).append(version)
    return [
        _without_tags(policy_output(row, uses[row.arn]))
        | {"PolicyVersionList": [version_output(row, one, document=True) for one in versions[row.id]]}
        for row in rows
    ]


def _managed(conn: sa.Connection, call: Call, policies: list[Any]) -> list[Output]:
    uses = uses_of(conn, call.account, [policy.arn(call.partition) for policy in policies])
    found = []
    for policy in policies:
        arn = policy.arn(call.partition)
        shown = _without_tags(managed_output(policy, arn, uses[arn]))
        version = managed_version(policy)
        found.append(shown | {"PolicyVersionList": [version | {"Document": encoded(policy.document(call.partition))}]})
    return found


def _without_tags(shown: Output) -> Output:
    return {name: value for name, value in shown.items() if name != "Tags"}


def _owned(conn: sa.Connection, rows: list[Any]) -> tuple[dict[str, list[Output]], dict[str, list[Output]]]:
    """The inline policies of users, groups or roles and the managed ones that are attached to them, by their ids."""
    ids = [row.id for row in rows]
    i, a = records.inline_policies.c, records.attachments.c
    inline = _by(conn.execute(sa.select(i.owner, i.name, i.document).where(i.owner.in_(ids)).order_by(i.name)))
    attached = _by(conn.execute(sa.select(a.owner, a.arn).where(a.owner.in_(ids)).order_by(a.arn)))
    return (
        {
            owner: [{"PolicyName": name, "PolicyDocument": encoded(document)} for name, document in found]
            for owner, found in inline.items()
        },
        {
            owner: [{"PolicyName": arn.rpartition("/")[2], "PolicyArn": arn} for (arn,) in found]
            for owner, found in attached.items()
        },
    )


def _by(rows: Iterable[Any]) -> dict[str, list[tuple[Any, ...]]]:
    found: dict[str, list[tuple[Any, ...]]] = {}
    for first, *others in rows:
        found.setdefault(first, []).append(tuple(others))
    return found
