"""The pipeline aggregate: stage locks, waiting places, transitions and live executions, and its stored form.

An execution that has ended leaves the aggregate; a retry brings it back from its row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from penstock.pipelines.model import ActionStatus, ExecutionMode, ExecutionStatus, Plan, StageStatus

PAYLOAD_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """One door of a stage."""

    enabled: bool = True
    reason: str = ""  # why it is shut
    by: str = ""  # ARN of who moved it last
    at: int | None = None  # ms; None = never touched


OPEN = Transition()


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """What the aggregate keeps for one stage. Unused in PARALLEL mode."""

    inbound: Transition = OPEN
    outbound: Transition = OPEN
    holder: str | None = None  # the execution that holds the stage's lock
    waiting: tuple[str, ...] = ()  # executions before the stage, first come first
    latest: str | None = None  # the execution that entered last
    status: StageStatus | None = None  # of `latest`, here
    automatic_retries: int = 0  # of `latest`, here
    manual_retries: int = 0
    retried_by_hand: bool = False  # whether the last retry was a call


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionRun:
    """One execution of an action."""

    id: str
    status: ActionStatus = ActionStatus.IN_PROGRESS
    started: int  # ms
    token: str = ""  # of an approval that is open
    timed: bool = False  # a timer is set


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """One run of the pipeline, as far as deciding needs it."""

    id: str
    number: int  # counts per pipeline from 1
    version: int  # of the plan it runs
    mode: ExecutionMode
    status: ExecutionStatus = ExecutionStatus.IN_PROGRESS
    summary: str = ""
    started: int  # ms
    attempt: int = 1  # +1 by every retry
    stage: str = ""  # the stage it is in or waits before
    entered: int | None = None  # ms it entered that stage; None = waits before it
    stage_status: StageStatus | None = None
    automatic_retries: int = 0  # in this stage
    retried: int | None = None  # ms of the stage's last retry
    actions: Mapping[str, ActionRun] = field(default_factory=dict)  # of this stage, by name
    cancelled: bool = False  # the declaration was updated; ends when its running actions have
    stop_reason: str | None = None  # "" = stopped without words

    @property
    def waits(self) -> bool:
        """True while it stands before its stage."""
        return self.entered is None

    @property
    def running(self) -> bool:
        """True while an action of its stage is in progress."""
        return any(run.status is ActionStatus.IN_PROGRESS for run in self.actions.values())

    @property
    def live(self) -> bool:
        """True while anything can still happen to it by itself."""
        return not self.status.ended or self.running


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """The aggregate. `plans` holds the current version and those that live executions still run."""

    version: int
    plans: Mapping[int, Plan]
    slots: Mapping[str, Slot]
    executions: Mapping[str, Execution] = field(default_factory=dict)  # live ones
    next_number: int = 1

    @property
    def plan(self) -> Plan:
        """The current plan."""
        return self.plans[self.version]


def new_pipeline(plan: Plan) -> Pipeline:
    """The aggregate of a pipeline that was just created."""
    return Pipeline(
        version=plan.version, plans={plan.version: plan}, slots={stage.name: Slot() for stage in plan.stages}
    )


# The stored form leaves out what has its default: a row is written at every transition.


def _transition_to(transition: Transition) -> list[Any] | None:
    if transition == OPEN:
        return None
    return [transition.enabled, transition.reason, transition.by, transition.at]


def _transition_from(payload: list[Any] | None) -> Transition:
    if payload is None:
        return OPEN
    enabled, reason, by, at = payload
    return Transition(enabled=enabled, reason=reason, by=by, at=at)


def slots_to_payload(pipeline: Pipeline) -> dict[str, Any]:
    """What the pipeline's row stores of the aggregate."""
    return {
        "v": PAYLOAD_VERSION,
        "next": pipeline.next_number,
        "slots": {
            name: [
                _transition_to(slot.inbound),
                _transition_to(slot.outbound),
                slot.holder,
                slot.waiting,
                slot.latest,
                slot.status,
                slot.automatic_retries,
                slot.manual_retries,
                slot.retried_by_hand,
            ]
            for name, slot in pipeline.slots.items()
        },
    }


def slots_from_payload(payload: Mapping[str, Any]) -> tuple[dict[str, Slot], int]:
    """The slots, and the number of the next execution."""
    slots: dict[str, Slot] = {}
    for name, (inbound, outbound, holder, waiting, latest, status, automatic, manual, by_hand) in payload[
        "slots"
    ].items():
        slots[name] = Slot(
            inbound=_transition_from(inbound),
            outbound=_transition_from(outbound),
            holder=holder,
            waiting=tuple(waiting),
            latest=latest,
            status=StageStatus(status) if status else None,
            automatic_retries=automatic,
            manual_retries=manual,
            retried_by_hand=by_hand,
        )
    return slots, payload["next"]


def execution_to_payload(execution: Execution) -> dict[str, Any]:
    """What the execution's row stores beside the columns that are read."""
    return {
        "v": PAYLOAD_VERSION,
        "number": execution.number,
        "version": execution.version,
        "mode": execution.mode,
        "status": execution.status,
        "summary": execution.summary,
        "started": execution.started,
        "attempt": execution.attempt,
        "stage": execution.stage,
        "entered": execution.entered,
        "stage_status": execution.stage_status,
        "automatic_retries": execution.automatic_retries,
        "retried": execution.retried,
        "actions": {
            name: [run.id, run.status, run.started, run.token, run.timed] for name, run in execution.actions.items()
        },
        "cancelled": execution.cancelled,
        "stop_reason": execution.stop_reason,
    }


def execution_from_payload(execution_id: str, payload: Mapping[str, Any]) -> Execution:
    """The execution of `execution_to_payload`."""
    stage_status = payload["stage_status"]
    return Execution(
        id=execution_id,
        number=payload["number"],
        version=payload["version"],
        mode=ExecutionMode(payload["mode"]),
        status=ExecutionStatus(payload["status"]),
        summary=payload["summary"],
        started=payload["started"],
        attempt=payload["attempt"],
        stage=payload["stage"],
        entered=payload["entered"],
        stage_status=StageStatus(stage_status) if stage_status else None,
        automatic_retries=payload["automatic_retries"],
        retried=payload["retried"],
        actions={
            name: ActionRun(id=id_, status=ActionStatus(status), started=started, token=token, timed=timed)
            for name, (id_, status, started, token, timed) in payload["actions"].items()
        },
        cancelled=payload["cancelled"],
        stop_reason=payload["stop_reason"],
    )
