"""An execution's own life: how it starts, stops, is retried, and what an updated or deleted pipeline does to it.

Pure: works on a `WorkingCopy` only. Refusals are the errors that the operations answer with.
"""

from __future__ import annotations

from dataclasses import replace

from penstock.pipelines import stage as stages
from penstock.pipelines.effects import EventState, ExecutionChanged, ExecutionCreated, StopAction
from penstock.pipelines.errors import (
    ConcurrentPipelineExecutionsLimitExceededException,
    ConditionNotOverridableException,
    DuplicatedStopRequestException,
    NotLatestPipelineExecutionException,
    PipelineExecutionNotStoppableException,
    PipelineExecutionOutdatedException,
    StageNotRetryableException,
    UnableToRollbackStageException,
)
from penstock.pipelines.inputs import (
    OverrideRequested,
    RetryRequested,
    RollbackRequested,
    StartRequested,
    StopRequested,
)
from penstock.pipelines.model import (
    CONCURRENT_EXECUTIONS,
    NO_DETAILS,
    ActionStatus,
    ConditionStatus,
    ConditionType,
    Details,
    ExecutionMode,
    ExecutionStatus,
    Plan,
    Result,
    RetryMode,
    StageStatus,
    Trigger,
    TriggerType,
)
from penstock.pipelines.state import Execution, Slot
from penstock.pipelines.working_copy import WorkingCopy


def start(working: WorkingCopy, wanted: StartRequested) -> None:
    """A new execution before the first stage.

    Without a value for a required variable it fails at once. AWS: reference-variables.
    """
    plan = working.plan
    _refuse_too_many(working, plan.mode)
    execution = Execution(
        id=working.new_id(),
        number=working.next_number,
        version=plan.version,
        mode=plan.mode,
        started=working.now,
        starter=wanted.starter,
    )
    working.next_number += 1
    working.put(execution)
    working.emit(
        ExecutionCreated(
            execution=execution.id,
            trigger=wanted.trigger,
            variables={**plan.defaults, **wanted.variables},
            overrides=wanted.overrides,
        ),
        ExecutionChanged(execution=execution.id, state=EventState.STARTED),
    )
    missing = [name for name in plan.required if name not in wanted.variables]
    if missing:
        summary = f"Values for required variables haven't been provided: {','.join(missing)}"
        working.put(replace(execution, status=ExecutionStatus.FAILED, summary=summary))
        working.emit(ExecutionChanged(execution=execution.id, state=EventState.FAILED))
        return
    stages.arrive(working, execution, plan.stages[0].name)


def _refuse_too_many(working: WorkingCopy, mode: ExecutionMode) -> None:
    if mode is ExecutionMode.SUPERSEDED:
        return
    if sum(not execution.status.ended for execution in working.executions()) >= CONCURRENT_EXECUTIONS:
        raise ConcurrentPipelineExecutionsLimitExceededException(limit=CONCURRENT_EXECUTIONS)


def stop(working: WorkingCopy, wanted: StopRequested) -> None:
    """Stop an execution: a waiting one at once, a running one after its actions or leaving them behind."""
    execution = working.execution(wanted.execution)
    if execution is None or execution.status.ended:
        raise PipelineExecutionNotStoppableException(execution=wanted.execution)
    again = execution.status is ExecutionStatus.STOPPING
    if again and not wanted.abandon:
        raise DuplicatedStopRequestException(execution=wanted.execution)
    # A second request that only says to abandon gives no reason of its own.
    reason = wanted.reason or execution.stop_reason or ""
    execution = working.put(replace(execution, stop_reason=reason))
    if not again:
        working.emit(ExecutionChanged(execution=execution.id, state=EventState.STOPPING))
    if execution.waits:
        _leave_queue(working, execution)
        working.put(replace(execution, status=ExecutionStatus.STOPPED))
        working.emit(ExecutionChanged(execution=execution.id, state=EventState.STOPPED))
        return
    if not again:
        stages.change(working, execution, EventState.STOPPING)
    execution = working.put(replace(execution, status=ExecutionStatus.STOPPING, stage_status=StageStatus.STOPPING))
    stages.show(working, execution)
    execution = _give_up_condition(working, execution)
    if wanted.abandon:
        execution = _abandon_actions(working, execution, EventState.ABANDONED)
    stages.settle(working, execution)


def _give_up_condition(
    working: WorkingCopy, execution: Execution, status: ConditionStatus = ConditionStatus.CANCELLED
) -> Execution:
    """End the condition that is being checked: nobody waits for its rules any more."""
    condition = execution.condition
    if condition is None or not execution.checking:
        return execution
    ended = replace(condition, status=status, changed=working.now)
    execution = working.put(replace(execution, condition=ended))
    for name, run in execution.actions.items():
        action = working.stage_plan(execution).action(name)
        assert action is not None
        if action.rule and run.status is ActionStatus.IN_PROGRESS:
            working.emit(StopAction(execution=execution.id, action=run.id))
            state = EventState.ABANDONED
            execution = stages.end_action(working, execution, name, ActionStatus.ABANDONED, state)
    stages.show(working, execution)
    return execution


def _abandon_actions(
    working: WorkingCopy, execution: Execution, state: EventState, *, only_approvals: bool = False
) -> Execution:
    stage = working.stage_plan(execution)
    for name, run in execution.actions.items():
        action = stage.action(name)
        assert action is not None
        if run.status is not ActionStatus.IN_PROGRESS or (only_approvals and not action.approval):
            continue
        details = Details(summary="The approval action has been canceled.") if action.approval else NO_DETAILS
        execution = stages.end_action(working, execution, name, ActionStatus.ABANDONED, state, details=details)
    return execution


def _leave_queue(working: WorkingCopy, execution: Execution) -> None:
    slot = working.slot(execution.stage)
    if slot is not None:
        waiting = tuple(other for other in slot.waiting if other != execution.id)
        working.put_slot(execution.stage, replace(slot, waiting=waiting))


def retry(working: WorkingCopy, wanted: RetryRequested) -> None:
    """Run a failed or stopped stage again, with the version it failed in. AWS: actions-retry."""
    execution = working.execution(wanted.execution)
    if execution is None:
        raise StageNotRetryableException(stage=wanted.stage, why="the execution does not exist")
    slot = working.slot(wanted.stage)
    if execution.mode is not ExecutionMode.PARALLEL:
        if execution.version != working.plan.version:
            raise StageNotRetryableException(
                stage=wanted.stage, why="the pipeline was updated after the execution started"
            )
        if slot is not None and slot.latest not in (None, execution.id):
            raise NotLatestPipelineExecutionException(execution=execution.id, stage=wanted.stage)
    if execution.stage != wanted.stage or execution.waits:
        raise StageNotRetryableException(stage=wanted.stage, why="the execution did not fail in it")
    if execution.stage_status not in (StageStatus.FAILED, StageStatus.STOPPED):
        raise StageNotRetryableException(stage=wanted.stage, why="it has neither failed nor been stopped")
    if wanted.mode is RetryMode.FAILED_ACTIONS and _all_succeeded(working, execution):
        raise StageNotRetryableException(stage=wanted.stage, why="it has no failed actions")
    if wanted.mode is RetryMode.ALL_ACTIONS and execution.running:
        raise StageNotRetryableException(stage=wanted.stage, why="actions are still in progress")
    if execution.checking:
        raise StageNotRetryableException(stage=wanted.stage, why="a condition of it is being checked")
    condition = execution.condition
    if (
        wanted.mode is RetryMode.FAILED_ACTIONS
        and condition is not None
        and condition.type is ConditionType.BEFORE_ENTRY
        and condition.status is ConditionStatus.FAILED
    ):
        raise StageNotRetryableException(stage=wanted.stage, why="its entry condition failed before any action ran")
    _refuse_too_many(working, execution.mode)
    stages.retry(working, execution, wanted.mode, by_hand=True)


def _all_succeeded(working: WorkingCopy, execution: Execution) -> bool:
    """Whether the stage was stopped after the last of its actions had succeeded."""
    actions = [action for group in working.stage_plan(execution).groups for action in group]
    runs = [execution.actions.get(action.name) for action in actions]
    return all(run is not None and run.status is ActionStatus.SUCCEEDED for run in runs)


def roll_back(working: WorkingCopy, wanted: RollbackRequested) -> None:
    """Run a stage again with what an earlier execution brought to it, in an execution of its own. AWS: stage-rollback-manual."""
    stage, plan, target = wanted.stage, working.plan, working.execution(wanted.target)
    if target is None:
        raise UnableToRollbackStageException(stage=stage, target=wanted.target, why="the execution does not exist")
    slot = working.slot(stage)
    why = ""
    if plan.mode is ExecutionMode.PARALLEL:
        why = "executions of a pipeline in PARALLEL mode are not rolled back"
    elif plan.index(stage) == 0:
        why = "the stage of the sources is not rolled back"
    elif target.target is not None:
        why = "it is a rollback itself"
    elif not wanted.succeeded:
        why = "it did not succeed in the stage"
    elif target.version != plan.version:
        raise PipelineExecutionOutdatedException(target=target.id, version=target.version)
    elif slot is None or slot.holder is not None:
        why = "the stage is in progress"
    if why:
        raise UnableToRollbackStageException(stage=stage, target=target.id, why=why)
    stages.roll_back(working, stage, target.id, Trigger(type=TriggerType.MANUAL_ROLLBACK, detail=wanted.by))


def override(working: WorkingCopy, wanted: OverrideRequested) -> None:
    """Have an execution continue whatever a condition says that is being checked or has failed. AWS: stage-conditions."""
    execution, slot = working.execution(wanted.execution), working.slot(wanted.stage)
    condition = None if execution is None else execution.condition
    why = ""
    if execution is None:
        why = "the execution does not exist"
    elif execution.mode is not ExecutionMode.PARALLEL and execution.version != working.plan.version:
        why = "the pipeline was updated after the execution started"
    elif execution.mode is not ExecutionMode.PARALLEL and slot is not None and slot.latest not in (None, execution.id):
        raise NotLatestPipelineExecutionException(execution=execution.id, stage=wanted.stage)
    elif (
        execution.waits  # the condition is of the stage before
        or execution.stage != wanted.stage
        or condition is None
        or condition.type is not wanted.condition
    ):
        why = "it is not what keeps the execution"
    elif condition.type is ConditionType.ON_FAILURE:
        why = "the stage has failed"
    elif working.stage_plan(execution).conditions[condition.type].result is Result.SKIP:
        why = "its result is SKIP"
    elif condition.status not in (ConditionStatus.IN_PROGRESS, ConditionStatus.FAILED):
        why = f"it is {condition.status}"
    if execution is None or why:
        raise ConditionNotOverridableException(condition=wanted.condition, stage=wanted.stage, why=why)
    if execution.status.ended:
        _refuse_too_many(working, execution.mode)
    execution = _give_up_condition(working, execution, ConditionStatus.OVERRIDDEN)
    stages.override(working, execution)


def update(working: WorkingCopy, plan: Plan) -> None:
    """Put a new plan in force. What runs or waits by the old one is cancelled, except PARALLEL executions.

    AWS: execution-modes. Running actions finish first; open approvals are void at once.
    """
    working.adopt(plan)
    working.replace_slots({stage.name: _slot_after_update(working, stage.name) for stage in plan.stages})
    for execution in working.executions():
        if execution.live and execution.mode is not ExecutionMode.PARALLEL:
            _cancel(working, execution)


def _cancel(working: WorkingCopy, execution: Execution) -> None:
    if execution.status is ExecutionStatus.IN_PROGRESS:
        execution = working.put(replace(execution, cancelled=True))
    if execution.waits:
        working.put(replace(execution, status=ExecutionStatus.CANCELLED))
        working.emit(ExecutionChanged(execution=execution.id, state=EventState.CANCELED))
    else:
        execution = _give_up_condition(working, execution)
        execution = _abandon_actions(working, execution, EventState.CANCELED, only_approvals=True)
        stages.settle(working, execution)


def _slot_after_update(working: WorkingCopy, stage: str) -> Slot:
    slot = working.slot(stage) or Slot()
    return replace(slot, waiting=(), succeeded=None)


def delete(working: WorkingCopy) -> None:
    """End everything: the pipeline is going."""
    for execution in working.executions():
        if execution.live:
            _end_with_pipeline(working, execution)


def _end_with_pipeline(working: WorkingCopy, execution: Execution) -> None:
    if execution.waits:
        _leave_queue(working, execution)
    else:
        execution = _give_up_condition(working, execution)
        execution = _abandon_actions(working, execution, EventState.CANCELED)
    if not execution.status.ended:
        working.put(
            replace(
                execution,
                status=ExecutionStatus.STOPPED,
                stage_status=None if execution.waits else StageStatus.STOPPED,
                summary="The pipeline was deleted.",
            )
        )
        working.emit(ExecutionChanged(execution=execution.id, state=EventState.STOPPED))
