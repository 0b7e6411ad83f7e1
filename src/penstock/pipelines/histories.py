"""What holds in every history of a pipeline, whatever happened to it. Pure: a second opinion, which asks the engine nothing.

It is given the inputs of the journal and the effects that were decided, in their order, and keeps books of its own: who is inside which
stage, which actions run, what conditions said.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from penstock.pipelines.effects import (
    ActionEnded,
    ActionStarted,
    Effect,
    EventState,
    ExecutionChanged,
    ExecutionCreated,
    StageChanged,
)
from penstock.pipelines.inputs import (
    ActionAccepted,
    ActionFailed,
    ActionReported,
    ActionSucceeded,
    ActionTimedOut,
    Input,
    OverrideRequested,
    PipelineCreated,
    PipelineDeleted,
    PipelineUpdated,
    RetryRequested,
    StartRequested,
)
from penstock.pipelines.model import (
    ActionStatus,
    ConditionType,
    ExecutionMode,
    Plan,
    Result,
    StagePlan,
    rule_named,
)

_ENDS = frozenset(
    {EventState.SUCCEEDED, EventState.FAILED, EventState.STOPPED, EventState.SUPERSEDED, EventState.CANCELED}
)
_BACK = frozenset({EventState.FAILED, EventState.STOPPED})  # from which a run may come back
_BEGINS = frozenset({EventState.STARTED, EventState.RESUMED})
_REPORTS = (ActionAccepted, ActionReported, ActionSucceeded, ActionFailed, ActionTimedOut)


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """A rule that a history breaks."""

    rule: str  # its name, such as one-run-in-a-stage
    text: str
    execution: str = ""


@dataclass(slots=True)
class _Run:
    number: int
    plan: Plan
    target: str | None  # of a rollback
    overrides: object
    state: EventState | None = None
    stage: str = ""  # the last that it entered
    stage_state: EventState | None = None
    open: dict[str, str] = field(default_factory=dict)  # action execution → its name
    done: dict[str, ActionStatus] = field(default_factory=dict)  # name → how its last execution ended, in this stage
    passed: set[str] = field(default_factory=set)  # stages that it succeeded in
    skipped: set[str] = field(default_factory=set)
    verdicts: dict[tuple[str, str], dict[str, ActionStatus | None]] = field(default_factory=dict)
    overridden: set[tuple[str, str]] = field(default_factory=set)

    @property
    def ended(self) -> bool:
        return self.state in _ENDS

    @property
    def inside(self) -> bool:
        """Whether it has its stage: until that has ended and nothing of it runs any more."""
        return bool(self.stage) and (bool(self.open) or self.stage_state in (*_BEGINS, EventState.STOPPING))

    def stage_plan(self, name: str) -> StagePlan | None:
        index = self.plan.index(name)
        return None if index is None else self.plan.stages[index]


class History:
    """The books of one pipeline."""

    def __init__(self) -> None:
        self._plan: Plan | None = None
        self._runs: dict[str, _Run] = {}
        self._live: set[str] = set()  # runs that have not ended, or of which something still runs
        self._deleted = False
        self._entries: dict[
            str, list[int]
        ] = {}  # stage → numbers of the runs that came in for the first time, in this version

    def step(self, input: Input, effects: Iterable[Effect]) -> Iterator[Broken]:
        """Take in one decision; what is wrong with it."""
        self._prepare(input)
        effects = tuple(effects)
        if isinstance(input, _REPORTS):
            run = self._runs.get(input.execution)
            if (run is None or input.action not in run.open) and effects:
                yield Broken(
                    rule="late-input-changes-nothing",
                    text=f"a report about the action {input.action}, which does not run, had effects",
                    execution=input.execution,
                )
        for effect in effects:
            match effect:
                case ExecutionCreated():
                    yield from self._created(input, effect)
                case ExecutionChanged():
                    yield from self._changed(input, effect)
                case StageChanged():
                    yield from self._stage(effect)
                case ActionStarted():
                    yield from self._started(effect)
                case ActionEnded():
                    yield from self._ended(effect)
                case _:
                    pass
        touched = {getattr(effect, "execution", "") for effect in effects}
        for id in sorted(touched & self._runs.keys()):
            run = self._runs[id]
            (self._live.discard if run.ended and not run.open else self._live.add)(id)
            yield from self._lost(id, run)

    def _prepare(self, input: Input) -> None:
        match input:
            case PipelineCreated() | PipelineUpdated():
                self._plan = input.plan
                self._entries = {}
            case PipelineDeleted():
                self._deleted = True
            case OverrideRequested():
                run = self._runs.get(input.execution)
                if run is not None:
                    run.overridden.add((input.stage, str(input.condition)))
            case _:
                pass

    # --- runs ------------------------------------------------------------------------------------------------------

    def _created(self, input: Input, effect: ExecutionCreated) -> Iterator[Broken]:
        if self._plan is None:
            yield Broken(
                rule="runs-have-a-plan", text="a run began before the pipeline was made", execution=effect.execution
            )
            return
        if effect.execution in self._runs:
            yield Broken(rule="no-run-twice", text="a run was created a second time", execution=effect.execution)
        run = _Run(len(self._runs) + 1, self._plan, effect.target, effect.overrides)
        self._runs[effect.execution] = run
        if effect.target is not None:
            target = self._runs.get(effect.target)
            if target is None or target.target is not None or target.plan.version != run.plan.version:
                yield Broken(
                    rule="rollbacks-bring-back-what-succeeded",
                    text=f"it rolls back to {effect.target}, which is no standard run of the same version",
                    execution=effect.execution,
                )
            elif effect.overrides:
                yield Broken(
                    rule="rollbacks-keep-their-inputs",
                    text="a rollback has revisions of its own",
                    execution=effect.execution,
                )
        elif not isinstance(input, StartRequested):
            yield Broken(rule="runs-are-asked-for", text="a run began that nobody started", execution=effect.execution)

    def _changed(self, input: Input, effect: ExecutionChanged) -> Iterator[Broken]:
        run = self._runs.get(effect.execution)
        if run is None:
            yield Broken(
                rule="no-unknown-run", text="something became of a run that never began", execution=effect.execution
            )
            return
        before, run.state = run.state, effect.state
        if before in _ENDS:
            asked = isinstance(input, RetryRequested | OverrideRequested)
            if before not in _BACK or effect.state is not EventState.RESUMED or not asked:
                yield Broken(
                    rule="an-end-is-an-end",
                    text=f"a run that was {before} became {effect.state}",
                    execution=effect.execution,
                )
        if effect.state is EventState.SUPERSEDED:
            newer = len(self._runs) > run.number
            if run.plan.mode is not ExecutionMode.SUPERSEDED or run.inside or not newer:
                yield Broken(
                    rule="superseded-between-stages-only",
                    text=f"a run was superseded in the mode {run.plan.mode}, {'inside' if run.inside else 'before'} a stage",
                    execution=effect.execution,
                )
        if effect.state is EventState.SUCCEEDED and run.target is None:
            missing = [one.name for one in run.plan.stages if one.name not in run.passed | run.skipped]
            if missing:
                yield Broken(
                    rule="a-run-succeeds-in-all-its-stages",
                    text=f"a run succeeded without {', '.join(missing)}",
                    execution=effect.execution,
                )

    def _lost(self, id: str, run: _Run) -> Iterator[Broken]:
        """A run inside a stage has something that runs there; it would wait for ever otherwise."""
        if run.ended or self._deleted or not run.stage or run.open:
            return
        if run.stage_state in _BEGINS and not self._kept(run):
            yield Broken(rule="no-run-is-lost", text=f"nothing runs in {run.stage}, and it has not ended", execution=id)

    @staticmethod
    def _kept(run: _Run) -> bool:
        """Whether a condition that has failed keeps a run in its stage, until somebody overrides it."""
        return any(
            stage == run.stage and ActionStatus.FAILED in verdict.values()
            for (stage, _), verdict in run.verdicts.items()
        )

    # --- stages ----------------------------------------------------------------------------------------------------

    def _stage(self, effect: StageChanged) -> Iterator[Broken]:
        run = self._runs.get(effect.execution)
        if run is None:
            yield Broken(
                rule="no-unknown-run", text=f"a run that never began changed {effect.stage}", execution=effect.execution
            )
            return
        if effect.state in _BEGINS:
            yield from self._enters(run, effect)
        elif effect.state is EventState.SUCCEEDED and effect.passed:
            yield from self._passes(run, effect)
        run.stage, run.stage_state = effect.stage, effect.state

    def _enters(self, run: _Run, effect: StageChanged) -> Iterator[Broken]:
        name = effect.stage
        if run.plan.mode is not ExecutionMode.PARALLEL:
            others = [
                other.number
                for id, other in ((one, self._runs[one]) for one in sorted(self._live))
                if id != effect.execution
                and other.stage == name
                and other.inside
                and other.plan.version == run.plan.version
            ]
            if others:
                yield Broken(
                    rule="one-run-in-a-stage",
                    text=f"run {run.number} came into {name} while run {others[0]} was there",
                    execution=effect.execution,
                )
        index = run.plan.index(name)
        if index is None:
            yield Broken(rule="stages-in-order", text=f"{name} is no stage of its version", execution=effect.execution)
            return
        if effect.state is EventState.STARTED:
            run.done = {}
            before = [one.name for one in run.plan.stages[:index]]
            missing = [one for one in before if one not in run.passed | run.skipped]
            if missing and run.target is None:
                yield Broken(
                    rule="stages-in-order",
                    text=f"it came into {name} without {missing[-1]}",
                    execution=effect.execution,
                )
            if run.target is None and run.plan.mode is ExecutionMode.QUEUED:
                numbers = self._entries.setdefault(name, [])
                if numbers and numbers[-1] > run.number and run.plan is self._plan:
                    yield Broken(
                        rule="first-come-first-served",
                        text=f"run {run.number} came into {name} behind run {numbers[-1]}",
                        execution=effect.execution,
                    )
                numbers.append(run.number)
            if run.target is not None:
                target = self._runs.get(run.target)
                if run.stage not in ("", name) or target is None or name not in target.passed:
                    yield Broken(
                        rule="rollbacks-bring-back-what-succeeded",
                        text=f"its target did not succeed in {name}, or it left its stage",
                        execution=effect.execution,
                    )
        else:
            # Failed rules are checked again; what had succeeded stays.
            run.done = {one: how for one, how in run.done.items() if how is ActionStatus.SUCCEEDED}

    def _passes(self, run: _Run, effect: StageChanged) -> Iterator[Broken]:
        plan = run.stage_plan(effect.stage)
        run.passed.add(effect.stage)
        if plan is None:
            return
        if run.open:
            yield Broken(
                rule="a-stage-ends-with-its-actions",
                text=f"{effect.stage} succeeded while something ran in it",
                execution=effect.execution,
            )
        for action in (action for group in plan.groups for action in group):
            if run.done.get(action.name) is not ActionStatus.SUCCEEDED:
                yield Broken(
                    rule="a-stage-succeeds-by-its-actions",
                    text=f"{effect.stage} succeeded without {action.name}",
                    execution=effect.execution,
                )
        yield from self._judged(run, effect.execution, plan, ConditionType.ON_SUCCESS)

    # --- actions ---------------------------------------------------------------------------------------------------

    def _started(self, effect: ActionStarted) -> Iterator[Broken]:
        run = self._runs.get(effect.execution)
        if run is None:
            yield Broken(
                rule="no-unknown-run",
                text=f"{effect.name} began for a run that never began",
                execution=effect.execution,
            )
            return
        if effect.name in run.open.values():
            yield Broken(
                rule="no-action-twice", text=f"{effect.name} began while it was running", execution=effect.execution
            )
        run.open[effect.action] = effect.name
        type, rule = rule_named(effect.name)
        if type:
            run.verdicts.setdefault((effect.stage, type), {})[rule] = None
            run.overridden.discard((effect.stage, type))
            return
        plan = run.stage_plan(effect.stage)
        if plan is None:
            return
        yield from self._judged(run, effect.execution, plan, ConditionType.BEFORE_ENTRY)
        for group in plan.groups:
            if any(one.name == effect.name for one in group):
                break
            late = [one.name for one in group if run.done.get(one.name) is not ActionStatus.SUCCEEDED]
            if late:
                yield Broken(
                    rule="run-order",
                    text=f"{effect.name} began in {effect.stage} before {late[0]} had succeeded",
                    execution=effect.execution,
                )

    def _ended(self, effect: ActionEnded) -> Iterator[Broken]:
        run = self._runs.get(effect.execution)
        if run is None or run.open.pop(effect.action, None) is None:
            yield Broken(
                rule="an-action-ends-once", text=f"{effect.name} ended, which did not run", execution=effect.execution
            )
            return
        type, rule = rule_named(effect.name)
        if type:
            run.verdicts[effect.stage, type][rule] = effect.status
            self._note_skip(run, effect.stage, type)
        else:
            run.done[effect.name] = effect.status

    @staticmethod
    def _note_skip(run: _Run, stage: str, type: str) -> None:
        plan = run.stage_plan(stage)
        condition = None if plan is None else plan.conditions.get(type)
        verdict = run.verdicts[stage, type].values()
        if condition is None or condition.result is not Result.SKIP or None in verdict:
            return
        if ActionStatus.FAILED in verdict and len(verdict) == len(condition.rules):
            # Nothing says that a stage is skipped: it is left without a change of its state.
            run.skipped.add(stage)
            run.stage_state = None

    def _judged(self, run: _Run, execution: str, plan: StagePlan, type: ConditionType) -> Iterator[Broken]:
        """A condition that stands before this was checked, and each of its rules succeeded, or somebody overrode it."""
        condition = plan.conditions.get(type)
        if condition is None or (plan.name, str(type)) in run.overridden:
            return
        verdict: Mapping[str, ActionStatus | None] = run.verdicts.get((plan.name, str(type)), {})
        bad = [rule.name for rule in condition.rules if verdict.get(rule.name) is not ActionStatus.SUCCEEDED]
        if bad:
            yield Broken(
                rule="conditions-are-never-skipped",
                text=f"{plan.name} went on although the rule {bad[0]} of its condition {type} had not succeeded",
                execution=execution,
            )


def said(broken: Broken, sequence: int) -> Broken:
    """The same, with the place in the journal."""
    return replace(broken, text=f"{broken.text} (entry {sequence})")
