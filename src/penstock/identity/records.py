"""Tables and statements of identity.

IAM is global: rows have an account and no region. `key` columns hold the lower-case name, since IAM tells names apart
regardless of case. Every write raises the generation in its own transaction, which is what the processes' caches go by.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from penstock.identity.sign_in_records import mfa_devices
from penstock.store.database import wake
from penstock.store.schema import Json, metadata, sealed
from penstock.store.statement import Statement, among, ask

TOPIC = "identity"
_AT_ONCE = 500  # ids that one statement asks for

generations = sa.Table(
    "iam_generations",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),  # one row: 1
    sa.Column("generation", sa.BigInteger, nullable=False),
)
accounts = sa.Table(
    "iam_accounts",
    metadata,
    sa.Column("account", sa.String(12), primary_key=True),
    # The first access key, which may be deleted since; "" where a role of the first account's is the way in.
    sa.Column("administrator_key", sa.String(32), nullable=False),
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.Column("alias", sa.String(63), unique=True),  # a name that the account may have; no other has it
    sa.Column("name", sa.String(50)),  # what people call it
    sa.Column("email", sa.String(64)),  # in lower case; no two that Organizations makes have the same
)
account_requests = sa.Table(  # what CreateAccount of Organizations was asked for, and what became of it
    "iam_account_requests",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("name", sa.String(50), nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("account", sa.String(12)),  # that was made
    sa.Column("failure", sa.String(32)),  # why none was
)
reserved_sessions = sa.Table(  # of roles: see `reserved`
    "iam_reserved_sessions",
    metadata,
    sa.Column("account", sa.String(12), primary_key=True),
    sa.Column("role", sa.String(64), primary_key=True),  # name
    sa.Column("name", sa.String(64), primary_key=True),  # of the session
    sa.Column("by", sa.String(256), nullable=False),  # ARN
    sa.Column("since", sa.BigInteger, nullable=False),  # ms
)
users = sa.Table(
    "iam_users",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),  # AIDA…
    sa.Column("account", sa.String(12), nullable=False),
    sa.Column("key", sa.String(64), nullable=False),
    sa.Column("name", sa.String(64), nullable=False),
    sa.Column("path", sa.String(512), nullable=False),
    sa.Column("arn", sa.String(1024), nullable=False),
    sa.Column("tags", Json, nullable=False),  # [{Key, Value}]
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.Column("boundary", sa.String(1024)),  # ARN of the policy that bounds its permissions
    sa.UniqueConstraint("account", "key"),
)


def secret_context(key_id: str) -> str:
    """For what the secret of an access key is sealed."""
    return f"iam/access-key/{key_id}"


access_keys = sa.Table(
    "iam_access_keys",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),  # AKIA…
    sa.Column("account", sa.String(12), nullable=False),
    sa.Column("user_id", sa.String(32), nullable=False, index=True),
    sa.Column("status", sa.String(10), nullable=False),  # Active Inactive
    sa.Column("secret", sa.LargeBinary, nullable=False, info=sealed(lambda row: secret_context(row.id))),
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.Column("used", sa.BigInteger),  # ms; the last use that was noted, and what it was for
    sa.Column("used_service", sa.String(64)),
    sa.Column("used_region", sa.String(32)),
)
credential_reports = sa.Table(
    "iam_credential_reports",
    metadata,
    sa.Column("account", sa.String(12), primary_key=True),
    sa.Column("at", sa.BigInteger, nullable=False),  # ms
    sa.Column("content", sa.LargeBinary, nullable=False),  # CSV
)
roles = sa.Table(
    "iam_roles",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),  # AROA…
    sa.Column("account", sa.String(12), nullable=False),
    sa.Column("key", sa.String(64), nullable=False),
    sa.Column("name", sa.String(64), nullable=False),
    sa.Column("path", sa.String(512), nullable=False),
    sa.Column("arn", sa.String(1024), nullable=False),
    sa.Column("trust", sa.Text, nullable=False),  # the document as it was put
    sa.Column("trusted", Json, nullable=False),  # {ARN of a principal that it names: its id when it was put}
    sa.Column("description", sa.Text),
    sa.Column("max_session", sa.Integer, nullable=False),  # seconds
    sa.Column("tags", Json, nullable=False),
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.Column("boundary", sa.String(1024)),
    sa.Column("used", sa.BigInteger),  # ms; the last use that was noted, and where
    sa.Column("used_region", sa.String(32)),
    sa.UniqueConstraint("account", "key"),
)
groups = sa.Table(
    "iam_groups",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),  # AGPA…
    sa.Column("account", sa.String(12), nullable=False),
    sa.Column("key", sa.String(128), nullable=False),
    sa.Column("name", sa.String(128), nullable=False),
    sa.Column("path", sa.String(512), nullable=False),
    sa.Column("arn", sa.String(1024), nullable=False),
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("account", "key"),
)
members = sa.Table(
    "iam_members",
    metadata,
    sa.Column("user", sa.String(32), primary_key=True),
    sa.Column("group", sa.String(32), primary_key=True),
    sa.Column("account", sa.String(12), nullable=False),
    sa.Index("ix_iam_members_group", "group"),
)
instance_profiles = sa.Table(
    "iam_instance_profiles",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),  # AIPA…
    sa.Column("account", sa.String(12), nullable=False),
    sa.Column("key", sa.String(128), nullable=False),
    sa.Column("name", sa.String(128), nullable=False),
    sa.Column("path", sa.String(512), nullable=False),
    sa.Column("arn", sa.String(1024), nullable=False),
    sa.Column("role", sa.String(32), index=True),  # id; AWS lets a profile have one
    sa.Column("tags", Json, nullable=False),  # [{Key, Value}]
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("account", "key"),
)
oidc_providers = sa.Table(
    "iam_oidc_providers",
    metadata,
    sa.Column("arn", sa.String(512), primary_key=True),
    sa.Column("account", sa.String(12), nullable=False, index=True),
    sa.Column("url", sa.String(255), nullable=False),  # as it was given, without https://
    sa.Column("clients", Json, nullable=False),  # audiences
    sa.Column("thumbprints", Json, nullable=False),
    sa.Column("tags", Json, nullable=False),  # [{Key, Value}]
    sa.Column("created", sa.BigInteger, nullable=False),
)
inline_policies = sa.Table(
    "iam_inline_policies",
    metadata,
    sa.Column("owner", sa.String(32), primary_key=True),  # id of a user, group or role
    sa.Column("name", sa.String(128), primary_key=True),
    sa.Column("account", sa.String(12), nullable=False),
    sa.Column("document", sa.Text, nullable=False),
)
policies = sa.Table(  # those of customers; AWS's are in managed.py
    "iam_policies",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),  # ANPA…
    sa.Column("account", sa.String(12), nullable=False),
    sa.Column("key", sa.String(128), nullable=False),
    sa.Column("name", sa.String(128), nullable=False),
    sa.Column("path", sa.String(512), nullable=False),
    sa.Column("arn", sa.String(1024), nullable=False, unique=True),
    sa.Column("description", sa.Text),
    sa.Column("tags", Json, nullable=False),
    sa.Column("default_version", sa.Integer, nullable=False),
    sa.Column("last_version", sa.Integer, nullable=False),
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.Column("updated", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("account", "key"),
)
policy_versions = sa.Table(
    "iam_policy_versions",
    metadata,
    sa.Column("policy", sa.String(32), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("document", sa.Text, nullable=False),
    sa.Column("created", sa.BigInteger, nullable=False),
)
attachments = sa.Table(
    "iam_attachments",
    metadata,
    sa.Column("owner", sa.String(32), primary_key=True),  # id of a user or role
    sa.Column("arn", sa.String(1024), primary_key=True),
    sa.Column("account", sa.String(12), nullable=False),
)
sa.Index("ix_iam_attachments_arn", attachments.c.account, attachments.c.arn)


_RAISED = Statement(
    generations.update().values(generation=generations.c.generation + 1).returning(generations.c.generation)
)
_GENERATION = Statement(sa.select(generations.c.generation))


def begin_change(conn: sa.Connection) -> int:
    """Start of every transaction that changes identity: one at a time, and every cache is notified. The new generation."""
    raised = _RAISED.first(conn, {})
    if raised is None:
        conn.execute(generations.insert().values(id=1, generation=1))
    wake(conn, TOPIC)
    return raised.generation if raised else 1


def generation(conn: sa.Connection) -> int:
    """How often identity has changed."""
    row = _GENERATION.first(conn, {})
    return row.generation if row else 0


def _named(table: sa.Table) -> Statement:
    return Statement(sa.select(table).where(table.c.account == sa.bindparam("a"), table.c.key == sa.bindparam("k")))


_USER, _ROLE, _GROUP = _named(users), _named(roles), _named(groups)
_INSTANCE_PROFILE = _named(instance_profiles)
_USER_BY_ID, _ROLE_BY_ID, _ACCESS_KEY = (
    Statement(sa.select(table).where(table.c.id == sa.bindparam("id"))) for table in (users, roles, access_keys)
)


def user(conn: sa.Connection, account: str, name: str) -> Any:
    """A user by name, or None."""
    return _USER.first(conn, {"a": account, "k": name.lower()})


def user_by_id(conn: sa.Connection, user_id: str) -> Any:
    """A user by its AIDA… id, or None."""
    return _USER_BY_ID.first(conn, {"id": user_id})


def role(conn: sa.Connection, account: str, name: str) -> Any:
    """A role by name, or None."""
    return _ROLE.first(conn, {"a": account, "k": name.lower()})


def group(conn: sa.Connection, account: str, name: str) -> Any:
    """A group by name, or None."""
    return _GROUP.first(conn, {"a": account, "k": name.lower()})


def instance_profile(conn: sa.Connection, account: str, name: str) -> Any:
    """An instance profile by name, or None."""
    return _INSTANCE_PROFILE.first(conn, {"a": account, "k": name.lower()})


def oidc_provider(conn: sa.Connection, arn: str) -> Any:
    """An identity provider by its ARN, or None."""
    return conn.execute(sa.select(oidc_providers).where(oidc_providers.c.arn == arn)).first()


def role_by_id(conn: sa.Connection, role_id: str) -> Any:
    """A role by its AROA… id, or None."""
    return _ROLE_BY_ID.first(conn, {"id": role_id})


def roles_by_id(conn: sa.Connection, ids: Iterable[str]) -> list[sa.Row[Any]]:
    """The roles of these ids that there are."""
    wanted = sorted(ids)
    found: list[sa.Row[Any]] = []
    for start in range(0, len(wanted), _AT_ONCE):
        found += conn.execute(sa.select(roles).where(roles.c.id.in_(wanted[start : start + _AT_ONCE]))).all()
    return found


def by_arn(conn: sa.Connection, arn: str) -> Any:
    """The user or role of exactly this ARN; for a session's ARN, its role."""
    parts = arn.split(":", 5)
    if len(parts) != 6 or parts[0] != "arn":
        return None
    kind, _, rest = parts[5].partition("/")
    if parts[2] == "sts" and kind == "assumed-role":
        return role(conn, parts[4], rest.partition("/")[0])
    if parts[2] != "iam" or kind not in ("user", "role"):
        return None
    found = (user if kind == "user" else role)(conn, parts[4], rest.rpartition("/")[2])
    return found if found is not None and found.arn == arn else None


def arns_of(conn: sa.Connection, ids: Iterable[str]) -> dict[str, str]:
    """The ARNs that users and roles have now, by their ids; one that is gone is left out."""
    wanted = sorted(set(ids))
    found: dict[str, str] = {}
    for start in range(0, len(wanted), _AT_ONCE):
        some = wanted[start : start + _AT_ONCE]
        for table in (users, roles):
            rows = conn.execute(sa.select(table.c.id, table.c.arn).where(table.c.id.in_(some)))
            found |= {row.id: row.arn for row in rows}
    return found


def tags_of(row: Any) -> dict[str, str]:
    """The tags of a user or role by their keys; conditions ask for them as aws:PrincipalTag."""
    return {tag["Key"]: tag["Value"] for tag in row.tags}


_TAGGED = {
    "user": users,
    "role": roles,
    "policy": policies,
    "instance-profile": instance_profiles,
    "oidc-provider": oidc_providers,
    "mfa": mfa_devices,
}  # by the kind that their ARNs name


def tags_of_arn(conn: sa.Connection, arn: str) -> dict[str, str]:
    """The tags of what has this ARN; none for what is not there."""
    parts = arn.split(":", 5)
    table = _TAGGED.get(parts[-1].partition("/")[0])
    if table is None or len(parts) != 6:
        return {}
    query = sa.select(table.c.tags).where(table.c.arn == arn)
    if "key" in table.c:  # there is an index of names, and none of ARNs
        query = query.where(table.c.account == parts[4], table.c.key == arn.rpartition("/")[2].lower())
    row = conn.execute(query).first()
    return {} if row is None else tags_of(row)


def over(tags: Mapping[str, str], session: Mapping[str, str]) -> dict[str, str]:
    """The tags of a role with those of its session over them. Keys of tags are the same in either case."""
    replaced = {key.lower() for key in session}
    return {key: value for key, value in tags.items() if key.lower() not in replaced} | dict(session)


def access_key(conn: sa.Connection, key_id: str) -> Any:
    """An access key by its id, or None."""
    return _ACCESS_KEY.first(conn, {"id": key_id})


_GROUPS_OF = Statement(sa.select(members.c.group).where(members.c.user == sa.bindparam("user")))
_INLINE_OF = Statement(
    lambda dialect: sa.select(inline_policies.c.document).where(among(dialect, inline_policies.c.owner, "owners"))
)
_ATTACHED_TO = Statement(
    lambda dialect: sa.select(attachments.c.arn).where(among(dialect, attachments.c.owner, "owners"))
)
_CUSTOMERS = Statement(
    lambda dialect: (
        sa.select(policies.c.arn, policy_versions.c.document)
        .join(
            policy_versions,
            (policy_versions.c.policy == policies.c.id) & (policy_versions.c.version == policies.c.default_version),
        )
        .where(among(dialect, policies.c.arn, "arns"))
    )
)


_GROUP_ARNS = Statement(
    sa.select(groups.c.arn).join(members, members.c.group == groups.c.id).where(members.c.user == sa.bindparam("user"))
)


def group_arns(conn: sa.Connection, user: str) -> list[str]:
    """The ARNs of a user's groups."""
    return [arn for (arn,) in _GROUP_ARNS.all(conn, {"user": user})]


def documents(conn: sa.Connection, owner: str) -> tuple[list[str], list[str]]:
    """Of a user or role: its documents (inline, and of attached customer policies), and ARNs of AWS's attached ones.

    A user has those of its groups too.
    """
    owners = [owner]
    if owner.startswith("AIDA"):
        owners += [group for (group,) in _GROUPS_OF.all(conn, {"user": owner})]
    inline, arns = ask(conn, (_INLINE_OF, {"owners": owners}), (_ATTACHED_TO, {"owners": owners}))
    return merged_documents(conn, [text for (text,) in inline], sorted({arn for (arn,) in arns}))


def merged_documents(conn: sa.Connection, texts: list[str], arns: Sequence[str]) -> tuple[list[str], list[str]]:
    """`texts` with the documents of the customer policies among `arns`, and the other ARNs."""
    if not arns:
        return texts, []
    ours = _CUSTOMERS.all(conn, {"arns": list(arns)})
    known = {row.arn for row in ours}
    return [*texts, *(row.document for row in ours)], [arn for arn in arns if arn not in known]


def attached(conn: sa.Connection, owner: str) -> list[str]:
    """ARNs of the policies attached to a user or role, in order."""
    return list(
        conn.execute(sa.select(attachments.c.arn).where(attachments.c.owner == owner).order_by(attachments.c.arn))
        .scalars()
        .all()
    )


def policy(conn: sa.Connection, arn: str) -> sa.Row[Any] | None:
    """A customer's managed policy by ARN."""
    return conn.execute(sa.select(policies).where(policies.c.arn == arn)).first()
