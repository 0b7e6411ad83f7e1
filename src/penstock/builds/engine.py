"""What a build does next: a pure function of its state and an input (AWS: "Build phase transitions").

No clock, database or randomness: `now` is given (ms UTC), and nothing here needs a seed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from penstock.builds import phases
from penstock.builds.phases import (
    COMPLETED,
    FAILED,
    FAULT,
    FINALIZING,
    IN_PROGRESS,
    QUEUED,
    STOPPED,
    SUBMITTED,
    SUCCEEDED,
    TIMED_OUT,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """One phase as it was gone through."""

    type: str
    status: str = ""  # "" while it lasts, and of COMPLETED
    start: int = 0  # ms UTC
    end: int | None = None
    code: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildState:
    """Where a build is."""

    status: str = IN_PROGRESS  # IN_PROGRESS, then SUCCEEDED FAILED FAULT TIMED_OUT STOPPED
    phases: tuple[Phase, ...] = ()
    complete: bool = False
    ending: str = ""  # STOPPED or TIMED_OUT: its run was told to end for that
    timeout_ms: int = 0
    queued_until: int = 0  # ms UTC
    runs_until: int | None = None  # ms UTC; None before PROVISIONING
    ended: int | None = None
    node: str = ""  # whose disk its run is on; "" before a worker has taken it
    retries: int = 0  # how often it may be started again by itself

    @property
    def phase(self) -> str:
        """The present phase; "" before Submitted."""
        return self.phases[-1].type if self.phases else ""


# --- inputs ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """StartBuild was answered."""

    queued_timeout_ms: int
    timeout_ms: int
    retries: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A worker has taken it, or taken it over."""

    node: str  # whose disk its run is on


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """Members of the API's Build became known while it ran, such as its resolved source version and its artifacts."""

    members: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseEnded:
    """A phase of the run is over. One that is not the present phase was reported twice and changes nothing."""

    phase: str
    status: str
    at: int  # ms UTC
    code: str = ""
    message: str = ""
    on_failure: str = ""


@dataclass(frozen=True, slots=True)
class StopRequested:
    """StopBuild."""


@dataclass(frozen=True, slots=True)
class TimePassed:
    """Somebody looked at the clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """Its run was lost: a fault of the service. `message` explains it to the user."""

    message: str


Input = Submitted | Claimed | Described | PhaseEnded | StopRequested | TimePassed | Lost


# --- effects --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Give it to a worker."""


@dataclass(frozen=True, slots=True)
class LeaveQueue:
    """It does not wait any longer: its queue timer is of no use."""


@dataclass(frozen=True, slots=True)
class Describe:
    """Show these members of the API's Build from now on."""

    members: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Halt:
    """Have its run end with this status."""

    status: str


@dataclass(frozen=True, slots=True)
class PhaseChanged:
    """Publish that a phase ended."""

    phase: Phase


@dataclass(frozen=True, slots=True)
class StateChanged:
    """Publish that the build began or ended."""

    status: str


@dataclass(frozen=True, slots=True)
class StartAgain:
    """Start a build like this one, as its project's autoRetryLimit says."""


Effect = Dispatch | LeaveQueue | Describe | Halt | PhaseChanged | StateChanged | StartAgain


def decide(state: BuildState, input: Input, now: int, seed: int = 0) -> tuple[BuildState, Sequence[Effect]]:  # noqa: ARG001
    """The state after `input`, and what is to be done about it."""
    if state.complete:
        return state, []
    match input:
        case Submitted():
            return _submitted(input, now)
        case Claimed():
            return _claimed(state, input.node, now)
        case Described():
            return state, [Describe(input.members)]
        case PhaseEnded():
            return _phase_ended(state, input) if input.phase == state.phase else (state, [])
        case StopRequested():
            return _end_early(state, STOPPED, "Build was stopped", now)
        case TimePassed():
            return _time_passed(state, now)
        case Lost():
            return _lost(state, input.message, now)


def _submitted(input: Submitted, now: int) -> tuple[BuildState, list[Effect]]:
    submitted = Phase(type=SUBMITTED, status=SUCCEEDED, start=now, end=now)
    state = BuildState(
        phases=(submitted, Phase(type=QUEUED, start=now)),
        timeout_ms=input.timeout_ms,
        queued_until=now + input.queued_timeout_ms,
        retries=input.retries,
    )
    return state, [StateChanged(IN_PROGRESS), PhaseChanged(submitted), Dispatch()]


def _claimed(state: BuildState, node: str, now: int) -> tuple[BuildState, list[Effect]]:
    if state.phase != QUEUED:
        return (state if state.node == node else replace(state, node=node)), []
    if now >= state.queued_until:
        return _time_passed(state, now)
    state = replace(state, node=node, runs_until=now + state.timeout_ms)
    return _phase_ended(state, PhaseEnded(phase=QUEUED, status=SUCCEEDED, at=now))


def _phase_ended(state: BuildState, input: PhaseEnded) -> tuple[BuildState, list[Effect]]:
    present = state.phases[-1]
    at = max(input.at, present.start)
    ended = replace(present, status=input.status, end=at, code=input.code, message=input.message)
    following = phases.next_phase(input.phase, input.status, input.on_failure)
    gone = (*state.phases[:-1], ended)
    state = replace(state, phases=(*gone, Phase(type=following, start=at)))
    effects: list[Effect] = [PhaseChanged(ended)]
    if ended.type == QUEUED:
        effects.append(LeaveQueue())
    if following == COMPLETED:
        status = phases.build_status([phase.status for phase in gone])
        state = replace(state, complete=True, status=status, ended=at)
        effects += [PhaseChanged(state.phases[-1]), StateChanged(status)]
        if state.retries and status in (FAILED, FAULT, TIMED_OUT):  # AWS: one that somebody stopped is not
            effects.append(StartAgain())
    return state, effects


def _end_early(state: BuildState, status: str, message: str, now: int) -> tuple[BuildState, list[Effect]]:
    if state.phase in (SUBMITTED, QUEUED):
        return _phase_ended(state, PhaseEnded(phase=state.phase, status=status, at=now, message=message))
    if state.ending:
        return state, []
    return replace(state, ending=status), [Halt(status)]


def _time_passed(state: BuildState, now: int) -> tuple[BuildState, list[Effect]]:
    if state.phase in (SUBMITTED, QUEUED):
        if now < state.queued_until:
            return state, []
        return _end_early(state, TIMED_OUT, "Build has timed out in the queue", now)
    if state.runs_until is not None and now >= state.runs_until:
        return _end_early(state, TIMED_OUT, "Build timed out", now)
    return state, []


def _lost(state: BuildState, message: str, now: int) -> tuple[BuildState, list[Effect]]:
    effects: list[Effect] = []
    if state.phase != FINALIZING:
        fault = PhaseEnded(phase=state.phase, status=FAULT, at=now, code="INTERNAL_ERROR", message=message)
        state, effects = _phase_ended(state, fault)
    if not state.complete:
        status = SUCCEEDED if effects else FAULT
        state, more = _phase_ended(
            state, PhaseEnded(phase=FINALIZING, status=status, at=now, message="" if effects else message)
        )
        effects += more
    return state, effects
