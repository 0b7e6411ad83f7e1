"""What can happen to a pipeline: the `event` of `decide`, and its form in the journal.

A happening is a value of plain members, so that a journal can be read back and replayed by any later version.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from penstock.pipelines.model import Plan, RetryMode, TransitionSide, Trigger, TriggerType
from penstock.pipelines.plan import plan_from_payload, plan_to_payload


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRequested:
    """An execution is wanted."""

    trigger: Trigger
    variables: Mapping[str, str] = field(default_factory=dict)  # as given; defaults come from the plan
    overrides: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # source action → revision type → value


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionAccepted:
    """A provider took an action on and will report its end; its time-out runs from now on."""

    execution: str
    action: str  # action execution id


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionSucceeded:
    """A provider did what the action asked for."""

    execution: str
    action: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionFailed:
    """A provider could not do what the action asked for."""

    execution: str
    action: str
    code: str
    message: str


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
class TransitionDisabled:
    """A door of a stage is shut."""

    stage: str
    side: TransitionSide
    reason: str
    by: str  # ARN


@dataclass(frozen=True, slots=True, kw_only=True)
class TransitionEnabled:
    """A door of a stage is opened."""

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


Happening = (
    StartRequested
    | ActionAccepted
    | ActionSucceeded
    | ActionFailed
    | ActionTimedOut
    | ApprovalAnswered
    | StopRequested
    | RetryRequested
    | TransitionDisabled
    | TransitionEnabled
    | PipelineUpdated
    | PipelineDeleted
)

_KINDS: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (
        StartRequested,
        ActionAccepted,
        ActionSucceeded,
        ActionFailed,
        ActionTimedOut,
        ApprovalAnswered,
        StopRequested,
        RetryRequested,
        TransitionDisabled,
        TransitionEnabled,
        PipelineUpdated,
        PipelineDeleted,
    )
}


def to_payload(happening: Happening) -> dict[str, Any]:
    """The journal's form of a happening: JSON members and its `happening` by name."""
    match happening:
        case StartRequested():
            return {
                "happening": "StartRequested",
                "trigger": {"type": str(happening.trigger.type), "detail": happening.trigger.detail},
                "variables": dict(happening.variables),
                "overrides": {action: dict(of) for action, of in happening.overrides.items()},
            }
        case PipelineUpdated():
            return {"happening": "PipelineUpdated", "plan": plan_to_payload(happening.plan)}
        case _:
            kind = type(happening)
            return {"happening": kind.__name__} | {f.name: getattr(happening, f.name) for f in fields(kind)}


def from_payload(payload: Mapping[str, Any]) -> Happening:
    """The happening of a journal entry. Raises KeyError for one that this version does not know."""
    members = {name: value for name, value in payload.items() if name != "happening"}
    kind = _KINDS[payload["happening"]]
    if kind is StartRequested:
        trigger = members["trigger"]
        members["trigger"] = Trigger(type=TriggerType(trigger["type"]), detail=trigger["detail"])
    elif kind is PipelineUpdated:
        members["plan"] = plan_from_payload(members["plan"])
    elif kind is RetryRequested:
        members["mode"] = RetryMode(members["mode"])
    elif kind in (TransitionDisabled, TransitionEnabled):
        members["side"] = TransitionSide(members["side"])
    return kind(**members)
