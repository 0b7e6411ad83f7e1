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
from penstock.topics import filters, letter_rows, message_rows, retries, subscribing
from penstock.topics import subscription_rows as rows
from penstock.topics.contents import Contents
from penstock.topics.leaving import SUBSCRIBE
from penstock.topics.mailing import Mailing
from penstock.topics.messages import Message
from penstock.topics.outcomes import Answered, Busy, Failed
from penstock.topics.reports import Reports
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
    contents: Contents
    reports: Reports


async def fan_out(senders: Senders, job: Job) -> None:
    """Write the deliveries of a topic's messages, one message after the other, until none waits."""
    app, topic = senders.app, job.payload["topic"]
    while True:
        message = await app.store.read(message_rows.waiting, topic)
        if message is None:
            if await app.store.write(message_rows.end_fan_out, job):
                return
            continue
        found = await app.store.read(message_rows.subscribed, topic, message.after, _PAGE)
        try:
            content = await senders.contents.opened(message)
        except Failed:  # each delivery says so, and asks the filter once the message can be read
            chosen = [one.id for one in found]
        else:  # filters and bodies may be large: others are answered meanwhile
            chosen = await FILTERS.run(_chosen, found, content)
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
        found = await app.store.write(message_rows.advance, job, None, _nothing)
    while found is not None:
        message, subscription, topic, _ = found
        keep = _nothing
        if topic is not None and subscription is not None and subscription.state == rows.CONFIRMED:
            failed = await _send(senders, job, found)
            if failed is not None:
                if await _set_back(app, job, found, failed, found.tries + 1):
                    return
                letter = letter_rows.of(found, failed, tries=found.tries + 1, now=app.clock.now())
                keep = functools.partial(letter_rows.keep, letter=letter)
        failpoint("topics.delivered")
        found = await app.store.write(message_rows.advance, job, message.sequence, keep)


def _nothing(_conn: Any) -> None:
    """What is kept of a message that was delivered, or that nobody is to get any more."""


async def _send(senders: Senders, job: Job, found: message_rows.Head) -> Failed | None:
    """Try to deliver a message; what went wrong. Whoever is to know that it is over gets a line in its log."""
    message, subscription, topic, tries = found
    sender = senders.mailing if subscription.protocol in subscribing.MAIL else senders.webhooks
    handed, content = senders.app.clock.now(), None
    outcome: Answered | Failed
    try:
        content = await senders.contents.opened(message)
        # What could not be read when it was handed out has asked no filter yet.
        if not senders.contents.readable_by_all(message) and not await FILTERS.run(_takes, subscription, content):
            return None
        outcome = await sender.notify(subscription, topic, message, content)
    except Busy:
        raise Retry(busy_ms(job.attempt), counts=False) from None
    except Failed as failed:
        outcome = failed
        if _again(senders.app, found, failed, tries + 1)[1] is not None:
            return failed
    await senders.reports.write(found, content, outcome, attempts=tries + 1, handed=handed)
    return outcome if isinstance(outcome, Failed) else None


def _again(app: App, found: Any, failed: Failed, tries: int) -> tuple[int, float | None]:
    """How many tries count after a failure, and how long to wait, in seconds; None when it was the last try."""
    message, subscription, topic, _ = found
    if failed.after and app.clock.now() - message.at < _WAITS_MS:
        # It takes messages, but not so many: that is no failure of this one.
        return tries - 1, float(failed.after)
    if failed.final:
        return tries, None
    if subscription.protocol in subscribing.MAIL:
        return tries, retries.mail_pause_s(tries)
    own = subscription.attributes.get("DeliveryPolicy", "")
    policy = retries.effective_own(topic.attributes.get("DeliveryPolicy", ""), own)
    pause = retries.pause_s(policy["healthyRetryPolicy"], tries)
    return tries, None if pause is None else max(pause, failed.after)


async def _set_back(app: App, job: Job, found: Any, failed: Failed, tries: int) -> bool:
    """Try again later; False when it was tried as often as it is."""
    message, subscription, _, _ = found
    tries, pause = _again(app, found, failed, tries)
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
