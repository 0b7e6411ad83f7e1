"""Tables and statements of repositories."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from penstock.store.schema import Json, metadata

repositories = sa.Table(
    "repositories",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("account", sa.String(12), nullable=False),
    sa.Column("region", sa.String(32), nullable=False),
    sa.Column("name", sa.String(100), nullable=False),
    sa.Column("description", sa.Text),
    sa.Column("default_branch", sa.Text),  # short name; NULL until the first push
    sa.Column("tags", Json, nullable=False),  # {key: value}
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.Column("modified", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("account", "region", "name"),
)
references = sa.Table(
    "repository_references",
    metadata,
    sa.Column("repository", sa.String(36), primary_key=True),
    sa.Column("name", sa.String(512), primary_key=True),  # in full, such as refs/heads/main
    sa.Column("account", sa.String(12), nullable=False),
    sa.Column("region", sa.String(32), nullable=False),
    sa.Column("object", sa.String(40), nullable=False),  # what it points to: a commit, or a tag's own object
    sa.Column("commit", sa.String(40), nullable=False),  # what that leads to; the object itself where that is no commit
)
intents = sa.Table(  # of changes to a repository's references that may be under way, or were when the process died
    "repository_intents",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("repository", sa.String(36), nullable=False, index=True),
    sa.Column("account", sa.String(12), nullable=False),
    sa.Column("region", sa.String(32), nullable=False),
    sa.Column("caller", sa.Text, nullable=False),  # ARN
    sa.Column("at", sa.BigInteger, nullable=False),
)

Row = sa.Row[Any]


def find(conn: sa.Connection, account: str, region: str, name: str) -> Any:
    """A repository's row by name, or None."""
    return conn.execute(
        sa.select(repositories).where(
            repositories.c.account == account, repositories.c.region == region, repositories.c.name == name
        )
    ).first()


def by_id(conn: sa.Connection, repository_id: str, *, lock: bool = False) -> Any:
    """A repository's row, or None."""
    query = sa.select(repositories).where(repositories.c.id == repository_id)
    return conn.execute(query.with_for_update() if lock else query).first()


def reference(conn: sa.Connection, repository_id: str, name: str) -> Any:
    """A reference's row by its full name, or None."""
    return conn.execute(
        sa.select(references).where(references.c.repository == repository_id, references.c.name == name)
    ).first()


def open_intents(conn: sa.Connection, repository_id: str | None = None) -> list[Any]:
    """Intents that were not settled, of one repository or of all, the oldest first."""
    query = sa.select(intents).order_by(intents.c.at, intents.c.id)
    if repository_id is not None:
        query = query.where(intents.c.repository == repository_id)
    return list(conn.execute(query).all())
