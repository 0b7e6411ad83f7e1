"""Publishing: what was answered is written, and reaches every subscription that takes it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from penstock.application import App, Call
from penstock.topics import contents, message_rows
from penstock.topics.attributes import LARGEST
from penstock.topics.errors import (
    BatchEntryIdsNotDistinctException,
    BatchRequestTooLongException,
    EmptyBatchRequestException,
    InvalidBatchEntryIdException,
    NotFoundException,
    TooManyEntriesInBatchRequestException,
    invalid,
)
from penstock.topics.messages import Message, message_of, size_of
from penstock.topics.names import FIFO
from penstock.topics.operations import find_topic, found, place_of, sns, topic_arn
from penstock.wire.call import Input, Output
from penstock.wire.registry import Recorded

_BATCH = 10
_ENTRY = re.compile(r"[A-Za-z0-9_-]{1,80}")


async def _target(call: Call, input: Input) -> str:
    if input.get("PhoneNumber"):
        raise invalid("PhoneNumber", "Penstock sends no text messages. Name a topic by TopicArn.")
    arn = input.get("TopicArn") or input.get("TargetArn")
    if not arn:
        raise invalid("TopicArn or TargetArn Reason: no value for required parameter")
    if not input.get("TopicArn") and ":endpoint/" in arn:
        raise invalid("TargetArn", "No endpoint found for the target arn specified")
    return await find_topic(call, arn, "TopicArn" if input.get("TopicArn") else "TargetArn")


@sns("Publish", resource=_target, recorded=Recorded.DATA)
async def publish(app: App, call: Call, input: Input) -> Output:
    """Publish a message. Its id is answered when it is written; deliveries follow."""
    ((id, sequence),) = await _published(app, call, [_message(call, input)])
    return {"MessageId": id} | _sequence(call, sequence)


@sns("PublishBatch", resource=topic_arn, recorded=Recorded.DATA)
async def publish_batch(app: App, call: Call, input: Input) -> Output:
    """Publish up to ten messages: all of them, or none."""
    entries = input["PublishBatchRequestEntries"]
    if not entries:
        raise EmptyBatchRequestException
    if len(entries) > _BATCH:
        raise TooManyEntriesInBatchRequestException
    ids = [entry["Id"] for entry in entries]
    for id in ids:
        if not _ENTRY.fullmatch(id):
            raise InvalidBatchEntryIdException(id=id[:100])
    if len(set(ids)) < len(ids):
        raise BatchEntryIdsNotDistinctException
    messages = [_message(call, entry) for entry in entries]
    if sum(map(size_of, messages)) > _largest(call):
        raise BatchRequestTooLongException
    made = await _published(app, call, messages)
    done = [
        {"Id": id, "MessageId": message} | _sequence(call, sequence)
        for id, (message, sequence) in zip(ids, made, strict=True)
    ]
    return {"Successful": done, "Failed": []}


def _largest(call: Call) -> int:
    return int(found(call).attributes.get("MaximumMessageSize", LARGEST))


def _message(call: Call, input: Input) -> Message:
    # Of Publish and of entries alike.
    _ = ("Subject", "MessageAttributes", "MessageStructure", "MessageGroupId", "MessageDeduplicationId", "Message")
    return message_of(
        input,
        fifo=place_of(call).name.endswith(FIFO),
        by_content=found(call).attributes.get("ContentBasedDeduplication") == "true",
        largest=_largest(call),
    )


def _sequence(call: Call, sequence: int) -> Output:
    """Of a FIFO topic the message's number, with 20 digits."""
    return {"SequenceNumber": str(10**19 + sequence)} if place_of(call).name.endswith(FIFO) else {}


async def _published(app: App, call: Call, messages: Sequence[Message]) -> list[tuple[str, int]]:
    """Write messages; the id and number of each. One that was published a moment ago is not written again."""
    topic, scope = found(call), found(call).attributes.get("FifoThroughputScope")
    named = [(app.ids.uuid(), message) for message in messages]
    kept = await contents.sealed(call, topic, place_of(call), named)
    ready = [(id, message, content) for (id, message), content in zip(named, kept, strict=True)]

    def one(conn: sa.Connection, id: str, message: Message, content: bytes) -> tuple[str, int]:
        lane = _digest(message.group) if message.deduplication else ""
        key = _digest(message.deduplication, message.group if scope == "MessageGroup" else "")
        if lane:
            conn.execute(
                sa.select(message_rows.topics.c.id).where(message_rows.topics.c.id == topic.id).with_for_update()
            )
            before = message_rows.published(conn, topic.id, key, call.now)
            if before is not None:
                return before.message, before.sequence
        sequence = message_rows.publish(conn, topic, id=id, lane=lane, content=content, now=call.now)
        if sequence is None:
            raise NotFoundException
        if lane:
            message_rows.remember(conn, topic.id, key, message=id, sequence=sequence, now=call.now)
        return id, sequence

    def tx(conn: sa.Connection) -> list[tuple[str, int]]:
        return [one(conn, *each) for each in ready]

    return await app.store.write(tx)


def _digest(*parts: Any) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
