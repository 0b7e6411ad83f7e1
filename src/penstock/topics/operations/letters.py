"""Messages that a subscription was not given: operations of our own service, since AWS has queues of SQS for them."""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa

from penstock.application import App, Call
from penstock.component import operations_of
from penstock.topics import letter_rows, message_rows, topic_rows
from penstock.topics.bodies import time_of
from penstock.topics.contents import Contents
from penstock.topics.errors import (
    InvalidLetterTokenException,
    MessageDeadLetterNotFoundException,
    MessageSealedException,
    SubscriptionGoneException,
)
from penstock.topics.names import named_by
from penstock.topics.outcomes import Failed
from penstock.wire.call import Input, Output
from penstock.wire.pages import Pages

operation = operations_of("penstock")
_PAGES = Pages(lambda _token: InvalidLetterTokenException())
_PAGE = 100


class _Kept(NamedTuple):
    id: str
    content: bytes


def _letter(call: Call, input: Input) -> str:
    return call.arn("penstock", f"message-dead-letter/{input['messageDeadLetterId']}")


@operation("ListMessageDeadLetters")
async def list_message_dead_letters(app: App, call: Call, input: Input) -> Output:
    """What the caller's subscriptions were not given, the latest first."""
    after = _PAGES.after(call, input)
    behind = None if after is None else (after[0], after[1])
    arn = input.get("topicArn")
    named = named_by(arn) if arn else None

    def read(conn: sa.Connection) -> list[Any]:
        topic = topic_rows.find(conn, named) if named is not None else None
        if arn and topic is None:
            return []
        topic_id = "" if topic is None else topic.id
        return letter_rows.page(conn, call.account, call.region, topic=topic_id, after=behind, limit=_PAGE + 1)

    page = _PAGES.page(call, input, await app.store.read(read), limit=_PAGE, keyset=lambda row: (row.at, row.id))
    return {"deadLetters": [_to_api(row) for row in page.rows], **page.more}


@operation("GetMessageDeadLetter", resource=_letter)
async def get_message_dead_letter(app: App, call: Call, input: Input) -> Output:
    """One of them, with the message as its endpoint would have got it, unsigned. The caller must be let use the key that it is under."""
    row = await app.store.read(_found, call, input["messageDeadLetterId"])
    try:
        content = await Contents(app).opened(_Kept(row.message, row.content), by=call.session)
    except Failed as failed:
        raise MessageSealedException(why=str(failed)) from None
    body = {"Type": "Notification", "MessageId": row.message, "TopicArn": row.arn.rpartition(":")[0]}
    if content.subject:
        body["Subject"] = content.subject
    body |= {"Message": content.for_protocol(row.protocol), "Timestamp": time_of(row.published)}
    more = {"MessageAttributes": content.attributes_to_api()} if content.attributes else {}
    return {"deadLetter": _to_api(row), "notification": orjson.dumps({**body, **more}).decode()}


@operation("RedriveMessageDeadLetter", resource=_letter)
async def redrive_message_dead_letter(app: App, call: Call, input: Input) -> Output:
    """Send one again, under its old id and with all tries before it."""

    def tx(conn: sa.Connection) -> None:
        letter = _found(conn, call, input["messageDeadLetterId"], locked=True)
        if not message_rows.send_again(conn, letter):
            raise SubscriptionGoneException(arn=letter.arn)
        letter_rows.remove(conn, letter.id)

    await app.store.write(tx)
    return {}


@operation("DeleteMessageDeadLetter", resource=_letter)
async def delete_message_dead_letter(app: App, call: Call, input: Input) -> Output:
    """Forget one."""

    def tx(conn: sa.Connection) -> None:
        letter_rows.remove(conn, _found(conn, call, input["messageDeadLetterId"], locked=True).id)

    await app.store.write(tx)
    return {}


def _found(conn: sa.Connection, call: Call, id: str, *, locked: bool = False) -> Any:
    row = letter_rows.find(conn, call.account, call.region, id, locked=locked)
    if row is None:
        raise MessageDeadLetterNotFoundException(id=id)
    return row


def _to_api(row: Any) -> Output:
    said = {
        "deadLetterId": row.id,
        "messageId": row.message,
        "topicArn": row.arn.rpartition(":")[0],
        "subscriptionArn": row.arn,
        "protocol": row.protocol,
        "endpoint": row.endpoint,
        "deadLetterQueueArn": row.queue,
        "errorCode": row.code,
        "errorMessage": row.error,
        "statusCode": row.status or None,
        "retryAttempts": row.attempts - 1,
        "published": row.published,
        "time": row.at,
    }
    return {name: value for name, value in said.items() if value is not None}
