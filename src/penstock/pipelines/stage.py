"""A stage: who may enter it, what runs in it, and how an execution leaves it.

AWS: concepts-how-it-works. Pure: works on a `WorkingCopy` only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from penstock.pipelines.approval_rules import starter_of
from penstock.pipelines.effects import (
    ActionEnded,
    ActionStarted,
    CancelTimer,
    EventState,
    ExecutionChanged,
    ExecutionCreated,
    SetTimer,
    StageChanged,
)
from penstock.pipelines.model import (
    NO_DETAILS,
    PARALLEL_ACTIONS,
    ActionPlan,
    ActionStatus,
    ConditionStatus,
    ConditionType,
    Details,
    ExecutionMode,
    ExecutionStatus,
    Result,
    RetryMode,
    StagePlan,
    StageStatus,
    Trigger,
    TriggerType,
    rule_named,
    rule_run,
)
from penstock.pipelines.state import ActionRun, Condition, Execution
from penstock.pipelines.working_copy import WorkingCopy


def arrive(working: WorkingCopy, execution: Execution, stage: str) -> None:
    """Bring an execution before a stage; it enters at once when the transitions are enabled and the stage is free."""
    execution = working.put(replace(execution, stage=stage, entered=None, stage_status=None, actions={}))
    if execution.mode is ExecutionMode.PARALLEL:
        _enter(working, execution)
        return
    slot = working.slot(stage)
    assert slot is not None  # executions of an older version are cancelled before they could arrive
    if execution.mode is ExecutionMode.SUPERSEDED:
        for waiting in slot.waiting:
            _supersede(working, waiting, by=execution)
        working.put_slot(stage, replace(slot, waiting=(execution.id,)))
    else:
        working.put_slot(stage, replace(slot, waiting=(*slot.waiting, execution.id)))
    admit(working, stage)


def _supersede(working: WorkingCopy, execution_id: str, *, by: Execution) -> None:
    execution = working.execution(execution_id)
    assert execution is not None
    summary = f"Superseded by execution {by.number} before stage {by.stage}."
    working.put(replace(execution, status=ExecutionStatus.SUPERSEDED, summary=summary))
    working.emit(ExecutionChanged(execution=execution_id, state=EventState.SUPERSEDED))


def admit(working: WorkingCopy, stage: str) -> None:
    """Let the first waiting execution in, if the stage is free and both transitions before it are enabled."""
    slot = working.slot(stage)
    if slot is None or slot.holder is not None or not slot.waiting or not _open(working, stage):
        return
    execution = working.execution(slot.waiting[0])
    assert execution is not None
    working.put_slot(stage, replace(slot, waiting=slot.waiting[1:]))
    _lock(working, execution)
    _enter(working, execution)


def _lock(working: WorkingCopy, execution: Execution) -> None:
    """Let an execution be the one that its stage holds and shows."""
    slot = working.slot(execution.stage)
    assert slot is not None
    working.put_slot(
        execution.stage,
        replace(
            slot,
            holder=execution.id,
            latest=execution.id,
            type=execution.type,
            status=StageStatus.IN_PROGRESS,
            automatic_retries=0,
            manual_retries=0,
            retried_by_hand=False,
            conditions={},
        ),
    )


def roll_back(working: WorkingCopy, stage: str, target: str, trigger: Trigger) -> None:
    """A new execution in a stage that is free, with what `target` brought to it.

    It neither queues nor minds transitions: those hold back what is new, and it is how people get away from what is new.
    """
    execution = Execution(
        id=working.new_id(),
        number=working.next_number,
        version=working.plan.version,
        mode=working.plan.mode,
        started=working.now,
        stage=stage,
        target=target,
        starter=starter_of(trigger.detail),
    )
    working.next_number += 1
    working.put(execution)
    working.emit(
        ExecutionCreated(execution=execution.id, trigger=trigger, target=target),
        ExecutionChanged(execution=execution.id, state=EventState.STARTED),
    )
    _lock(working, execution)
    _enter(working, execution)


def _open(working: WorkingCopy, stage: str) -> bool:
    slot = working.slot(stage)
    index = working.plan.index(stage)
    if slot is None or index is None or not slot.inbound.enabled:
        return False
    before = working.slot(working.plan.stages[index - 1].name) if index else None
    return before is None or before.outbound.enabled


def _enter(working: WorkingCopy, execution: Execution) -> None:
    execution = working.put(
        replace(
            execution,
            entered=working.now,
            stage_status=StageStatus.IN_PROGRESS,
            automatic_retries=0,
            retried=None,
            actions={},
            condition=None,
        )
    )
    change(working, execution, EventState.STARTED)
    _begin(working, execution)


def _begin(working: WorkingCopy, execution: Execution) -> None:
    """Check the entry condition, if there is one, before the first action starts."""
    if ConditionType.BEFORE_ENTRY in working.stage_plan(execution).conditions:
        _check(working, execution, ConditionType.BEFORE_ENTRY)
    else:
        advance(working, execution)


def advance(working: WorkingCopy, execution: Execution) -> None:
    """Start the first run order that has not wholly succeeded; without one, the stage is done."""
    stage = working.stage_plan(execution)
    for group in stage.groups:
        runs = [execution.actions.get(action.name) for action in group]
        if any(run is None or run.status is not ActionStatus.SUCCEEDED for run in runs):
            missing = [action for action, run in zip(group, runs, strict=True) if run is None]
            if missing := missing[: _places(execution)]:
                _start_actions(working, execution, missing)
            return
    if ConditionType.ON_SUCCESS in stage.conditions:
        _check(working, execution, ConditionType.ON_SUCCESS)
    else:
        _complete(working, execution)


def _places(execution: Execution) -> int | None:
    """How many more actions of an execution may run; None for any number."""
    if execution.mode is not ExecutionMode.PARALLEL:
        return None
    return max(0, PARALLEL_ACTIONS - sum(run.status is ActionStatus.IN_PROGRESS for run in execution.actions.values()))


def _check(working: WorkingCopy, execution: Execution, type: ConditionType) -> None:
    """Start the rules of a condition, all at once."""
    runs = {name: run for name, run in execution.actions.items() if rule_named(name)[0] != type}
    for rule in working.stage_plan(execution).conditions[type].rules:
        run_id, name = working.new_id(), rule_run(type, rule.name)
        runs[name] = ActionRun(id=run_id, started=working.now)
        working.emit(ActionStarted(execution=execution.id, stage=execution.stage, action=run_id, name=name))
    condition = Condition(type=type, changed=working.now)
    show(working, working.put(replace(execution, actions=runs, condition=condition)))


def _conclude(working: WorkingCopy, execution: Execution, condition: Condition) -> None:
    """Every rule of the condition has ended: do what it is for. AWS: concepts-how-it-works-conditions."""
    failed = [
        rule
        for condition_type, rule, run in ((*rule_named(name), run) for name, run in execution.actions.items())
        if condition_type == condition.type and run.status is ActionStatus.FAILED
    ]
    status = ConditionStatus.FAILED if failed else ConditionStatus.SUCCEEDED
    said = f"The condition {condition.type} of stage {execution.stage} failed: {', '.join(failed)}." if failed else ""
    condition = replace(condition, status=status, changed=working.now, summary=said)
    execution = working.put(replace(execution, condition=condition))
    show(working, execution)
    result = working.stage_plan(execution).conditions[condition.type].result
    if condition.type is ConditionType.ON_FAILURE:
        if failed:
            unlock(working, execution)
        else:
            _roll_back_or_unlock(working, execution)
    elif not failed:
        _continue(working, execution, condition.type)
    elif result is Result.SKIP:
        _pass_on(working, working.put(replace(execution, stage_status=StageStatus.SKIPPED)))
    elif result is Result.ROLLBACK:
        execution = replace(execution, stage_status=StageStatus.SUCCEEDED, status=ExecutionStatus.FAILED, summary=said)
        show(working, working.put(execution))
        change(working, execution, EventState.SUCCEEDED, passed=False)
        working.emit(ExecutionChanged(execution=execution.id, state=EventState.FAILED))
        _roll_back_or_unlock(working, execution)
    else:
        execution = working.put(replace(execution, summary=said))
        execution = _end(working, execution, StageStatus.FAILED, ExecutionStatus.FAILED, EventState.FAILED)
        unlock(working, execution)


def _continue(working: WorkingCopy, execution: Execution, passed: ConditionType) -> None:
    """What comes after a condition that lets the execution continue."""
    if passed is ConditionType.BEFORE_ENTRY:
        advance(working, execution)
    else:
        _complete(working, execution)


def override(working: WorkingCopy, execution: Execution) -> None:
    """Let the execution continue whose condition is overridden, though it may have ended by it."""
    condition = execution.condition
    assert condition is not None
    ended = execution.status.ended
    condition = replace(condition, status=ConditionStatus.OVERRIDDEN, changed=working.now)
    execution = working.put(
        replace(
            execution,
            status=ExecutionStatus.IN_PROGRESS,
            stage_status=StageStatus.IN_PROGRESS,
            summary="",
            condition=condition,
        )
    )
    slot = working.slot(execution.stage)
    if slot is not None and slot.latest == execution.id:
        working.put_slot(execution.stage, replace(slot, holder=execution.id))
    show(working, execution)
    if ended:
        working.emit(ExecutionChanged(execution=execution.id, state=EventState.RESUMED))
        change(working, execution, EventState.RESUMED)
    _continue(working, execution, condition.type)


def _start_actions(working: WorkingCopy, execution: Execution, actions: list[ActionPlan]) -> None:
    runs = dict(execution.actions)
    for action in actions:
        run_id = working.new_id()
        token = ""
        if action.approval:
            # AWS: a PARALLEL pipeline shows no state, so there the external execution id serves as the token.
            token = run_id if execution.mode is ExecutionMode.PARALLEL else working.new_id()
        runs[action.name] = ActionRun(
            id=run_id, started=working.now, token=token, unasked=action.approval, timed=action.approval
        )
        working.emit(
            ActionStarted(execution=execution.id, stage=execution.stage, action=run_id, name=action.name, token=token)
        )
        if action.approval:
            working.emit(SetTimer(execution=execution.id, action=run_id, due=working.now + action.timeout))
    working.put(replace(execution, actions=runs))


def end_action(
    working: WorkingCopy,
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
        working.emit(CancelTimer(action=run.id))
    working.emit(
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
    ended = replace(run, status=status, token="", unasked=False, timed=False, answers=())
    return working.put(replace(execution, actions={**execution.actions, name: ended}))


def fail(working: WorkingCopy, execution: Execution) -> None:
    """An action of the execution failed: the stage fails at once, its siblings run on, the lock stays till then."""
    if execution.checking:  # it is a rule that failed
        settle(working, execution)
        return
    stage = working.stage_plan(execution)
    in_force = execution.status is ExecutionStatus.IN_PROGRESS and not execution.cancelled
    if in_force and not _retries_by_itself(stage, execution):
        execution = _end(working, execution, StageStatus.FAILED, ExecutionStatus.FAILED, EventState.FAILED)
    settle(working, execution)


def _retries_by_itself(stage: StagePlan, execution: Execution) -> bool:
    return stage.automatic_retry is not None and execution.automatic_retries == 0


def _is_short_of_places(execution: Execution) -> bool:
    """Whether actions may be left that wait for others of their run order to end."""
    return (
        execution.mode is ExecutionMode.PARALLEL
        and execution.status is ExecutionStatus.IN_PROGRESS
        and not execution.cancelled
        and not execution.checking
        and not any(
            run.status is ActionStatus.FAILED for name, run in execution.actions.items() if not rule_named(name)[0]
        )
    )


def settle(working: WorkingCopy, execution: Execution) -> None:
    """Go on once nothing in the stage is in progress: stop, cancel, retry, next run order, next stage."""
    if execution.running:
        if _is_short_of_places(execution):
            advance(working, execution)
        return
    if execution.condition is not None and execution.checking:
        _conclude(working, execution, execution.condition)
    elif execution.status.ended:
        _leave(working, execution)
    elif execution.status is ExecutionStatus.STOPPING:
        execution = _end(working, execution, StageStatus.STOPPED, ExecutionStatus.STOPPED, EventState.STOPPED)
        unlock(working, execution)
    elif execution.cancelled:
        execution = _end(working, execution, StageStatus.CANCELLED, ExecutionStatus.CANCELLED, EventState.CANCELED)
        unlock(working, execution)
    elif any(run.status is ActionStatus.FAILED and not rule_named(name)[0] for name, run in execution.actions.items()):
        stage = working.stage_plan(execution)
        assert stage.automatic_retry is not None
        retry(working, execution, stage.automatic_retry, by_hand=False)
    else:
        advance(working, execution)


def _end(
    working: WorkingCopy, execution: Execution, stage: StageStatus, status: ExecutionStatus, state: EventState
) -> Execution:
    execution = working.put(replace(execution, stage_status=stage, status=status))
    show(working, execution)
    change(working, execution, state)
    working.emit(ExecutionChanged(execution=execution.id, state=state))
    return execution


def change(working: WorkingCopy, execution: Execution, state: EventState, *, passed: bool = True) -> None:
    """Let the stage that the execution is in have changed its state."""
    assert execution.entered is not None
    working.emit(
        StageChanged(
            execution=execution.id, stage=execution.stage, state=state, entered=execution.entered, passed=passed
        ),
    )


def show(working: WorkingCopy, execution: Execution) -> None:
    """Keep the stage's slot in step with its latest execution."""
    slot, condition = working.slot(execution.stage), execution.condition
    if slot is None or slot.latest != execution.id:
        return
    if condition is not None and slot.conditions.get(condition.type) is not condition:
        slot = replace(slot, conditions={**slot.conditions, condition.type.value: condition})
        working.put_slot(execution.stage, slot)
    if slot.status is not execution.stage_status:
        working.put_slot(execution.stage, replace(slot, status=execution.stage_status))


def _leave(working: WorkingCopy, execution: Execution) -> None:
    """Nothing of an execution that has ended is in progress any more: its stage is rolled back, or free for the next."""
    stage, condition = working.stage_plan(execution), execution.condition
    failed = (
        execution.status is ExecutionStatus.FAILED
        and execution.target is None  # a rollback that failed is not rolled back
        and execution.version == working.plan.version
    )
    checked = condition is not None and condition.type is ConditionType.ON_FAILURE
    if failed and ConditionType.ON_FAILURE in stage.conditions and not checked:
        _check(working, execution, ConditionType.ON_FAILURE)
    elif failed and stage.rolls_back:
        _roll_back_or_unlock(working, execution)
    else:
        unlock(working, execution)


def _roll_back_or_unlock(working: WorkingCopy, execution: Execution) -> None:
    """Roll the stage back, if there is anything to roll back to; a rollback is not rolled back itself."""
    slot = working.slot(execution.stage)
    if (
        slot is None
        or slot.holder != execution.id
        or slot.succeeded is None
        or execution.target is not None
        or execution.version != working.plan.version
    ):
        unlock(working, execution)
        return
    working.put_slot(execution.stage, replace(slot, holder=None))
    trigger = Trigger(type=TriggerType.AUTOMATED_ROLLBACK, detail=execution.id)
    roll_back(working, execution.stage, slot.succeeded, trigger)


def unlock(working: WorkingCopy, execution: Execution) -> None:
    """Give the stage's lock back and let the next execution in."""
    slot = working.slot(execution.stage)
    if slot is not None and slot.holder == execution.id:
        working.put_slot(execution.stage, replace(slot, holder=None))
        admit(working, execution.stage)


def _complete(working: WorkingCopy, execution: Execution) -> None:
    stage = execution.stage
    execution = working.put(replace(execution, stage_status=StageStatus.SUCCEEDED))
    change(working, execution, EventState.SUCCEEDED)
    slot = working.slot(stage)
    if slot is not None and slot.holder == execution.id and execution.target is None:
        working.put_slot(stage, replace(slot, succeeded=execution.id))
    _pass_on(working, execution)


def _pass_on(working: WorkingCopy, execution: Execution) -> None:
    """Leave a stage that succeeded or is skipped: for the next one, or for good."""
    stage = execution.stage
    show(working, execution)
    plan = working.plans[execution.version]
    index = plan.index(stage)
    assert index is not None
    slot = working.slot(stage)
    if slot is not None and slot.holder == execution.id:
        working.put_slot(stage, replace(slot, holder=None))
    if index + 1 < len(plan.stages) and execution.target is None:
        arrive(working, execution, plan.stages[index + 1].name)
    else:
        working.put(replace(execution, status=ExecutionStatus.SUCCEEDED))
        working.emit(ExecutionChanged(execution=execution.id, state=EventState.SUCCEEDED))
    admit(working, stage)


def retry(working: WorkingCopy, execution: Execution, mode: RetryMode, *, by_hand: bool) -> None:
    """Run the stage again: what did not succeed, or everything. Every run gets a new id.

    The entry condition is checked again when everything runs again, or when it was never passed.
    """
    condition = execution.condition
    again = mode is RetryMode.ALL_ACTIONS or (
        condition is not None and condition.type is ConditionType.BEFORE_ENTRY and not condition.status.passed
    )
    kept = {
        name: run
        for name, run in execution.actions.items()
        if mode is RetryMode.FAILED_ACTIONS
        and run.status in (ActionStatus.SUCCEEDED, ActionStatus.IN_PROGRESS)
        and not rule_named(name)[0]
    }
    execution = working.put(
        replace(
            execution,
            status=ExecutionStatus.IN_PROGRESS,
            stage_status=StageStatus.IN_PROGRESS,
            attempt=execution.attempt + 1,
            automatic_retries=execution.automatic_retries + (not by_hand),
            retried=working.now,
            stop_reason=None,
            summary="",
            actions=kept,
            condition=None,
        )
    )
    slot = working.slot(execution.stage)
    if slot is not None and execution.mode is not ExecutionMode.PARALLEL:
        working.put_slot(
            execution.stage,
            replace(
                slot,
                holder=execution.id,
                status=StageStatus.IN_PROGRESS,
                automatic_retries=slot.automatic_retries + (not by_hand),
                manual_retries=slot.manual_retries + by_hand,
                retried_by_hand=by_hand,
                conditions={} if again else _entry_only(slot.conditions),
            ),
        )
    working.emit(ExecutionChanged(execution=execution.id, state=EventState.RESUMED))
    change(working, execution, EventState.RESUMED)
    if again:
        _begin(working, execution)
    else:
        advance(working, execution)


def _entry_only(conditions: Mapping[str, Condition]) -> dict[str, Condition]:
    return {type: found for type, found in conditions.items() if type == ConditionType.BEFORE_ENTRY}
