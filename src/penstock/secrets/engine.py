"""Which version of a secret is which: stages, and the versions that are kept. Pure. (AWS: Secrets Manager User Guide, "Secret versions".)"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from penstock.secrets.errors import (
    InvalidParameterException,
    InvalidRequestException,
    LimitExceededException,
    ResourceNotFoundException,
)

CURRENT, PREVIOUS, PENDING = "AWSCURRENT", "AWSPREVIOUS", "AWSPENDING"
DAY_MS = 86_400_000
WINDOW_DAYS = (7, 30)  # shortest, longest
KEPT = 100  # versions; of those that have no stage the oldest go
MAX_VERSIONS = 1000  # of a secret, those of the last day among them
MAX_STAGES = 20  # of all versions of a secret (AWS: quotas, "Labels attached to all versions of a secret")

Stages = Mapping[str, Sequence[str]]
"""Version id → its stages."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A version that there is."""

    id: str
    created: int  # ms
    stages: Sequence[str]
    empty: bool = False  # it has no value yet


def attached(stages: Stages, version: str, labels: Sequence[str]) -> dict[str, list[str]]:
    """The stages after labels were moved to a version, which may be new. Raises LimitExceededException.

    Where AWSCURRENT comes from, AWSPREVIOUS goes to.
    """
    before = current(stages)
    moved = detached(stages, labels)
    moved[version] = [*moved.get(version, ()), *dict.fromkeys(labels)]
    if CURRENT in labels and before not in ("", version):
        moved = detached(moved, (PREVIOUS,))
        moved[before].append(PREVIOUS)
    if sum(map(len, moved.values())) > MAX_STAGES:
        raise LimitExceededException(
            f"The versions of a secret can have no more than {MAX_STAGES} staging labels. Remove one with UpdateSecretVersionStage."
        )
    return moved


def detached(stages: Stages, labels: Sequence[str]) -> dict[str, list[str]]:
    """The stages without some labels."""
    return {version: [label for label in of_it if label not in labels] for version, of_it in stages.items()}


def current(stages: Stages) -> str:
    """The version that is current, or ""."""
    return holder(stages, CURRENT)


def holder(stages: Stages, label: str) -> str:
    """The version that has a label, or ""."""
    return next((version for version, of_it in stages.items() if label in of_it), "")


def of_new(stages: Stages, given: Sequence[str] | None) -> list[str]:
    """The stages that a new version gets: those that are asked for, AWSCURRENT without any, and that in any case for the first version."""
    labels = list(given or (CURRENT,))
    return labels if stages or CURRENT in labels else [*labels, CURRENT]


def moved(stages: Stages, label: str, *, remove_from: str, move_to: str) -> dict[str, list[str]]:
    """The stages after UpdateSecretVersionStage. Raises its errors."""
    for version in (remove_from, move_to):
        if version and version not in stages:
            raise ResourceNotFoundException(
                f"Secrets Manager can't find the specified secret value for VersionId: {version}"
            )
    had = holder(stages, label)
    if not remove_from and not move_to:
        raise InvalidParameterException("You must provide a value for RemoveFromVersionId, MoveToVersionId, or both.")
    if remove_from and had != remove_from:
        raise InvalidParameterException(
            f"Staging label {label} isn't attached to version {remove_from}, so it can't be removed from it."
        )
    if move_to and had not in ("", move_to, remove_from):
        raise InvalidParameterException(
            f"The parameter RemoveFromVersionId can't be empty. Staging label {label} is currently attached to version {had}, so you must "
            "explicitly reference that version in RemoveFromVersionId."
        )
    if move_to:
        return attached(stages, move_to, [label])
    if label == CURRENT:
        raise InvalidParameterException(
            f"You can't remove the staging label {CURRENT}. Move it to another version: say which one in MoveToVersionId."
        )
    return detached(stages, [label])


def check_has_value(versions: Sequence[Kept], label: str, version: str) -> None:
    """Raises InvalidRequestException where AWSCURRENT would go to a version that a rotation has given no value yet."""
    if label == CURRENT and any(one.id == version and one.empty for one in versions):
        raise InvalidRequestException(
            f"The version {version} has no value yet, so it can't get the staging label {CURRENT}. Put its value first: PutSecretValue with "
            "its id as ClientRequestToken."
        )


def outdated(versions: Sequence[Kept], now: int) -> list[str]:
    """The ids of versions that go: of more than a hundred the oldest without a stage, of a day or older. `versions` begin with the oldest."""
    excess = len(versions) - KEPT
    old = [one.id for one in versions if not one.stages and one.created <= now - DAY_MS]
    return old[: max(0, excess)]


def check_room(versions: Sequence[Kept]) -> None:
    """Raises LimitExceededException where a secret can have no other version."""
    if len(versions) >= MAX_VERSIONS:
        raise LimitExceededException(
            f"The secret has {MAX_VERSIONS} versions of the last day, or with staging labels. Wait until they are older, or remove labels."
        )


def window(days: int | None, *, force: bool) -> int:
    """After how many days a secret is deleted; 0: at once. Raises InvalidParameterException."""
    if force and days is not None:
        raise InvalidParameterException(
            "You can't use ForceDeleteWithoutRecovery in conjunction with RecoveryWindowInDays."
        )
    if days is not None and not WINDOW_DAYS[0] <= days <= WINDOW_DAYS[1]:
        raise InvalidParameterException(
            f"The RecoveryWindowInDays value must be between {WINDOW_DAYS[0]} and {WINDOW_DAYS[1]} days (inclusive)."
        )
    return 0 if force else days or WINDOW_DAYS[1]


def check_value(*, text: bool, binary: bool, needed: bool) -> None:
    """Raises InvalidParameterException or InvalidRequestException unless there is one value, or none where none is needed."""
    if text and binary:
        raise InvalidParameterException(
            "You can't specify both a binary secret value and a string secret value in the same secret."
        )
    if needed and not text and not binary:
        raise InvalidRequestException("You must provide either SecretString or SecretBinary.")
