"""What is published: checked as SNS does, and the form in which it waits. Pure.

(AWS: SNS API Reference, Publish and PublishBatch.)
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from penstock.topics.errors import InvalidParameterValueException, invalid

_SUBJECT = re.compile(r"[\x21-\x7e][\x20-\x7e]{0,99}")
_TOKEN = re.compile(r"[A-Za-z0-9!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]{1,128}")
_NAME = re.compile(r"(?!\.)(?!(?i:aws|amazon)\.)[A-Za-z0-9_.-]+(?<!\.)")
_NAME_BYTES = 256
_TYPES = ("String", "Number", "Binary")
_NUMBER = re.compile(r"[+-]?([0-9]{1,40}\.?[0-9]{0,40}|\.[0-9]{1,40})([eE][+-]?[0-9]{1,3})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message as it waits for its subscriptions."""

    text: str
    subject: str = ""
    by_protocol: Mapping[str, str] | None = None  # what others than `text` are sent, by their protocols
    # {name: {DataType, and StringValue or BinaryValue in base64}}
    attributes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    group: str = ""
    deduplication: str = ""

    def for_protocol(self, protocol: str) -> str:
        """The text that subscriptions of a protocol are sent."""
        return (self.by_protocol or {}).get(protocol, self.text)

    def dump(self) -> bytes:
        """The form that is kept."""
        return orjson.dumps(
            [self.text, self.subject, self.by_protocol, self.attributes, self.group, self.deduplication]
        )

    @classmethod
    def load(cls, kept: bytes) -> Message:
        """The message of such a form."""
        text, subject, by_protocol, attributes, group, deduplication = orjson.loads(kept)
        return cls(
            text=text,
            subject=subject,
            by_protocol=by_protocol,
            attributes=attributes,
            group=group,
            deduplication=deduplication,
        )

    def attributes_to_api(self) -> dict[str, dict[str, str]]:
        """The attributes as a notification has them: binary ones in base64."""
        return {
            name: {"Type": one["DataType"], "Value": one.get("StringValue", one.get("BinaryValue", ""))}
            for name, one in self.attributes.items()
        }


def message_of(input: Mapping[str, Any], *, fifo: bool, by_content: bool, largest: int) -> Message:
    """The message of a Publish request, or of an entry of PublishBatch. Raises what SNS answers to a bad one.

    `by_content`: a FIFO topic whose messages are distinguished by their content, unless they say otherwise.
    """
    text, subject = input["Message"], input.get("Subject")
    if not text:
        raise invalid("Empty message")
    attributes = _attributes(input.get("MessageAttributes") or {})
    if len(text.encode()) + _size(attributes) > largest:
        raise invalid("Message too long")
    if subject is not None and not _SUBJECT.fullmatch(subject):
        raise invalid("Subject")
    by_protocol = None
    structure = input.get("MessageStructure")
    if structure == "json":
        by_protocol = _structured(text)
        text = by_protocol["default"]
    elif structure:
        raise invalid("MessageStructure")
    group, deduplication = input.get("MessageGroupId"), input.get("MessageDeduplicationId")
    for member, value in (("MessageGroupId", group), ("MessageDeduplicationId", deduplication)):
        if value is not None and not _TOKEN.fullmatch(value):
            raise invalid(
                member,
                f"{member} can only include alphanumeric and punctuation characters. 1 to 128 in length.",
            )
    if not fifo:
        if deduplication is not None:
            raise invalid(
                "MessageDeduplicationId",
                "The request includes MessageDeduplicationId parameter that is not valid for this topic type",
            )
    elif group is None:
        raise invalid("The MessageGroupId parameter is required for FIFO topics")
    elif deduplication is None:
        if not by_content:
            raise invalid(
                "The topic should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly"
            )
        deduplication = hashlib.sha256(input["Message"].encode()).hexdigest()
    return Message(
        text=text,
        subject=subject or "",
        by_protocol=by_protocol,
        attributes=attributes,
        group=group or "",
        deduplication=deduplication or "",
    )


def _structured(text: str) -> dict[str, str]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise invalid("Message Structure - JSON message body failed to parse")
    if not isinstance(found.get("default"), str):
        raise invalid("Message Structure - No default entry in JSON message body")
    texts = {protocol: value for protocol, value in found.items() if isinstance(value, str)}
    try:
        orjson.dumps(texts)
    except TypeError:  # half of a pair of surrogates, which nothing can be sent as
        raise invalid("Message Structure - JSON message body failed to parse") from None
    return texts


def _attributes(given: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for name, one in given.items():
        if len(name.encode()) >= _NAME_BYTES:
            raise InvalidParameterValueException("Length of message attribute name must be less than 256 bytes.")
        if not _NAME.fullmatch(name) or ".." in name:
            raise InvalidParameterValueException(f"Invalid message attribute name '{name[:256]}'.")
        kind = one["DataType"]
        base = kind.partition(".")[0]
        if base not in _TYPES or len(kind.encode()) >= _NAME_BYTES:
            raise InvalidParameterValueException(
                f"The message attribute '{name}' has an invalid message attribute type, the set of supported type prefixes is "
                "Binary, Number, and String."
            )
        wanted = "BinaryValue" if base == "Binary" else "StringValue"
        if not one.get("BinaryValue") and not one.get("StringValue"):
            raise InvalidParameterValueException(
                f"The message attribute '{name}' must contain non-empty message attribute value for message attribute type "
                f"'{kind}'."
            )
        if not one.get(wanted):
            field = "Binary" if base == "Binary" else "String"
            raise InvalidParameterValueException(
                f"The message attribute '{name}' with type '{kind}' must use field '{field}'."
            )
        value = one[wanted]
        if base == "Number" and not _NUMBER.fullmatch(value):
            raise InvalidParameterValueException(f"Could not cast message attribute '{name}' value to number.")
        if kind == "String.Array":
            _check_array(name, value)
        found[name] = {"DataType": kind, wanted: value if base != "Binary" else base64.b64encode(value).decode()}
    return found


def _check_array(name: str, value: str) -> None:
    try:
        listed = json.loads(value)
    except (ValueError, RecursionError):
        listed = None
    if not isinstance(listed, list) or any(isinstance(one, (list, dict)) for one in listed):
        raise InvalidParameterValueException(
            f"The message attribute '{name}' with type 'String.Array' must be an array of strings, numbers, true, false or null."
        )


def _size(attributes: Mapping[str, Mapping[str, Any]]) -> int:
    """The bytes of names, types and values (AWS: "Amazon SNS message attributes")."""
    return sum(
        len(name.encode()) + len(one["DataType"].encode()) + len(one.get("StringValue", one.get("BinaryValue", "")).encode())
        for name, one in attributes.items()
    )  # fmt: skip


def size_of(message: Message) -> int:
    """What a message counts towards the limit of a batch."""
    return len((message.text if message.by_protocol is None else json.dumps(message.by_protocol)).encode()) + _size(
        message.attributes
    )
