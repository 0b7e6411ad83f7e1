"""What `decide` wants done: rows, jobs, timers and events. The shell commits them with the new state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from penstock.pipelines.model import NO_DETAILS, ActionStatus, Details, Trigger


class EventState(StrEnum):
    """The `state` member of the events; `Cancelled` of the API is `CANCELED` here. AWS: detect-state-changes."""

    STARTED = "STARTED"
    RESUMED = "RESUMED"
    CANCELED = "CANCELED"
    STOPPING = "STOPPING"
    STOPPED = "STOPPED"
    SUCCEEDED = "SUCCEEDED"
    SUPERSEDED = "SUPERSEDED"
    FAILED = "FAILED"
    ABANDONED = "ABANDONED"  # actions only


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionCreated:
    """An execution came to be; what only reading needs is kept in its row from now on."""

    execution: str
    trigger: Trigger
    variables: Mapping[str, str] = field(
        default_factory=dict
    )  # resolved; those of `target`, which has them, when there is one
    overrides: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    target: str | None = None  # the execution that it rolls its stage back to


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionStarted:
    """An action execution came to be: write its row and enqueue its start."""

    execution: str
    stage: str
    action: str  # action execution id
    name: str  # in the stage; of a rule, see `model.rule_run`
    token: str = ""  # of an approval


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionEnded:
    """An action execution ended; `state` is the event's name for it."""

    execution: str
    stage: str
    action: str  # action execution id
    name: str  # in the stage; of a rule, see `model.rule_run`
    status: ActionStatus
    state: EventState
    code: str = ""  # of the error
    message: str = ""
    by: str = ""  # ARN of the caller who answered an approval
    details: Details = NO_DETAILS


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionDescribed:
    """There is news to show of an action in progress."""

    action: str  # action execution id
    details: Details = NO_DETAILS  # in the journal they stand in the input alone


@dataclass(frozen=True, slots=True, kw_only=True)
class StopAction:
    """What the provider started is to be stopped: nobody waits for it any more."""

    execution: str
    action: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetTimer:
    """Apply the action's time-out to the pipeline at `due` (ms)."""

    execution: str
    action: str
    due: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelTimer:
    """The action needs its timer no more."""

    action: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StageChanged:
    """A stage execution changed its state."""

    execution: str
    stage: str
    state: EventState
    entered: int  # ms, when the execution entered the stage
    passed: bool = True  # of SUCCEEDED: False when its success condition failed, so that nothing is rolled back to this


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionChanged:
    """A pipeline execution changed its state."""

    execution: str
    state: EventState


Effect = (
    ExecutionCreated
    | ActionStarted
    | ActionEnded
    | ActionDescribed
    | StopAction
    | SetTimer
    | CancelTimer
    | StageChanged
    | ExecutionChanged
)
