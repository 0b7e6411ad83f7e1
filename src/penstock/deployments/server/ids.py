"""Ids of deployments."""

from __future__ import annotations

import hashlib

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def deployment_id(number: int) -> str:
    """`d-` and nine capital letters and digits, from a random number."""
    digits = ""
    for _ in range(9):
        number, digit = divmod(number, 36)
        digits += _DIGITS[digit]
    return f"d-{digits}"


def derived_id(seed: int, purpose: str) -> str:
    """A deployment id that a decision makes: the same for the same seed."""
    hashed = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
    return deployment_id(int.from_bytes(hashed[:8], "big"))


def id_for_action(group_id: str, action: str) -> str:
    """The id of the deployment to a group that an action execution of a pipeline creates: the same however often it asks."""
    hashed = hashlib.sha256(f"{group_id}/{action}".encode()).digest()
    return deployment_id(int.from_bytes(hashed[:8], "big"))
