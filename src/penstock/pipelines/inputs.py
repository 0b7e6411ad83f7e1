"""What a pipeline is given to decide on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from penstock.pipelines.model import NO_DETAILS, ConditionType, Details, Plan, RetryMode, TransitionSide, Trigger


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineCreated:
    """The pipeline was declared."""

    plan: Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRequested:
    """An execution is wanted."""

    trigger: Trigger
    variables: Mapping[str, str] = field(default_factory=dict)  # as given; defaults come from the plan
    overrides: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # source action → revision type → value
    starter: str = ""  # what stands for the person who wants it, or who made the change that does


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionAccepted:
    """A provider took an action on and will report its end; its time-out runs from now on."""

    execution: str
    action: str  # action execution id
    details: Details = NO_DETAILS


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionReported:
    """There is news to show of an action in progress."""

    execution: str
    action: str  # action execution id
    details: Details


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionSucceeded:
    """A provider did what the action asked for."""

    execution: str
    action: str
    details: Details = NO_DETAILS


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionFailed:
    """A provider could not do what the action asked for."""

    execution: str
    action: str
    code: str
    message: str
    details: Details = NO_DETAILS


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionTimedOut:
    """The time of an action ran out."""

    execution: str
    action: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalAnswered:
    """Someone approved or rejected."""

    execution: str
    action: str
    token: str
    approved: bool
    summary: str
    by: str  # ARN
    person: str = ""  # what stands for the person behind it
    principals: tuple[str, ...] = ()  # ARNs of the user, its groups or the role


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRequested:
    """An execution is to stop: after its running actions, or leaving them behind."""

    execution: str
    abandon: bool
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryRequested:
    """A failed or stopped stage is to run again."""

    execution: str
    stage: str
    mode: RetryMode


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackRequested:
    """A stage is to run again with what an earlier execution brought to it."""

    stage: str
    target: str  # execution
    succeeded: bool  # whether the target succeeded in the stage
    by: str  # ARN


@dataclass(frozen=True, slots=True, kw_only=True)
class OverrideRequested:
    """An execution is to continue whatever a condition of its stage says."""

    execution: str
    stage: str
    condition: ConditionType


@dataclass(frozen=True, slots=True, kw_only=True)
class TransitionDisabled:
    """A transition before or after a stage is disabled."""

    stage: str
    side: TransitionSide
    reason: str
    by: str  # ARN


@dataclass(frozen=True, slots=True, kw_only=True)
class TransitionEnabled:
    """A transition before or after a stage is enabled."""

    stage: str
    side: TransitionSide
    by: str  # ARN


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineUpdated:
    """The declaration was replaced."""

    plan: Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineDeleted:
    """The pipeline is going."""


ActionInput = ActionAccepted | ActionReported | ActionSucceeded | ActionFailed | ActionTimedOut | ApprovalAnswered
"""What is about one action in progress."""

Input = (
    PipelineCreated
    | StartRequested
    | ActionInput
    | StopRequested
    | RetryRequested
    | RollbackRequested
    | OverrideRequested
    | TransitionDisabled
    | TransitionEnabled
    | PipelineUpdated
    | PipelineDeleted
)
