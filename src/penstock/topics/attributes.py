"""Attributes of topics: which there are, what they may be, and what a topic says of itself. Pure.

(AWS: SNS API Reference, CreateTopic and SetTopicAttributes.)
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from penstock.topics.errors import InvalidParameterException, invalid
from penstock.topics.names import Place
from penstock.topics.retries import check_policy, effective

LARGEST = 262_144  # bytes of a message, unless the topic says otherwise
_SIZES = range(1_024, 1_048_576 + 1)
_DISPLAY_NAME = 100  # characters
_BOOLEANS = ("true", "false")
_FIFO_ONLY = frozenset({"ContentBasedDeduplication", "FifoThroughputScope", "ArchivePolicy"})
_CHOICES = {
    "SignatureVersion": ("1", "2"),
    "ContentBasedDeduplication": _BOOLEANS,
    "FifoThroughputScope": ("Topic", "MessageGroup"),
    "TracingConfig": ("PassThrough",),
}
# What AWS has and nothing here would do: it is refused rather than taken and forgotten.
_NOT_SERVED = {
    "ArchivePolicy": "Messages are not archived. Leave ArchivePolicy out.",
    "DataProtectionPolicy": "Messages are not searched for personal data. Leave DataProtectionPolicy out.",
}
_FEEDBACK = re.compile(
    r"(HTTP|Lambda|SQS|Firehose|Application)(SuccessFeedbackRoleArn|SuccessFeedbackSampleRate|FailureFeedbackRoleArn)"
)
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::[0-9]{12}:role/[\x21-\x7e]{1,600}")
_RATE = re.compile(r"[0-9]{1,2}|100")
_KEY = re.compile(r"[A-Za-z0-9:/_-]{1,2048}")


def checked(name: str, value: str, *, fifo: bool) -> str:
    """An attribute that is to be set, but the policy. Raises InvalidParameterException for a bad value, KeyError for a bad name."""
    if name in _FIFO_ONLY and not fifo:
        raise KeyError(name)
    if name in _NOT_SERVED:
        if value:
            raise invalid(name, _NOT_SERVED[name])
        return value
    if _FEEDBACK.fullmatch(name):
        if value and name.endswith("SampleRate") and not _RATE.fullmatch(value):
            raise invalid(name, "it is a whole number from 0 to 100")
        if value and name.endswith("RoleArn") and not _ROLE.fullmatch(value):
            raise invalid(name, "it is the ARN of a role")
        return value
    match name:
        case "DisplayName":
            if len(value) > _DISPLAY_NAME or not value.isprintable():
                raise invalid("DisplayName", f"it has at most {_DISPLAY_NAME} characters, all printable")
        case "DeliveryPolicy":
            if value:
                check_policy(value)
        case "KmsMasterKeyId":
            if value and not _KEY.fullmatch(value):
                raise invalid("KmsMasterKeyId", "it is the id, the alias or the ARN of a key of KMS")
        case "MaximumMessageSize":
            if not (value.isascii() and value.isdigit() and len(value) < 8 and int(value) in _SIZES):
                raise invalid("MaximumMessageSize", "it is a number from 1024 to 1048576")
        case _:
            choices = _CHOICES[name]
            if value not in choices:
                raise invalid(name, f"Invalid value [{value}]. Must be {' or '.join(choices)}.")
    return value


def of_creation(given: Mapping[str, str], *, fifo: bool) -> dict[str, str]:
    """The attributes of a new topic, but the policy, from CreateTopic's. Raises InvalidParameterException."""
    found = {}
    for name, value in given.items():
        if name in ("Policy", "FifoTopic"):
            continue
        try:
            found[name] = checked(name, value, fifo=fifo)
        except KeyError:
            raise invalid("Attributes", f"Unknown attribute {name}") from None
        except InvalidParameterException as error:
            raise invalid(f"Attributes Reason: {error.message.removeprefix('Invalid parameter: ')}") from None
    return {name: value for name, value in found.items() if value}


def roles_of(given: Mapping[str, str]) -> list[str]:
    """The roles that attributes hand over to SNS."""
    return [value for name, value in given.items() if name.endswith("FeedbackRoleArn") and value]


def is_fifo(given: Mapping[str, str]) -> bool:
    """Whether CreateTopic asks for a FIFO topic. Raises InvalidParameterException."""
    value = given.get("FifoTopic", "false")
    if value not in _BOOLEANS:
        raise invalid("Attributes", f"FifoTopic: Invalid value [{value}]. Must be true or false.")
    return value == "true"


def default_policy(place: Place) -> str:
    """The policy of a topic that was given none."""
    actions = (
        "GetTopicAttributes", "SetTopicAttributes", "AddPermission", "RemovePermission", "DeleteTopic", "Subscribe", "ListSubscriptionsByTopic", "Publish",
    )  # fmt: skip
    statement = {
        "Sid": "__default_statement_ID",
        "Effect": "Allow",
        "Principal": {"AWS": "*"},
        "Action": [f"SNS:{action}" for action in actions],
        "Resource": place.arn,
        "Condition": {"StringEquals": {"AWS:SourceOwner": place.account}},
    }
    document = {"Version": "2008-10-17", "Id": "__default_policy_ID", "Statement": [statement]}
    return json.dumps(document, separators=(",", ":"))


def shown(row: Any, place: Place, policy: str, counts: Mapping[str, int]) -> dict[str, str]:
    """GetTopicAttributes of a topic."""
    found = {
        "TopicArn": place.arn,
        "Owner": place.account,
        "DisplayName": "",
        "Policy": policy,
        "SubscriptionsConfirmed": str(counts.get("confirmed", 0)),
        "SubscriptionsPending": str(counts.get("pending", 0)),
        "SubscriptionsDeleted": str(counts.get("deleted", 0)),
        "EffectiveDeliveryPolicy": json.dumps(
            effective(row.attributes.get("DeliveryPolicy", "")), separators=(",", ":")
        ),
    }
    if place.name.endswith(".fifo"):
        found |= {"FifoTopic": "true", "ContentBasedDeduplication": "false"}
    return found | row.attributes
