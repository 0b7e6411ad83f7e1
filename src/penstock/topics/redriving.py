"""Redrive policies of subscriptions: which queue AWS would put what is not delivered into. Pure.

Penstock has no queues: what is given up is a dead letter here, whether there is such a policy or not, and bears the ARN of the queue.
(AWS: SNS Developer Guide, "Amazon SNS dead-letter queues".)
"""

from __future__ import annotations

import json
from typing import Any

from penstock.topics.errors import InvalidParameterException
from penstock.wire.arns import parse_arn

_QUEUE = "deadLetterTargetArn"


def check_policy(text: str, *, fifo: bool) -> None:
    """Raise InvalidParameterException for what is no redrive policy of a subscription to a (FIFO) topic."""
    found = _parsed(text)
    if not isinstance(found, dict):
        raise InvalidParameterException("RedrivePolicy: failed to parse JSON.")
    for name in found:
        if name != _QUEUE:
            raise InvalidParameterException(f"RedrivePolicy: Unknown attribute {name[:100]}")
    queue = found.get(_QUEUE)
    arn = parse_arn(queue, "sqs") if isinstance(queue, str) else None
    if arn is None or not (arn.region and arn.account) or ":" in arn.resource:
        raise InvalidParameterException("RedrivePolicy: deadLetterTargetArn is an invalid arn")
    if fifo and not arn.resource.endswith(".fifo"):
        raise InvalidParameterException(
            "RedrivePolicy: must use a FIFO queue as DLQ for a FIFO Subscription to a FIFO Topic."
        )


def queue_of(text: str) -> str | None:
    """The queue of a policy that was checked; None without one."""
    return _parsed(text)[_QUEUE] if text else None


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
