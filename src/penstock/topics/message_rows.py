"""Statements about messages on their way.

Publishing counts the topic's messages and makes the job that hands them to subscriptions, which is one for each topic. That job writes
a delivery for each subscription, some at a time, and a job for each lane of a subscription. Whoever adds to a lane or ends its job has locked
the job's row, so that nothing is left without a job (as `store.fanout` does with events).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from penstock.store import jobs
from penstock.store.jobs import Job
from penstock.store.statement import Statement
from penstock.store.upsert import upsert
from penstock.topics.records import deduplications, deliveries, messages, subscriptions, topics

FAN_OUT, DELIVER = "topics.fan-out", "topics.deliver"
DEDUPLICATED_MS = 300_000  # (AWS: SNS FIFO topics, "Message deduplication")

_COUNT = Statement(
    topics.update()
    .where(topics.c.id == sa.bindparam("i"))
    .values(sequence=topics.c.sequence + 1)
    .returning(topics.c.sequence)
)
_SUBSCRIBED = Statement(
    sa.select(subscriptions.c.id)
    .where(subscriptions.c.topic == sa.bindparam("t"), subscriptions.c.state == "confirmed")
    .limit(1)
)
_INSERT = Statement(messages.insert())
_WAITING = Statement(
    sa.select(messages)
    .where(messages.c.topic == sa.bindparam("t"), messages.c.state == "waiting")
    .order_by(messages.c.sequence)
    .limit(1)
)
_PAGE = Statement(
    sa.select(subscriptions.c.id, subscriptions.c.protocol, subscriptions.c.attributes)
    .where(
        subscriptions.c.topic == sa.bindparam("t"),
        subscriptions.c.state == "confirmed",
        subscriptions.c.id > sa.bindparam("after"),
    )
    .order_by(subscriptions.c.id)
    .limit(sa.bindparam("n"))
)
_DELIVERY = Statement(deliveries.insert().values(tries=0))
_ADVANCE = Statement(
    messages.update()
    .where(
        messages.c.topic == sa.bindparam("t"),
        messages.c.sequence == sa.bindparam("s"),
        messages.c.state == "waiting",
        messages.c.after == sa.bindparam("old"),
    )
    .values(after=sa.bindparam("new"), state=sa.bindparam("to"))
    .returning(messages.c.sequence)
)
_LANE = (deliveries.c.subscription == sa.bindparam("s")) & (deliveries.c.lane == sa.bindparam("l"))
_HEAD = Statement(
    sa.select(messages, deliveries.c.tries)
    .join(messages, (messages.c.topic == deliveries.c.topic) & (messages.c.sequence == deliveries.c.sequence))
    .where(_LANE)
    .order_by(deliveries.c.sequence)
    .limit(1)
)
_TOPIC = Statement(sa.select(topics).where(topics.c.id == sa.bindparam("i")))
_SUBSCRIPTION = Statement(sa.select(subscriptions).where(subscriptions.c.id == sa.bindparam("i")))
_STRIKE = Statement(deliveries.delete().where(_LANE, deliveries.c.sequence == sa.bindparam("n")))
_TRIED = Statement(
    deliveries.update().where(_LANE, deliveries.c.sequence == sa.bindparam("n")).values(tries=sa.bindparam("k"))
)


def publish(conn: sa.Connection, topic: Any, *, id: str, lane: str, content: bytes, now: int) -> int | None:
    """Write a message; its sequence, or None where the topic is gone. Without a subscription nothing waits."""
    counted = _COUNT.first(conn, {"i": topic.id})
    if counted is None:
        return None
    if _SUBSCRIBED.first(conn, {"t": topic.id}) is not None:
        row = {
            "topic": topic.id, "sequence": counted.sequence, "id": id, "at": now, "lane": lane, "content": content,
            "state": "waiting", "after": "",
        }  # fmt: skip
        _INSERT.later(conn, row)
        payload = {"topic": topic.id}
        jobs.enqueue_later(
            conn, kind=FAN_OUT, payload=payload, account=topic.account, region=topic.region, dedup=topic.id
        )
    return counted.sequence


def published(conn: sa.Connection, topic: str, digest: str, now: int) -> Any:
    """The message (`message`, `sequence`) that was published with the same deduplication id in the last minutes, or None."""
    c = deduplications.c
    found = sa.select(deduplications).where(c.topic == topic, c.digest == digest, c.until > now)
    return conn.execute(found).first()


def remember(conn: sa.Connection, topic: str, digest: str, *, message: str, sequence: int, now: int) -> None:
    """Keep it."""
    kept = {"message": message, "sequence": sequence, "until": now + DEDUPLICATED_MS}
    upsert(conn, deduplications, {"topic": topic, "digest": digest, **kept}, kept)


def waiting(conn: sa.Connection, topic: str) -> Any:
    """The first message of a topic that has not reached all subscriptions, or None."""
    return _WAITING.first(conn, {"t": topic})


def end_fan_out(conn: sa.Connection, job: Job) -> bool:
    """End the job of a topic unless a message waits again; whether it is ended."""
    jobs.lock(conn, job)
    if waiting(conn, job.payload["topic"]) is not None:
        return False
    jobs.complete(conn, job)
    return True


def subscribed(conn: sa.Connection, topic: str, after: str, limit: int) -> list[Any]:
    """Confirmed subscriptions of a topic, by id."""
    return _PAGE.all(conn, {"t": topic, "after": after, "n": limit})


def write_deliveries(
    conn: sa.Connection, job: Job, message: Any, chosen: Sequence[str], *, after: str, last: bool
) -> None:
    """Write the deliveries of a message to some subscriptions, unless another process has been here before."""
    where = {"t": message.topic, "s": message.sequence, "old": message.after, "new": after}
    if _ADVANCE.first(conn, where | {"to": "written" if last else "waiting"}) is None:
        return
    for subscription in chosen:
        lane = message.lane or str(message.sequence)
        _DELIVERY.later(
            conn, {"subscription": subscription, "lane": lane, "sequence": message.sequence, "topic": message.topic}
        )
        jobs.enqueue_later(
            conn,
            kind=DELIVER,
            payload={"subscription": subscription, "lane": lane},
            account=job.account,
            region=job.region,
            dedup=f"{subscription}:{lane}",
        )


class Head(NamedTuple):
    """The next message of a lane; its subscription and topic are None where they are gone."""

    message: Any
    subscription: Any
    topic: Any
    tries: int  # that went wrong


def topic(conn: sa.Connection, id: str) -> Any:
    """A topic, or None."""
    return _TOPIC.first(conn, {"i": id})


def head(conn: sa.Connection, payload: dict[str, Any]) -> Head | None:
    """What stands first in a lane, or None."""
    message = _HEAD.first(conn, {"s": payload["subscription"], "l": payload["lane"]})
    if message is None:
        return None
    subscription = _SUBSCRIPTION.first(conn, {"i": payload["subscription"]})
    return Head(message, subscription, topic(conn, message.topic), message.tries)


def send_again(conn: sa.Connection, letter: Any) -> bool:
    """Write the delivery of a dead letter, by itself: what came after it has passed. False where its subscription is not there any more.

    Its message is counted anew: the old row may be removed meanwhile.
    """
    subscription = _SUBSCRIPTION.first(conn, {"i": letter.subscription})
    if subscription is None or subscription.state != "confirmed":
        return False
    counted = _COUNT.first(conn, {"i": letter.topic})
    if counted is None:
        return False
    where = {"topic": letter.topic, "sequence": counted.sequence}
    kept = {"id": letter.message, "at": letter.published, "lane": letter.lane, "content": letter.content}
    _INSERT.later(conn, where | kept | {"state": "written", "after": ""})
    lane = {"subscription": letter.subscription, "lane": letter.id}
    _DELIVERY.later(conn, lane | where)
    jobs.enqueue_later(
        conn,
        kind=DELIVER,
        payload=lane,
        account=subscription.account,
        region=subscription.region,
        dedup=f"{letter.subscription}:{letter.id}",
    )
    return True


def advance(conn: sa.Connection, job: Job, done: int | None, keep: Callable[[sa.Connection], None]) -> Head | None:
    """Strike a message off a lane, and `keep` what is kept of it; the next one. Without one the job is ended."""
    jobs.lock(conn, job)
    keep(conn)
    if done is not None:
        _STRIKE.later(conn, {"s": job.payload["subscription"], "l": job.payload["lane"], "n": done})
    found = head(conn, job.payload)
    if found is None:
        jobs.complete(conn, job)
    return found


def set_back(conn: sa.Connection, job: Job, sequence: int, *, tries: int, due: int, error: str) -> None:
    """Try a message again later."""
    where = {"s": job.payload["subscription"], "l": job.payload["lane"], "n": sequence}
    _TRIED.later(conn, where | {"k": tries})
    jobs.retry(conn, job, due=due, error=error, counts=False)


def delivered(now: int) -> sa.ColumnElement[bool]:  # noqa: ARG001 - of the interface of what expires
    """Messages that every subscription has got."""
    c, d = messages.c, deliveries.c
    on_the_way = sa.exists().where(d.topic == c.topic, d.sequence == c.sequence)
    return (c.state == "written") & ~on_the_way
