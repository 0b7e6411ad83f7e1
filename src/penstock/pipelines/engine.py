"""The pipeline engine: one pure function over one aggregate.

`decide` has no clock, no randomness and no I/O: the same state, happening, time and seed give the same answer, which is
what the journal, `explain` and the properties in the tests stand on.
"""

from __future__ import annotations

from dataclasses import replace

from penstock.pipelines import execution as executions
from penstock.pipelines import stage as stages
from penstock.pipelines.draft import Draft
from penstock.pipelines.effects import Effect, EventState, SetTimer, StopAction
from penstock.pipelines.errors import InvalidApprovalTokenException
from penstock.pipelines.happenings import (
    ActionAccepted,
    ActionFailed,
    ActionSucceeded,
    ActionTimedOut,
    ApprovalAnswered,
    Happening,
    PipelineDeleted,
    PipelineUpdated,
    RetryRequested,
    StartRequested,
    StopRequested,
    TransitionDisabled,
    TransitionEnabled,
)
from penstock.pipelines.model import ActionStatus, TransitionSide
from penstock.pipelines.state import ActionRun, Execution, Pipeline, Transition


def decide(state: Pipeline, event: Happening, now: int, seed: int) -> tuple[Pipeline, tuple[Effect, ...]]:
    """The pipeline after `event`, and what is to be done.

    `now` is in ms; `seed` is where ids come from. An event that changes nothing (a report that came twice, or about
    something that has ended) gives the same state and no effects. Raises the room's ServiceErrors for a request that
    the pipeline's state forbids; the state is then unchanged.
    """
    draft = Draft(state, now, seed)
    match event:
        case ActionSucceeded() | ActionFailed() | ActionTimedOut() | ActionAccepted() | ApprovalAnswered():
            if not _on_action(draft, event):
                return state, ()
        case StartRequested():
            executions.start(draft, event)
        case StopRequested():
            executions.stop(draft, event)
        case RetryRequested():
            executions.retry(draft, event)
        case TransitionDisabled() | TransitionEnabled():
            if not _on_transition(draft, event):
                return state, ()
        case PipelineUpdated():
            executions.update(draft, event.plan)
        case PipelineDeleted():
            executions.delete(draft)
    return draft.finish(), tuple(draft.effects)


def _on_action(
    draft: Draft, event: ActionSucceeded | ActionFailed | ActionTimedOut | ActionAccepted | ApprovalAnswered
) -> bool:
    """Take in a report about one action; False when it changes nothing."""
    found = _in_progress(draft, event.execution, event.action)
    if found is None:
        if isinstance(event, ApprovalAnswered):
            raise InvalidApprovalTokenException
        return False
    execution, name, run = found
    match event:
        case ActionAccepted():
            return _accept(draft, execution, name, run)
        case ActionSucceeded():
            execution = stages.end_action(draft, execution, name, ActionStatus.SUCCEEDED, EventState.SUCCEEDED)
            stages.settle(draft, execution)
        case ActionFailed():
            execution = stages.end_action(
                draft,
                execution,
                name,
                ActionStatus.FAILED,
                EventState.FAILED,
                code=event.code,
                message=event.message,
            )
            stages.fail(draft, execution)
        case ActionTimedOut():
            _time_out(draft, execution, name, run)
        case ApprovalAnswered():
            _answer(draft, execution, name, run, event)
    return True


def _in_progress(draft: Draft, execution_id: str, action_id: str) -> tuple[Execution, str, ActionRun] | None:
    execution = draft.execution(execution_id)
    if execution is None:
        return None
    for name, run in execution.actions.items():
        if run.id == action_id and run.status is ActionStatus.IN_PROGRESS:
            return execution, name, run
    return None


def _accept(draft: Draft, execution: Execution, name: str, run: ActionRun) -> bool:
    if run.timed:
        return False
    action = draft.stage_plan(execution).action(name)
    assert action is not None
    draft.put(replace(execution, actions={**execution.actions, name: replace(run, timed=True)}))
    draft.emit(SetTimer(execution=execution.id, action=run.id, due=run.started + action.timeout))
    return True


def _time_out(draft: Draft, execution: Execution, name: str, run: ActionRun) -> None:
    action = draft.stage_plan(execution).action(name)
    assert action is not None
    minutes = action.timeout // 60_000
    if action.approval:
        message = f"The approval was not answered within {minutes} minutes."
    else:
        message = f"The action did not finish within {minutes} minutes."
        draft.emit(StopAction(execution=execution.id, action=run.id))
    execution = stages.end_action(
        draft, execution, name, ActionStatus.FAILED, EventState.FAILED, code="JobFailed", message=message
    )
    stages.fail(draft, execution)


def _answer(draft: Draft, execution: Execution, name: str, run: ActionRun, event: ApprovalAnswered) -> None:
    if not run.token or run.token != event.token:
        raise InvalidApprovalTokenException
    if event.approved:
        execution = stages.end_action(
            draft,
            execution,
            name,
            ActionStatus.SUCCEEDED,
            EventState.SUCCEEDED,
            summary=event.summary,
            by=event.by,
        )
        stages.settle(draft, execution)
    else:
        execution = stages.end_action(
            draft, execution, name, ActionStatus.FAILED, EventState.FAILED, summary=event.summary, by=event.by
        )
        stages.fail(draft, execution)


def _on_transition(draft: Draft, event: TransitionDisabled | TransitionEnabled) -> bool:
    slot = draft.slot(event.stage)
    if slot is None:
        return False
    door = slot.inbound if event.side is TransitionSide.INBOUND else slot.outbound
    if isinstance(event, TransitionDisabled):
        if not door.enabled and door.reason == event.reason:
            return False
        moved = Transition(enabled=False, reason=event.reason, by=event.by, at=draft.now)
    else:
        if door.enabled:
            return False
        moved = Transition(enabled=True, by=event.by, at=draft.now)
    if event.side is TransitionSide.INBOUND:
        draft.put_slot(event.stage, replace(slot, inbound=moved))
        stages.admit(draft, event.stage)
        return True
    draft.put_slot(event.stage, replace(slot, outbound=moved))
    index = draft.plan.index(event.stage)
    if index is not None and index + 1 < len(draft.plan.stages):
        stages.admit(draft, draft.plan.stages[index + 1].name)
    return True
