"""Random histories of pipelines: plans, and lives in which anything happens, by a seed. No clients, no codec, no database: thousands a minute."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from penstock.pipelines.effects import ActionEnded, ActionStarted, Effect, ExecutionCreated, StageChanged
from penstock.pipelines.histories import Broken, History
from penstock.pipelines.inputs import (
    ActionAccepted,
    ActionFailed,
    ActionReported,
    ActionSucceeded,
    ActionTimedOut,
    ApprovalAnswered,
    Input,
    OverrideRequested,
    PipelineCreated,
    PipelineUpdated,
    RetryRequested,
    RollbackRequested,
    StartRequested,
    StopRequested,
    TransitionDisabled,
    TransitionEnabled,
)
from penstock.pipelines.model import (
    ActionPlan,
    ActionTypeId,
    ConditionPlan,
    ConditionType,
    Details,
    ExecutionMode,
    Plan,
    Result,
    RetryMode,
    StagePlan,
    TransitionSide,
    Trigger,
    TriggerType,
)
from penstock.pipelines.replay import Replay
from penstock.wire.errors import ServiceError

_WORK = ActionTypeId(category="Build", owner="AWS", provider="Test")
_APPROVAL = ActionTypeId(category="Approval", owner="AWS", provider="Manual")
_RULE = ActionTypeId(category="Rule", owner="AWS", provider="Test")


def _condition(result: Result, rules: int) -> ConditionPlan:
    return ConditionPlan(result=result, rules=tuple(ActionPlan(name=name, type=_RULE) for name in "rs"[:rules]))


def random_plan(chance: random.Random, version: int, mode: ExecutionMode) -> Plan:
    stages = []
    for number in range(chance.randint(2, 3)):
        groups = tuple(
            tuple(
                ActionPlan(
                    name=f"a{order}{i}",
                    type=_APPROVAL if number and chance.random() < 0.2 else _WORK,
                    run_order=order + 1,
                )
                for i in range(chance.choice((1, 2, 2, 7) if mode is ExecutionMode.PARALLEL else (1, 2)))
            )
            for order in range(chance.randint(1, 2))
        )
        back = bool(number) and mode is not ExecutionMode.PARALLEL
        conditions: dict[str, ConditionPlan] = {}
        if chance.random() < 0.3:
            result = chance.choice([Result.FAIL, Result.SKIP])
            conditions[ConditionType.BEFORE_ENTRY.value] = _condition(result, chance.randint(1, 2))
        if chance.random() < 0.3:
            result = Result.ROLLBACK if back and chance.random() < 0.5 else Result.FAIL
            conditions[ConditionType.ON_SUCCESS.value] = _condition(result, chance.randint(1, 2))
        fails = chance.choice(("", "", "retry", "back", "condition"))
        if fails == "condition" and back:
            conditions[ConditionType.ON_FAILURE.value] = _condition(Result.ROLLBACK, 1)
        stages.append(
            StagePlan(
                name=f"S{number}",
                groups=groups,
                automatic_retry=chance.choice(list(RetryMode)) if fails == "retry" else None,
                rolls_back=fails == "back" and back,
                conditions=conditions,
            )
        )
    return Plan(version=version, mode=mode, stages=tuple(stages))


class Life:
    """One pipeline, and what the checker says of it. `tamper` may change the effects that the checker is shown."""

    def __init__(
        self,
        seed: int,
        tamper: Callable[[Input, Sequence[Effect]], Sequence[Effect]] | None = None,
        *,
        first: Plan | None = None,
    ) -> None:
        self.chance = random.Random(seed)
        self.mode = self.chance.choice(list(ExecutionMode)) if first is None else first.mode
        self.replay, self.history = Replay(), History()
        self.tamper = tamper
        self.broken: list[Broken] = []
        self.open: dict[str, str] = {}  # action execution → execution
        self.runs: list[str] = []
        self.passed: set[tuple[str, str]] = set()
        self.reports: list[Input] = []
        self.now = 0
        self.entries: list[tuple[Input, int, int, tuple[Effect, ...]]] = []
        self.apply(PipelineCreated(plan=first or random_plan(self.chance, 1, self.mode)))

    def live(self, steps: int) -> Life:
        """Let things happen, and then let everything come to an end."""
        for _ in range(steps):
            self._something()
        for slot in list(self.replay.state.slots):
            for side in TransitionSide:
                self.apply(TransitionEnabled(stage=slot, side=side, by="me"))
        for _ in range(2_000):
            if not self.open:
                break
            action, execution = next(iter(self.open.items()))
            self.apply(ActionSucceeded(execution=execution, action=action))
        return self

    def apply(self, input: Input) -> None:
        """One that the engine refuses leaves nothing behind."""
        self.now += 1_000
        try:
            effects = self.replay.step(input, self.now, self.now)
        except ServiceError:
            return
        for effect in effects:
            match effect:
                case ExecutionCreated():
                    self.runs.append(effect.execution)
                case ActionStarted():
                    self.open[effect.action] = effect.execution
                case ActionEnded():
                    del self.open[effect.action]
                case StageChanged(state="SUCCEEDED", passed=True):
                    self.passed.add((effect.execution, effect.stage))
                case _:
                    pass
        self.entries.append((input, self.now, self.now, effects))
        shown = effects if self.tamper is None else self.tamper(input, effects)
        self.broken += self.history.step(input, shown)

    def start(self) -> None:
        """Begin a run, with what variables it needs."""
        variables = dict.fromkeys(self.replay.state.plan.required, "given")
        self.apply(StartRequested(trigger=Trigger(type=TriggerType.START, detail="me"), variables=variables))

    def _something(self) -> None:
        chance, state = self.chance, self.replay.state
        stage = chance.choice(state.plan.stages).name
        run = chance.choice(self.runs) if self.runs else ""
        choice = chance.random()
        if choice < 0.15 or not run:
            self.start()
        elif choice < 0.75 and self.open:
            self._report()
        elif choice < 0.79:
            self.apply(StopRequested(execution=run, abandon=chance.random() < 0.5, reason="enough"))
        elif choice < 0.83:
            at = self.replay.executions[run].stage
            self.apply(RetryRequested(execution=run, stage=at, mode=chance.choice(list(RetryMode))))
        elif choice < 0.87:
            succeeded = (run, stage) in self.passed
            self.apply(RollbackRequested(stage=stage, target=run, succeeded=succeeded, by="me"))
        elif choice < 0.91:
            at = self.replay.executions[run].stage
            self.apply(OverrideRequested(execution=run, stage=at, condition=chance.choice(list(ConditionType))))
        elif choice < 0.97:
            side = chance.choice(list(TransitionSide))
            shut: Any = TransitionDisabled(stage=stage, side=side, reason="freeze", by="me")
            self.apply(shut if chance.random() < 0.4 else TransitionEnabled(stage=stage, side=side, by="me"))
        elif choice < 0.98:
            if chance.random() < 0.3:
                self.mode = chance.choice(list(ExecutionMode))
            self.apply(PipelineUpdated(plan=random_plan(chance, state.version + 1, self.mode)))
        elif self.reports:
            self.apply(chance.choice(self.reports))  # late, and a second time

    def _report(self) -> None:
        chance = self.chance
        action = chance.choice(list(self.open))
        execution = self.open[action]
        run = next(one for one in self.replay.executions[execution].actions.values() if one.id == action)
        if run.token and chance.random() < 0.7:
            if run.unasked:
                self.apply(ActionReported(execution=execution, action=action, details=Details(resolved={})))
            approved = chance.random() < 0.7
            self.apply(
                ApprovalAnswered(
                    execution=execution, action=action, token=run.token, approved=approved, summary="", by="boss"
                )
            )
            return
        report: Input = chance.choice(
            (
                ActionSucceeded(execution=execution, action=action),
                ActionSucceeded(execution=execution, action=action),
                ActionSucceeded(execution=execution, action=action),
                ActionFailed(execution=execution, action=action, code="JobFailed", message="no"),
                ActionTimedOut(execution=execution, action=action),
                ActionAccepted(execution=execution, action=action),
            )
        )
        self.reports.append(report)
        self.apply(report)
