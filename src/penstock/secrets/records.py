"""Tables and statements of secrets.

A secret's row is what is said of it; each version is a row of its own, of which nothing but the stages ever changes, and what its value is sealed under.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from penstock.secrets.engine import Kept, Stages
from penstock.secrets.names import Asked
from penstock.secrets.rotation import Rotation
from penstock.store.codec import Codec
from penstock.store.keysets import rows_behind
from penstock.store.schema import Json, metadata
from penstock.store.statement import Statement
from penstock.store.upsert import upsert

Place = tuple[str, str]
"""Account and region."""

ROTATIONS = Codec("the rotation of a secret", Rotation)

secrets = sa.Table(
    "secrets",
    metadata,
    sa.Column("account", sa.String(12), primary_key=True),
    sa.Column("region", sa.String(32), primary_key=True),
    sa.Column("name", sa.String(512), primary_key=True),
    sa.Column("suffix", sa.String(6), nullable=False),  # of its ARN
    sa.Column("token", sa.String(64), nullable=False),  # ClientRequestToken of its creation, or ""
    sa.Column("description", sa.Text),
    sa.Column("key", sa.Text),  # as it was named; None: the service's own
    sa.Column("tags", Json),  # {key: value}; None: never set
    sa.Column("policy", sa.Text),
    sa.Column("policy_ids", Json, nullable=False),  # of whom the policy names
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.Column("changed", sa.BigInteger, nullable=False),
    sa.Column("accessed", sa.BigInteger, nullable=False),  # the day on which its value was last read; 0: never
    sa.Column("deletion", sa.BigInteger),  # when it goes
    sa.Column("rotation", Json),  # of ROTATIONS; None: never configured
    # When the last rotation was given up or missed; None after one that succeeded.
    sa.Column("rotation_failed", sa.BigInteger),
    sa.Index("ix_secrets_created", "account", "region", "created", "name"),
    sa.Index("ix_secrets_changed", "account", "region", "changed", "name"),
    sa.Index("ix_secrets_accessed", "account", "region", "accessed", "name"),
)
versions = sa.Table(
    "secret_versions",
    metadata,
    sa.Column("account", sa.String(12), primary_key=True),
    sa.Column("region", sa.String(32), primary_key=True),
    sa.Column("name", sa.String(512), primary_key=True),
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("number", sa.Integer, nullable=False),  # their order
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.Column("stages", Json, nullable=False),  # [label]
    sa.Column("key", sa.Text),  # of its value, as the secret named it then
    sa.Column("binary", sa.Boolean, nullable=False),
    # See penstock.envelopes; empty: a rotation has yet to give it one.
    sa.Column("value", sa.LargeBinary, nullable=False),
)

_LISTED = [column for column in secrets.c if column.name not in ("token", "policy", "policy_ids")]
_SECRET = Statement(
    sa.select(secrets).where(
        secrets.c.account == sa.bindparam("a"),
        secrets.c.region == sa.bindparam("r"),
        secrets.c.name == sa.bindparam("n"),
    )
)


def _where(table: sa.Table, row: Any) -> sa.ColumnElement[bool]:
    """Of the same secret as a row."""
    c = table.c
    return sa.and_(c.account == row.account, c.region == row.region, c.name == row.name)


def secret(conn: sa.Connection, place: Place, name: str) -> Any:
    """A secret by its name, or None."""
    return _SECRET.first(conn, {"a": place[0], "r": place[1], "n": name})


def find(conn: sa.Connection, asked: Asked) -> Any:
    """The secret that a request means, or None."""
    for name, suffix in asked.candidates:
        row = secret(conn, (asked.account, asked.region), name)
        if row is not None and suffix in ("", row.suffix):
            return row
    return None


def locked(conn: sa.Connection, row: Any) -> Any:
    """A secret that this transaction changes, or None when it is gone, or another one of its name."""
    this = _where(secrets, row) & (secrets.c.suffix == row.suffix)
    return conn.execute(sa.select(secrets).where(this).with_for_update()).first()


def rotation(row: Any) -> Rotation | None:
    """How a secret is rotated, or None. Raises UnknownForm."""
    return None if row.rotation is None else ROTATIONS.load(row.rotation)


def dedup(row: Any, what: int) -> str:
    """What keeps a job about a secret from being put twice. A name is as long as the column, so its digest stands for it."""
    digest = hashlib.sha256(row.name.encode()).hexdigest()
    return f"{row.account}/{row.region}/{digest}/{row.suffix}/{what}"


def insert(conn: sa.Connection, **values: Any) -> bool:
    """Write a new secret. False when there is one of its name, which stays."""
    return upsert(conn, secrets, values)


def change(conn: sa.Connection, row: Any, **values: Any) -> None:
    """Change a secret."""
    conn.execute(secrets.update().where(_where(secrets, row)).values(values))


def delete(conn: sa.Connection, row: Any) -> None:
    """Forget a secret with all its versions."""
    conn.execute(versions.delete().where(_where(versions, row)))
    conn.execute(secrets.delete().where(_where(secrets, row)))


def page(
    conn: sa.Connection, place: Place, order: str, *, after: Sequence[Any] | None, limit: int, descending: bool
) -> list[Any]:
    """Secrets of a place in the order of a column, and of their names where that is the same."""
    c = secrets.c
    keys = [c.name] if order == "name" else [c[order], c.name]
    query = sa.select(*_LISTED).where(c.account == place[0], c.region == place[1])
    return list(conn.execute(rows_behind(query, keys, after, limit=limit, descending=descending)).all())


# --- versions ---------------------------------------------------------------------------------------------------------


def version(conn: sa.Connection, row: Any, version_id: str) -> Any:
    """A version of a secret, or None."""
    return conn.execute(sa.select(versions).where(_where(versions, row), versions.c.id == version_id)).first()


def kept(conn: sa.Connection, row: Any) -> list[Kept]:
    """The versions of a secret without their values, the oldest first."""
    c = versions.c
    found = (
        sa.select(c.id, c.created, c.stages, sa.func.length(c.value) == 0)
        .where(_where(versions, row))
        .order_by(c.number)
    )
    return [Kept(*one) for one in conn.execute(found)]


def stages(conn: sa.Connection, rows: Sequence[Any]) -> dict[str, dict[str, list[str]]]:
    """Which versions have stages, of each of some secrets of one account and region by its name, the oldest first."""
    c = versions.c
    found: dict[str, dict[str, list[str]]] = {row.name: {} for row in rows}
    if not rows:
        return found
    of_them = sa.and_(c.account == rows[0].account, c.region == rows[0].region, c.name.in_(list(found)))
    query = sa.select(c.name, c.id, c.stages).where(of_them, c.stages != [])
    for name, version_id, of_it in conn.execute(query.order_by(c.number)):
        found[name][version_id] = of_it
    return found


def page_of_versions(conn: sa.Connection, row: Any, *, after: int | None, limit: int) -> list[Any]:
    """Versions of a secret without their values, the latest first."""
    c = versions.c
    query = sa.select(c.id, c.number, c.created, c.stages, c.key).where(_where(versions, row))
    keyset = None if after is None else (after,)
    return list(conn.execute(rows_behind(query, [c.number], keyset, limit=limit, descending=True)).all())


def insert_version(conn: sa.Connection, row: Any, **values: Any) -> None:
    """Write a new version, behind all others."""
    c = versions.c
    last = sa.select(sa.func.max(c.number)).where(_where(versions, row))
    number = (conn.execute(last).scalar() or 0) + 1
    of_it = {"account": row.account, "region": row.region, "name": row.name, "number": number}
    conn.execute(versions.insert().values({**of_it, **values}))


def change_version(conn: sa.Connection, row: Any, version_id: str, **values: Any) -> None:
    """Give a version other stages, seal its value under another key, or give one its value that had none."""
    conn.execute(versions.update().where(_where(versions, row), versions.c.id == version_id).values(values))


def change_stages(conn: sa.Connection, row: Any, before: Stages, after: Stages) -> None:
    """Give the versions that there were before the stages that they have after."""
    for version_id, stages in before.items():
        if list(stages) != list(after[version_id]):
            change_version(conn, row, version_id, stages=list(after[version_id]))


def delete_versions(conn: sa.Connection, row: Any, ids: Sequence[str]) -> None:
    """Forget versions."""
    conn.execute(versions.delete().where(_where(versions, row), versions.c.id.in_(ids)))
