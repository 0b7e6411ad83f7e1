"""Statements about topics."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from penstock.store.statement import Statement
from penstock.topics.names import Place
from penstock.topics.records import deduplications, messages, subscriptions, topics

_AT = (
    (topics.c.account == sa.bindparam("a"))
    & (topics.c.region == sa.bindparam("r"))
    & (topics.c.name == sa.bindparam("n"))
)
_FIND = Statement(sa.select(topics).where(_AT))
_LOCK = Statement(sa.select(topics).where(_AT).with_for_update())


def find(conn: sa.Connection, place: Place) -> Any:
    """A topic, or None."""
    return _FIND.first(conn, {"a": place.account, "r": place.region, "n": place.name})


def locked(conn: sa.Connection, place: Place) -> Any:
    """A topic that this transaction changes, or None."""
    return _LOCK.first(conn, {"a": place.account, "r": place.region, "n": place.name})


def page(conn: sa.Connection, account: str, region: str, after: str, limit: int) -> list[Any]:
    """Topics by name."""
    c = topics.c
    found = sa.select(topics).where(c.account == account, c.region == region, c.name > after)
    return list(conn.execute(found.order_by(c.name).limit(limit)).all())


def count(conn: sa.Connection, account: str, region: str) -> int:
    """How many topics an account has in a region."""
    c = topics.c
    found = sa.select(sa.func.count()).where(c.account == account, c.region == region)
    return conn.execute(found.select_from(topics)).scalar_one()


def insert(conn: sa.Connection, place: Place, **values: Any) -> None:
    """Write a new topic."""
    conn.execute(topics.insert().values(account=place.account, region=place.region, name=place.name, **values))


def change(conn: sa.Connection, id: str, **values: Any) -> None:
    """Change a topic."""
    conn.execute(topics.update().where(topics.c.id == id).values(**values))


def delete(conn: sa.Connection, id: str) -> None:
    """Forget a topic, its subscriptions, and the messages that have not reached them all."""
    conn.execute(topics.delete().where(topics.c.id == id))
    conn.execute(subscriptions.delete().where(subscriptions.c.topic == id))
    conn.execute(deduplications.delete().where(deduplications.c.topic == id))
    conn.execute(messages.update().where(messages.c.topic == id).values(state="written"))


def subscriptions_by_state(conn: sa.Connection, topic: str) -> dict[str, int]:
    """How many subscriptions a topic has in which state."""
    c = subscriptions.c
    found = sa.select(c.state, sa.func.count()).where(c.topic == topic).group_by(c.state)
    return {row[0]: row[1] for row in conn.execute(found)}
