"""A stage: who may enter it, what runs in it, and how an execution leaves it.

AWS: concepts-how-it-works. Pure: works on a `Draft` only.
"""

from __future__ import annotations

from dataclasses import replace

from penstock.pipelines.draft import Draft
from penstock.pipelines.effects import (
    ActionEnded,
    ActionStarted,
    CancelTimer,
    EventState,
    ExecutionChanged,
    SetTimer,
    StageChanged,
)
from penstock.pipelines.model import (
    NO_DETAILS,
    ActionPlan,
    ActionStatus,
    Details,
    ExecutionMode,
    ExecutionStatus,
    RetryMode,
    StagePlan,
    StageStatus,
)
from penstock.pipelines.state import ActionRun, Execution


def arrive(draft: Draft, execution: Execution, stage: str) -> None:
    """Bring an execution before a stage; it enters at once when the doors are open and the stage is free."""
    execution = draft.put(replace(execution, stage=stage, entered=None, stage_status=None, actions={}))
    if execution.mode is ExecutionMode.PARALLEL:
        _enter(draft, execution)
        return
    slot = draft.slot(stage)
    assert slot is not None  # executions of an older version are cancelled before they could arrive
    if execution.mode is ExecutionMode.SUPERSEDED:
        for waiting in slot.waiting:
            _supersede(draft, waiting, by=execution)
        draft.put_slot(stage, replace(slot, waiting=(execution.id,)))
    else:
        draft.put_slot(stage, replace(slot, waiting=(*slot.waiting, execution.id)))
    admit(draft, stage)


def _supersede(draft: Draft, execution_id: str, *, by: Execution) -> None:
    execution = draft.execution(execution_id)
    assert execution is not None
    summary = f"Superseded by execution {by.number} before stage {by.stage}."
    draft.put(replace(execution, status=ExecutionStatus.SUPERSEDED, summary=summary))
    draft.emit(ExecutionChanged(execution=execution_id, state=EventState.SUPERSEDED))


def admit(draft: Draft, stage: str) -> None:
    """Let the first waiting execution in, if the stage is free and both doors before it are open."""
    slot = draft.slot(stage)
    if slot is None or slot.holder is not None or not slot.waiting or not _open(draft, stage):
        return
    execution = draft.execution(slot.waiting[0])
    assert execution is not None
    draft.put_slot(
        stage,
        replace(
            slot,
            holder=execution.id,
            waiting=slot.waiting[1:],
            latest=execution.id,
            status=StageStatus.IN_PROGRESS,
            automatic_retries=0,
            manual_retries=0,
            retried_by_hand=False,
        ),
    )
    _enter(draft, execution)


def _open(draft: Draft, stage: str) -> bool:
    slot = draft.slot(stage)
    index = draft.plan.index(stage)
    if slot is None or index is None or not slot.inbound.enabled:
        return False
    before = draft.slot(draft.plan.stages[index - 1].name) if index else None
    return before is None or before.outbound.enabled


def _enter(draft: Draft, execution: Execution) -> None:
    execution = draft.put(
        replace(
            execution,
            entered=draft.now,
            stage_status=StageStatus.IN_PROGRESS,
            automatic_retries=0,
            retried=None,
            actions={},
        )
    )
    change(draft, execution, EventState.STARTED)
    advance(draft, execution)


def advance(draft: Draft, execution: Execution) -> None:
    """Start the first run order that has not wholly succeeded; without one, the stage is done."""
    stage = draft.stage_plan(execution)
    for group in stage.groups:
        runs = [execution.actions.get(action.name) for action in group]
        if any(run is None or run.status is not ActionStatus.SUCCEEDED for run in runs):
            missing = [action for action, run in zip(group, runs, strict=True) if run is None]
            if missing:
                _start_actions(draft, execution, missing)
            return
    _complete(draft, execution)


def _start_actions(draft: Draft, execution: Execution, actions: list[ActionPlan]) -> None:
    runs = dict(execution.actions)
    for action in actions:
        run_id = draft.new_id()
        token = ""
        if action.approval:
            # AWS: a PARALLEL pipeline shows no state, so there the external execution id serves as the token.
            token = run_id if execution.mode is ExecutionMode.PARALLEL else draft.new_id()
        runs[action.name] = ActionRun(id=run_id, started=draft.now, token=token, timed=action.approval)
        draft.emit(
            ActionStarted(execution=execution.id, stage=execution.stage, action=run_id, name=action.name, token=token)
        )
        if action.approval:
            draft.emit(SetTimer(execution=execution.id, action=run_id, due=draft.now + action.timeout))
    draft.put(replace(execution, actions=runs))


def end_action(
    draft: Draft,
    execution: Execution,
    name: str,
    status: ActionStatus,
    state: EventState,
    *,
    code: str = "",
    message: str = "",
    by: str = "",
    details: Details = NO_DETAILS,
) -> Execution:
    """Write down that an action in progress ended. Follow it by `settle` or `fail`."""
    run = execution.actions[name]
    if run.timed:
        draft.emit(CancelTimer(action=run.id))
    draft.emit(
        ActionEnded(
            execution=execution.id,
            stage=execution.stage,
            action=run.id,
            name=name,
            status=status,
            state=state,
            code=code,
            message=message,
            by=by,
            details=details,
        )
    )
    ended = replace(run, status=status, token="", timed=False)
    return draft.put(replace(execution, actions={**execution.actions, name: ended}))


def fail(draft: Draft, execution: Execution) -> None:
    """An action of the execution failed: the stage fails at once, its siblings run on, the lock stays till then."""
    stage = draft.stage_plan(execution)
    in_force = execution.status is ExecutionStatus.IN_PROGRESS and not execution.cancelled
    if in_force and not _retries_by_itself(stage, execution):
        execution = _end(draft, execution, StageStatus.FAILED, ExecutionStatus.FAILED, EventState.FAILED)
    settle(draft, execution)


def _retries_by_itself(stage: StagePlan, execution: Execution) -> bool:
    return stage.automatic_retry is not None and execution.automatic_retries == 0


def settle(draft: Draft, execution: Execution) -> None:
    """Go on once nothing in the stage is in progress: stop, cancel, retry, next run order, next stage."""
    if execution.running:
        return
    if execution.status.ended:
        unlock(draft, execution)
    elif execution.status is ExecutionStatus.STOPPING:
        execution = _end(draft, execution, StageStatus.STOPPED, ExecutionStatus.STOPPED, EventState.STOPPED)
        unlock(draft, execution)
    elif execution.cancelled:
        execution = _end(draft, execution, StageStatus.CANCELLED, ExecutionStatus.CANCELLED, EventState.CANCELED)
        unlock(draft, execution)
    elif any(run.status is ActionStatus.FAILED for run in execution.actions.values()):
        stage = draft.stage_plan(execution)
        assert stage.automatic_retry is not None
        retry(draft, execution, stage.automatic_retry, by_hand=False)
    else:
        advance(draft, execution)


def _end(
    draft: Draft, execution: Execution, stage: StageStatus, status: ExecutionStatus, state: EventState
) -> Execution:
    execution = draft.put(replace(execution, stage_status=stage, status=status))
    show(draft, execution)
    change(draft, execution, state)
    draft.emit(ExecutionChanged(execution=execution.id, state=state))
    return execution


def change(draft: Draft, execution: Execution, state: EventState) -> None:
    """Let the stage that the execution is in have changed its state."""
    assert execution.entered is not None
    draft.emit(
        StageChanged(execution=execution.id, stage=execution.stage, state=state, entered=execution.entered),
    )


def show(draft: Draft, execution: Execution) -> None:
    """Keep the stage's slot in step with its latest execution."""
    slot = draft.slot(execution.stage)
    if slot is not None and slot.latest == execution.id and slot.status is not execution.stage_status:
        draft.put_slot(execution.stage, replace(slot, status=execution.stage_status))


def unlock(draft: Draft, execution: Execution) -> None:
    """Give the stage's lock back and let the next execution in."""
    slot = draft.slot(execution.stage)
    if slot is not None and slot.holder == execution.id:
        draft.put_slot(execution.stage, replace(slot, holder=None))
        admit(draft, execution.stage)


def _complete(draft: Draft, execution: Execution) -> None:
    stage = execution.stage
    execution = draft.put(replace(execution, stage_status=StageStatus.SUCCEEDED))
    show(draft, execution)
    change(draft, execution, EventState.SUCCEEDED)
    plan = draft.plans[execution.version]
    index = plan.index(stage)
    assert index is not None
    slot = draft.slot(stage)
    if slot is not None and slot.holder == execution.id:
        draft.put_slot(stage, replace(slot, holder=None))
    if index + 1 < len(plan.stages):
        arrive(draft, execution, plan.stages[index + 1].name)
    else:
        draft.put(replace(execution, status=ExecutionStatus.SUCCEEDED))
        draft.emit(ExecutionChanged(execution=execution.id, state=EventState.SUCCEEDED))
    admit(draft, stage)


def retry(draft: Draft, execution: Execution, mode: RetryMode, *, by_hand: bool) -> None:
    """Run the stage again: what did not succeed, or everything. Every run gets a new id."""
    kept = {
        name: run
        for name, run in execution.actions.items()
        if mode is RetryMode.FAILED_ACTIONS and run.status in (ActionStatus.SUCCEEDED, ActionStatus.IN_PROGRESS)
    }
    execution = draft.put(
        replace(
            execution,
            status=ExecutionStatus.IN_PROGRESS,
            stage_status=StageStatus.IN_PROGRESS,
            attempt=execution.attempt + 1,
            automatic_retries=execution.automatic_retries + (not by_hand),
            retried=draft.now,
            stop_reason=None,
            actions=kept,
        )
    )
    slot = draft.slot(execution.stage)
    if slot is not None and execution.mode is not ExecutionMode.PARALLEL:
        draft.put_slot(
            execution.stage,
            replace(
                slot,
                holder=execution.id,
                status=StageStatus.IN_PROGRESS,
                automatic_retries=slot.automatic_retries + (not by_hand),
                manual_retries=slot.manual_retries + by_hand,
                retried_by_hand=by_hand,
            ),
        )
    draft.emit(ExecutionChanged(execution=execution.id, state=EventState.RESUMED))
    change(draft, execution, EventState.RESUMED)
    advance(draft, execution)
