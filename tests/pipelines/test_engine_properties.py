"""Properties of the engine, over random plans and random lives, and against a naive model of the queues."""

from engine_driver import Driver, condition, plan, stage
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from penstock_examples import examples

from penstock.pipelines.aggregate import PipelineAggregate
from penstock.pipelines.effects import ActionEnded, ActionStarted, StageChanged
from penstock.pipelines.engine import decide
from penstock.pipelines.errors import ServiceError
from penstock.pipelines.inputs import (
    ActionAccepted,
    ActionFailed,
    ActionReported,
    ActionSucceeded,
    ActionTimedOut,
    ApprovalAnswered,
    PipelineUpdated,
)
from penstock.pipelines.model import (
    ConditionStatus,
    ConditionType,
    Details,
    ExecutionMode,
    ExecutionStatus,
    Result,
    RetryMode,
    StageStatus,
    TransitionSide,
    rule_named,
)
from penstock.pipelines.replay import replayed

ENDED = ("SUCCEEDED", "FAILED", "STOPPED", "SUPERSEDED", "CANCELED")


@st.composite
def conditions(draw, *, back):
    """Of a stage; `back` is whether it may roll back."""
    results = {
        ConditionType.BEFORE_ENTRY: [Result.FAIL, Result.SKIP],
        ConditionType.ON_SUCCESS: [Result.FAIL, *([Result.ROLLBACK] if back else [])],
        ConditionType.ON_FAILURE: [Result.ROLLBACK] if back else [],
    }
    found = {}
    for type, possible in results.items():
        if possible and draw(st.integers(0, 2)) == 0:
            found[type.value] = condition(draw(st.sampled_from(possible)), *"rs"[: draw(st.integers(1, 2))])
    return found


@st.composite
def plans(draw, version=1, mode=None):
    stages = []
    mode = mode or draw(st.sampled_from(list(ExecutionMode)))
    for number in range(draw(st.integers(2, 4))):
        groups = []
        for order in range(draw(st.integers(1, 2))):
            names = [f"a{order}{i}" for i in range(draw(st.integers(1, 3)))]
            if number and draw(st.booleans()):
                names[0] = "?" + names[0]
            groups.append(" ".join(names))
        retry = draw(st.sampled_from([None, None, *RetryMode]))
        back = bool(number) and mode is not ExecutionMode.PARALLEL
        rolls_back = back and not retry and draw(st.booleans())
        gates = draw(conditions(back=back))
        if retry or rolls_back:
            gates.pop(ConditionType.ON_FAILURE, None)
        stages.append(stage(f"S{number}", *groups, retry=retry, rolls_back=rolls_back, conditions=gates))
    return plan(*stages, mode=mode, version=version)


class Life(RuleBasedStateMachine):
    """A pipeline that anything can happen to."""

    @initialize(first=plans())
    def create(self, first):
        self.d = Driver(first)
        self.version = 1
        self.mode = first.mode
        self.retried = set()
        self.reports = []
        self.plans = {1: first}
        self.seen = 0  # effects
        self.verdicts = {}  # (execution, stage, condition) → rule → its status
        self.overridden = set()

    def apply(self, input):
        try:
            self.d.apply(input)
        except ServiceError:
            return False
        return True

    @rule()
    def start(self):
        try:
            self.d.start()
        except ServiceError:
            assert sum(not e.status.ended for e in self.d.state.executions.values()) >= 50

    def _pick(self, data):
        action = data.draw(st.sampled_from(sorted(self.d.open_actions)))
        return self.d.open_actions[action][0], action

    @precondition(lambda self: self.d.open_actions)
    @rule(data=st.data(), how=st.sampled_from(["ok", "ok", "ok", "no", "late", "accept"]))
    def report(self, data, how):
        execution, action = self._pick(data)
        report = {
            "ok": ActionSucceeded(execution=execution, action=action),
            "no": ActionFailed(execution=execution, action=action, code="JobFailed", message="no"),
            "late": ActionTimedOut(execution=execution, action=action),
            "accept": ActionAccepted(execution=execution, action=action),
        }[how]
        assert self.apply(report)
        self.reports.append(report)

    @precondition(lambda self: self.d.open_actions)
    @rule(data=st.data())
    def ask(self, data):
        execution, action = self._pick(data)
        assert self.apply(ActionReported(execution=execution, action=action, details=Details(resolved={})))

    @precondition(lambda self: self.d.open_actions)
    @rule(data=st.data(), approved=st.booleans())
    def answer(self, data, approved):
        execution, action = self._pick(data)
        run = next(r for r in self.d.execution_of(execution).actions.values() if r.id == action)
        accepted = self.apply(
            ApprovalAnswered(
                execution=execution, action=action, token=run.token, approved=approved, summary="", by="boss"
            )
        )
        assert accepted == (bool(run.token) and not run.unasked)

    @precondition(lambda self: self.reports)
    @rule(data=st.data())
    def report_again(self, data):
        report = data.draw(st.sampled_from(self.reports))
        before = self.d.state
        if isinstance(report, ActionAccepted) and report.action in self.d.open_actions:
            return
        assert self.d.apply(report) == ()
        assert self.d.state is before

    @precondition(lambda self: self.d.statuses)
    @rule(data=st.data(), abandon=st.booleans())
    def stop(self, data, abandon):
        execution = data.draw(st.sampled_from(sorted(self.d.statuses)))
        try:
            self.d.stop(execution, abandon=abandon)
        except ServiceError:
            return
        if abandon:
            assert self.d.status(execution) == "Stopped"

    @precondition(lambda self: self.d.statuses)
    @rule(data=st.data(), mode=st.sampled_from(list(RetryMode)))
    def retry(self, data, mode):
        execution = data.draw(st.sampled_from(sorted(self.d.statuses)))
        name = self.d.execution_of(execution).stage
        try:
            self.d.retry(execution, name, mode)
        except ServiceError:
            return
        self.retried.add(execution)
        assert self.d.status(execution) == "InProgress"

    @precondition(lambda self: self.d.statuses)
    @rule(data=st.data())
    def roll_back(self, data):
        target = data.draw(st.sampled_from(sorted(self.d.statuses)))
        name = data.draw(st.sampled_from([s.name for s in self.d.state.plan.stages]))
        succeeded = (target, name) in self.d.passed
        try:
            back = self.d.roll_back(name, target, succeeded=succeeded)
        except ServiceError:
            return
        assert succeeded
        assert self.d.state.slots[name].holder == back

    @precondition(lambda self: self.d.statuses)
    @rule(data=st.data(), type=st.sampled_from(list(ConditionType)))
    def override(self, data, type):
        execution = data.draw(st.sampled_from(sorted(self.d.statuses)))
        name = self.d.execution_of(execution).stage
        try:
            self.d.override(execution, name, type)
        except ServiceError:
            return
        assert type is not ConditionType.ON_FAILURE
        self.overridden.add((execution, name, str(type)))

    @rule(data=st.data(), shut=st.booleans(), side=st.sampled_from(list(TransitionSide)))
    def transition(self, data, shut, side):
        name = data.draw(st.sampled_from([s.name for s in self.d.state.plan.stages]))
        if shut:
            self.d.shut(name, side)
        else:
            self.d.open(name, side)

    @rule(data=st.data())
    def update(self, data):
        self.version += 1
        new = data.draw(plans(version=self.version))
        self.plans[self.version] = new
        self.d.apply(PipelineUpdated(plan=new))
        self.mode = new.mode

    @invariant()
    def locks_hold(self):
        if not hasattr(self, "d"):
            return
        inside = {}
        for execution in self.d.state.executions.values():
            if execution.mode is not ExecutionMode.PARALLEL and execution.live and not execution.waits:
                inside.setdefault(execution.stage, []).append(execution.id)
        for name, slot in self.d.state.slots.items():
            # An execution of an older version may end in a stage that a later version brought back.
            current = [
                i
                for i in inside.get(name, [])
                if i == slot.holder or self.d.execution_of(i).version == self.d.state.version
            ]
            assert len(current) <= 1
            assert (slot.holder is not None) == bool(current)

    @invariant()
    def everyone_is_somewhere(self):
        if not hasattr(self, "d"):
            return
        for id_, seen in self.d.statuses.items():
            execution = self.d.execution_of(id_)
            if seen[-1] in ENDED:
                assert execution.status.ended
                continue
            assert not execution.status.ended
            if execution.waits:
                assert execution.mode is not ExecutionMode.PARALLEL
                assert self.d.state.slots[execution.stage].waiting.count(id_) == 1
            else:
                assert execution.running
                assert execution.stage_status in (StageStatus.IN_PROGRESS, StageStatus.STOPPING)

    @invariant()
    def ends_are_ends(self):
        for seen in getattr(getattr(self, "d", None), "statuses", {}).values():
            for before, after in zip(seen, seen[1:], strict=False):
                if before in ENDED:
                    assert before in ("FAILED", "STOPPED")
                    assert after == "RESUMED"

    @invariant()
    def waiting_places(self):
        if not hasattr(self, "d"):
            return
        for slot in self.d.state.slots.values():
            numbers = [self.d.execution_of(i).number for i in slot.waiting]
            assert numbers == sorted(numbers)
            if self.d.state.plan.mode is ExecutionMode.SUPERSEDED:
                assert len(numbers) <= 1

    @invariant()
    def rollbacks_bring_back_what_succeeded_and_stay_in_their_stage(self):
        for id_ in getattr(getattr(self, "d", None), "statuses", ()):
            execution = self.d.execution_of(id_)
            if execution.target is not None:
                target = self.d.execution_of(execution.target)
                assert (target.target, target.version) == (None, execution.version)
                assert (target.id, execution.stage) in self.d.passed
                assert {name for run, name, _ in self.d.stages if run == id_} == {execution.stage}

    @invariant()
    def conditions_are_never_skipped(self):
        if not hasattr(self, "d"):
            return
        for effect in self.d.log[self.seen :]:
            match effect:
                case ActionStarted():
                    type, name = rule_named(effect.name)
                    if type:
                        self.verdicts.setdefault((effect.execution, effect.stage, type), {})[name] = None
                        self.overridden.discard((effect.execution, effect.stage, type))
                    else:
                        self._passed(effect.execution, effect.stage, ConditionType.BEFORE_ENTRY)
                case ActionEnded():
                    type, name = rule_named(effect.name)
                    if type:
                        self.verdicts[effect.execution, effect.stage, type][name] = effect.status
                case StageChanged(state="SUCCEEDED", passed=True):
                    self._passed(effect.execution, effect.stage, ConditionType.ON_SUCCESS)
        self.seen = len(self.d.log)

    def _passed(self, execution, name, type):
        """A condition that stood before this was checked, and every rule of it succeeded, or somebody overrode it."""
        the_plan = self.plans[self.d.execution_of(execution).version]
        declared = the_plan.stages[the_plan.index(name)].conditions.get(type)
        if declared is None or (execution, name, str(type)) in self.overridden:
            return
        verdict = self.verdicts[execution, name, str(type)]
        assert verdict == {rule.name: "Succeeded" for rule in declared.rules}

    @invariant()
    def skipped_stages_ran_nothing(self):
        for slot in self.d.state.slots.values() if hasattr(self, "d") else ():
            if slot.status is StageStatus.SKIPPED:
                entry = slot.conditions[ConditionType.BEFORE_ENTRY]
                assert entry.status is ConditionStatus.FAILED
                assert slot.holder != slot.latest

    @invariant()
    def effects_and_state_agree(self):
        if not hasattr(self, "d"):
            return
        running = {
            run.id
            for execution in self.d.state.executions.values()
            for run in execution.actions.values()
            if run.status == "InProgress"
        }
        assert running == set(self.d.open_actions)

    def teardown(self):
        if not hasattr(self, "d"):
            return
        for name in list(self.d.state.slots):
            self.d.open(name)
            self.d.open(name, TransitionSide.OUTBOUND)
        steps = 0
        while self.d.open_actions:
            action, (execution, _, _) = next(iter(self.d.open_actions.items()))
            self.d.apply(ActionSucceeded(execution=execution, action=action))
            steps += 1
            assert steps < 5_000
        assert all(self.d.execution_of(i).status.ended for i in self.d.statuses)
        self._replays()

    def _replays(self):
        codec = PipelineAggregate.inputs
        journal = [(codec.load(codec.dump(input)), now, seed) for input, now, seed in self.d.journal]
        *_, (_, _, again) = replayed(journal)
        assert again.state == self.d.state


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=examples(60), stateful_step_count=40, deadline=None)


class Naive:
    """Stages of one action, as lists: who is in, who waits."""

    def __init__(self, stages, queued, rolls_back):
        self.rolls_back = rolls_back
        self.good = [None] * stages
        self.rollbacks = set()
        self.inside = [None] * stages
        self.waiting = [[] for _ in range(stages)]
        self.shut = [False] * stages
        self.queued = queued
        self.fate = {}

    def arrive(self, run, at):
        if not self.queued:
            for older in self.waiting[at]:
                self.fate[older] = ExecutionStatus.SUPERSEDED
            self.waiting[at] = []
        self.waiting[at].append(run)
        self.admit(at)

    def admit(self, at):
        if self.inside[at] is None and self.waiting[at] and not self.shut[at]:
            self.inside[at] = self.waiting[at].pop(0)

    def start(self, run):
        self.fate[run] = ExecutionStatus.IN_PROGRESS
        self.arrive(run, 0)

    def done(self, at, ok, newest):
        """`newest` is the execution that a rollback may have begun."""
        run, self.inside[at] = self.inside[at], None
        if ok and run not in self.rollbacks:
            self.good[at] = run
        if not ok:
            self.fate[run] = ExecutionStatus.FAILED
            if at and self.rolls_back and self.good[at] and run not in self.rollbacks:
                self.inside[at] = newest
                self.rollbacks.add(newest)
                self.fate[newest] = ExecutionStatus.IN_PROGRESS
        elif run in self.rollbacks:
            self.fate[run] = ExecutionStatus.SUCCEEDED
        elif at + 1 < len(self.inside):
            self.arrive(run, at + 1)
        else:
            self.fate[run] = ExecutionStatus.SUCCEEDED
        self.admit(at)


STEP = st.one_of(
    st.just(("start", 0)),
    st.tuples(st.sampled_from(["ok", "ok", "no", "shut", "open"]), st.integers(0, 2)),
)


@settings(max_examples=examples(200), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=st.lists(STEP, max_size=60), queued=st.booleans(), rolls_back=st.booleans())
def test_queues_agree_with_lists(steps, queued, rolls_back):
    mode = ExecutionMode.QUEUED if queued else ExecutionMode.SUPERSEDED
    d = Driver(plan(stage("A", "x"), *(stage(name, "x", rolls_back=rolls_back) for name in "BC"), mode=mode))
    naive = Naive(3, queued, rolls_back)
    for what, at in steps:
        name = "ABC"[at]
        if what == "start":
            if sum(f is ExecutionStatus.IN_PROGRESS for f in naive.fate.values()) < 50:
                naive.start(d.start())
        elif what in ("ok", "no") and naive.inside[at]:
            run = naive.inside[at]
            assert d.running(run) == ["x"]
            (d.succeed if what == "ok" else d.fail)(run, "x")
            naive.done(at, what == "ok", d.newest())
        elif what == "shut":
            d.shut(name)
            naive.shut[at] = True
        elif what == "open":
            d.open(name)
            naive.shut[at] = False
            naive.admit(at)
        slots = d.state.slots
        assert [slots[s].holder for s in "ABC"] == naive.inside
        assert [list(slots[s].waiting) for s in "ABC"] == naive.waiting
        assert {i: d.execution_of(i).status for i in d.statuses} == naive.fate


@given(data=st.data(), first=plans())
@settings(max_examples=50, deadline=None)
def test_deciding_twice_is_deciding_the_same(data, first):
    d = Driver(first)
    d.start()
    run, action = next((e, a) for a, (e, _, _) in d.open_actions.items())
    event = ActionSucceeded(execution=run, action=action)
    seed = data.draw(st.integers(0, 2**63))
    assert decide(d.state, event, 9, seed) == decide(d.state, event, 9, seed)
