"""The pipeline engine: one pure function over one aggregate.

`decide` has no clock, no randomness and no I/O: the same state, input, time and seed give the same answer, which is what
the journal and the properties in the tests stand on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from penstock.pipelines import approval_rules
from penstock.pipelines import execution as executions
from penstock.pipelines import stage as stages
from penstock.pipelines.effects import ActionDescribed, Effect, EventState, SetTimer, StopAction
from penstock.pipelines.errors import ApprovalAlreadyCompletedException, InvalidApprovalTokenException
from penstock.pipelines.inputs import (
    ActionAccepted,
    ActionFailed,
    ActionInput,
    ActionReported,
    ActionSucceeded,
    ActionTimedOut,
    ApprovalAnswered,
    Input,
    OverrideRequested,
    PipelineCreated,
    PipelineDeleted,
    PipelineUpdated,
    RetryRequested,
    RollbackRequested,
    StartRequested,
    StopRequested,
    TransitionDisabled,
    TransitionEnabled,
)
from penstock.pipelines.model import NO_DETAILS, ActionStatus, Answer, Details, Plan, TransitionSide
from penstock.pipelines.state import ActionRun, Execution, Pipeline, Slot, Transition
from penstock.pipelines.working_copy import WorkingCopy
from penstock.wire.errors import AccessDenied


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """The executions that a decision needs, each with the plan of its version; the current plan goes with them."""

    live: bool = True  # every live one
    own: str = ""  # only this one, when it is PARALLEL: those know nothing of each other
    executions: tuple[str, ...] = ()  # and these, though they have ended


def needs(input: Input) -> Needs:
    """What `decide` needs for an input beside the slots. What it is handed beyond that, it leaves alone."""
    match input:
        case PipelineCreated():
            return Needs(live=False)
        case RetryRequested() | OverrideRequested():
            return Needs(executions=(input.execution,))
        case RollbackRequested():
            return Needs(executions=(input.target,))
        case (
            ActionAccepted()
            | ActionReported()
            | ActionSucceeded()
            | ActionFailed()
            | ActionTimedOut()
            | ApprovalAnswered()
        ):
            return Needs(own=input.execution)
        case _:
            return Needs()


def decide(state: Pipeline, input: Input, now: int, seed: int) -> tuple[Pipeline, tuple[Effect, ...]]:
    """The pipeline after `input`, and what is to be done.

    `now` is in ms; `seed` is where ids come from. An input that changes nothing (a report that came twice, or about
    something that has ended) gives the same state and no effects. Raises ServiceErrors for a request that the pipeline's
    state forbids; the state is then unchanged.
    """
    if isinstance(input, PipelineCreated):
        return (state if state.version else _created(input.plan)), ()
    working = WorkingCopy(state, now, seed)
    match input:
        case (
            ActionAccepted()
            | ActionReported()
            | ActionSucceeded()
            | ActionFailed()
            | ActionTimedOut()
            | ApprovalAnswered()
        ):
            if not _on_action(working, input):
                return state, ()
        case StartRequested():
            executions.start(working, input)
        case StopRequested():
            executions.stop(working, input)
        case RetryRequested():
            executions.retry(working, input)
        case RollbackRequested():
            executions.roll_back(working, input)
        case OverrideRequested():
            executions.override(working, input)
        case TransitionDisabled() | TransitionEnabled():
            if not _on_transition(working, input):
                return state, ()
        case PipelineUpdated():
            executions.update(working, input.plan)
        case PipelineDeleted():
            executions.delete(working)
    return working.finish(), tuple(working.effects)


def _created(plan: Plan) -> Pipeline:
    return Pipeline(
        version=plan.version, plans={plan.version: plan}, slots={stage.name: Slot() for stage in plan.stages}
    )


def _on_action(working: WorkingCopy, input: ActionInput) -> bool:
    """Take in a report about one action; False when it changes nothing."""
    found = _in_progress(working, input.execution, input.action)
    if found is None:
        if isinstance(input, ApprovalAnswered):
            raise InvalidApprovalTokenException
        return False
    execution, name, run = found
    match input:
        case ActionReported():
            _describe(working, run, input.details)
            if run.unasked and input.details.resolved is not None:
                working.put(replace(execution, actions={**execution.actions, name: replace(run, unasked=False)}))
        case ActionAccepted():
            _describe(working, run, input.details)
            _accept(working, execution, name, run)
        case ActionSucceeded():
            execution = stages.end_action(
                working, execution, name, ActionStatus.SUCCEEDED, EventState.SUCCEEDED, details=input.details
            )
            stages.settle(working, execution)
        case ActionFailed():
            execution = stages.end_action(
                working,
                execution,
                name,
                ActionStatus.FAILED,
                EventState.FAILED,
                code=input.code,
                message=input.message,
                details=input.details,
            )
            stages.fail(working, execution)
        case ActionTimedOut():
            _time_out(working, execution, name, run)
        case ApprovalAnswered():
            _answer(working, execution, name, run, input)
    return bool(working.effects)


def _in_progress(working: WorkingCopy, execution_id: str, action_id: str) -> tuple[Execution, str, ActionRun] | None:
    execution = working.execution(execution_id)
    if execution is None:
        return None
    for name, run in execution.actions.items():
        if run.id == action_id and run.status is ActionStatus.IN_PROGRESS:
            return execution, name, run
    return None


def _describe(working: WorkingCopy, run: ActionRun, details: Details) -> None:
    if details != NO_DETAILS:
        working.emit(ActionDescribed(action=run.id, details=details))


def _accept(working: WorkingCopy, execution: Execution, name: str, run: ActionRun) -> None:
    if run.timed:
        return
    action = working.stage_plan(execution).action(name)
    assert action is not None
    working.put(replace(execution, actions={**execution.actions, name: replace(run, timed=True)}))
    working.emit(SetTimer(execution=execution.id, action=run.id, due=run.started + action.timeout))


def _time_out(working: WorkingCopy, execution: Execution, name: str, run: ActionRun) -> None:
    action = working.stage_plan(execution).action(name)
    assert action is not None
    minutes = action.timeout // 60_000
    if action.approval:
        came = f"{len(run.answers)} of {action.answered_by.required} approvals came"
        message = (
            f"Only {came} within {minutes} minutes."
            if run.answers
            else f"The approval was not answered within {minutes} minutes."
        )
    else:
        message = f"The action did not finish within {minutes} minutes."
        working.emit(StopAction(execution=execution.id, action=run.id))
    execution = stages.end_action(
        working, execution, name, ActionStatus.FAILED, EventState.FAILED, code="JobFailed", message=message
    )
    stages.fail(working, execution)


def _answer(working: WorkingCopy, execution: Execution, name: str, run: ActionRun, input: ApprovalAnswered) -> None:
    if not run.token or run.token != input.token:
        raise InvalidApprovalTokenException
    if run.unasked:
        raise InvalidApprovalTokenException(
            f"The approval request of action {name} is not made yet: its configuration is still being resolved."
        )
    action = working.stage_plan(execution).action(name)
    assert action is not None
    rule, person = action.answered_by, input.person or input.by
    why = approval_rules.refusal(
        rule, person=person, principals=input.principals, starter=execution.starter, approved=input.approved
    )
    if why:
        raise AccessDenied(f"User: {input.by} is not authorized to answer the approval {name}: {why}.")
    if input.approved and approval_rules.approved_by(run.answers, person):
        missing = rule.required - len(run.answers)
        raise ApprovalAlreadyCompletedException(
            f"You have approved {name} already. Each person counts once, and {missing} of {rule.required} approvals are still missing."
        )
    answer = Answer(by=input.by, person=person, at=working.now, approved=input.approved, summary=input.summary)
    answers = (*run.answers, answer)
    details = Details(
        summary=approval_rules.summary_of(rule, answers), variables=approval_rules.variables_of(rule, answers)
    )
    if input.approved and len(answers) < rule.required:
        working.put(replace(execution, actions={**execution.actions, name: replace(run, answers=answers)}))
        _describe(working, run, details)
        return
    execution = stages.end_action(
        working,
        execution,
        name,
        ActionStatus.SUCCEEDED if input.approved else ActionStatus.FAILED,
        EventState.SUCCEEDED if input.approved else EventState.FAILED,
        by=input.by,
        details=details,
    )
    if input.approved:
        stages.settle(working, execution)
    else:
        stages.fail(working, execution)


def _on_transition(working: WorkingCopy, input: TransitionDisabled | TransitionEnabled) -> bool:
    slot = working.slot(input.stage)
    if slot is None:
        return False
    transition = slot.inbound if input.side is TransitionSide.INBOUND else slot.outbound
    if isinstance(input, TransitionDisabled):
        if not transition.enabled and transition.reason == input.reason:
            return False
        moved = Transition(enabled=False, reason=input.reason, by=input.by, at=working.now)
    else:
        if transition.enabled:
            return False
        moved = Transition(enabled=True, by=input.by, at=working.now)
    if input.side is TransitionSide.INBOUND:
        working.put_slot(input.stage, replace(slot, inbound=moved))
        stages.admit(working, input.stage)
        return True
    working.put_slot(input.stage, replace(slot, outbound=moved))
    index = working.plan.index(input.stage)
    if index is not None and index + 1 < len(working.plan.stages):
        stages.admit(working, working.plan.stages[index + 1].name)
    return True
