"""Tables and statements of parameters.

A parameter's row is what it is now, without the value; each version is a row of its own, which is never changed but for its labels.
Both are found by the path of the ARN: `a` and `/a` would have the same one, so there is only one of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from penstock.store.schema import Json, metadata
from penstock.store.statement import Statement
from penstock.store.upsert import upsert

Place = tuple[str, str]
"""Account and region."""


def _described() -> tuple[sa.Column[Any], ...]:
    """What both tables say of a parameter."""
    return (
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("type", sa.String(16), nullable=False),  # String StringList SecureString
        sa.Column("tier", sa.String(16), nullable=False),  # Standard Advanced
        sa.Column("key", sa.String(256), nullable=False),  # as it was named, of a SecureString; else ""
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("pattern", sa.Text, nullable=False),  # what values must match, or ""
        sa.Column("modified", sa.BigInteger, nullable=False),
        sa.Column("by", sa.Text, nullable=False),  # ARN of who wrote it
    )


parameters = sa.Table(
    "ssm_parameters",
    metadata,
    sa.Column("account", sa.String(12), primary_key=True),
    sa.Column("region", sa.String(32), primary_key=True),
    sa.Column("path", sa.String(1011), primary_key=True),  # of its ARN: the name without the slash before it
    sa.Column("name", sa.String(1012), nullable=False),
    *_described(),
    sa.Column("tags", Json, nullable=False),  # {key: value}
)
versions = sa.Table(
    "ssm_parameter_versions",
    metadata,
    sa.Column("account", sa.String(12), primary_key=True),
    sa.Column("region", sa.String(32), primary_key=True),
    sa.Column("path", sa.String(1011), primary_key=True),
    *(
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False) if column.name == "version" else column
        for column in _described()
    ),
    sa.Column("value", sa.Text, nullable=False),  # of a SecureString: the ciphertext in base64
    sa.Column("labels", Json, nullable=False),  # [label]
)


def _at(table: sa.Table) -> sa.ColumnElement[bool]:
    c = table.c
    return sa.and_(
        c.account == sa.bindparam("a"), c.region == sa.bindparam("r"), c.path == sa.bindparam("p")
    )  # fmt: skip


_PARAMETER = Statement(sa.select(parameters).where(_at(parameters)))
_VERSION = Statement(sa.select(versions).where(_at(versions), versions.c.version == sa.bindparam("v")))


def _where(table: sa.Table, place: Place, path: str) -> sa.ColumnElement[bool]:
    c = table.c
    return sa.and_(c.account == place[0], c.region == place[1], c.path == path)


def parameter(conn: sa.Connection, place: Place, path: str) -> Any:
    """A parameter, or None."""
    return _PARAMETER.first(conn, {"a": place[0], "r": place[1], "p": path})


def locked(conn: sa.Connection, place: Place, path: str) -> Any:
    """A parameter that this transaction changes, or None."""
    return conn.execute(sa.select(parameters).where(_where(parameters, place, path)).with_for_update()).first()


def version(conn: sa.Connection, place: Place, path: str, number: int) -> Any:
    """A version of a parameter, or None."""
    return _VERSION.first(conn, {"a": place[0], "r": place[1], "p": path, "v": number})


def labels(conn: sa.Connection, place: Place, path: str) -> dict[int, list[str]]:
    """The labels of each version that a parameter still has, the oldest first."""
    c = versions.c
    found = sa.select(c.version, c.labels).where(_where(versions, place, path)).order_by(c.version)
    return {row.version: row.labels for row in conn.execute(found)}


def history(conn: sa.Connection, place: Place, path: str, *, after: int, limit: int) -> list[Any]:
    """Versions of a parameter, the oldest first."""
    c = versions.c
    found = sa.select(versions).where(_where(versions, place, path), c.version > after)
    return list(conn.execute(found.order_by(c.version).limit(limit)).all())


def page(
    conn: sa.Connection, place: Place, *, after: str, limit: int, prefix: str = "", paths: Sequence[str] | None = None
) -> list[Any]:
    """Parameters of a place by path, with a beginning of it, or of certain paths."""
    c = parameters.c
    found = sa.select(parameters).where(c.account == place[0], c.region == place[1], c.path > after)
    if prefix:  # names are ASCII and have none of the last character
        found = found.where(c.path >= prefix, c.path < prefix + "\x7f")
    if paths is not None:
        found = found.where(c.path.in_(paths))
    return list(conn.execute(found.order_by(c.path).limit(limit)).all())


def count(conn: sa.Connection, place: Place, tier: str) -> int:
    """How many parameters of a tier a place has."""
    c = parameters.c
    found = sa.select(sa.func.count()).where(c.account == place[0], c.region == place[1], c.tier == tier)
    return conn.execute(found).scalar_one()


def insert(conn: sa.Connection, place: Place, path: str, **values: Any) -> bool:
    """Write a new parameter. False when there is one of its path, which stays."""
    return upsert(conn, parameters, {"account": place[0], "region": place[1], "path": path, **values})


def change(conn: sa.Connection, place: Place, path: str, **values: Any) -> None:
    """Change a parameter."""
    conn.execute(parameters.update().where(_where(parameters, place, path)).values(values))


def insert_version(conn: sa.Connection, place: Place, path: str, **values: Any) -> None:
    """Write a new version."""
    row = {"account": place[0], "region": place[1], "path": path, "labels": [], **values}
    conn.execute(versions.insert().values(row))


def set_labels(conn: sa.Connection, place: Place, path: str, number: int, labels: list[str]) -> None:
    """Give a version other labels."""
    this = _where(versions, place, path) & (versions.c.version == number)
    conn.execute(versions.update().where(this).values(labels=labels))


def delete_version(conn: sa.Connection, place: Place, path: str, number: int) -> None:
    """Forget a version."""
    conn.execute(versions.delete().where(_where(versions, place, path), versions.c.version == number))


def delete(conn: sa.Connection, place: Place, path: str) -> bool:
    """Forget a parameter with all its versions. False when there is none."""
    conn.execute(versions.delete().where(_where(versions, place, path)))
    return conn.execute(parameters.delete().where(_where(parameters, place, path))).rowcount > 0
