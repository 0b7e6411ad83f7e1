"""Ids, keys and ARNs of identities. The alphabets and lengths are AWS's (IAM identifiers)."""

from __future__ import annotations

import base64
import secrets

_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"

USER, ROLE, POLICY, GROUP = "AIDA", "AROA", "ANPA", "AGPA"
LONG_TERM, TEMPORARY = "AKIA", "ASIA"


def unique_id(prefix: str) -> str:
    """A new principal or policy id: the prefix and 17 characters."""
    return prefix + _random(17)


def access_key_id(prefix: str) -> str:
    """A new access key id: the prefix and 16 characters."""
    return prefix + _random(16)


def secret() -> str:
    """A new secret access key: 40 characters, 240 random bits. Always from the system's randomness."""
    return base64.b64encode(secrets.token_bytes(30)).decode()


def arn(partition: str, account: str, kind: str, path: str, name: str) -> str:
    """ARN of a user, role or policy; `path` begins and ends with a slash."""
    return f"arn:{partition}:iam::{account}:{kind}{path}{name}"


def session_arn(role_arn: str, session_name: str) -> str:
    """ARN of a session of a role; it does not show the role's path."""
    _, partition, _, _, account, resource = role_arn.split(":", 5)
    return f"arn:{partition}:sts::{account}:assumed-role/{resource.rpartition('/')[2]}/{session_name}"


def _random(n: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(n))
