"""Tables of projects, builds and idempotency tokens, and their statements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from penstock.builds.model import BuildState
from penstock.store.codec import Codec
from penstock.store.keysets import rows_behind
from penstock.store.schema import Json, metadata
from penstock.store.upsert import upsert

STATE = Codec("the state of a build", BuildState)

projects = sa.Table(
    "build_projects",
    metadata,
    sa.Column("account", sa.String(12), primary_key=True),
    sa.Column("region", sa.String(32), primary_key=True),
    sa.Column("name", sa.String(255), primary_key=True),
    sa.Column("document", Json, nullable=False),  # members of the API's Project
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.Column("modified", sa.BigInteger, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),  # of the last build
)

builds = sa.Table(
    "builds",
    metadata,
    sa.Column("account", sa.String(12), primary_key=True),
    sa.Column("region", sa.String(32), primary_key=True),
    sa.Column("id", sa.String(320), primary_key=True),  # project:uuid
    sa.Column("project", sa.String(255), nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("state", Json, nullable=False),  # STATE
    sa.Column("document", Json, nullable=False),  # members of the API's Build that a start resolves
    sa.Column("private", Json, nullable=False),  # what a run needs and the API does not show
    sa.Column("complete", sa.Boolean, nullable=False),
    sa.Column("sequence", sa.Integer, nullable=False),  # decisions so far
    sa.Column("started", sa.BigInteger, nullable=False),
    sa.Column("node", sa.String(64), nullable=False),  # whose disk its run is on; "" before
)
sa.Index("ix_builds_started", builds.c.account, builds.c.region, builds.c.started, builds.c.id)
sa.Index("ix_builds_project", builds.c.account, builds.c.region, builds.c.project, builds.c.number)

tokens = sa.Table(
    "build_tokens",
    metadata,
    sa.Column("account", sa.String(12), primary_key=True),
    sa.Column("region", sa.String(32), primary_key=True),
    sa.Column("operation", sa.String(32), primary_key=True),
    sa.Column("token", sa.String(64), primary_key=True),
    sa.Column("digest", sa.String(64), nullable=False),  # of the input
    sa.Column("build", sa.String(320), nullable=False),
    sa.Column("expires", sa.BigInteger, nullable=False),
)


def expired_builds(before: int) -> sa.ColumnElement[bool]:
    """Builds that began before a time (ms) and are complete. The newest of each project stays."""
    later = builds.alias("later")
    newer = sa.exists().where(
        later.c.account == builds.c.account,
        later.c.region == builds.c.region,
        later.c.project == builds.c.project,
        later.c.number > builds.c.number,
    )
    return builds.c.complete.is_(sa.true()) & (builds.c.started < before) & newer


def _project(account: str, region: str, name: str) -> sa.ColumnElement[bool]:
    return (projects.c.account == account) & (projects.c.region == region) & (projects.c.name == name)


def _build(account: str, region: str, id_: str) -> sa.ColumnElement[bool]:
    return (builds.c.account == account) & (builds.c.region == region) & (builds.c.id == id_)


def find_project(
    conn: sa.Connection, account: str, region: str, name: str, *, lock: bool = False
) -> sa.Row[Any] | None:
    """A project's row."""
    query = sa.select(projects).where(_project(account, region, name))
    return conn.execute(query.with_for_update() if lock else query).first()


def find_projects(conn: sa.Connection, account: str, region: str, names: Sequence[str]) -> list[sa.Row[Any]]:
    """The rows of those projects that exist."""
    query = sa.select(projects).where(
        projects.c.account == account, projects.c.region == region, projects.c.name.in_(list(names))
    )
    return list(conn.execute(query))


def insert_project(conn: sa.Connection, row: Mapping[str, Any]) -> bool:
    """Keep a new project; False when it is there, or was made at this very time by another process."""
    return upsert(conn, projects, row)


def update_project(conn: sa.Connection, account: str, region: str, name: str, **values: Any) -> None:
    """Change a project's row."""
    conn.execute(projects.update().where(_project(account, region, name)).values(**values))


def delete_project(conn: sa.Connection, account: str, region: str, name: str) -> None:
    """Forget a project; no error when it is missing."""
    conn.execute(projects.delete().where(_project(account, region, name)))


def list_projects(
    conn: sa.Connection,
    account: str,
    region: str,
    *,
    by: str,
    descending: bool,
    after: Sequence[Any] | None,
    limit: int,
) -> list[sa.Row[Any]]:
    """Names of projects in the order of a column (name, created or modified), after a keyset [value, name]."""
    keys = [projects.c.name] if by == "name" else [projects.c[by], projects.c.name]
    query = sa.select(projects.c.name, projects.c.created, projects.c.modified).where(
        projects.c.account == account, projects.c.region == region
    )
    return list(conn.execute(rows_behind(query, keys, after, limit=limit, descending=descending)))


def list_builds(
    conn: sa.Connection,
    account: str,
    region: str,
    *,
    project: str | None,
    descending: bool,
    after: Sequence[Any] | None,
    limit: int,
) -> list[sa.Row[Any]]:
    """Ids of builds by start, or of one project's builds by number."""
    query = sa.select(builds.c.id, builds.c.started, builds.c.number).where(
        builds.c.account == account, builds.c.region == region
    )
    keys = [builds.c.started, builds.c.id]
    if project is not None:
        query = query.where(builds.c.project == project)
        keys = [builds.c.number]
    return list(conn.execute(rows_behind(query, keys, after, limit=limit, descending=descending)))


def insert_build(conn: sa.Connection, row: Mapping[str, Any]) -> None:
    """Keep a new build."""
    conn.execute(builds.insert(), dict(row))


def find_build(conn: sa.Connection, account: str, region: str, id_: str, *, lock: bool = False) -> sa.Row[Any] | None:
    """A build's row."""
    query = sa.select(builds).where(_build(account, region, id_))
    return conn.execute(query.with_for_update() if lock else query).first()


def state_of(row: sa.Row[Any]) -> BuildState:
    """Where the build of a row is."""
    return STATE.load(row.state)


def find_builds(conn: sa.Connection, account: str, region: str, ids: Sequence[str]) -> list[sa.Row[Any]]:
    """The rows of those builds that exist."""
    query = sa.select(builds).where(builds.c.account == account, builds.c.region == region, builds.c.id.in_(list(ids)))
    return list(conn.execute(query))


def update_build(conn: sa.Connection, account: str, region: str, id_: str, **values: Any) -> None:
    """Change a build's row."""
    conn.execute(builds.update().where(_build(account, region, id_)).values(**values))


def delete_build(conn: sa.Connection, account: str, region: str, id_: str) -> None:
    """Forget a build."""
    conn.execute(builds.delete().where(_build(account, region, id_)))


def running_builds(conn: sa.Connection, account: str, region: str, project: str) -> int:
    """How many builds of a project are not complete."""
    query = sa.select(sa.func.count()).where(
        builds.c.account == account,
        builds.c.region == region,
        builds.c.project == project,
        builds.c.complete.is_(False),
    )
    return conn.execute(query).scalar_one()


def running_of(conn: sa.Connection, account: str, region: str, project: str, execution: str) -> list[str]:
    """The ids of a project's builds that are not complete and belong to an execution of a pipeline."""
    query = sa.select(builds.c.id, builds.c.private).where(
        builds.c.account == account,
        builds.c.region == region,
        builds.c.project == project,
        builds.c.complete.is_(False),
    )
    return [id_ for id_, private in conn.execute(query) if private["pipelineContext"]["executionId"] == execution]


def newest_number(conn: sa.Connection, account: str, region: str, project: str) -> int:
    """The number of the newest build of a name that stands for a project; 0 before the first."""
    query = sa.select(sa.func.max(builds.c.number)).where(
        builds.c.account == account, builds.c.region == region, builds.c.project == project
    )
    return conn.execute(query).scalar() or 0


def unfinished(conn: sa.Connection) -> list[str]:
    """The ids of all builds that are not complete, of every account."""
    return list(conn.execute(sa.select(builds.c.id).where(builds.c.complete.is_(False))).scalars())


def find_token(conn: sa.Connection, account: str, region: str, operation: str, token: str) -> sa.Row[Any] | None:
    """What an idempotency token stands for."""
    return conn.execute(
        sa.select(tokens).where(
            tokens.c.account == account,
            tokens.c.region == region,
            tokens.c.operation == operation,
            tokens.c.token == token,
        )
    ).first()


def put_token(conn: sa.Connection, row: Mapping[str, Any], *, now: int) -> None:
    """Keep a token in place of the same one, whose build may be gone; those that ran out go."""
    same = sa.and_(*(tokens.c[name] == row[name] for name in ("account", "region", "operation", "token")))
    conn.execute(tokens.delete().where(same | (tokens.c.expires <= now)))
    conn.execute(tokens.insert(), dict(row))
