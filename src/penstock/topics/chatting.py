"""Subscriptions of chats: which endpoints may be one, and whether somebody has to confirm it. Pure.

A chat cannot follow a link. Its address itself is the proof: only whoever was given an incoming webhook knows it. That holds at the hosts of the
services themselves, and at those of which the operator says so.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

from penstock.topics.chat import ATTRIBUTE, SECRET, formats
from penstock.topics.errors import InvalidParameterException

_PREFIX = "whsec_"  # Standard Webhooks: "Signature scheme"
_SECRET_BYTES = range(24, 65)


def checked_format(value: str) -> str:
    """The name of a format, or "". Raises InvalidParameterException."""
    if value and value not in formats():
        *others, last = formats()
        raise InvalidParameterException(
            f"{ATTRIBUTE}: Invalid value [{value[:100]}]. Must be {', '.join(others)} or {last}."
        )
    return value


def key_of(value: str) -> bytes:
    """The key that a secret means. Raises InvalidParameterException."""
    try:
        key = base64.b64decode(value.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not value.startswith(_PREFIX) or len(key) not in _SECRET_BYTES:
        raise InvalidParameterException(
            f"{SECRET}: it is {_PREFIX} and 24 to 64 random bytes in base64, such as {_PREFIX}$(openssl rand -base64 32)."
        )
    return key


def confirmed_at_once(
    attributes: Mapping[str, str], *, protocol: str, endpoint: str, signs: bool, hosts: Collection[str]
) -> bool:
    """Whether a subscription with these attributes needs nobody's confirmation; `signs`: it has a secret.

    `hosts` are those that the operator trusts. Raises InvalidParameterException for what cannot be such a subscription.
    """
    format = formats().get(attributes.get(ATTRIBUTE, ""))
    if format is None:
        return False
    if protocol not in ("http", "https"):
        raise InvalidParameterException(f"{ATTRIBUTE}: it is for the protocols http and https, not for {protocol}.")
    if format.signs and not signs:
        raise InvalidParameterException(
            f"{ATTRIBUTE}: {format.name} signs what it sends. Set {SECRET}, which the receiver knows too."
        )
    host = (urlsplit(endpoint).hostname or "").lower()
    if host in hosts or (protocol == "https" and format.knows(host)):
        return True
    if format.answers:
        return False
    own = f" It is for {' and '.join(one.lstrip('.') for one in format.hosts)} by https." if format.hosts else ""
    raise InvalidParameterException(
        f"{ATTRIBUTE}: a chat at {host} cannot confirm that it is subscribed.{own} The operator lets others in by --chat-host {host}."
    )
