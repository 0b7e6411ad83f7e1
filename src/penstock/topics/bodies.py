"""Bodies as SNS sends them: notifications and confirmations, signed.

(AWS: SNS Developer Guide, "Parsing Amazon SNS message formats".)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from penstock.topics import subscription_rows as rows
from penstock.topics import tokens
from penstock.topics.leaving import SUBSCRIBE
from penstock.topics.signing import Signer
from penstock.wire.scalars import format_timestamp

if TYPE_CHECKING:
    from penstock.application import App
    from penstock.topics.messages import Message

_CONFIRM = "You have chosen to subscribe to the topic {arn}.\nTo confirm the subscription, visit the SubscribeURL included in this message."
_RESTORE = (
    "You have chosen to deactivate subscription {arn}.\nTo cancel this operation and restore the subscription, visit the SubscribeURL "
    "included in this message."
)


class Bodies:
    """Makes them."""

    def __init__(self, app: App, signer: Signer) -> None:
        self._app = app
        self._signer = signer

    async def notification(self, subscription: Any, topic: Any, message: Any, content: Message) -> dict[str, Any]:
        """What a subscription is sent of a message."""
        found: dict[str, Any] = {"Type": "Notification", "MessageId": message.id}
        if message.lane:
            found["SequenceNumber"] = str(10**19 + message.sequence)
        found["TopicArn"] = rows.topic_of(subscription).arn
        if content.subject:
            found["Subject"] = content.subject
        found["Message"] = content.for_protocol(subscription.protocol)
        found["Timestamp"] = time_of(message.at)
        found |= await self._signer.sign(found, _version(topic))
        leave = urlencode({"Action": "Unsubscribe", "SubscriptionArn": rows.arn_of(subscription)})
        found["UnsubscribeURL"] = f"{self._app.public_url}/?{leave}"
        if content.attributes:
            found["MessageAttributes"] = content.attributes_to_api()
        return found

    async def confirmation(self, subscription: Any, topic: Any, type: str, message_id: str, at: int) -> dict[str, Any]:
        """What an endpoint is asked, or notified of."""
        asks = type == SUBSCRIBE
        arn = rows.topic_of(subscription).arn
        token = tokens.make(self._app.sealer, tokens.CONFIRM if asks else tokens.RESTORE, subscription.id)
        query = urlencode({"Action": "ConfirmSubscription", "TopicArn": arn, "Token": token})
        found: dict[str, Any] = {
            "Type": type,
            "MessageId": message_id,
            "Token": token,
            "TopicArn": arn,
            "Message": _CONFIRM.format(arn=arn) if asks else _RESTORE.format(arn=rows.arn_of(subscription)),
            "SubscribeURL": f"{self._app.public_url}/?{query}",
            "Timestamp": time_of(at),
        }
        return found | await self._signer.sign(found, _version(topic))


def _version(topic: Any) -> str:
    return topic.attributes.get("SignatureVersion", "1")


def time_of(ms: int) -> str:
    """A time as bodies have it."""
    return format_timestamp(ms, "iso8601", always_millis=True)
