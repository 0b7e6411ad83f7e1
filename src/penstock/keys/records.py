"""Tables and statements of keys.

A key's material is a row of its own for each rotation, sealed under the installation's master key; none is ever changed, and all go with
their key when its deletion is due.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from penstock.store.schema import Json, metadata, sealed
from penstock.store.statement import Statement
from penstock.store.upsert import upsert

keys = sa.Table(
    "kms_keys",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),  # a UUID, or mrk-…
    sa.Column("account", sa.String(12), nullable=False),
    sa.Column("region", sa.String(32), nullable=False),
    sa.Column("arn", sa.String(256), nullable=False),
    sa.Column("state", sa.String(20), nullable=False),  # Enabled Disabled PendingDeletion
    sa.Column("manager", sa.String(32), nullable=False),  # "", or the service of an AWS managed key, such as "s3"
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("usage", sa.String(32), nullable=False),  # ENCRYPT_DECRYPT …
    sa.Column("spec", sa.String(32), nullable=False),  # SYMMETRIC_DEFAULT …
    sa.Column("material", sa.Integer, nullable=False),  # number of the one that encrypts
    sa.Column("tags", Json, nullable=False),  # {key: value}
    sa.Column("policy", sa.Text, nullable=False),
    sa.Column("policy_ids", Json, nullable=False),  # {ARN that the policy names: its id when it was put}
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.Column("deletion", sa.BigInteger),  # ms, of a key that is pending deletion
    sa.Column("rotation_days", sa.Integer),  # between rotations, of a key that is rotated by itself
    sa.Column("rotation_due", sa.BigInteger),  # ms, of its next rotation
    sa.Index("ix_kms_keys_place", "account", "region", "id"),
)


def context_of(key_id: str, number: int) -> str:
    """For what a material is sealed."""
    return f"kms/{key_id}/{number}"


materials = sa.Table(
    "kms_materials",
    metadata,
    sa.Column("key", sa.String(36), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("id", sa.String(64), nullable=False),  # hexadecimal, as answers show it
    sa.Column("account", sa.String(12), nullable=False),
    sa.Column("sealed", sa.LargeBinary, nullable=False, info=sealed(lambda row: context_of(row.key, row.number))),
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.Column("rotation", sa.String(16)),  # AUTOMATIC or ON_DEMAND; none of a key's first
)
grants = sa.Table(
    "kms_grants",
    metadata,
    sa.Column("key", sa.String(36), primary_key=True),
    sa.Column("id", sa.String(64), primary_key=True),  # hexadecimal
    sa.Column("account", sa.String(12), nullable=False),  # that issued it
    sa.Column("region", sa.String(32), nullable=False),
    sa.Column("arn", sa.String(256), nullable=False),  # of the key
    sa.Column("name", sa.String(256), nullable=False),
    sa.Column("grantee", sa.String(256), nullable=False),  # ARN, or the principal of a service
    sa.Column("retiring", sa.String(256), nullable=False),  # ARN, the principal of a service, or ""
    sa.Column("ids", Json, nullable=False),  # {ARN of a user or role in it: its id when it was granted}
    sa.Column("operations", Json, nullable=False),
    sa.Column("constraints", Json, nullable=False),  # as in CreateGrant
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.Index("ix_kms_grants_grantee", "key", "grantee"),
    sa.Index("ix_kms_grants_retiring", "retiring", "region", "id"),
)
aliases = sa.Table(
    "kms_aliases",
    metadata,
    sa.Column("account", sa.String(12), primary_key=True),
    sa.Column("region", sa.String(32), primary_key=True),
    sa.Column("name", sa.String(256), primary_key=True),  # alias/…
    sa.Column("key", sa.String(36), nullable=False, index=True),
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.Column("updated", sa.BigInteger, nullable=False),
)

_KEY = Statement(sa.select(keys).where(keys.c.id == sa.bindparam("i")))
_BY_ALIAS = Statement(
    sa.select(keys)
    .join(aliases, aliases.c.key == keys.c.id)
    .where(
        aliases.c.account == sa.bindparam("a"),
        aliases.c.region == sa.bindparam("r"),
        aliases.c.name == sa.bindparam("n"),
    )
)
_MATERIAL = Statement(
    sa.select(materials).where(materials.c.key == sa.bindparam("k"), materials.c.number == sa.bindparam("n"))
)
_GRANTS_TO = Statement(
    sa.select(grants).where(grants.c.key == sa.bindparam("k"), grants.c.grantee == sa.bindparam("g"))
)
_ALIASES_OF = sa.select(aliases.c.name).where(aliases.c.key == sa.bindparam("k"))


def key(conn: sa.Connection, key_id: str) -> Any:
    """A key by its id, or None."""
    return _KEY.first(conn, {"i": key_id})


def managed_unrotated(conn: sa.Connection, limit: int) -> list[Any]:
    """AWS managed keys whose rotation nobody has planned, locked; up to `limit`."""
    where = (keys.c.manager != "", keys.c.rotation_due.is_(None))
    return list(conn.execute(sa.select(keys).where(*where).order_by(keys.c.id).limit(limit).with_for_update()))


def by_alias(conn: sa.Connection, account: str, region: str, name: str) -> Any:
    """The key that an alias stands for, or None."""
    return _BY_ALIAS.first(conn, {"a": account, "r": region, "n": name})


def material(conn: sa.Connection, key_id: str, number: int) -> Any:
    """The material of a key that was made with a rotation, or None."""
    return _MATERIAL.first(conn, {"k": key_id, "n": number})


def locked(conn: sa.Connection, key_id: str) -> Any:
    """A key that this transaction changes, or None."""
    return conn.execute(sa.select(keys).where(keys.c.id == key_id).with_for_update()).first()


def change(conn: sa.Connection, key_id: str, **values: Any) -> None:
    """Change a key."""
    conn.execute(keys.update().where(keys.c.id == key_id).values(values))


def page_of_keys(conn: sa.Connection, account: str, region: str, after: str, limit: int) -> list[Any]:
    """Keys of a place by id."""
    found = sa.select(keys.c.id, keys.c.arn).where(
        keys.c.account == account, keys.c.region == region, keys.c.id > after
    )
    return list(conn.execute(found.order_by(keys.c.id).limit(limit)).all())


def page_of_aliases(
    conn: sa.Connection, account: str, region: str, *, key_id: str | None, after: str, limit: int
) -> list[Any]:
    """Aliases of a place by name, or those of one key."""
    c = aliases.c
    found = sa.select(aliases).where(c.account == account, c.region == region, c.name > after)
    if key_id is not None:
        found = found.where(c.key == key_id)
    return list(conn.execute(found.order_by(c.name).limit(limit)).all())


def alias(conn: sa.Connection, account: str, region: str, name: str) -> Any:
    """An alias by name, or None."""
    c = aliases.c
    return conn.execute(sa.select(aliases).where(c.account == account, c.region == region, c.name == name)).first()


def insert_alias(conn: sa.Connection, *, account: str, region: str, name: str, key: str, now: int) -> bool:
    """Write a new alias. False when there is one of its name, which stays."""
    row = {"account": account, "region": region, "name": name, "key": key, "created": now, "updated": now}
    return upsert(conn, aliases, row)


def count(conn: sa.Connection, account: str, region: str) -> int:
    """How many keys a place has."""
    found = sa.select(sa.func.count()).select_from(keys).where(keys.c.account == account, keys.c.region == region)
    return conn.execute(found).scalar_one()


def move_alias(conn: sa.Connection, account: str, region: str, name: str, *, key: str, now: int) -> None:
    """Let an alias stand for another key."""
    c = aliases.c
    this = (c.account == account) & (c.region == region) & (c.name == name)
    conn.execute(aliases.update().where(this).values(key=key, updated=now))


def delete_alias(conn: sa.Connection, account: str, region: str, name: str) -> None:
    """Forget an alias."""
    c = aliases.c
    conn.execute(aliases.delete().where(c.account == account, c.region == region, c.name == name))


def alias_names(conn: sa.Connection, key_id: str) -> list[str]:
    """Names of a key's aliases."""
    return list(conn.execute(_ALIASES_OF, {"k": key_id}).scalars())


def page_of_materials(conn: sa.Connection, key_id: str, *, first: int, after: int, limit: int) -> list[Any]:
    """Materials of a key in the order in which they were made, from the number `first` on."""
    c = materials.c
    found = sa.select(c.number, c.id, c.created, c.rotation).where(c.key == key_id, c.number >= first, c.number > after)
    return list(conn.execute(found.order_by(c.number).limit(limit)).all())


def count_rotations(conn: sa.Connection, key_id: str, rotation: str) -> int:
    """How many rotations of a kind a key has had."""
    c = materials.c
    found = sa.select(sa.func.count()).select_from(materials).where(c.key == key_id, c.rotation == rotation)
    return conn.execute(found).scalar_one()


def grant(conn: sa.Connection, key_id: str, grant_id: str) -> Any:
    """A grant of a key, or None."""
    return conn.execute(sa.select(grants).where(grants.c.key == key_id, grants.c.id == grant_id)).first()


def grants_to(conn: sa.Connection, key_id: str, grantees: Iterable[str]) -> list[Any]:
    """The grants of a key for principals."""
    return [row for grantee in grantees for row in _GRANTS_TO.all(conn, {"k": key_id, "g": grantee})]


def count_grants(conn: sa.Connection, key_id: str) -> int:
    """How many grants a key has."""
    found = sa.select(sa.func.count()).select_from(grants).where(grants.c.key == key_id)
    return conn.execute(found).scalar_one()


def insert_grant(conn: sa.Connection, **values: Any) -> None:
    """Write a new grant."""
    conn.execute(grants.insert().values(values))


def delete_grant(conn: sa.Connection, key_id: str, grant_id: str) -> bool:
    """Forget a grant; whether there was one."""
    return conn.execute(grants.delete().where(grants.c.key == key_id, grants.c.id == grant_id)).rowcount > 0


def page_of_grants(conn: sa.Connection, key_id: str, *, after: str, limit: int, **only: str) -> list[Any]:
    """Grants of a key by id; those whose columns are as `only` says."""
    found = sa.select(grants).where(grants.c.key == key_id, grants.c.id > after)
    for column, value in only.items():
        found = found.where(grants.c[column] == value)
    return list(conn.execute(found.order_by(grants.c.id).limit(limit)).all())


def page_of_retirable(
    conn: sa.Connection, retiring: str, region: str, *, after: str, limit: int, issuer: str | None
) -> list[Any]:
    """Grants of any keys of a region that a principal may retire, by id; those that an account has issued."""
    c = grants.c
    found = sa.select(grants).where(c.retiring == retiring, c.region == region, c.id > after)
    if issuer is not None:
        found = found.where(c.account == issuer)
    return list(conn.execute(found.order_by(c.id).limit(limit)).all())


def delete(conn: sa.Connection, key_id: str) -> None:
    """Forget a key with everything of it. What it has encrypted can never be read again."""
    conn.execute(grants.delete().where(grants.c.key == key_id))
    conn.execute(aliases.delete().where(aliases.c.key == key_id))
    conn.execute(materials.delete().where(materials.c.key == key_id))
    conn.execute(keys.delete().where(keys.c.id == key_id))
