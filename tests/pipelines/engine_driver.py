"""Drives the pure engine in tests: a clock and seed that count, a journal, and what the effects say happened."""

from __future__ import annotations

from dataclasses import replace

import orjson

from penstock.pipelines.aggregate import PipelineAggregate
from penstock.pipelines.effects import ActionEnded, ActionStarted, ExecutionChanged, ExecutionCreated, StageChanged
from penstock.pipelines.inputs import (
    ActionFailed,
    ActionSucceeded,
    OverrideRequested,
    PipelineCreated,
    PipelineDeleted,
    RetryRequested,
    RollbackRequested,
    StartRequested,
    StopRequested,
    TransitionDisabled,
    TransitionEnabled,
)
from penstock.pipelines.model import (
    ActionPlan,
    ActionStatus,
    ActionTypeId,
    ConditionPlan,
    ConditionType,
    ExecutionMode,
    Plan,
    RetryMode,
    StagePlan,
    TransitionSide,
    Trigger,
    TriggerType,
)
from penstock.pipelines.records import EXECUTION_STATE, STATE
from penstock.pipelines.replay import Replay

WORK = ActionTypeId(category="Build", owner="AWS", provider="Test")
APPROVAL = ActionTypeId(category="Approval", owner="AWS", provider="Manual")


RULE = ActionTypeId(category="Rule", owner="AWS", provider="Test")


def condition(result, *rules):
    return ConditionPlan(result=result, rules=tuple(ActionPlan(name=name, type=RULE) for name in rules))


def stage(name, *groups, retry=None, **more):
    """A stage of run orders, each a string of action names; one that starts with `?` is an approval."""
    made = []
    for order, names in enumerate(groups, start=1):
        made.append(
            tuple(
                ActionPlan(name=n.lstrip("?"), type=APPROVAL if n.startswith("?") else WORK, run_order=order)
                for n in names.split()
            )
        )
    return StagePlan(name=name, groups=tuple(made), automatic_retry=retry, **more)


def plan(*stages, mode=ExecutionMode.SUPERSEDED, version=1, required=(), defaults=None):
    return Plan(version=version, mode=mode, stages=stages, required=required, defaults=defaults or {})


THREE = (stage("Source", "pull"), stage("Build", "compile lint", "test"), stage("Deploy", "roll"))


def _json(document):
    return orjson.loads(orjson.dumps(document))


class Driver:
    def __init__(self, the_plan):
        self.pipeline = Replay()
        self.now = 1_000
        self.journal = []
        self.effects = ()
        self.log = []  # all of them
        self.statuses = {}  # execution → event states, in order
        self.stages = []  # (execution, stage, event state), in order
        self.passed = set()  # (execution, stage) that succeeded and whose success condition did not fail
        self.entries = {}  # stage → executions in the order they entered
        self.open_actions = {}  # action execution id → (execution, stage, name)
        self.apply(PipelineCreated(plan=the_plan))

    @property
    def state(self):
        return self.pipeline.state

    def apply(self, input):
        self.now += 1_000
        seed = self.now * 31
        self.effects = self.pipeline.step(input, self.now, seed)  # one that is refused leaves nothing behind
        self.journal.append((input, self.now, seed))
        self.log += self.effects
        for effect in self.effects:
            self._watch(effect)
        self._round_trip(input)
        if not isinstance(input, PipelineDeleted):
            self._shown()
        return self.effects

    def _shown(self):
        """A stage shows what its latest execution is in, for as long as that is there."""
        for name, slot in self.state.slots.items():
            latest = self.pipeline.executions.get(slot.latest)
            if latest is not None and latest.stage == name and not latest.waits:
                assert slot.status is latest.stage_status, name
                if latest.condition is not None:
                    assert slot.conditions[latest.condition.type] == latest.condition

    def _watch(self, effect):
        match effect:
            case ExecutionCreated():
                self.statuses[effect.execution] = []
            case ExecutionChanged():
                self.statuses[effect.execution].append(str(effect.state))
            case StageChanged():
                self.stages.append((effect.execution, effect.stage, str(effect.state)))
                if effect.state == "SUCCEEDED" and effect.passed:
                    self.passed.add((effect.execution, effect.stage))
                if effect.state == "STARTED":
                    self.entries.setdefault(effect.stage, []).append(effect.execution)
            case ActionStarted():
                self.open_actions[effect.action] = (effect.execution, effect.stage, effect.name)
            case ActionEnded():
                del self.open_actions[effect.action]

    def _round_trip(self, input):
        """What is stored is read as what it was: the state, the input and the effects, as JSON documents."""
        kinds = PipelineAggregate
        assert kinds.inputs.load(_json(kinds.inputs.dump(input))) == input
        for effect in self.effects:
            assert kinds.effects.load(_json(kinds.effects.dump(effect))) == effect
        row = replace(self.state, executions={}, plans={})
        assert STATE.load(_json(STATE.dump(row))) == row
        for execution in self.state.executions.values():
            assert EXECUTION_STATE.load(_json(EXECUTION_STATE.dump(execution))) == execution

    # what tests say

    def start(self, **variables):
        before = set(self.statuses)
        self.apply(StartRequested(trigger=Trigger(type=TriggerType.START, detail="me"), variables=variables))
        (new,) = set(self.statuses) - before
        return new

    def run_of(self, execution, name):
        return self.execution_of(execution).actions[name]

    def execution_of(self, execution):
        return self.pipeline.executions[execution]

    def succeed(self, execution, *names):
        for name in names:
            self.apply(ActionSucceeded(execution=execution, action=self.run_of(execution, name).id))

    def fail(self, execution, name):
        self.apply(
            ActionFailed(execution=execution, action=self.run_of(execution, name).id, code="JobFailed", message="no")
        )

    def stop(self, execution, *, abandon=False):
        self.apply(StopRequested(execution=execution, abandon=abandon, reason="enough"))

    def retry(self, execution, in_stage, mode=RetryMode.FAILED_ACTIONS):
        self.apply(RetryRequested(execution=execution, stage=in_stage, mode=mode))

    def roll_back(self, in_stage, target, *, succeeded=True):
        """The id of the execution that does."""
        self.apply(RollbackRequested(stage=in_stage, target=target, succeeded=succeeded, by="me"))
        return self.newest()

    def override(self, execution, in_stage, type):
        self.apply(OverrideRequested(execution=execution, stage=in_stage, condition=ConditionType(type)))

    def newest(self):
        return list(self.statuses)[-1]

    def shut(self, name, side=TransitionSide.INBOUND, reason="freeze"):
        self.apply(TransitionDisabled(stage=name, side=side, reason=reason, by="me"))

    def open(self, name, side=TransitionSide.INBOUND):
        self.apply(TransitionEnabled(stage=name, side=side, by="me"))

    def running(self, execution):
        return sorted(
            n for n, r in self.execution_of(execution).actions.items() if r.status is ActionStatus.IN_PROGRESS
        )

    def status(self, execution):
        return str(self.execution_of(execution).status)
