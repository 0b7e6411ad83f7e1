"""Tables and statements of keys.

A key's material is a row of its own for each rotation, sealed under the installation's master key; none is ever changed, and all go with
their key when its deletion is due.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from penstock.store.schema import Json, metadata
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
    sa.Column("manager", sa.String(12), nullable=False),  # "", or the service of an AWS managed key, such as "s3"
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("usage", sa.String(32), nullable=False),  # ENCRYPT_DECRYPT …
    sa.Column("spec", sa.String(32), nullable=False),  # SYMMETRIC_DEFAULT …
    sa.Column("material", sa.Integer, nullable=False),  # number of the one that encrypts
    sa.Column("tags", Json, nullable=False),  # {key: value}
    sa.Column("policy", sa.Text, nullable=False),
    sa.Column("policy_ids", Json, nullable=False),  # {ARN that the policy names: its id when it was put}
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.Column("deletion", sa.BigInteger),  # ms, of a key that is pending deletion
    sa.Index("ix_kms_keys_place", "account", "region", "id"),
)
materials = sa.Table(
    "kms_materials",
    metadata,
    sa.Column("key", sa.String(36), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("id", sa.String(64), nullable=False),  # hexadecimal, as answers show it
    sa.Column("account", sa.String(12), nullable=False),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
    sa.Column("created", sa.BigInteger, nullable=False),
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
_ALIASES_OF = sa.select(aliases.c.name).where(aliases.c.key == sa.bindparam("k"))


def key(conn: sa.Connection, key_id: str) -> Any:
    """A key by its id, or None."""
    return _KEY.first(conn, {"i": key_id})


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


def delete(conn: sa.Connection, key_id: str) -> None:
    """Forget a key with everything of it. What it has encrypted can never be read again."""
    conn.execute(aliases.delete().where(aliases.c.key == key_id))
    conn.execute(materials.delete().where(materials.c.key == key_id))
    conn.execute(keys.delete().where(keys.c.id == key_id))
