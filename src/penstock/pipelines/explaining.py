"""Why a run waits, or how it ended, in sentences. Pure: each follows from the state that the engine decides on."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from penstock.pipelines.approval_rules import asks
from penstock.pipelines.model import (
    ActionPlan,
    ActionStatus,
    ConditionStatus,
    ConditionType,
    ExecutionMode,
    ExecutionStatus,
    Plan,
    StageStatus,
    rule_named,
)
from penstock.pipelines.state import ActionRun, Condition, Execution, Slot, Transition

_WHEN = {
    ConditionType.BEFORE_ENTRY: "entry condition",
    ConditionType.ON_SUCCESS: "success condition",
    ConditionType.ON_FAILURE: "failure condition",
}
_SHOWN = 500  # characters of what an action says


class Why(StrEnum):
    """What keeps a run, or has ended it."""

    TRANSITION = "Transition"  # the way into its stage is closed
    LOCK = "Lock"  # another run is in its stage
    QUEUE = "Queue"  # other runs wait before it
    APPROVAL = "Approval"  # somebody has to answer
    WORKER = "Worker"  # no job worker has asked for its job
    ACTION = "Action"  # an action is at work
    RULE = "Rule"  # a rule of a condition is being checked
    CONDITION = "Condition"  # a condition has failed
    STOP = "Stop"  # it was asked to stop
    NOTHING = "Nothing"  # it proceeds at this moment
    ENDED = "Ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One thing that keeps a run. Times are in ms."""

    kind: Why
    text: str  # a sentence
    stage: str = ""
    action: str = ""
    since: int | None = None
    until: int | None = None  # when that ends by itself, at the latest
    execution: str = ""  # the id of another run that it is about
    url: str = ""  # where to look
    command: str = ""  # that mends it: of the AWS CLI


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """A run and what surrounds it. `rows` and `jobs` are those of its actions' executions, by id."""

    pipeline: str
    execution: Execution
    plan: Plan  # that the run has
    newest: int  # the pipeline's version
    slots: Mapping[str, Slot]
    numbers: Mapping[str, int]  # of runs, by id
    updated: int  # ms of the run's last change
    site: str = ""  # the address of this installation
    rows: Mapping[str, Any] = field(default_factory=dict)
    jobs: Mapping[str, str] = field(default_factory=dict)  # states of the jobs that are for workers
    urls: Mapping[str, str] = field(default_factory=dict)  # of what actions have started

    @property
    def slot(self) -> Slot:
        """The place of the run's stage."""
        return self.slots.get(self.execution.stage, Slot())

    def run(self, id: str) -> str:
        """A run, as people call it."""
        number = self.numbers.get(id)
        return f"run {id[:8]}" if number is None else f"run {number}"

    def command(self, operation: str, *, stage: str = "", **options: str) -> str:
        """A command line of the AWS CLI about the pipeline."""
        given = {"pipeline-name": self.pipeline, **({"stage-name": stage} if stage else {})}
        given |= {name.replace("_", "-"): value for name, value in options.items()}
        written = " ".join(f"--{name} {shlex.quote(value)}" for name, value in given.items())
        return f"aws codepipeline {operation} {written}"


def reasons(now: Situation) -> list[Reason]:
    """What keeps a run, the most important first; how it ended, of one that has."""
    execution = now.execution
    if execution.status.ended and not execution.running:
        return [_ended(now)]
    if execution.waits:
        return list(_in_front(now))
    found = list(_inside(now))
    if execution.status is ExecutionStatus.STOPPING:
        said = f" (“{execution.stop_reason}”)" if execution.stop_reason else ""
        text = f"The run is being stopped{said}: what runs in {execution.stage} ends first."
        stop = now.command("stop-pipeline-execution", pipeline_execution_id=execution.id) + " --abandon"
        found.insert(0, Reason(kind=Why.STOP, text=text, stage=execution.stage, command=stop))
    return found or [Reason(kind=Why.NOTHING, text="Nothing keeps the run: it proceeds.", stage=execution.stage)]


# --- before a stage -----------------------------------------------------------------------------------------------------


def _in_front(now: Situation) -> Iterator[Reason]:
    execution, slot, stage = now.execution, now.slot, now.execution.stage
    index = now.plan.index(stage) or 0
    before = now.plan.stages[index - 1].name if index else ""
    outbound = now.slots[before].outbound if before in now.slots else Transition()
    closed = ((stage, "into", slot.inbound, "Inbound"), (before, "out of", outbound, "Outbound"))
    for where, way, transition, type in closed:
        if not transition.enabled:
            who = f" by {transition.by}" if transition.by else ""
            said = f": “{transition.reason}”" if transition.reason else ""
            yield Reason(
                kind=Why.TRANSITION,
                text=f"The transition {way} {where} was closed{who}{said}.",
                stage=where,
                since=transition.at,
                command=now.command("enable-stage-transition", stage=where, transition_type=type),
            )
    if slot.holder is not None and slot.holder != execution.id:
        how = " and has failed, but some of its actions still run" if slot.status is StageStatus.FAILED else ""
        text = f"{now.run(slot.holder).capitalize()} is in {stage}{how}. One run at a time may be there."
        yield Reason(kind=Why.LOCK, text=text, stage=stage, since=now.updated, execution=slot.holder)
    ahead = slot.waiting[: slot.waiting.index(execution.id)] if execution.id in slot.waiting else ()
    if ahead:
        runs = "1 run waits" if len(ahead) == 1 else f"{len(ahead)} runs wait"
        text = f"{runs} before {stage} in front of it; the next to enter is {now.run(ahead[0])}."
        yield Reason(kind=Why.QUEUE, text=text, stage=stage, since=now.updated, execution=ahead[0])


# --- in a stage --------------------------------------------------------------------------------------------------------


def _inside(now: Situation) -> Iterator[Reason]:
    execution = now.execution
    plan = now.plan.stages[now.plan.index(execution.stage) or 0]
    for name, run in execution.actions.items():
        action = plan.action(name)
        if run.status is not ActionStatus.IN_PROGRESS or action is None:
            continue
        condition, rule = rule_named(name)
        if condition:
            yield _rule(now, ConditionType(condition), rule, run, action)
        elif action.approval:
            yield _approval(now, run, action)
        else:
            yield _at_work(now, run, action)
    condition = execution.condition
    if condition is not None and condition.status is ConditionStatus.FAILED and not execution.running:
        yield _kept(now, condition)


def _approval(now: Situation, run: ActionRun, action: ActionPlan) -> Reason:
    stage, rule = now.execution.stage, action.answered_by
    if run.unasked:
        text = f"The approval {action.name} is being asked for."
        return Reason(kind=Why.APPROVAL, text=text, stage=stage, action=action.name, since=run.started)
    needs = asks(rule)
    so_far = f"; {len(run.answers)} of {rule.required} have come" if run.answers else ""
    which = f"?run={now.execution.id}" if now.execution.mode is ExecutionMode.PARALLEL else ""
    path = f"/console/pipelines/{now.pipeline}/approvals/{stage}/{action.name}{which}"
    answer = now.command("put-approval-result", stage=stage, action_name=action.name, token=run.token)
    return Reason(
        kind=Why.APPROVAL,
        text=f"The approval {action.name} waits for an answer{f': {needs}{so_far}' if needs else ''}.",
        stage=stage,
        action=action.name,
        since=run.started,
        until=run.started + action.timeout,
        url=f"{now.site}{path}" if now.site else "",
        command=f"{answer} --result status=Approved,summary=TEXT",
    )


def _at_work(now: Situation, run: ActionRun, action: ActionPlan) -> Reason:
    stage, kind = now.execution.stage, action.type
    row, job = now.rows.get(run.id), now.jobs.get(run.id)
    common: dict[str, Any] = {
        "stage": stage,
        "action": action.name,
        "since": run.started,
        "until": run.started + action.timeout,
        "url": now.urls.get(run.id, ""),
    }
    if job in ("ready", "offered"):
        text = (
            f"No job worker has taken the job of {action.name} yet: is one running that polls for "
            f"{kind.category}, {kind.owner}, {kind.provider}, version {kind.version}?"
        )
        return Reason(kind=Why.WORKER, text=text, **common)
    said = "" if row is None else _first_line(row.summary)
    percent = "" if row is None or row.percent is None else f"{row.percent}% done"
    more = "; ".join(part for part in (percent, said) if part)
    text = f"The action {action.name} ({kind.provider}) is at work{f': {more}' if more else ''}."
    return Reason(kind=Why.ACTION, text=text, **common)


def _rule(now: Situation, type: ConditionType, name: str, run: ActionRun, action: ActionPlan) -> Reason:
    row = now.rows.get(run.id)
    said = "" if row is None else _first_line(row.summary).rstrip(".")
    return Reason(
        kind=Why.RULE,
        text=f"The rule {name} of the {_WHEN[type]} of {now.execution.stage} is being checked{f': {said}' if said else ''}.",
        stage=now.execution.stage,
        action=name,
        since=run.started,
        until=run.started + action.timeout,
        command=_override(now, type),
    )


def _kept(now: Situation, condition: Condition) -> Reason:
    said = f": {_first_line(condition.summary).rstrip('.')}" if condition.summary else ""
    return Reason(
        kind=Why.CONDITION,
        text=f"The {_WHEN[condition.type]} of {now.execution.stage} has failed{said}.",
        stage=now.execution.stage,
        since=condition.changed,
        command=_override(now, condition.type),
    )


def _override(now: Situation, type: ConditionType) -> str:
    if type is ConditionType.ON_FAILURE:
        return ""
    execution = now.execution
    return now.command(
        "override-stage-condition", stage=execution.stage, pipeline_execution_id=execution.id, condition_type=str(type)
    )


# --- how it ended -------------------------------------------------------------------------------------------------------


def _ended(now: Situation) -> Reason:
    execution, stage = now.execution, now.execution.stage
    match execution.status:
        case ExecutionStatus.SUCCEEDED:
            text = "The run succeeded in all its stages."
        case ExecutionStatus.SUPERSEDED:
            text = execution.summary or f"A newer run took its place before {stage}."
        case ExecutionStatus.CANCELLED:
            text = f"The run was cancelled in {stage}, since the pipeline was updated or deleted."
        case ExecutionStatus.STOPPED:
            said = f": “{execution.stop_reason}”" if execution.stop_reason else "."
            text = f"The run was stopped {'before' if execution.waits else 'in'} {stage}{said}"
        case _:
            return _failed(now)
    again = _retry(now) if execution.status is ExecutionStatus.STOPPED and not execution.waits else ""
    return Reason(kind=Why.ENDED, text=text, stage=stage, since=now.updated, command=again)


def _failed(now: Situation) -> Reason:
    execution, stage = now.execution, now.execution.stage
    failed = [(name, run) for name, run in execution.actions.items() if run.status is ActionStatus.FAILED]
    for name, run in failed:
        row = now.rows.get(run.id)
        condition, rule = rule_named(name)
        if row is None or condition:
            continue
        code = f" ({row.error_code})" if row.error_code else ""
        said = _first_line(row.error_message or row.summary).rstrip(".")
        return Reason(
            kind=Why.ENDED,
            text=f"The action {rule} failed in {stage}{code}{f': {said}' if said else ''}.",
            stage=stage,
            action=rule,
            since=row.updated,
            url=now.urls.get(run.id, ""),
            command=_retry(now),
        )
    if execution.condition is not None and execution.condition.status is ConditionStatus.FAILED:
        return _kept(now, execution.condition)
    said = execution.summary.rstrip(".")
    text = f"The run failed{f' in {stage}' if stage and not execution.waits else ''}{f': {said}' if said else ''}."
    return Reason(kind=Why.ENDED, text=text, stage=stage, since=now.updated)


def _retry(now: Situation) -> str:
    """The command that runs the stage again, where that may be done."""
    execution = now.execution
    if execution.mode is not ExecutionMode.PARALLEL and (
        execution.version != now.newest or now.slot.latest not in (None, execution.id)
    ):
        return ""
    return now.command(
        "retry-stage-execution",
        stage=execution.stage,
        pipeline_execution_id=execution.id,
        retry_mode="FAILED_ACTIONS",
    )


def _first_line(text: str | None) -> str:
    line = (text or "").strip().split("\n", 1)[0].strip()
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}…"
