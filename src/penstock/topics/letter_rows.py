"""Statements about messages that a subscription was not given: its dead letters."""

from __future__ import annotations

import uuid
from typing import Any

import sqlalchemy as sa

from penstock.store.upsert import upsert
from penstock.topics import message_rows
from penstock.topics import subscription_rows as rows
from penstock.topics.outcomes import Failed
from penstock.topics.records import dead_letters
from penstock.topics.redriving import queue_of

_LONGEST = 4_096  # characters of what is said of a failure


def of(head: message_rows.Head, failed: Failed, *, tries: int, now: int) -> dict[str, Any]:
    """The dead letter of a message whose last try has failed. A second one of the same delivery has the same id."""
    message, subscription = head.message, head.subscription
    return {
        "id": str(uuid.uuid5(uuid.UUID(message.id), subscription.id)),
        "account": subscription.owner,
        "region": subscription.region,
        "at": now,
        "topic": message.topic,
        "arn": rows.arn_of(subscription),
        "subscription": subscription.id,
        "protocol": subscription.protocol,
        "endpoint": subscription.endpoint,
        "queue": queue_of(subscription.attributes.get("RedrivePolicy", "")),
        "sequence": message.sequence,
        "message": message.id,
        "published": message.at,
        "lane": message.lane,
        "content": message.content,
        "code": failed.code,
        "error": str(failed)[:_LONGEST],
        "status": failed.status,
        "attempts": tries,
    }


def keep(conn: sa.Connection, letter: dict[str, Any]) -> None:
    """Write a dead letter; one of the same delivery stays."""
    upsert(conn, dead_letters, letter)


def page(
    conn: sa.Connection, account: str, region: str, *, topic: str, after: tuple[int, str] | None, limit: int
) -> list[Any]:
    """Dead letters of an account and region, the latest first; of one topic, by its row's id, unless that is empty."""
    c = dead_letters.c
    found = sa.select(dead_letters).where(c.account == account, c.region == region)
    if topic:
        found = found.where(c.topic == topic)
    if after is not None:
        found = found.where(sa.tuple_(c.at, c.id) < sa.tuple_(*map(sa.literal, after)))
    return list(conn.execute(found.order_by(c.at.desc(), c.id.desc()).limit(limit)).all())


def find(conn: sa.Connection, account: str, region: str, id: str, *, locked: bool = False) -> Any:
    """A dead letter, or None. One that is sent again or removed is locked: of two who ask, one finds it."""
    c = dead_letters.c
    this = sa.select(dead_letters).where(c.id == id, c.account == account, c.region == region)
    return conn.execute(this.with_for_update() if locked else this).first()


def remove(conn: sa.Connection, id: str) -> None:
    """Forget a dead letter."""
    conn.execute(dead_letters.delete().where(dead_letters.c.id == id))
