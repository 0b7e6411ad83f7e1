"""Deliveries over HTTP: bodies as SNS sends them, and what an answer means.

(AWS: SNS Developer Guide, "Sending Amazon SNS messages to HTTP/S endpoints".)
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from penstock.egress import NoAnswer, Occupied, Request, Shares
from penstock.topics import chatting, retries, webhook_secrets
from penstock.topics import subscription_rows as rows
from penstock.topics.chat import ATTRIBUTE, formats
from penstock.topics.chat.form import ChatFormat, Published
from penstock.topics.leaving import SUBSCRIBE
from penstock.topics.notices import notice_of
from penstock.topics.outcomes import Answered, Busy, Failed

if TYPE_CHECKING:
    from penstock.application import App
    from penstock.topics.bodies import Bodies
    from penstock.topics.messages import Message

SECONDS = 15.0  # for a whole exchange (AWS: SNS, HTTP endpoints)
AT_ONCE = 64
_MOST = 16 << 10  # bytes of an answer that are read
_TOO_MANY = 429
_LONGEST_S = 3_600  # that a receiver may ask to wait
_AGENT = "Amazon Simple Notification Service Agent"


class Webhooks:
    """Sends to endpoints, so that a slow one takes few of the places."""

    def __init__(self, app: App, bodies: Bodies) -> None:
        self._app = app
        self._bodies = bodies
        self._shares = Shares()

    async def notify(self, subscription: Any, topic: Any, message: Any, content: Message) -> Answered:
        """Send a message; what was answered. Raises Failed, or Busy."""
        format = _format(subscription)
        if format is not None:
            return await self._chat(format, subscription, message, content)
        own = subscription.attributes.get("DeliveryPolicy", "")
        policy = retries.effective_own(topic.attributes.get("DeliveryPolicy", ""), own)
        headers = [("Content-Type", policy["requestPolicy"]["headerContentType"])]
        headers += _own_headers("Notification", message.id, rows.topic_of(subscription).arn, rows.arn_of(subscription))
        if subscription.attributes.get("RawMessageDelivery") == "true":
            headers.append(("x-amz-sns-rawdelivery", "true"))
            return await self._post(subscription, headers, content.for_protocol(subscription.protocol))
        body = await self._bodies.notification(subscription, topic, message, content)
        return await self._post(subscription, headers, json.dumps(body, indent=2, ensure_ascii=False))

    async def _chat(self, format: ChatFormat, subscription: Any, message: Any, content: Message) -> Answered:
        app, text = self._app, content.for_protocol(subscription.protocol)
        secret = ""
        if format.signs:
            secret = await app.store.read(webhook_secrets.of, app.sealer, subscription.id)
        published = Published(
            id=message.id,
            topic=rows.topic_of(subscription).arn,
            at=message.at,
            now=app.clock.now(),
            subject=content.subject,
            text=text,
            attributes=content.attributes_to_api(),
            notice=notice_of(text, content.subject, app.public_url),
            secret=chatting.key_of(secret) if secret else b"",
        )
        headers, body = format.make(published)
        return await self._post(subscription, list(headers), body)

    async def ask(self, subscription: Any, topic: Any, type: str, message_id: str, at: int) -> None:
        """Ask an endpoint to confirm, or tell it that its subscription has ended. Raises Failed, or Busy."""
        format = _format(subscription)
        if format is not None and not format.answers:
            return  # a chat would show it to people, with a link that brings the subscription back
        body = await self._bodies.confirmation(subscription, topic, type, message_id, at)
        arn = "" if type == SUBSCRIBE else rows.arn_of(subscription)
        headers = [("Content-Type", retries.CONTENT_TYPE), *_own_headers(type, message_id, body["TopicArn"], arn)]
        await self._post(subscription, headers, json.dumps(body, indent=2, ensure_ascii=False))

    async def _post(self, subscription: Any, headers: list[tuple[str, str]], body: str) -> Answered:
        host = (urlsplit(subscription.endpoint).hostname or "").lower()
        request = Request(
            subscription.endpoint, "POST", [*headers, ("User-Agent", _AGENT)], body.encode(), plain=subscription.protocol == "http"
        )  # fmt: skip
        try:
            async with self._shares.take(host, subscription.account):
                answer = await self._app.egress.send(request, seconds=SECONDS, most=_MOST, cut=True)
        except Occupied:
            raise Busy from None
        except NoAnswer as error:
            raise Failed(str(error)) from None
        said = answer.body.decode(errors="replace")
        if 200 <= answer.status < 300:
            return Answered(answer.status, said)
        final = answer.status < 500 and answer.status != _TOO_MANY
        after = _pause_s(answer.headers.get("retry-after", "")) if answer.status in (_TOO_MANY, 503) else 0
        raise Failed(
            f"{host} answers with status {answer.status}", final=final, status=answer.status, after=after, body=said
        )


def _format(subscription: Any) -> ChatFormat | None:
    return formats().get(subscription.attributes.get(ATTRIBUTE, ""))


def _pause_s(text: str) -> int:
    """What a receiver asks to wait. A date (which the same header may have) is not looked at."""
    return min(int(text), _LONGEST_S) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def _own_headers(type: str, message: str, topic: str, subscription: str) -> list[tuple[str, str]]:
    found = [("x-amz-sns-message-type", type), ("x-amz-sns-message-id", message), ("x-amz-sns-topic-arn", topic)]
    return found + ([("x-amz-sns-subscription-arn", subscription)] if subscription else [])
