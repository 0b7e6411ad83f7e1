"""Statements about subscriptions."""

from __future__ import annotations

import hashlib
from typing import Any

import sqlalchemy as sa

from penstock.store.keysets import rows_behind
from penstock.store.upsert import upsert
from penstock.topics.names import Place
from penstock.topics.records import confirmations, subscriptions, webhook_secrets

PENDING, CONFIRMED, DELETED = "pending", "confirmed", "deleted"
_DAY_MS = 86_400_000
KEPT_MS = 2 * _DAY_MS  # that a token is good for, and one that is deleted can be restored (AWS: ConfirmSubscription)


def digest_of(protocol: str, endpoint: str) -> str:
    """What tells the subscriptions of a topic apart. Addresses of mail are those of the same person however they are spelt."""
    spelt = endpoint.lower() if protocol.startswith("email") else endpoint
    return hashlib.sha256(f"{protocol} {spelt}".encode()).hexdigest()


def find(conn: sa.Connection, id: str, *, locked: bool = False) -> Any:
    """A subscription in whatever state, or None."""
    found = sa.select(subscriptions).where(subscriptions.c.id == id)
    return conn.execute(found.with_for_update() if locked else found).first()


def of_endpoint(conn: sa.Connection, topic: str, digest: str) -> Any:
    """The subscription of a topic's endpoint that is pending or confirmed, or None."""
    c = subscriptions.c
    found = sa.select(subscriptions).where(c.topic == topic, c.digest == digest, c.state != DELETED)
    return conn.execute(found).first()


def insert(conn: sa.Connection, **values: Any) -> None:
    """Write a new subscription."""
    conn.execute(subscriptions.insert().values(**values))


def change(conn: sa.Connection, id: str, **values: Any) -> None:
    """Change a subscription."""
    conn.execute(subscriptions.update().where(subscriptions.c.id == id).values(**values))


def delete(conn: sa.Connection, id: str) -> None:
    """Forget a subscription, with its secret."""
    conn.execute(subscriptions.delete().where(subscriptions.c.id == id))
    conn.execute(webhook_secrets.delete().where(webhook_secrets.c.subscription == id))


def page(
    conn: sa.Connection, *, limit: int, after: str | None, topic: str = "", owner: tuple[str, str] = ("", "")
) -> list[Any]:
    """Subscriptions by id that are pending or confirmed: of a topic, or of an account in a region."""
    c = subscriptions.c
    query = sa.select(subscriptions).where(c.state != DELETED)
    query = query.where(c.topic == topic) if topic else query.where(c.owner == owner[0], c.region == owner[1])
    return list(conn.execute(rows_behind(query, [c.id], None if after is None else [after], limit=limit)).all())


def count(conn: sa.Connection, topic: str) -> int:
    """How many subscriptions a topic has."""
    found = sa.select(sa.func.count()).where(subscriptions.c.topic == topic, subscriptions.c.state != DELETED)
    return conn.execute(found.select_from(subscriptions)).scalar_one()


def count_confirmation(conn: sa.Connection, subject: str, now: int) -> int:
    """Count one more message that asks somebody to confirm; how many there were today."""
    day = now // _DAY_MS
    upsert(
        conn,
        confirmations,
        {"subject": subject, "day": day, "count": 1},
        {"count": confirmations.c.count + 1},
    )
    c = confirmations.c
    return conn.execute(sa.select(c.count).where(c.subject == subject, c.day == day)).scalar_one()


def forgotten(now: int) -> sa.ColumnElement[bool]:
    """Subscriptions that nobody has confirmed, or restored, in time."""
    return subscriptions.c.until <= now


def left_behind(now: int) -> sa.ColumnElement[bool]:  # noqa: ARG001 - of the interface of what expires
    """Secrets whose subscription is gone, with its topic or because nobody confirmed it."""
    return ~sa.exists().where(subscriptions.c.id == webhook_secrets.c.subscription)


def counted(now: int) -> sa.ColumnElement[bool]:
    """Counts of days that are over."""
    return confirmations.c.day < now // _DAY_MS - 1


def arn_of(row: Any) -> str:
    """The ARN of a subscription."""
    return f"{topic_of(row).arn}:{row.id}"


def topic_of(row: Any) -> Place:
    """Where its topic lies."""
    return Place(row.account, row.region, row.name)
