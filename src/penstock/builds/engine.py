"""What a build does next: a pure function of its state and of what happened (AWS: "Build phase transitions").

No clock, database or randomness: `now` is given (ms UTC), and nothing here needs a seed, which is taken for the house's form.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from penstock.builds.supervisor import phases
from penstock.builds.supervisor.phases import (
    COMPLETED,
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

    @property
    def phase(self) -> str:
        """The present phase; "" before Submitted."""
        return self.phases[-1].type if self.phases else ""

    def to_json(self) -> dict[str, Any]:
        """What is stored."""
        return asdict(self) | {"v": 1}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> BuildState:
        """What was stored."""
        values: dict[str, Any] = {key: value for key, value in document.items() if key != "v"}
        gone = tuple(Phase(**phase) for phase in values.pop("phases"))
        return cls(phases=gone, **values)


# --- what happens ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """StartBuild was answered."""

    queued_timeout_ms: int
    timeout_ms: int


@dataclass(frozen=True, slots=True)
class Claimed:
    """A worker has taken it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseEnded:
    """A phase of the run is over. One that is not the present phase was told twice and changes nothing."""

    phase: str
    status: str
    at: int  # ms UTC
    code: str = ""
    message: str = ""
    on_failure: str = ""


@dataclass(frozen=True, slots=True)
class StopAsked:
    """StopBuild."""


@dataclass(frozen=True, slots=True)
class TimePassed:
    """Somebody looked at the clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """Its run cannot go on: a fault of the service, in words."""

    message: str


Happening = Submitted | Claimed | PhaseEnded | StopAsked | TimePassed | Lost


# --- what is to be done ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Give it to a worker."""


@dataclass(frozen=True, slots=True)
class Halt:
    """Tell its run to end with this status."""

    status: str


@dataclass(frozen=True, slots=True)
class PhaseChanged:
    """Tell the world that a phase ended."""

    phase: Phase


@dataclass(frozen=True, slots=True)
class StateChanged:
    """Tell the world that the build began or ended."""

    status: str


Effect = Dispatch | Halt | PhaseChanged | StateChanged


def decide(state: BuildState, event: Happening, now: int, seed: int = 0) -> tuple[BuildState, list[Effect]]:  # noqa: ARG001
    """The state after `event`, and what is to be done about it."""
    if state.complete:
        return state, []
    match event:
        case Submitted():
            return _submitted(event, now)
        case Claimed():
            return _claimed(state, now)
        case PhaseEnded():
            return _phase_ended(state, event) if event.phase == state.phase else (state, [])
        case StopAsked():
            return _end_early(state, STOPPED, "Build was stopped", now)
        case TimePassed():
            return _time_passed(state, now)
        case Lost():
            return _lost(state, event.message, now)


def _submitted(event: Submitted, now: int) -> tuple[BuildState, list[Effect]]:
    submitted = Phase(type=SUBMITTED, status=SUCCEEDED, start=now, end=now)
    state = BuildState(
        phases=(submitted, Phase(type=QUEUED, start=now)),
        timeout_ms=event.timeout_ms,
        queued_until=now + event.queued_timeout_ms,
    )
    return state, [StateChanged(IN_PROGRESS), PhaseChanged(submitted), Dispatch()]


def _claimed(state: BuildState, now: int) -> tuple[BuildState, list[Effect]]:
    if state.phase != QUEUED:
        return state, []
    if now >= state.queued_until:
        return _time_passed(state, now)
    state = replace(state, runs_until=now + state.timeout_ms)
    return _phase_ended(state, PhaseEnded(phase=QUEUED, status=SUCCEEDED, at=now))


def _phase_ended(state: BuildState, event: PhaseEnded) -> tuple[BuildState, list[Effect]]:
    present = state.phases[-1]
    at = max(event.at, present.start)
    ended = replace(present, status=event.status, end=at, code=event.code, message=event.message)
    following = phases.next_phase(event.phase, event.status, event.on_failure)
    gone = (*state.phases[:-1], ended)
    state = replace(state, phases=(*gone, Phase(type=following, start=at)))
    effects: list[Effect] = [PhaseChanged(ended)]
    if following == COMPLETED:
        status = phases.build_status([phase.status for phase in gone])
        state = replace(state, complete=True, status=status, ended=at)
        effects += [PhaseChanged(state.phases[-1]), StateChanged(status)]
    return state, effects


def _end_early(state: BuildState, status: str, words: str, now: int) -> tuple[BuildState, list[Effect]]:
    if state.phase in (SUBMITTED, QUEUED):
        return _phase_ended(state, PhaseEnded(phase=state.phase, status=status, at=now, message=words))
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
