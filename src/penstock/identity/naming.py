"""Ids, keys and ARNs of identities. The alphabets and lengths are AWS's (IAM identifiers)."""

from __future__ import annotations

import base64
import secrets

_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"

USER, ROLE, POLICY, GROUP, INSTANCE_PROFILE = "AIDA", "AROA", "ANPA", "AGPA", "AIPA"
SERVICE_CREDENTIAL = "ACCA"
LONG_TERM, TEMPORARY = "AKIA", "ASIA"


def unique_id(prefix: str) -> str:
    """A new principal or policy id: the prefix and 17 characters."""
    return prefix + _random(17)


def access_key_id(prefix: str, account: str) -> str:
    """A new access key id: the prefix and 16 characters, base32 of one set bit, the account in 40 bits, and 39 random ones.

    It is AWS's layout, which clients that tell a key's account from its id know.
    """
    number = 1 << 79 | int(account) << 39 | secrets.randbits(39)
    return prefix + base64.b32encode(number.to_bytes(10)).decode()


def account_of(arn: str) -> str:
    """The account that an ARN names; "" without one, and for a text that is not an ARN."""
    parts = arn.split(":", 5)
    return parts[4] if len(parts) == 6 else ""


def account_of_key(key_id: str) -> str:
    """The account of an access key, by its id alone. Raises ValueError for what no `access_key_id` has made."""
    if key_id[:4] not in (LONG_TERM, TEMPORARY) or len(key_id) != 20:
        raise ValueError(key_id)
    number = int.from_bytes(base64.b32decode(key_id[4:]))
    account = number >> 39 & (1 << 40) - 1
    if not number >> 79 or account >= 10**12:
        raise ValueError(key_id)
    return f"{account:012d}"


def secret() -> str:
    """A new secret access key: 40 characters, 240 random bits. Always from the system's randomness."""
    return base64.b64encode(secrets.token_bytes(30)).decode()


def arn(partition: str, account: str, kind: str, path: str, name: str) -> str:
    """ARN of a user, role or policy; `path` begins and ends with a slash."""
    return f"arn:{partition}:iam::{account}:{kind}{path}{name}"


def federated_arn(partition: str, account: str, name: str) -> str:
    """ARN of a federated user."""
    return f"arn:{partition}:sts::{account}:federated-user/{name}"


def session_arn(role_arn: str, session_name: str) -> str:
    """ARN of a session of a role; it does not show the role's path."""
    _, partition, _, _, account, resource = role_arn.split(":", 5)
    return f"arn:{partition}:sts::{account}:assumed-role/{resource.rpartition('/')[2]}/{session_name}"


def _random(n: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(n))
