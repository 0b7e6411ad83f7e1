"""The tables of the deployments component and the statements on its resources. Rows of deployments and hosts: see `runs.py`.

Times are ms since the epoch. Every function that takes `conn` belongs into one transaction or one read.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa

from penstock.store.schema import Json, metadata, partial_index, sealed
from penstock.store.statement import Statement, among
from penstock.store.transaction import wake
from penstock.store.upsert import insert, upsert

Row = sa.Row[Any]


def _owner() -> tuple[sa.Column[Any], sa.Column[Any]]:
    return (
        sa.Column("account", sa.String(12), primary_key=True),
        sa.Column("region", sa.String(32), primary_key=True),
    )


applications = sa.Table(
    "deployments_applications",
    metadata,
    *_owner(),
    sa.Column("name", sa.String(100), primary_key=True),
    sa.Column("id", sa.String(36), nullable=False),
    sa.Column("platform", sa.String(8), nullable=False),
    sa.Column("tags", Json, nullable=False),  # {key: value}
    sa.Column("created", sa.BigInteger, nullable=False),
)

configs = sa.Table(
    "deployments_configs",
    metadata,
    *_owner(),
    sa.Column("name", sa.String(100), primary_key=True),
    sa.Column("id", sa.String(36), nullable=False),
    sa.Column("body", Json, nullable=False),  # computePlatform, minimumHealthyHosts as the API has them
    sa.Column("tags", Json, nullable=False),
    sa.Column("created", sa.BigInteger, nullable=False),
)

groups = sa.Table(
    "deployments_groups",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),  # agents key their files by it: it never changes
    sa.Column("account", sa.String(12), nullable=False),
    sa.Column("region", sa.String(32), nullable=False),
    sa.Column("application", sa.String(100), nullable=False),
    sa.Column("name", sa.String(100), nullable=False),
    sa.Column("body", Json, nullable=False),  # its settings, as DeploymentGroupInfo has them
    sa.Column("tags", Json, nullable=False),
    sa.Column("state", Json, nullable=False),  # queue.Group; what follows of it is there for statements
    sa.Column("sequence", sa.Integer, nullable=False),  # decisions so far
    sa.Column("active", sa.String(16)),  # the deployment that has the group, if any
    sa.Column("attempted", sa.String(16)),  # the newest deployment
    sa.Column("successful", sa.String(16)),  # the newest successful one
    sa.Column("revision", Json),  # of that one: the target revision
    sa.Column("digest", sa.String(64)),  # of that revision
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("account", "region", "application", "name"),
)

revisions = sa.Table(
    "deployments_revisions",
    metadata,
    *_owner(),
    sa.Column("application", sa.String(100), primary_key=True),
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("location", Json, nullable=False),
    sa.Column("bucket", sa.String(255), nullable=False),
    sa.Column("key", sa.String(1024), nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("registered", sa.BigInteger, nullable=False),
    sa.Column("first_used", sa.BigInteger),
    sa.Column("last_used", sa.BigInteger),
)

instances = sa.Table(
    "deployments_instances",
    metadata,
    *_owner(),
    sa.Column("name", sa.String(100), primary_key=True),
    sa.Column("kind", sa.String(12), nullable=False),  # onpremises, or ec2 for one that joined as an instance
    sa.Column("iam_arn", sa.String(1011), nullable=False),  # who the host is: its user, or its session
    sa.Column("iam_kind", sa.String(8), nullable=False),  # user session
    # Id of that user or role, from the first poll on: a name can be given again.
    sa.Column("principal", sa.String(128)),
    sa.Column("arn", sa.String(1011), nullable=False),
    sa.Column("tags", Json, nullable=False),  # [{Key, Value}], in the order of their addition
    sa.Column("registered", sa.BigInteger, nullable=False),
    sa.Column("deregistered", sa.BigInteger),  # a tombstone: never selected, never served
    sa.Column("seen", sa.BigInteger),  # the agent's last poll, to the minute
    sa.Column("agent", sa.String(100), nullable=False, default=""),  # its version
)
partial_index(
    "uq_deployments_instances_iam",  # two hosts of one identity would be served each other's commands
    instances.c.account,
    instances.c.region,
    instances.c.iam_arn,
    unique=True,
    where=instances.c.deregistered.is_(None),
)

deployments = sa.Table(
    "deployments_deployments",
    metadata,
    sa.Column("id", sa.String(16), primary_key=True),
    sa.Column("account", sa.String(12), nullable=False),
    sa.Column("region", sa.String(32), nullable=False),
    sa.Column("application", sa.String(100), nullable=False),
    sa.Column("group_name", sa.String(100), nullable=False),
    sa.Column("group_id", sa.String(36), nullable=False),
    sa.Column("number", sa.Integer, nullable=False),  # within the group, from 1: the order of its queue
    sa.Column("status", sa.String(12), nullable=False),
    sa.Column("body", Json, nullable=False),  # what was asked for; never changes once it has begun
    sa.Column("state", Json, nullable=False),  # the engine's counters
    sa.Column("links", Json, nullable=False),  # rollbackInfo
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),  # decisions taken
    sa.Index("ix_deployments_deployments_owner", "account", "region", "created", "id"),
    sa.Index("ix_deployments_deployments_group", "group_id", "status", "number"),
)

targets = sa.Table(
    "deployments_targets",
    metadata,
    sa.Column("deployment", sa.String(16), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(100), nullable=False),
    sa.Column("arn", sa.String(1011), nullable=False),
    sa.Column("status", sa.String(12), nullable=False),
    sa.Column("healthy", sa.Boolean, nullable=False),
    sa.Column("seen", sa.Boolean, nullable=False),
    sa.Column("current", sa.Integer),
    sa.Column("acknowledged", sa.Boolean, nullable=False),
    sa.Column("deadline", sa.BigInteger),
    sa.Column("updated", sa.BigInteger),
    sa.Column("events", Json),  # NULL: as the status says, all pending or all skipped
    sa.UniqueConstraint("deployment", "name"),
    sa.Index("ix_deployments_targets_status", "deployment", "status", "position"),
)

partial_index(
    "ix_deployments_targets_acknowledged",  # what a host that polls is working on
    targets.c.name,
    where=targets.c.acknowledged.is_(True),  # as in the statement below: else no database would find this index for it
)

health = sa.Table(
    "deployments_health",
    metadata,
    sa.Column("group_id", sa.String(36), primary_key=True),
    sa.Column("name", sa.String(100), primary_key=True),
    sa.Column("healthy", sa.Boolean, nullable=False),  # the last deployment to it succeeded
    sa.Column("installed", sa.String(64), nullable=False),  # content of the revision on it; "" unknown
    sa.Column("updated", sa.BigInteger, nullable=False),
)

hook_logs = sa.Table(
    "deployments_hook_logs",
    metadata,
    sa.Column("deployment", sa.String(16), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True),
    sa.Column("event", sa.Integer, primary_key=True),  # index of the lifecycle event
    sa.Column("log", sa.Text, nullable=False),  # its tail
    sa.Column("updated", sa.BigInteger, nullable=False),
)

SIGNER_CONTEXT = "deployments/specification-signer"  # for what the key of the signer is sealed
signers = sa.Table(
    "deployments_signers",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),  # 1: the installation's
    sa.Column("certificate", sa.Text, nullable=False),  # PEM
    sa.Column("sealed_key", sa.LargeBinary, nullable=False, info=sealed(lambda _row: SIGNER_CONTEXT)),
    sa.Column("created", sa.BigInteger, nullable=False),
)


REGISTRATIONS = "deployments.registrations"
"""The topic that is woken when an instance was registered or deregistered."""

DEPLOYMENT = Statement(sa.select(deployments).where(deployments.c.id == sa.bindparam("id")))
LOCKED_DEPLOYMENT = Statement(sa.select(deployments).where(deployments.c.id == sa.bindparam("id")).with_for_update())
TARGET = Statement(
    sa.select(targets).where(
        targets.c.deployment == sa.bindparam("deployment"), targets.c.position == sa.bindparam("position")
    )
)
TARGETS_AT = Statement(
    lambda dialect: sa.select(targets).where(
        targets.c.deployment == sa.bindparam("deployment"), among(dialect, targets.c.position, "positions")
    )
)
TARGET_OF_HOST = Statement(
    sa.select(targets).where(targets.c.deployment == sa.bindparam("deployment"), targets.c.name == sa.bindparam("name"))
)
ACKNOWLEDGED = Statement(
    sa.select(targets.c.deployment, targets.c.position, targets.c.current)
    .select_from(targets.join(deployments, deployments.c.id == targets.c.deployment))
    .where(targets.c.name == sa.bindparam("name"), targets.c.acknowledged.is_(True))
    .where(deployments.c.account == sa.bindparam("account"), deployments.c.region == sa.bindparam("region"))
    .order_by(targets.c.deployment)
)
IDENTITY = Statement(
    sa.select(instances.c.name, instances.c.arn, instances.c.iam_arn, instances.c.principal).where(
        instances.c.account == sa.bindparam("account"),
        instances.c.region == sa.bindparam("region"),
        instances.c.iam_arn == sa.bindparam("iam"),
        instances.c.deregistered.is_(None),
    )
)


def one(conn: sa.Connection, table: sa.Table, *, lock: bool = False, keep: bool = False, **values: Any) -> Row | None:
    """The row with these column values, or None. Until the transaction ends, nobody else locks it for changes.

    `lock` locks it for changes, `keep` against them: so what is made below a row has it when the transaction ends.
    """
    return conn.execute(_one(table, tuple(values), lock, keep), values).first()


@cache
def _one(table: sa.Table, names: tuple[str, ...], lock: bool, keep: bool) -> sa.Select[Any]:  # noqa: FBT001
    statement = sa.select(table).where(*(table.c[name] == sa.bindparam(name) for name in names))
    return statement.with_for_update(read=keep) if lock or keep else statement


def application(
    conn: sa.Connection, account: str, region: str, name: str, *, lock: bool = False, keep: bool = False
) -> Row | None:
    """An application."""
    return one(conn, applications, lock=lock, keep=keep, account=account, region=region, name=name)


def group(conn: sa.Connection, account: str, region: str, app: str, name: str, *, lock: bool = False) -> Row | None:
    """A deployment group by its names."""
    return one(conn, groups, lock=lock, account=account, region=region, application=app, name=name)


def tagged(conn: sa.Connection, account: str, region: str, resource: str) -> tuple[sa.Table, Row | None] | None:
    """Table and row of what has tags, by what its ARN says behind the account: an application, a group or a configuration.

    None for an ARN of something else.
    """
    kind, _, name = resource.partition(":")
    app, slash, of_group = name.partition("/")
    match kind:
        case "application" if name:
            return applications, application(conn, account, region, name)
        case "deploymentgroup" if slash:
            return groups, group(conn, account, region, app, of_group)
        case "deploymentconfig" if name:
            return configs, one(conn, configs, account=account, region=region, name=name)
        case _:
            return None


def revision(conn: sa.Connection, account: str, region: str, app: str, digest: str) -> Row | None:
    """A registered revision of an application."""
    return one(conn, revisions, account=account, region=region, application=app, digest=digest)


def instance(conn: sa.Connection, account: str, region: str, name: str, *, lock: bool = False) -> Row | None:
    """A registered instance or the tombstone of one."""
    return one(conn, instances, lock=lock, account=account, region=region, name=name)


def registrations_changed(conn: sa.Connection) -> None:
    """Let every process know that a registration was made or ended; see `hostcommands.identities`."""
    wake(conn, REGISTRATIONS)


def bind_instance(conn: sa.Connection, account: str, region: str, iam_arn: str, principal: str) -> str:
    """Record the identity of a registered instance, unless it is known; returns the known one."""
    c = instances.c
    where = (c.account == account, c.region == region, c.iam_arn == iam_arn, c.deregistered.is_(None))
    conn.execute(sa.update(instances).where(*where, c.principal.is_(None)).values(principal=principal))
    return conn.execute(sa.select(c.principal).where(*where)).scalar() or ""


def instance_of(conn: sa.Connection, account: str, region: str, iam_arn: str) -> Row | None:
    """The registered instance whose identity `iam_arn` is."""
    c = instances.c
    where = (c.account == account, c.region == region, c.iam_arn == iam_arn, c.deregistered.is_(None))
    return conn.execute(sa.select(instances).where(*where)).first()


def registered_instances(conn: sa.Connection, account: str, region: str) -> Sequence[Row]:
    """Every registered instance of an account in a region."""
    c = instances.c
    where = (c.account == account, c.region == region, c.deregistered.is_(None))
    return conn.execute(sa.select(instances).where(*where).order_by(c.name)).all()


def use_revision(conn: sa.Connection, *, row: dict[str, Any], now: int) -> None:
    """Note that a deployment uses the revision in `row`, registering it when nobody did."""
    used = {"first_used": sa.func.coalesce(revisions.c.first_used, now), "last_used": now}
    upsert(conn, revisions, {**row, "registered": now, "first_used": now, "last_used": now}, used)


def register_revision(conn: sa.Connection, *, row: dict[str, Any], now: int) -> None:
    """Register the revision in `row`; one that is known takes its description only, when there is one."""
    known = {"description": sa.func.coalesce(sa.func.nullif(row["description"], ""), revisions.c.description)}
    upsert(conn, revisions, {**row, "registered": now}, known)


def _set_health(dialect: str) -> sa.Executable:
    """A failed host that was to get what it had is not known to have it any more; otherwise it keeps what it had."""
    inserted = insert(dialect, health)
    new = inserted.excluded
    had = sa.case(
        (sa.or_(new.healthy, health.c.installed == sa.bindparam("digest")), new.installed), else_=health.c.installed
    )
    changed = {"healthy": new.healthy, "installed": had, "updated": new.updated}
    return inserted.on_conflict_do_update(index_elements=[health.c.group_id, health.c.name], set_=changed)


_SET_HEALTH = Statement(_set_health)


def set_health(conn: sa.Connection, *, group_id: str, name: str, healthy: bool, digest: str, now: int) -> None:
    """What a host's result says about it. AWS: instances-health.

    Success: it runs `digest`. Failure: it is unhealthy, and what it runs is unknown when it was to get what it had.
    """
    row = {
        "group_id": group_id,
        "name": name,
        "healthy": healthy,
        "installed": digest if healthy else "",
        "updated": now,
    }
    _SET_HEALTH.later(conn, {**row, "digest": digest})


def forget_health(conn: sa.Connection, account: str, region: str, name: str) -> None:
    """Whoever registers under a name that was given up is another machine: nothing is known of it in any group."""
    mine = sa.select(groups.c.id).where(groups.c.account == account, groups.c.region == region)
    conn.execute(sa.delete(health).where(health.c.name == name, health.c.group_id.in_(mine)))


def healths(conn: sa.Connection, group_id: str) -> dict[str, Row]:
    """What is known of each host of a group, by name."""
    return {row.name: row for row in conn.execute(sa.select(health).where(health.c.group_id == group_id))}
