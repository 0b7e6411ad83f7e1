"""The order of a build's phases and what follows a failed one (AWS: "Build phase transitions"). Pure."""

from __future__ import annotations

SUBMITTED = "SUBMITTED"
QUEUED = "QUEUED"
PROVISIONING = "PROVISIONING"
DOWNLOAD_SOURCE = "DOWNLOAD_SOURCE"
INSTALL = "INSTALL"
PRE_BUILD = "PRE_BUILD"
BUILD = "BUILD"
POST_BUILD = "POST_BUILD"
UPLOAD_ARTIFACTS = "UPLOAD_ARTIFACTS"
FINALIZING = "FINALIZING"
COMPLETED = "COMPLETED"

ORDER = (
    SUBMITTED,
    QUEUED,
    PROVISIONING,
    DOWNLOAD_SOURCE,
    INSTALL,
    PRE_BUILD,
    BUILD,
    POST_BUILD,
    UPLOAD_ARTIFACTS,
    FINALIZING,
    COMPLETED,
)
COMMAND_PHASES = (INSTALL, PRE_BUILD, BUILD, POST_BUILD)

SUCCEEDED = "SUCCEEDED"
FAILED = "FAILED"
FAULT = "FAULT"
TIMED_OUT = "TIMED_OUT"
STOPPED = "STOPPED"
IN_PROGRESS = "IN_PROGRESS"

_GRAVITY = (FAULT, TIMED_OUT, STOPPED, FAILED, SUCCEEDED)


def next_phase(phase: str, status: str, on_failure: str = "") -> str:
    """The phase that follows `phase`, which ended with `status` under its `on-failure` ("", ABORT or CONTINUE)."""
    following = ORDER[min(ORDER.index(phase) + 1, len(ORDER) - 1)]
    if status == SUCCEEDED:
        return following
    if phase in (SUBMITTED, QUEUED, PROVISIONING, FINALIZING, COMPLETED):
        return COMPLETED
    if status == FAILED:
        if phase == UPLOAD_ARTIFACTS:
            return following
        if (
            phase in COMMAND_PHASES
            and on_failure != "ABORT"
            and (on_failure == "CONTINUE" or phase in (BUILD, POST_BUILD))
        ):
            return following
    return FINALIZING


def build_status(statuses: list[str]) -> str:
    """The status of a build whose phases ended with `statuses`: the gravest of them."""
    return next((status for status in _GRAVITY if status in statuses), SUCCEEDED)
