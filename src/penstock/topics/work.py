"""The jobs of topics: hand messages to subscriptions, deliver them, ask endpoints to confirm."""

from __future__ import annotations

import functools
import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from penstock.pools import FILTERS
from penstock.store.failpoints import failpoint
from penstock.store.work import Retry
from penstock.topics import filters, message_rows, retries, subscribing
from penstock.topics import subscription_rows as rows
from penstock.topics.leaving import SUBSCRIBE
from penstock.topics.mailing import Mailing
from penstock.topics.messages import Message
from penstock.topics.outcomes import Busy, Failed
from penstock.topics.records import content_context
from penstock.topics.webhooks import Webhooks

if TYPE_CHECKING:
    from penstock.application import App
    from penstock.store.jobs import Job

_log = logging.getLogger("penstock.topics")
_PAGE = 200  # subscriptions whose deliveries one transaction writes
_WAITS_MS = 3_600_000  # for how long a message is put off as its receiver asks
_BUSY_DOUBLINGS = 6
_BUSY_MS = (500, 2_000)  # until a delivery that found no place is looked at again


@dataclass(slots=True)
class Senders:
    """What the jobs of topics work with."""

    app: App
    webhooks: Webhooks
    mailing: Mailing


async def fan_out(senders: Senders, job: Job) -> None:
    """Write the deliveries of a topic's messages, one message after the other, until none waits."""
    app, topic = senders.app, job.payload["topic"]
    while True:
        message = await app.store.read(message_rows.waiting, topic)
        if message is None:
            if await app.store.write(message_rows.end_fan_out, job):
                return
            continue
        content = Message.load(app.sealer.open(message.content, content_context(message.id)))
        found = await app.store.read(message_rows.subscribed, topic, message.after, _PAGE)
        chosen = await FILTERS.run(
            _chosen, found, content
        )  # filters and bodies may be large: others are answered meanwhile
        last = len(found) < _PAGE
        after = found[-1].id if found else message.after
        write = functools.partial(
            message_rows.write_deliveries, job=job, message=message, chosen=chosen, after=after, last=last
        )
        await app.store.write(write)
        failpoint("topics.fanned_out")


def _chosen(found: Sequence[Any], content: Message) -> list[str]:
    return [one.id for one in found if _takes(one, content)]


def busy_ms(attempt: int) -> int:
    """When a delivery that found no place the n-th time looks again: ever later, so that a crowd before one host costs little."""
    least, most = _BUSY_MS
    return random.randint(least, most) << min(attempt - 1, _BUSY_DOUBLINGS)  # noqa: S311 - so that they do not come together


def _takes(subscription: Any, content: Message) -> bool:
    kept = subscription.attributes
    scope = kept.get("FilterPolicyScope", filters.ATTRIBUTES)
    text = content.for_protocol(subscription.protocol)
    return filters.takes(kept.get("FilterPolicy", ""), scope, text, content.attributes)


async def deliver(senders: Senders, job: Job) -> None:
    """Deliver what stands in a lane of a subscription, in order."""
    app = senders.app
    found = await app.store.read(message_rows.head, job.payload)
    if found is None:
        found = await app.store.write(message_rows.advance, job, None)
    while found is not None:
        message, subscription, topic, tries = found
        if topic is not None and subscription is not None and subscription.state == rows.CONFIRMED:
            try:
                await _send(senders, subscription, topic, message)
            except Busy:
                raise Retry(busy_ms(job.attempt), counts=False) from None
            except Failed as failed:
                if await _set_back(app, job, found, failed, tries + 1):
                    return
        failpoint("topics.delivered")
        found = await app.store.write(message_rows.advance, job, message.sequence)


async def _send(senders: Senders, subscription: Any, topic: Any, message: Any) -> None:
    content = Message.load(senders.app.sealer.open(message.content, content_context(message.id)))
    sender = senders.mailing if subscription.protocol in subscribing.MAIL else senders.webhooks
    await sender.notify(subscription, topic, message, content)


async def _set_back(app: App, job: Job, found: Any, failed: Failed, tries: int) -> bool:
    """Try again later; False when it was tried as often as it is."""
    message, subscription, topic, _ = found
    pause = None
    if failed.after and app.clock.now() - message.at < _WAITS_MS:
        # It takes messages, but not so many: that is no failure of this one.
        tries, pause = tries - 1, float(failed.after)
    elif not failed.final:
        if subscription.protocol in subscribing.MAIL:
            pause = retries.mail_pause_s(tries)
        else:
            own = subscription.attributes.get("DeliveryPolicy", "")
            policy = retries.effective_own(topic.attributes.get("DeliveryPolicy", ""), own)
            pause = retries.pause_s(policy["healthyRetryPolicy"], tries)
            pause = None if pause is None else max(pause, failed.after)
    arn, error = rows.arn_of(subscription), str(failed)
    if pause is None:
        _log.warning("topics.given_up", extra={"arn": arn, "published": message.id, "tries": tries, "error": error})
        return False
    _log.info("topics.not_delivered", extra={"arn": arn, "published": message.id, "tries": tries, "error": error})
    due = app.clock.now() + int(pause * 1000)
    await app.store.write(
        lambda conn: message_rows.set_back(conn, job, message.sequence, tries=tries, due=due, error=error)
    )
    return True


async def confirm(senders: Senders, job: Job) -> None:
    """Send a confirmation, as often as the policy of topics has it."""
    app, payload = senders.app, job.payload
    row = await app.store.read(rows.find, payload["subscription"])
    wanted = rows.PENDING if payload["type"] == SUBSCRIBE else rows.DELETED
    if row is None or row.state != wanted:
        return
    topic = await app.store.read(message_rows.topic, row.topic)
    if topic is None:
        return
    sender = senders.mailing if row.protocol in subscribing.MAIL else senders.webhooks
    try:
        await sender.ask(row, topic, payload["type"], payload["message"], job.created)
    except Busy:
        raise Retry(busy_ms(job.attempt), counts=False) from None
    except Failed as failed:
        tries = job.failures + 1
        policy = retries.effective(topic.attributes.get("DeliveryPolicy", ""))["http"]["defaultHealthyRetryPolicy"]
        pause = retries.mail_pause_s(tries) if row.protocol in subscribing.MAIL else retries.pause_s(policy, tries)
        if pause is None or failed.final:
            _log.warning("topics.not_asked", extra={"arn": rows.arn_of(row), "tries": tries, "error": str(failed)})
            return
        raise Retry(int(pause * 1000), str(failed)) from None
