"""The operations of SNS, by what they are about; what they share."""

from __future__ import annotations

from typing import Any

from penstock.application import Call
from penstock.component import operations_of
from penstock.topics import topic_rows
from penstock.topics.errors import (
    InvalidParameterException,
    NotFoundException,
    TagLimitExceededException,
    invalid,
)
from penstock.topics.names import Place, topic_named
from penstock.wire.call import Input
from penstock.wire.pages import Pages
from penstock.wire.tags import TagRules

sns = operations_of("sns")
PAGES = Pages(lambda _token: invalid("NextToken"), member="NextToken")
PAGE = 100  # rows (AWS: ListTopics)

TAGS = TagRules(  # AWS: TagResource of SNS
    too_many=TagLimitExceededException,
    reserved=lambda key: invalid("Tags", f"Tag keys that begin with aws: are reserved: {key}"),
    duplicate=lambda _key: InvalidParameterException(what="Duplicated keys are not allowed."),
    malformed=lambda key, _value: invalid("Tags", f"The tag {key[:128]} is not valid."),
)


async def topic_arn(call: Call, input: Input) -> str:
    """The ARN of the topic that an input names, read once: what was authorised is what is used."""
    return await find_topic(call, input["TopicArn"], "TopicArn")


async def find_topic(call: Call, arn: str, member: str) -> str:
    """Keep the topic of an ARN with the call; its ARN. Raises InvalidParameterException."""
    place = call.memo["place"] = topic_named(arn, member, call.region)
    call.memo["topic"] = await call.app.store.read(topic_rows.find, place)
    return place.arn


def place_of(call: Call) -> Place:
    """Where the topic lies that was asked about."""
    return call.memo["place"]


def found(call: Call) -> Any:
    """The topic that was asked about. Raises NotFoundException."""
    row = call.memo["topic"]
    if row is None:
        raise NotFoundException
    return row


def locked(conn: Any, call: Call) -> Any:
    """The topic that was asked about, as it is now and stays until the transaction ends. Raises NotFoundException."""
    row = topic_rows.locked(conn, place_of(call))
    if row is None or row.id != found(call).id:
        raise NotFoundException
    return row
