"""What a key may do in its state, and what becomes of it. Pure. (AWS: KMS Developer Guide, "Key states of AWS KMS keys".)"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from penstock.keys.errors import DisabledException, InvalidKeyUsageException, KMSInvalidStateException

DAY_MS = 86_400_000
WINDOW_DAYS = (7, 30)  # shortest, longest


class State(StrEnum):
    """Of a key."""

    ENABLED = "Enabled"
    DISABLED = "Disabled"
    PENDING_DELETION = "PendingDeletion"


class Need(StrEnum):
    """What an operation needs of a key's state."""

    ANY = "any"  # it only looks
    KEPT = "kept"  # the key is not on its way out
    USABLE = "usable"  # it encrypts, decrypts, signs …


_USAGES = {
    "Encrypt": "ENCRYPT_DECRYPT",
    "Decrypt": "ENCRYPT_DECRYPT",
    "ReEncrypt": "ENCRYPT_DECRYPT",
    "GenerateDataKey": "ENCRYPT_DECRYPT",
    "GenerateDataKeyWithoutPlaintext": "ENCRYPT_DECRYPT",
}


@dataclass(frozen=True, slots=True)
class Deletion:
    """When a key goes, and the days until then."""

    due: int  # ms
    days: int


def check(key: Any, need: Need, operation: str = "") -> None:
    """Raises what KMS answers when a key cannot do something in its state, or is not made for it."""
    state = State(key.state)
    if need is not Need.ANY and state is State.PENDING_DELETION:
        raise KMSInvalidStateException(arn=key.arn, state="pending deletion")
    if need is Need.USABLE and state is State.DISABLED:
        raise DisabledException(arn=key.arn)
    wanted = _USAGES.get(operation)
    if wanted is not None and key.usage != wanted:
        raise InvalidKeyUsageException(arn=key.arn, usage=key.usage, operation=operation)


def schedule(key: Any, days: int, now: int) -> Deletion:
    """When a key is to go. Raises KMSInvalidStateException for one that is on its way already."""
    check(key, Need.KEPT)
    return Deletion(now + days * DAY_MS, days)


def cancel(key: Any) -> State:
    """The state of a key that is to stay after all: it has to be enabled again. Raises KMSInvalidStateException."""
    if State(key.state) is not State.PENDING_DELETION:
        raise KMSInvalidStateException(arn=key.arn, state="not pending deletion")
    return State.DISABLED


def is_due(key: Any, now: int) -> bool:
    """Whether a key goes now: it was not cancelled, nor scheduled anew."""
    return State(key.state) is State.PENDING_DELETION and key.deletion is not None and key.deletion <= now
