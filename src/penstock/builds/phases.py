"""The order of a build's phases and what follows a failed one (AWS: "Build phase transitions"). Pure."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class PhaseType(StrEnum):
    """The phases in their order, as the API calls them."""

    SUBMITTED = "SUBMITTED"  # StartBuild was answered
    QUEUED = "QUEUED"  # no worker has it yet
    PROVISIONING = "PROVISIONING"  # its worker makes room for it
    DOWNLOAD_SOURCE = "DOWNLOAD_SOURCE"  # sources and buildspec are fetched
    INSTALL = "INSTALL"
    PRE_BUILD = "PRE_BUILD"
    BUILD = "BUILD"
    POST_BUILD = "POST_BUILD"
    UPLOAD_ARTIFACTS = "UPLOAD_ARTIFACTS"  # artifacts are packed and put
    FINALIZING = "FINALIZING"  # the rest of the log is shipped
    COMPLETED = "COMPLETED"  # it is over


class Status(StrEnum):
    """How a build or one of its phases stands, as the API calls it."""

    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"  # something of the user's did not work
    FAULT = "FAULT"  # something of the service's did not work
    TIMED_OUT = "TIMED_OUT"
    STOPPED = "STOPPED"  # somebody called StopBuild
    IN_PROGRESS = "IN_PROGRESS"
    NONE = ""  # of a phase that lasts, and of COMPLETED; the API leaves it out


ENDING = {Status.STOPPED: "Build was stopped", Status.TIMED_OUT: "Build timed out"}
"""Why a run ends early, by the status that it ends with."""

ORDER = tuple(PhaseType)
COMMAND_PHASES = (PhaseType.INSTALL, PhaseType.PRE_BUILD, PhaseType.BUILD, PhaseType.POST_BUILD)
_GRAVITY = (Status.FAULT, Status.TIMED_OUT, Status.STOPPED, Status.FAILED)
_WITHOUT_FINALIZING = (
    PhaseType.SUBMITTED,
    PhaseType.QUEUED,
    PhaseType.PROVISIONING,
    PhaseType.FINALIZING,
    PhaseType.COMPLETED,
)


def next_phase(phase: PhaseType, status: Status, on_failure: str = "") -> PhaseType:
    """The phase that follows `phase`, which ended with `status` under its `on-failure` ("", ABORT or CONTINUE)."""
    following = ORDER[min(ORDER.index(phase) + 1, len(ORDER) - 1)]
    if status == Status.SUCCEEDED:
        return following
    if phase in _WITHOUT_FINALIZING:
        return PhaseType.COMPLETED
    if status == Status.FAILED:
        if phase == PhaseType.UPLOAD_ARTIFACTS:
            return following
        goes_on = on_failure == "CONTINUE" or phase in (PhaseType.BUILD, PhaseType.POST_BUILD)
        if phase in COMMAND_PHASES and on_failure != "ABORT" and goes_on:
            return following
    return PhaseType.FINALIZING


def build_status(statuses: Iterable[Status]) -> Status:
    """The status of a build whose phases ended with `statuses`: the gravest of them."""
    known = set(statuses)
    return next((status for status in _GRAVITY if status in known), Status.SUCCEEDED)
