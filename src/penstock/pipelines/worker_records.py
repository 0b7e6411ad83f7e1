"""Tables of what outside workers run: action types of accounts, the secrets of their actions, who works for whom, and revisions that were put.

Times are milliseconds UTC.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any

import sqlalchemy as sa

from penstock.pipelines.model import ActionTypeId, Key
from penstock.store.schema import Json, metadata, sealed
from penstock.store.statement import Statement
from penstock.store.upsert import upsert

action_types = sa.Table(
    "pipeline_action_types",
    metadata,
    sa.Column("account", sa.String(12), primary_key=True),  # whose type it is
    sa.Column("region", sa.String(32), primary_key=True),
    sa.Column("category", sa.String(16), primary_key=True),
    sa.Column("owner", sa.String(16), primary_key=True),
    sa.Column("provider", sa.String(35), primary_key=True),
    sa.Column("version", sa.String(9), primary_key=True),
    # As it was given: of owner Custom the input of CreateCustomActionType, of others the shape ActionTypeDeclaration.
    sa.Column("definition", Json, nullable=False),
    sa.Column("tags", Json, nullable=False),
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.Column("updated", sa.BigInteger, nullable=False),
    sa.Column("deleted", sa.BigInteger),  # ms; pipelines that name it keep it
    sa.Index(None, "region", "owner", "category", "provider", "version"),
)


def secret_context(row: Any) -> str:
    """For what a secret value of a configuration is sealed. `row` has the columns of its key."""
    return f"secret of pipeline {row.pipeline_id}/{row.version}/{row.stage}/{row.action}/{row.name}"


secrets = sa.Table(
    "pipeline_secrets",
    metadata,
    sa.Column("pipeline_id", sa.String(36), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),  # of the pipeline
    sa.Column("stage", sa.String(100), primary_key=True),
    sa.Column("action", sa.String(100), primary_key=True),
    sa.Column("name", sa.String(50), primary_key=True),  # of the configuration property
    sa.Column("account", sa.String(12), nullable=False),
    sa.Column("region", sa.String(32), nullable=False),
    sa.Column("value", sa.LargeBinary, nullable=False, info=sealed(secret_context)),
)


def token_context(client_id: str) -> str:
    """For what the token of a partner's client is sealed."""
    return f"token of action type client {client_id}"


clients = sa.Table(
    "pipeline_action_clients",
    metadata,
    sa.Column("account", sa.String(12), primary_key=True),  # whose pipelines use the type
    sa.Column("region", sa.String(32), primary_key=True),
    sa.Column("category", sa.String(16), primary_key=True),
    sa.Column("owner", sa.String(16), primary_key=True),
    sa.Column("provider", sa.String(35), primary_key=True),
    sa.Column("version", sa.String(9), primary_key=True),
    sa.Column("id", sa.String(36), nullable=False, unique=True),
    sa.Column("token", sa.LargeBinary, nullable=False, info=sealed(lambda row: token_context(row.id))),
    sa.Column("created", sa.BigInteger, nullable=False),
)

revisions = sa.Table(
    "pipeline_put_revisions",
    metadata,
    sa.Column("pipeline_id", sa.String(36), primary_key=True),
    sa.Column("action", sa.String(100), primary_key=True),
    sa.Column("digest", sa.String(64), primary_key=True),  # see `revision_digest`
    sa.Column("account", sa.String(12), nullable=False),
    sa.Column("region", sa.String(32), nullable=False),
    sa.Column("execution_id", sa.String(36), nullable=False),  # that it started
    sa.Column("put", sa.BigInteger, nullable=False, index=True),
)

_t = action_types.c
_NAMED = (
    (_t.region == sa.bindparam("region"))
    & (_t.owner == sa.bindparam("owner"))
    & (_t.category == sa.bindparam("category"))
    & (_t.provider == sa.bindparam("provider"))
    & (_t.version == sa.bindparam("version"))
)
_OWN = Statement(sa.select(action_types).where(_NAMED, _t.account == sa.bindparam("account")))
_OWN_LOCKED = Statement(sa.select(action_types).where(_NAMED, _t.account == sa.bindparam("account")).with_for_update())
_ANYBODYS = Statement(sa.select(action_types).where(_NAMED).order_by(_t.account))


def _key(region: str, id: ActionTypeId) -> dict[str, str]:
    return {"region": region, **id.as_output()}


def find_own(conn: sa.Connection, account: str, region: str, id: ActionTypeId, *, lock: bool = False) -> Any:
    """The row of an account's own action type, deleted or not; None without one."""
    return (_OWN_LOCKED if lock else _OWN).first(conn, {"account": account, **_key(region, id)})


def find_anybodys(conn: sa.Connection, region: str, id: ActionTypeId) -> list[Any]:
    """The rows of an action type, whichever accounts have it."""
    return _ANYBODYS.all(conn, _key(region, id))


_HERE = Statement(
    sa.select(action_types)
    .where(_t.region == sa.bindparam("region"), _t.deleted.is_(None))
    .where((_t.account == sa.bindparam("account")) | (_t.owner != "Custom"))
    .order_by(_t.category, _t.owner, _t.provider, _t.version, _t.account)
)
_COUNT = Statement(
    sa.select(sa.func.count(), sa.func.count(_t.deleted)).where(
        _t.account == sa.bindparam("account"), _t.region == sa.bindparam("region"), _t.owner == "Custom"
    )
)


def all_here(conn: sa.Connection, account: str, region: str) -> list[Any]:
    """The rows of an account's own action types, and of all partners', without deleted ones."""
    return _HERE.all(conn, {"account": account, "region": region})


_OTHERS = Statement(
    sa.select(sa.func.count()).where(
        _t.account == sa.bindparam("account"), _t.region == sa.bindparam("region"), _t.owner != "Custom"
    )
)


def count_others(conn: sa.Connection, account: str, region: str) -> int:
    """How many action types of other owners than Custom an account has, with those that it has deleted."""
    return _OTHERS.first(conn, {"account": account, "region": region})[0]


def count_custom(conn: sa.Connection, account: str, region: str) -> tuple[int, int]:
    """How many custom action types an account has, and how many it has deleted."""
    count, deleted = _COUNT.first(conn, {"account": account, "region": region})
    return count - deleted, deleted


def put(conn: sa.Connection, account: str, region: str, id: ActionTypeId, *, now: int, **values: Any) -> None:
    """Make an action type, or give the one of these names other values."""
    key = {"account": account, **_key(region, id)}
    upsert(
        conn, action_types, {**key, "tags": {}, **values, "created": now, "updated": now}, {**values, "updated": now}
    )


_c = clients.c
_CLIENT = Statement(
    sa.select(clients).where(
        _c.account == sa.bindparam("account"),
        _c.region == sa.bindparam("region"),
        _c.category == sa.bindparam("category"),
        _c.owner == sa.bindparam("owner"),
        _c.provider == sa.bindparam("provider"),
        _c.version == sa.bindparam("version"),
    )
)


def find_client(conn: sa.Connection, account: str, region: str, id: ActionTypeId) -> Any:
    """By what the provider of a type knows an account's jobs; None before it was asked for."""
    return _CLIENT.first(conn, {"account": account, **_key(region, id)})


def put_client(
    conn: sa.Connection, account: str, region: str, id: ActionTypeId, *, client: str, token: bytes, now: int
) -> Any:
    """Keep such a pair, unless there is one; the row that is there."""
    upsert(conn, clients, {"account": account, **_key(region, id), "id": client, "token": token, "created": now})
    return find_client(conn, account, region, id)


_TAGS = Statement(
    action_types.update().where(_NAMED, _t.account == sa.bindparam("account")).values(tags=sa.bindparam("t"))
)


def set_tags(conn: sa.Connection, account: str, region: str, id: ActionTypeId, tags: Mapping[str, str]) -> None:
    """Give an action type other tags."""
    _TAGS.later(conn, {"account": account, **_key(region, id), "t": dict(tags)})


def revision_digest(revision_id: str, change_id: str) -> str:
    """The same for the same change to the same revision: going back to an earlier revision is a change of its own."""
    return sha256(f"{len(revision_id)}:{revision_id}{change_id}".encode()).hexdigest()


_r = revisions.c
_REVISION = Statement(
    sa.select(_r.execution_id).where(
        _r.pipeline_id == sa.bindparam("i"), _r.action == sa.bindparam("a"), _r.digest == sa.bindparam("d")
    )
)


def put_revision(conn: sa.Connection, pipeline_id: str, action: str, digest: str) -> str | None:
    """The execution that a revision has started when it was put before; None when it was not."""
    row = _REVISION.first(conn, {"i": pipeline_id, "a": action, "d": digest})
    return None if row is None else row.execution_id


def note_revision(conn: sa.Connection, key: Key, action: str, digest: str, *, execution: str, now: int) -> None:
    """Remember what a revision has started. `key` is that of the pipeline, with its id."""
    row = {"pipeline_id": key.id, "action": action, "digest": digest, "account": key.account, "region": key.region}
    conn.execute(revisions.insert(), {**row, "execution_id": execution, "put": now})


_s = secrets.c
_OF_ACTION = (
    (_s.pipeline_id == sa.bindparam("i"))
    & (_s.version == sa.bindparam("v"))
    & (_s.stage == sa.bindparam("s"))
    & (_s.action == sa.bindparam("a"))
)
_SECRETS = Statement(sa.select(secrets).where(_OF_ACTION))


def secrets_of(conn: sa.Connection, pipeline_id: str, version: int, stage: str, action: str) -> list[Any]:
    """The rows of the secret values of an action's configuration."""
    return _SECRETS.all(conn, {"i": pipeline_id, "v": version, "s": stage, "a": action})


def put_secrets(conn: sa.Connection, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write the secret values of a new version."""
    found = list(rows)
    if found:
        conn.execute(secrets.insert(), found)
