"""What a key may do in its state, and what becomes of it. Pure. (AWS: KMS Developer Guide, "Key states of AWS KMS keys".)"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from penstock.keys.errors import (
    DisabledException,
    InvalidKeyUsageException,
    KMSInvalidStateException,
    LimitExceededException,
    UnsupportedOperationException,
)

DAY_MS = 86_400_000
WINDOW_DAYS = (7, 30)  # shortest, longest
ROTATION_DAYS = 365  # unless said
MAX_ON_DEMAND = 25  # rotations of a key (AWS: RotateKeyOnDemand)


class State(StrEnum):
    """Of a key."""

    ENABLED = "Enabled"
    DISABLED = "Disabled"
    PENDING_DELETION = "PendingDeletion"


class Rotation(StrEnum):
    """Why a key has new material."""

    AUTOMATIC = "AUTOMATIC"  # its period was over
    ON_DEMAND = "ON_DEMAND"


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
    "GenerateDataKeyPair": "ENCRYPT_DECRYPT",
    "GenerateDataKeyPairWithoutPlaintext": "ENCRYPT_DECRYPT",
    "Sign": "SIGN_VERIFY",
    "Verify": "SIGN_VERIFY",
    "GenerateMac": "GENERATE_VERIFY_MAC",
    "VerifyMac": "GENERATE_VERIFY_MAC",
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


def check_rotated(key: Any, *, changed: bool) -> None:
    """Raises UnsupportedOperationException for a key that is never rotated, or whose rotation is not its owner's to change."""
    if key.spec != "SYMMETRIC_DEFAULT":
        raise UnsupportedOperationException(
            f"{key.arn} is a key of the spec {key.spec}: only symmetric keys are rotated."
        )
    if changed and key.manager:
        raise UnsupportedOperationException(f"{key.arn} is an AWS managed key: it is rotated every year by itself.")


def check_on_demand(key: Any, rotated: int) -> None:
    """Of a key that was rotated on demand so often. Raises LimitExceededException."""
    if rotated >= MAX_ON_DEMAND:
        raise LimitExceededException(
            "The on-demand rotations limit has been reached for the given keyId. No more on-demand rotations can be performed "
            f"for this key: {key.arn}"
        )


def is_rotated(key: Any) -> bool:
    """Whether a key is rotated by itself. One on its way out is not, until it is kept after all."""
    return key.rotation_due is not None and State(key.state) is not State.PENDING_DELETION


def rotation_after(key: Any, now: int) -> int:
    """When the next rotation of a key is due, in ms, of one whose rotation is due now."""
    period = key.rotation_days * DAY_MS
    return key.rotation_due + period if key.rotation_due + period > now else now + period


def is_rotation_due(key: Any, due: int, now: int) -> bool:
    """Whether the rotation that was planned for `due` takes place: it still is, and the key is in use."""
    return key.rotation_due == due <= now and State(key.state) is State.ENABLED
