"""Delivery status logging: what became of messages, as lines of CloudWatch Logs under a role of the topic.

A line is written before its delivery is struck off, so that a server that dies writes it twice rather than never. What keeps a line from being
written (a role without permission, say) holds up no delivery. (AWS: SNS Developer Guide, "Amazon SNS message delivery status".)
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import uuid
from typing import TYPE_CHECKING, Any

import orjson

from penstock.topics import subscription_rows as rows
from penstock.topics.names import Place
from penstock.topics.outcomes import Answered, Failed
from penstock.wire.errors import Refused, ServiceError
from penstock.wire.scalars import format_timestamp

if TYPE_CHECKING:
    from penstock.application import App
    from penstock.topics.messages import Message
    from penstock.wire.call import Session

_log = logging.getLogger("penstock.topics")
PRINCIPAL = "sns.amazonaws.com"
_PREFIXES = {"http": "HTTP", "https": "HTTP"}  # of the attributes, by protocol; AWS logs no mail
_SECONDS = 5.0
_SESSION_MS = 900_000  # that a session of a role is used
_SESSIONS = 100  # that are kept
_DAY_MS = 86_400_000
_NAMESPACE = uuid.UUID("4f1b1c35-6a0f-5b0e-8a83-0b5a7a1a8d5e")
_ANSWER = 1_000  # characters of an answer


class Reports:
    """Writes them."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._sessions: dict[tuple[str, str], tuple[int, Session]] = {}

    async def write(
        self, head: Any, content: Message | None, outcome: Answered | Failed, *, attempts: int, handed: int
    ) -> None:
        """Write what became of a delivery that is over, where its topic wants that. `handed` is when its last attempt began, in ms."""
        prefix = _PREFIXES.get(head.subscription.protocol)
        if prefix is None or content is None:
            return
        failed = isinstance(outcome, Failed)
        attributes = head.topic.attributes
        role = attributes.get(f"{prefix}{'Failure' if failed else 'Success'}FeedbackRoleArn")
        delivery = str(uuid.uuid5(uuid.UUID(head.message.id), head.subscription.id))
        rate = int(attributes.get(f"{prefix}SuccessFeedbackSampleRate", "100"))
        if not role or (not failed and int(delivery[:8], 16) % 100 >= rate):
            return
        place = rows.topic_of(head.subscription)
        line = _line(head, content, outcome, delivery=delivery, attempts=attempts, handed=handed)
        try:
            async with asyncio.timeout(_SECONDS):
                await self._put(place, role, group_of(place, failed=failed), line)
        except (Refused, ServiceError, TimeoutError) as error:
            self._sessions.pop((place.arn, role), None)
            why = getattr(error, "message", "") or "it took too long"
            _log.warning("topics.not_reported", extra={"arn": place.arn, "published": head.message.id, "error": why})

    async def _put(self, place: Place, role: str, group: str, line: str) -> None:
        app, now = self._app, self._app.clock.now()
        session = await self._session(place, role)
        # One stream for each day: its name says nothing, as on AWS.
        named = {"logGroupName": group, "logStreamName": str(uuid.uuid5(_NAMESPACE, f"{group} {now // _DAY_MS}"))}
        event = {**named, "logEvents": [{"timestamp": now, "message": line}]}
        for operation, given in (
            ("PutLogEvents", event),
            ("CreateLogGroup", {"logGroupName": group}),
            ("CreateLogStream", named),
            ("PutLogEvents", event),
        ):
            try:
                await app.invoke(session, "logs", operation, given, region=place.region)
            except ServiceError as error:
                expected = {"PutLogEvents": "ResourceNotFoundException"}.get(
                    operation, "ResourceAlreadyExistsException"
                )
                if error.wire_code != expected:
                    raise
            else:
                if operation == "PutLogEvents":
                    return

    async def _session(self, place: Place, role: str) -> Session:
        now = self._app.clock.now()
        until, session = self._sessions.get((place.arn, role), (0, None))
        if session is None or now >= until:
            session, _ = await self._app.identity.assume(
                role_arn=role,
                service=PRINCIPAL,
                session_name="sns-delivery-status",
                region=place.region,
                account=place.account,
                source_arn=place.arn,
            )
            if len(self._sessions) >= _SESSIONS:
                self._sessions.clear()
            self._sessions[place.arn, role] = (now + _SESSION_MS, session)
        return session


def group_of(place: Place, *, failed: bool) -> str:
    """The log group of a topic's deliveries."""
    return f"sns/{place.region}/{place.account}/{place.name}{'/Failure' if failed else ''}"


def _line(head: Any, content: Message, outcome: Answered | Failed, *, delivery: str, attempts: int, handed: int) -> str:
    message, subscription = head.message, head.subscription
    text = content.for_protocol(subscription.protocol)
    said = str(outcome) if isinstance(outcome, Failed) and not outcome.status else outcome.body
    about = {
        "deliveryId": delivery,
        "destination": subscription.endpoint,
        "providerResponse": said[:_ANSWER],
        "dwellTimeMs": max(0, handed - message.at),
        "attempts": attempts,
    }
    if outcome.status:
        about["statusCode"] = outcome.status
    published = format_timestamp(message.at, "iso8601", always_millis=True)
    found = {
        "notification": {
            "messageMD5Sum": hashlib.md5(text.encode(), usedforsecurity=False).hexdigest(),
            "messageId": message.id,
            "topicArn": rows.topic_of(subscription).arn,
            "timestamp": published.replace("T", " ").removesuffix("Z"),
        },
        "delivery": about,
        "status": "FAILURE" if isinstance(outcome, Failed) else "SUCCESS",
    }
    return orjson.dumps(found).decode()
