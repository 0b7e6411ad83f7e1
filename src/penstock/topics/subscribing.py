"""What may be subscribed, and with which attributes. Pure.

(AWS: SNS API Reference, Subscribe and SetSubscriptionAttributes.)
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from penstock.topics import chat, chatting, filters, redriving, retries
from penstock.topics.errors import InvalidParameterException, invalid

MAIL = ("email", "email-json")
WEB = ("http", "https")
# Those of AWS that nothing here would deliver to.
_NOT_SERVED = {
    "sms": "Penstock sends no text messages. Subscribe an email address or an https endpoint.",
    "application": "Penstock sends no mobile push messages. Subscribe an email address or an https endpoint.",
    "firehose": "Penstock has no delivery streams. Subscribe an https endpoint.",
    "sqs": "Penstock has no queues. Subscribe an https endpoint.",
    "lambda": "Penstock does not run functions yet. Subscribe an https endpoint.",
}
_ADDRESS = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
)
_URL = re.compile(r"(?i)https?://[A-Za-z0-9.\-\[\]:]+(/[\x21\x22\x24-\x7e]*)?")
_ADDRESS_MOST, _URL_MOST = 254, 2_048  # characters
_BOOLEANS = ("true", "false")
_LATER = {
    "ReplayPolicy": "Messages are not archived. Leave ReplayPolicy out.",
    "SubscriptionRoleArn": "It is for delivery streams, which Penstock does not have. Leave SubscriptionRoleArn out.",
}


def check_endpoint(protocol: str, endpoint: str) -> None:
    """Raise InvalidParameterException for what cannot be subscribed."""
    if protocol in _NOT_SERVED:
        raise invalid("Protocol", _NOT_SERVED[protocol])
    if protocol in MAIL:
        if len(endpoint) > _ADDRESS_MOST or not _ADDRESS.fullmatch(endpoint):
            raise invalid("Email address")
    elif protocol in WEB:
        if not endpoint.lower().startswith(f"{protocol}://"):
            raise invalid("Endpoint must match the specified protocol")
        if len(endpoint) > _URL_MOST or not _URL.fullmatch(endpoint) or not _has_host(endpoint):
            raise invalid(
                "Endpoint", "it is no address of a web server: a name, perhaps a port and a path, and no user"
            )
    else:
        raise InvalidParameterException(what=f"Amazon SNS does not support this protocol string: {protocol[:100]}")


def _has_host(endpoint: str) -> bool:
    try:
        parts = urlsplit(endpoint)
        return bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False


def checked(name: str, value: str, have: Mapping[str, str], *, fifo: bool) -> str:
    """An attribute that is to be set beside those that there are; "" takes it away.

    Raises InvalidParameterException whose text goes behind the operation's own beginning, KeyError for a bad name.
    """
    match name:
        case "RawMessageDelivery":
            if value not in _BOOLEANS:
                raise InvalidParameterException(
                    f"RawMessageDelivery: Invalid value [{value[:100]}]. Must be true or false."
                )
        case "FilterPolicyScope":
            if value not in (filters.ATTRIBUTES, filters.BODY):
                raise InvalidParameterException(
                    f"FilterPolicyScope: Invalid value [{value[:100]}]. Please use either MessageBody or MessageAttributes"
                )
            _check_filter(have.get("FilterPolicy", ""), value)
        case "FilterPolicy":
            _check_filter(value, have.get("FilterPolicyScope", filters.ATTRIBUTES))
            return "" if value.strip() in ("", "{}") else value
        case "DeliveryPolicy":
            if value:
                try:
                    retries.check_own_policy(value)
                except InvalidParameterException as error:
                    reason = error.message.partition("Reason: ")[2]
                    raise InvalidParameterException(f"DeliveryPolicy: {reason}") from None
        case chat.ATTRIBUTE:
            chatting.checked_format(value)
        case chat.SECRET:
            if value:
                chatting.key_of(value)
        case "RedrivePolicy":
            if value.strip() in ("", "{}"):
                return ""
            redriving.check_policy(value, fifo=fifo)
        case _:
            if value:
                raise InvalidParameterException(f"{name}: {_LATER[name]}")
            _LATER[name]
    return value


def _check_filter(policy: str, scope: str) -> None:
    if not policy:
        return
    try:
        filters.compiled(policy, scope)
    except filters.BadFilter as error:
        raise InvalidParameterException(f"FilterPolicy: {error}") from None


def of_subscribe(given: Mapping[str, str], *, fifo: bool) -> dict[str, str]:
    """The attributes of a new subscription to a (FIFO) topic. Raises InvalidParameterException."""
    found: dict[str, str] = {}
    # The scope first: the policy is read by it.
    for name in sorted(given, key=lambda one: one != "FilterPolicyScope"):
        try:
            found[name] = checked(name, given[name], found, fifo=fifo)
        except KeyError:
            raise invalid("Attributes", f"Unknown attribute: {name[:100]}") from None
        except InvalidParameterException as error:
            raise invalid("Attributes", error.message) from None
    return {name: value for name, value in found.items() if value}


def shown(row: Any, arn: str, topic_arn: str, topic_policy: str) -> dict[str, str]:
    """GetSubscriptionAttributes of a subscription."""
    pending = row.state == "pending"
    kept = dict(row.attributes)
    found = {
        "SubscriptionArn": arn,
        "TopicArn": topic_arn,
        "Protocol": row.protocol,
        "Endpoint": row.endpoint,
        "Owner": row.owner,
        "SubscriptionPrincipal": row.principal,
        "ConfirmationWasAuthenticated": "true" if row.authenticated else "false",
        "PendingConfirmation": "true" if pending else "false",
        "RawMessageDelivery": "false",
    }
    if "FilterPolicy" in kept:
        kept.setdefault("FilterPolicyScope", filters.ATTRIBUTES)
    if row.protocol in WEB:
        effective = retries.effective_own(topic_policy, kept.get("DeliveryPolicy", ""))
        found["EffectiveDeliveryPolicy"] = json.dumps(effective, separators=(",", ":"))
    return found | kept
