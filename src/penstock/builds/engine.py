"""What a build does next: a pure function of its state and an input (AWS: "Build phase transitions").

No clock, database or randomness: `now` is given (ms UTC), and nothing here needs a seed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from penstock.builds import phases
from penstock.builds.model import BuildState, Phase
from penstock.builds.phases import ENDING, PhaseType, Status

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

    phase: PhaseType
    status: Status
    at: int  # ms UTC
    code: str = ""
    message: str = ""
    on_failure: str = ""


@dataclass(frozen=True, slots=True)
class StopRequested:
    """StopBuild."""


@dataclass(frozen=True, slots=True)
class TimePassed:
    """Time has passed."""


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

    status: Status


@dataclass(frozen=True, slots=True)
class PhaseChanged:
    """Publish that a phase ended."""

    phase: Phase


@dataclass(frozen=True, slots=True)
class StateChanged:
    """Publish that the build began or ended."""

    status: Status


@dataclass(frozen=True, slots=True)
class StartAgain:
    """Start a build like this one, as its project's autoRetryLimit says."""


Effect = Dispatch | LeaveQueue | Describe | Halt | PhaseChanged | StateChanged | StartAgain


# --- time ---------------------------------------------------------------------------------------------------------------

_SUPERVISOR_MS = 30_000  # behind its time-out, a build is ended by its own supervisor: no worker came to do it
_GONE_MS = 120_000  # behind its time-out, a run on the disk of a worker that is not there is given up


def deadline(state: BuildState) -> int | None:
    """When TimePassed next changes a build (ms UTC): its time in the queue, then that of its run; None when it never does."""
    if state.complete:
        return None
    return state.queued_until if state.phase in (PhaseType.SUBMITTED, PhaseType.QUEUED) else state.runs_until


def supervisor_limit(state: BuildState, now: int) -> int:
    """After how many ms a supervisor that starts now ends the build by itself. Its worker does so before, unless it is gone."""
    return max((state.runs_until or now) - now, 1000) + _SUPERVISOR_MS


def is_given_up(state: BuildState, now: int) -> bool:
    """Whether a build whose run is on the disk of a worker that is not there has been waited for long enough."""
    return state.runs_until is not None and now >= state.runs_until + _GONE_MS


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
            return _end_early(state, Status.STOPPED, ENDING[Status.STOPPED], now)
        case TimePassed():
            return _time_passed(state, now)
        case Lost():
            return _lost(state, input.message, now)


def _submitted(input: Submitted, now: int) -> tuple[BuildState, list[Effect]]:
    submitted = Phase(type=PhaseType.SUBMITTED, status=Status.SUCCEEDED, start=now, end=now)
    state = BuildState(
        phases=(submitted, Phase(type=PhaseType.QUEUED, start=now)),
        timeout_ms=input.timeout_ms,
        queued_until=now + input.queued_timeout_ms,
        retries=input.retries,
    )
    return state, [StateChanged(Status.IN_PROGRESS), PhaseChanged(submitted), Dispatch()]


def _claimed(state: BuildState, node: str, now: int) -> tuple[BuildState, list[Effect]]:
    if state.phase != PhaseType.QUEUED:
        return (state if state.node == node else replace(state, node=node)), []
    if now >= (deadline(state) or 0):
        return _time_passed(state, now)
    state = replace(state, node=node, runs_until=now + state.timeout_ms)
    return _phase_ended(state, PhaseEnded(phase=PhaseType.QUEUED, status=Status.SUCCEEDED, at=now))


def _phase_ended(state: BuildState, input: PhaseEnded) -> tuple[BuildState, list[Effect]]:
    present = state.phases[-1]
    at = max(input.at, present.start)
    ended = replace(present, status=input.status, end=at, code=input.code, message=input.message)
    following = phases.next_phase(input.phase, input.status, input.on_failure)
    gone = (*state.phases[:-1], ended)
    state = replace(state, phases=(*gone, Phase(type=following, start=at)))
    effects: list[Effect] = [PhaseChanged(ended)]
    if ended.type == PhaseType.QUEUED:
        effects.append(LeaveQueue())
    if following == PhaseType.COMPLETED:
        status = phases.build_status([phase.status for phase in gone])
        state = replace(state, complete=True, status=status, ended=at)
        effects += [PhaseChanged(state.phases[-1]), StateChanged(status)]
        if state.retries and status in (
            Status.FAILED,
            Status.FAULT,
            Status.TIMED_OUT,
        ):  # AWS: one that somebody stopped is not
            effects.append(StartAgain())
    return state, effects


def _end_early(state: BuildState, status: Status, message: str, now: int) -> tuple[BuildState, list[Effect]]:
    if state.phase in (PhaseType.SUBMITTED, PhaseType.QUEUED):
        return _phase_ended(state, PhaseEnded(phase=state.phase, status=status, at=now, message=message))
    if state.ending:
        return state, []
    return replace(state, ending=status), [Halt(status)]


def _time_passed(state: BuildState, now: int) -> tuple[BuildState, list[Effect]]:
    due = deadline(state)
    if due is None or now < due:
        return state, []
    queued = state.phase in (PhaseType.SUBMITTED, PhaseType.QUEUED)
    message = "Build has timed out in the queue" if queued else ENDING[Status.TIMED_OUT]
    return _end_early(state, Status.TIMED_OUT, message, now)


def _lost(state: BuildState, message: str, now: int) -> tuple[BuildState, list[Effect]]:
    effects: list[Effect] = []
    if state.phase != PhaseType.FINALIZING:
        fault = PhaseEnded(phase=state.phase, status=Status.FAULT, at=now, code="INTERNAL_ERROR", message=message)
        state, effects = _phase_ended(state, fault)
    if not state.complete:
        status = Status.SUCCEEDED if effects else Status.FAULT
        state, more = _phase_ended(
            state, PhaseEnded(phase=PhaseType.FINALIZING, status=status, at=now, message="" if effects else message)
        )
        effects += more
    return state, effects
