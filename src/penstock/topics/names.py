"""Names and ARNs of topics and subscriptions. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

from penstock.topics.errors import invalid
from penstock.wire.call import partition_of

_NAME = re.compile(r"[A-Za-z0-9_-]{1,256}|[A-Za-z0-9_-]{1,251}\.fifo")
_PARTS = 6
FIFO = ".fifo"


class Place(NamedTuple):
    """Where a topic lies."""

    account: str
    region: str
    name: str

    @property
    def arn(self) -> str:
        """Its ARN."""
        return f"arn:{partition_of(self.region)}:sns:{self.region}:{self.account}:{self.name}"


def check_name(name: str, *, fifo: bool) -> None:
    """Raise InvalidParameterException for what is no name of such a topic."""
    if not _NAME.fullmatch(name) or name.endswith(FIFO) is not fifo:
        raise invalid("Topic Name")


def topic_named(arn: str, member: str, region: str) -> Place:
    """The topic that an ARN names, of any account. Raises InvalidParameterException unless it is one of the region."""
    parts = arn.split(":")
    if len(parts) < _PARTS:
        raise invalid(member, f"An ARN must have at least {_PARTS} elements, not {len(parts)}")
    place = Place(parts[4], parts[3], parts[5])
    if parts[3] != region or place.arn != arn or not _NAME.fullmatch(place.name):
        raise invalid(member)
    return place


class Subscribed(NamedTuple):
    """A subscription's topic, and its own id."""

    topic: Place
    id: str


def subscription_named(arn: str) -> Subscribed:
    """What the ARN of a subscription names. Raises InvalidParameterException for what is none."""
    parts = arn.split(":")
    if len(parts) < _PARTS:
        raise invalid("SubscriptionArn", f"An ARN must have at least {_PARTS} elements, not {len(parts)}")
    found = Subscribed(Place(parts[4], parts[3], parts[5]), parts[-1])
    if len(parts) != _PARTS + 1 or f"{found.topic.arn}:{found.id}" != arn:
        raise invalid("SubscriptionId")
    return found


def named_by(arn: str) -> Place | None:
    """The topic of an ARN of a topic or subscription, for policies; None for any other text."""
    parts = arn.split(":")
    if len(parts) not in (_PARTS, _PARTS + 1):
        return None
    place = Place(parts[4], parts[3], parts[5])
    return place if arn in (place.arn, f"{place.arn}:{parts[-1]}") else None
