"""The table of webhooks, and the statements over it. Times are milliseconds UTC."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from penstock.store.keysets import rows_behind
from penstock.store.schema import Json, metadata, sealed
from penstock.store.statement import Statement
from penstock.store.upsert import upsert


def address_context(id: str) -> str:
    """For what the secret part of a webhook's address is sealed."""
    return f"webhook/{id}/address"


def secret_context(id: str) -> str:
    """For what the secret of a webhook's sender is sealed."""
    return f"webhook/{id}/secret"


webhooks = sa.Table(
    "pipeline_webhooks",
    metadata,
    sa.Column("account", sa.String(12), primary_key=True),
    sa.Column("region", sa.String(32), primary_key=True),
    sa.Column("name", sa.String(100), primary_key=True),
    sa.Column("id", sa.String(36), nullable=False, unique=True),  # in its address; never used again
    # The other part of its address, which is all that a webhook without authentication asks for.
    sa.Column("address", sa.LargeBinary, nullable=False, info=sealed(lambda row: address_context(row.id))),
    sa.Column("pipeline", sa.String(100), nullable=False),  # a name: the pipeline may be deleted, and made again
    sa.Column("action", sa.String(100), nullable=False),
    sa.Column("filters", Json, nullable=False),  # as given
    sa.Column("authentication", sa.String(16), nullable=False),
    sa.Column("allowed", sa.String(100), nullable=False),  # addresses of senders; "" when they are not asked for
    sa.Column("secret", sa.LargeBinary, nullable=True, info=sealed(lambda row: secret_context(row.id))),
    sa.Column("tags", Json, nullable=False),
    sa.Column("triggered", sa.BigInteger, nullable=True),  # when it started its pipeline last
    sa.Column("error_code", sa.String(64), nullable=False),  # of its last request; "" when it did what it should
    sa.Column("error_message", sa.String(1000), nullable=False),
    sa.Column("registered", Json, nullable=True),  # where it is registered at its sender: repository and id
)

_t = webhooks.c
_NAMED = (_t.account == sa.bindparam("a")) & (_t.region == sa.bindparam("r")) & (_t.name == sa.bindparam("n"))
_ONE = Statement(sa.select(webhooks).where(_NAMED))
_ONE_LOCKED = Statement(sa.select(webhooks).where(_NAMED).with_for_update())
_BY_ID = Statement(sa.select(webhooks).where(_t.id == sa.bindparam("i")))
_NOTE = Statement(
    webhooks.update()
    .where(_t.id == sa.bindparam("i"))
    .values(error_code=sa.bindparam("c"), error_message=sa.bindparam("m"))
)
_TRIGGERED = Statement(
    webhooks.update()
    .where(_t.id == sa.bindparam("i"))
    .values(triggered=sa.bindparam("now"), error_code="", error_message="")
)


def find(conn: sa.Connection, account: str, region: str, name: str, *, lock: bool = False) -> Any:
    """The row of a webhook; None without one."""
    return (_ONE_LOCKED if lock else _ONE).first(conn, {"a": account, "r": region, "n": name})


def by_id(conn: sa.Connection, id: str) -> Any:
    """The row of the webhook whose address has an id; None without one."""
    return _BY_ID.first(conn, {"i": id})


def count(conn: sa.Connection, account: str, region: str) -> int:
    """How many an account has in a region."""
    query = sa.select(sa.func.count()).select_from(webhooks).where(_t.account == account, _t.region == region)
    return int(conn.execute(query).scalar_one())


def put(
    conn: sa.Connection, account: str, region: str, name: str, *, new: dict[str, Any], values: dict[str, Any]
) -> None:
    """Make a webhook of `new` and `values`, or give the one of that name other `values`."""
    key = {"account": account, "region": region, "name": name}
    upsert(conn, webhooks, {**key, **new, **values}, values)


def page(conn: sa.Connection, account: str, region: str, after: list[Any] | None, limit: int) -> list[Any]:
    """Webhooks by name."""
    query = sa.select(webhooks).where(_t.account == account, _t.region == region)
    return list(conn.execute(rows_behind(query, [_t.name], after, limit=limit)))


def delete(conn: sa.Connection, account: str, region: str, name: str) -> None:
    """Delete a webhook."""
    conn.execute(webhooks.delete().where(_t.account == account, _t.region == region, _t.name == name))


def note_error(conn: sa.Connection, id: str, code: str, message: str) -> None:
    """Keep why a request started nothing; "" for one that did not match."""
    _NOTE.later(conn, {"i": id, "c": code, "m": message[:1000]})


def note_trigger(conn: sa.Connection, id: str, now: int) -> None:
    """Keep that a request started the pipeline."""
    _TRIGGERED.later(conn, {"i": id, "now": now})
