"""The state of a pipeline: stage locks, waiting places, transitions and live executions.

An execution that has ended leaves the aggregate; a retry brings it back from its row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from penstock.pipelines.model import (
    ActionStatus,
    Answer,
    ConditionStatus,
    ConditionType,
    ExecutionMode,
    ExecutionStatus,
    ExecutionType,
    Plan,
    StageStatus,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """One transition of a stage."""

    enabled: bool = True
    reason: str = ""  # why it is shut
    by: str = ""  # ARN of the caller who changed it last
    at: int | None = None  # ms; None = never touched


OPEN = Transition()


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A condition that is being checked or was. Its rules run among the actions (`model.rule_run`)."""

    type: ConditionType
    status: ConditionStatus = ConditionStatus.IN_PROGRESS
    changed: int  # ms of the last change of its status
    summary: str = ""


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
    type: ExecutionType = ExecutionType.STANDARD  # of `latest`
    # The last STANDARD execution of the current version that succeeded here, which is what the stage is rolled back to.
    succeeded: str | None = None
    conditions: Mapping[str, Condition] = field(default_factory=dict)  # by `ConditionType`; of `latest`, here


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionRun:
    """One execution of an action."""

    id: str
    status: ActionStatus = ActionStatus.IN_PROGRESS
    started: int  # ms
    token: str = ""  # of an approval that is open
    unasked: bool = False  # an approval whose request is not made yet: its configuration is still to be resolved
    timed: bool = False  # a timer is set
    answers: tuple[Answer, ...] = ()  # to an approval that needs more of them


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
    stop_reason: str | None = None  # "" = stopped without a reason
    condition: Condition | None = None  # of this stage, the last that was checked since it was entered or retried
    starter: str = ""  # what stands for the person who started it (`approval_rules.person_of`); "" = nobody known
    target: str | None = None  # the execution whose revisions it brings back to its stage; None = it is STANDARD

    @property
    def type(self) -> ExecutionType:
        """What it is for."""
        return ExecutionType.STANDARD if self.target is None else ExecutionType.ROLLBACK

    @property
    def waits(self) -> bool:
        """True while it stands before its stage."""
        return self.entered is None

    @property
    def running(self) -> bool:
        """True while an action of its stage is in progress."""
        return any(run.status is ActionStatus.IN_PROGRESS for run in self.actions.values())

    @property
    def checking(self) -> bool:
        """True while a condition of its stage is being checked."""
        return self.condition is not None and self.condition.status is ConditionStatus.IN_PROGRESS

    @property
    def live(self) -> bool:
        """True while anything can still happen to it by itself."""
        return not self.status.ended or self.running


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """What the engine decides on. `plans` holds the current version and those that the executions run."""

    version: int = 0  # 0 before it is created
    next_number: int = 1
    slots: Mapping[str, Slot] = field(default_factory=dict)
    executions: Mapping[str, Execution] = field(default_factory=dict)  # live ones; each has a row of its own
    plans: Mapping[int, Plan] = field(default_factory=dict)

    @property
    def plan(self) -> Plan:
        """The current plan."""
        return self.plans[self.version]


BLANK = Pipeline()
"""A pipeline that is being created."""


def with_executions(pipeline: Pipeline, executions: Iterable[Execution], plans: Mapping[int, Plan]) -> Pipeline:
    """The pipeline with executions that were not at hand, and the plans that they run."""
    return replace(
        pipeline,
        executions={**pipeline.executions, **{execution.id: execution for execution in executions}},
        plans={**pipeline.plans, **plans},
    )
