"""Drives the pure engine in tests: a clock and seed that count, a journal, and what the effects say happened."""

from __future__ import annotations

from penstock.pipelines.effects import ActionEnded, ActionStarted, ExecutionChanged, ExecutionCreated, StageChanged
from penstock.pipelines.engine import decide
from penstock.pipelines.happenings import (
    ActionFailed,
    ActionSucceeded,
    RetryRequested,
    StartRequested,
    StopRequested,
    TransitionDisabled,
    TransitionEnabled,
)
from penstock.pipelines.model import (
    ActionPlan,
    ActionStatus,
    ActionTypeId,
    ExecutionMode,
    Plan,
    RetryMode,
    StagePlan,
    TransitionSide,
    Trigger,
    TriggerType,
)
from penstock.pipelines.replay import with_execution
from penstock.pipelines.state import (
    execution_from_payload,
    execution_to_payload,
    new_pipeline,
    slots_from_payload,
    slots_to_payload,
)

WORK = ActionTypeId(category="Build", owner="AWS", provider="Test")
APPROVAL = ActionTypeId(category="Approval", owner="AWS", provider="Manual")


def stage(name, *groups, retry=None):
    """A stage of run orders, each a string of action names; one that starts with `?` is an approval."""
    made = []
    for order, names in enumerate(groups, start=1):
        made.append(
            tuple(
                ActionPlan(name=n.lstrip("?"), type=APPROVAL if n.startswith("?") else WORK, run_order=order)
                for n in names.split()
            )
        )
    return StagePlan(name=name, groups=tuple(made), automatic_retry=retry)


def plan(*stages, mode=ExecutionMode.SUPERSEDED, version=1, required=(), defaults=None):
    return Plan(version=version, mode=mode, stages=stages, required=required, defaults=defaults or {})


THREE = (stage("Source", "pull"), stage("Build", "compile lint", "test"), stage("Deploy", "roll"))


class Driver:
    def __init__(self, the_plan):
        self.first = new_pipeline(the_plan)
        self.state = self.first
        self.now = 1_000
        self.journal = []
        self.plans = {the_plan.version: the_plan}
        self.ended = {}
        self.effects = ()
        self.statuses = {}  # execution → event states, in order
        self.entries = {}  # stage → executions in the order they entered
        self.open_actions = {}  # action execution id → (execution, stage, name)

    def tell(self, happening):
        self.now += 1_000
        seed = self.now * 31
        before = self.state
        if isinstance(happening, RetryRequested) and happening.execution in self.ended:
            execution = self.ended[happening.execution]
            before = with_execution(before, execution, self.plans[execution.version])
        self.state, self.effects = decide(
            before, happening, self.now, seed
        )  # one that is refused leaves nothing behind
        self.journal.append((self.now, seed, happening))
        self.plans |= self.state.plans
        self.ended |= {i: e for i, e in self.state.executions.items() if not e.live}
        for effect in self.effects:
            self._watch(effect)
        self._round_trip()
        return self.effects

    def _watch(self, effect):
        match effect:
            case ExecutionCreated():
                self.statuses[effect.execution] = []
            case ExecutionChanged():
                self.statuses[effect.execution].append(str(effect.state))
            case StageChanged() if effect.state == "STARTED":
                self.entries.setdefault(effect.stage, []).append(effect.execution)
            case ActionStarted():
                self.open_actions[effect.action] = (effect.execution, effect.stage, effect.plan.name)
            case ActionEnded():
                del self.open_actions[effect.action]

    def _round_trip(self):
        slots, number = slots_from_payload(slots_to_payload(self.state))
        assert slots == self.state.slots
        assert number == self.state.next_number
        for id_, execution in self.state.executions.items():
            assert execution_from_payload(id_, execution_to_payload(execution)) == execution

    # what tests say

    def start(self, **variables):
        before = set(self.statuses)
        self.tell(StartRequested(trigger=Trigger(type=TriggerType.START, detail="me"), variables=variables))
        (new,) = set(self.statuses) - before
        return new

    def run_of(self, execution, name):
        return self.look(execution).actions[name]

    def look(self, execution):
        return self.state.executions.get(execution) or self.ended[execution]

    def succeed(self, execution, *names):
        for name in names:
            self.tell(ActionSucceeded(execution=execution, action=self.run_of(execution, name).id))

    def fail(self, execution, name):
        self.tell(
            ActionFailed(execution=execution, action=self.run_of(execution, name).id, code="JobFailed", message="no")
        )

    def stop(self, execution, *, abandon=False):
        self.tell(StopRequested(execution=execution, abandon=abandon, reason="enough"))

    def retry(self, execution, in_stage, mode=RetryMode.FAILED_ACTIONS):
        self.tell(RetryRequested(execution=execution, stage=in_stage, mode=mode))

    def shut(self, name, side=TransitionSide.INBOUND, reason="freeze"):
        self.tell(TransitionDisabled(stage=name, side=side, reason=reason, by="me"))

    def open(self, name, side=TransitionSide.INBOUND):
        self.tell(TransitionEnabled(stage=name, side=side, by="me"))

    def running(self, execution):
        return sorted(n for n, r in self.look(execution).actions.items() if r.status is ActionStatus.IN_PROGRESS)

    def status(self, execution):
        return str(self.look(execution).status)
