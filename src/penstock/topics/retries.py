"""Delivery policies: how often a delivery over HTTP is tried, and when. Pure.

(AWS: SNS Developer Guide, "Amazon SNS message delivery retries".)
"""

from __future__ import annotations

import json
import math
from typing import Any

from penstock.topics.errors import invalid

_TOTAL_S = 3_600  # that all tries of a message may take
_MOST = 100  # tries
_BACKOFF = ("linear", "arithmetic", "geometric", "exponential")
_HEALTHY = {
    "minDelayTarget": 20,
    "maxDelayTarget": 20,
    "numRetries": 3,
    "numMaxDelayRetries": 0,
    "numNoDelayRetries": 0,
    "numMinDelayRetries": 0,
    "backoffFunction": "linear",
}
CONTENT_TYPE = "text/plain; charset=UTF-8"
_CONTENT_TYPES = {  # AWS: "Content-Type header" of a request policy
    "text/plain", "text/css", "text/csv", "text/html", "text/xml", "application/json", "application/xml", "application/octet-stream",
    "application/soap+xml", "application/x-www-form-urlencoded", "application/atom+xml", "application/xhtml+xml",
}  # fmt: skip
DEFAULT = {
    "http": {
        "defaultHealthyRetryPolicy": _HEALTHY,
        "disableSubscriptionOverrides": False,
        "defaultRequestPolicy": {"headerContentType": CONTENT_TYPE},
    }
}
_SMTP_S = (*(10,) * 2, *(10 + round(590 * step / 9) for step in range(10)), *(600,) * 38)


def check_policy(text: str) -> None:
    """Raise InvalidParameterException for what is no delivery policy of a topic."""
    found = _parsed(text)
    http = _mapping(found.get("http", {}), "http")
    _only(found, {"http"}, "")
    _only(http, {"defaultHealthyRetryPolicy", "disableSubscriptionOverrides", "defaultRequestPolicy", "defaultThrottlePolicy", "defaultSicklyRetryPolicy"}, "http.")  # fmt: skip
    if http.get("defaultSicklyRetryPolicy") is not None or http.get("defaultThrottlePolicy") is not None:
        raise invalid(
            "DeliveryPolicy",
            "http.defaultThrottlePolicy and http.defaultSicklyRetryPolicy are not served. Leave them out.",
        )
    if not isinstance(http.get("disableSubscriptionOverrides", False), bool):
        raise invalid("DeliveryPolicy", "http.disableSubscriptionOverrides is true or false")
    _check_retries(http.get("defaultHealthyRetryPolicy"), "http.defaultHealthyRetryPolicy")
    _check_request(http.get("defaultRequestPolicy"), "http.defaultRequestPolicy")


def check_own_policy(text: str) -> None:
    """Raise InvalidParameterException for what is no delivery policy of a subscription."""
    found = _parsed(text)
    _only(found, {"healthyRetryPolicy", "sicklyRetryPolicy", "throttlePolicy", "requestPolicy"}, "")
    if found.get("throttlePolicy") is not None or found.get("sicklyRetryPolicy") is not None:
        raise invalid("DeliveryPolicy", "throttlePolicy and sicklyRetryPolicy are not served. Leave them out.")
    _check_retries(found.get("healthyRetryPolicy"), "healthyRetryPolicy")
    _check_request(found.get("requestPolicy"), "requestPolicy")


def effective(topic: str) -> dict[str, Any]:
    """The policy that a topic's subscriptions have, unless they say otherwise."""
    given = json.loads(topic).get("http", {}) if topic else {}
    base: dict[str, Any] = DEFAULT["http"]
    return {
        "http": {
            "defaultHealthyRetryPolicy": base["defaultHealthyRetryPolicy"]
            | (given.get("defaultHealthyRetryPolicy") or {}),
            "disableSubscriptionOverrides": given.get("disableSubscriptionOverrides", False),
            "defaultRequestPolicy": base["defaultRequestPolicy"] | (given.get("defaultRequestPolicy") or {}),
        }
    }


def effective_own(topic: str, own: str) -> dict[str, Any]:
    """The policy of a subscription."""
    base = effective(topic)["http"]
    given = json.loads(own) if own and not base["disableSubscriptionOverrides"] else {}
    return {
        "healthyRetryPolicy": base["defaultHealthyRetryPolicy"] | (given.get("healthyRetryPolicy") or {}),
        "requestPolicy": base["defaultRequestPolicy"] | (given.get("requestPolicy") or {}),
    }


def pause_s(policy: dict[str, Any], failures: int) -> float | None:
    """How long to wait after the n-th failure, in seconds; None when it was the last try.

    The phases: at once, after the least delay, then ever longer, then after the greatest delay.
    """
    if failures > policy["numRetries"]:
        return None
    left = failures - 1
    for number, delay in (
        (policy["numNoDelayRetries"], 0),
        (policy["numMinDelayRetries"], policy["minDelayTarget"]),
    ):
        if left < number:
            return delay
        left -= number
    between = policy["numRetries"] - sum(
        policy[name] for name in ("numNoDelayRetries", "numMinDelayRetries", "numMaxDelayRetries")
    )
    if left >= between:
        return policy["maxDelayTarget"]
    share = 1.0 if between <= 1 else left / (between - 1)
    least, most = policy["minDelayTarget"], policy["maxDelayTarget"]
    match policy["backoffFunction"]:
        case "linear":
            grown = share
        case "arithmetic":
            grown = share * (share + 1) / 2
        case "geometric":
            grown = share**2
        case _:
            grown = math.expm1(share * 4) / math.expm1(4)
    return least + (most - least) * grown


def mail_pause_s(failures: int) -> float | None:
    """The same of mail: twice after 10 s, ten times ever longer, 38 times after 10 minutes."""
    return None if failures > len(_SMTP_S) else float(_SMTP_S[failures - 1])


def _parsed(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise invalid("DeliveryPolicy", "failed to parse JSON.") from None
    return _mapping(found, "")


def _mapping(found: Any, where: str) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise invalid("DeliveryPolicy", f"{where or 'it'} must be an object")
    return found


def _only(found: dict[str, Any], known: set[str], where: str) -> None:
    for name in found:
        if name not in known:
            raise invalid("DeliveryPolicy", f"Unknown attribute {where}{name[:100]}")


def _check_retries(given: Any, where: str) -> None:
    if given is None:
        return
    found = _mapping(given, where)
    _only(found, set(_HEALTHY), f"{where}.")
    for name, value in found.items():
        if name == "backoffFunction":
            if value not in _BACKOFF:
                raise invalid("DeliveryPolicy", f"{where}.backoffFunction must be one of {', '.join(_BACKOFF)}")
        elif type(value) is not int or not 0 <= value <= _TOTAL_S:
            raise invalid("DeliveryPolicy", f"{where}.{name} must be a number from 0 to {_TOTAL_S}")
    policy = _HEALTHY | found
    if policy["numRetries"] > _MOST:
        raise invalid("DeliveryPolicy", f"{where}.numRetries must be less than or equal to {_MOST}")
    if not 1 <= policy["minDelayTarget"] <= policy["maxDelayTarget"]:
        raise invalid("DeliveryPolicy", f"{where}.minDelayTarget must be at least 1 and at most maxDelayTarget")
    if (
        sum(policy[name] for name in ("numNoDelayRetries", "numMinDelayRetries", "numMaxDelayRetries"))
        > policy["numRetries"]
    ):
        raise invalid("DeliveryPolicy", f"{where}.numRetries must be at least the retries of its phases")
    if sum(pause_s(policy, failures) or 0 for failures in range(1, policy["numRetries"] + 1)) > _TOTAL_S:
        raise invalid("DeliveryPolicy", f"{where}: all retries together take longer than {_TOTAL_S} seconds")


def _check_request(given: Any, where: str) -> None:
    if given is None:
        return
    found = _mapping(given, where)
    _only(found, {"headerContentType"}, f"{where}.")
    kind = found.get("headerContentType", CONTENT_TYPE)
    if not isinstance(kind, str):
        raise invalid("DeliveryPolicy", f"{where}.headerContentType must be text")
    media, _, charset = kind.lower().partition(";")
    # Only the spaces that a header may have.
    if media.strip(" ") not in _CONTENT_TYPES or charset.strip(" ") not in ("", "charset=utf-8"):
        raise invalid("DeliveryPolicy", f"{where}.headerContentType is none that is served: {kind[:100]}")
