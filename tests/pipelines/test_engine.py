"""The engine by example: one test per rule of the reference."""

from dataclasses import replace

import pytest
from engine_driver import THREE, Driver, plan, stage

from penstock.pipelines.effects import ActionDescribed, ActionEnded, CancelTimer, ExecutionCreated, SetTimer, StopAction
from penstock.pipelines.errors import (
    ConcurrentPipelineExecutionsLimitExceededException,
    DuplicatedStopRequestException,
    InvalidApprovalTokenException,
    NotLatestPipelineExecutionException,
    PipelineExecutionNotStoppableException,
    PipelineExecutionOutdatedException,
    StageNotRetryableException,
    UnableToRollbackStageException,
)
from penstock.pipelines.inputs import (
    ActionAccepted,
    ActionReported,
    ActionSucceeded,
    ActionTimedOut,
    ApprovalAnswered,
    PipelineCreated,
    PipelineDeleted,
    PipelineUpdated,
)
from penstock.pipelines.model import HOUR, Details, ExecutionMode, ExecutionType, RetryMode, TransitionSide, TriggerType
from penstock.pipelines.state import OPEN


def test_a_run_visits_stages_and_run_orders():
    d = Driver(plan(*THREE))
    run = d.start()
    assert d.running(run) == ["pull"]
    d.succeed(run, "pull")
    assert d.running(run) == ["compile", "lint"]
    d.succeed(run, "lint")
    assert d.running(run) == ["compile"]
    d.succeed(run, "compile")
    assert d.running(run) == ["test"]
    d.succeed(run, "test", "roll")
    assert d.status(run) == "Succeeded"
    assert d.statuses[run] == ["STARTED", "SUCCEEDED"]


def test_what_is_told_of_a_stage():
    """AWS: "CodePipeline stage-level state events"."""
    d = Driver(plan(*THREE))

    def told():
        found = [(stage, state) for execution, stage, state in d.stages if execution == run]
        d.stages.clear()
        return found

    run = d.start()
    d.succeed(run, "pull")
    assert told() == [("Source", "STARTED"), ("Source", "SUCCEEDED"), ("Build", "STARTED")]
    d.fail(run, "compile")
    assert told() == [("Build", "FAILED")]
    d.succeed(run, "lint")
    assert told() == []
    d.retry(run, "Build")
    assert told() == [("Build", "RESUMED")]
    d.stop(run)
    d.succeed(run, "compile")
    assert told() == [("Build", "STOPPING"), ("Build", "STOPPED")]
    d.retry(run, "Build")
    d.succeed(run, "test")
    d.succeed(run, "roll")
    assert told() == [("Build", "RESUMED"), ("Build", "SUCCEEDED"), ("Deploy", "STARTED"), ("Deploy", "SUCCEEDED")]
    run = d.start()
    d.apply(PipelineUpdated(plan=plan(*THREE, version=2)))
    d.succeed(run, "pull")
    assert told() == [("Source", "STARTED"), ("Source", "CANCELED")]


def test_a_newer_run_supersedes_the_one_that_waits():
    d = Driver(plan(*THREE))
    first, second, third = d.start(), d.start(), d.start()
    assert d.status(second) == "Superseded"
    assert d.execution_of(second).summary == "Superseded by execution 3 before stage Source."
    assert d.state.slots["Source"].waiting == (third,)
    d.succeed(first, "pull")
    assert d.running(third) == ["pull"]


def test_superseding_happens_before_a_disabled_transition_too():
    d = Driver(plan(*THREE))
    d.shut("Build")
    first = d.start()
    d.succeed(first, "pull")
    second = d.start()
    d.succeed(second, "pull")
    assert d.status(first) == "Superseded"
    assert d.status(second) == "InProgress"
    d.open("Build")
    assert d.running(second) == ["compile", "lint"]


def test_queued_runs_wait_in_order():
    d = Driver(plan(*THREE, mode=ExecutionMode.QUEUED))
    first, second, third = d.start(), d.start(), d.start()
    d.succeed(first, "pull")
    d.succeed(second, "pull")
    d.succeed(third, "pull")
    assert d.state.slots["Build"].waiting == (second, third)
    d.fail(first, "compile")
    assert d.status(first) == "Failed"
    assert d.running(second) == []  # the sibling of what failed still holds the lock
    d.succeed(first, "lint")
    assert d.running(second) == ["compile", "lint"]


def test_queued_and_parallel_pipelines_have_a_limit():
    d = Driver(plan(*THREE, mode=ExecutionMode.QUEUED))
    for _ in range(50):
        d.start()
    with pytest.raises(ConcurrentPipelineExecutionsLimitExceededException):
        d.start()


def test_a_retry_counts_against_the_limit():
    d = Driver(plan(*THREE, mode=ExecutionMode.PARALLEL))
    runs = [d.start() for _ in range(50)]
    d.fail(runs[0], "pull")
    last = d.start()
    with pytest.raises(ConcurrentPipelineExecutionsLimitExceededException):
        d.retry(runs[0], "Source")
    assert d.status(runs[0]) == "Failed"
    d.stop(last, abandon=True)
    d.retry(runs[0], "Source")
    assert d.running(runs[0]) == ["pull"]


def test_a_parallel_run_has_five_actions_at_a_time():
    seven = "a b c d e f g"
    d = Driver(plan(stage("Source", "pull"), stage("Many", seven, "last"), mode=ExecutionMode.PARALLEL))
    run = d.start()
    d.succeed(run, "pull")
    assert d.running(run) == [*"abcde"]
    d.succeed(run, "c")
    assert d.running(run) == [*"abdef"]
    d.succeed(run, "a", "b")
    assert d.running(run) == [*"defg"]
    d.fail(run, "d")
    d.succeed(run, "e", "f", "g")
    d.retry(run, "Many")
    assert d.running(run) == ["d"]
    d.succeed(run, "d")
    assert d.running(run) == ["last"]
    other = Driver(plan(stage("Source", "pull"), stage("Many", seven), mode=ExecutionMode.QUEUED))
    run = other.start()
    other.succeed(run, "pull")
    assert other.running(run) == [*"abcdefg"]


def test_after_a_failure_no_more_of_seven_actions_start():
    d = Driver(plan(stage("Source", "pull"), stage("Many", "a b c d e f g"), mode=ExecutionMode.PARALLEL))
    run = d.start()
    d.succeed(run, "pull")
    d.fail(run, "a")
    d.succeed(run, "b", "c", "d", "e")
    assert (d.status(run), d.running(run)) == ("Failed", [])
    d.retry(run, "Many")
    assert d.running(run) == ["a", "f", "g"]
    d.succeed(run, "a", "f", "g")
    assert d.status(run) == "Succeeded"


def test_parallel_runs_know_nothing_of_each_other():
    d = Driver(plan(*THREE, mode=ExecutionMode.PARALLEL))
    first, second = d.start(), d.start()
    assert d.running(first) == d.running(second) == ["pull"]
    d.fail(first, "pull")
    d.succeed(second, "pull")
    d.retry(first, "Source")
    assert d.running(first) == ["pull"]


def test_the_outbound_transition_holds_back_and_lets_go():
    d = Driver(plan(*THREE))
    d.shut("Source", TransitionSide.OUTBOUND)
    run = d.start()
    d.succeed(run, "pull")
    assert d.execution_of(run).waits
    d.open("Source", TransitionSide.OUTBOUND)
    assert d.running(run) == ["compile", "lint"]


@pytest.mark.parametrize("side", TransitionSide)
def test_a_transition_says_why_it_is_shut_and_who_changed_it_last(side):
    d = Driver(plan(*THREE))

    def transition():
        slot = d.state.slots["Build"]
        found = slot.inbound if side is TransitionSide.INBOUND else slot.outbound
        other = slot.outbound if side is TransitionSide.INBOUND else slot.inbound
        assert other == OPEN
        return found.enabled, found.reason, found.by, found.at

    assert transition() == (True, "", "", None)
    d.shut("Build", side, "freeze")
    shut = transition()
    assert shut == (False, "freeze", "me", d.now)
    d.shut("Build", side, "freeze")  # said twice, it stays when it was
    assert transition() == shut
    d.shut("Build", side, "holidays")
    assert transition() == (False, "holidays", "me", d.now)
    d.open("Build", side)
    assert transition() == (True, "", "me", d.now)
    opened = transition()
    d.open("Build", side)
    assert transition() == opened
    d.shut("Nowhere", side)
    assert "Nowhere" not in d.state.slots


def test_failing_leaves_siblings_alone_and_starts_nothing_more():
    d = Driver(plan(*THREE))
    run = d.start()
    d.succeed(run, "pull")
    d.fail(run, "lint")
    assert d.status(run) == "Failed"
    assert d.running(run) == ["compile"]
    d.succeed(run, "compile")
    assert d.running(run) == []
    assert d.state.slots["Build"].holder is None
    assert d.status(run) == "Failed"


def test_retrying_failed_actions_keeps_what_succeeded():
    d = Driver(plan(*THREE))
    run = d.start()
    d.succeed(run, "pull", "compile")
    failed = d.run_of(run, "lint").id
    d.fail(run, "lint")
    d.retry(run, "Build")
    assert d.running(run) == ["lint"]
    assert d.run_of(run, "lint").id != failed
    assert d.execution_of(run).attempt == 2
    d.succeed(run, "lint", "test", "roll")
    assert d.statuses[run] == ["STARTED", "FAILED", "RESUMED", "SUCCEEDED"]


def test_retrying_while_a_sibling_still_runs():
    d = Driver(plan(*THREE))
    run = d.start()
    d.succeed(run, "pull")
    d.fail(run, "lint")
    with pytest.raises(StageNotRetryableException):
        d.retry(run, "Build", RetryMode.ALL_ACTIONS)
    d.retry(run, "Build")
    assert d.running(run) == ["compile", "lint"]


def test_retrying_everything():
    d = Driver(plan(*THREE))
    run = d.start()
    d.succeed(run, "pull", "compile", "lint")
    d.fail(run, "test")
    d.retry(run, "Build", RetryMode.ALL_ACTIONS)
    assert d.running(run) == ["compile", "lint"]


def test_what_cannot_be_retried():
    d = Driver(plan(*THREE))
    run = d.start()
    with pytest.raises(StageNotRetryableException):
        d.retry(run, "Source")  # has not failed
    d.fail(run, "pull")
    with pytest.raises(StageNotRetryableException):
        d.retry(run, "Build")  # failed elsewhere
    with pytest.raises(StageNotRetryableException):
        d.retry("nobody", "Source")
    later = d.start()
    with pytest.raises(NotLatestPipelineExecutionException):
        d.retry(run, "Source")
    d.fail(later, "pull")
    d.apply(PipelineUpdated(plan=plan(*THREE, version=2)))
    with pytest.raises(StageNotRetryableException):
        d.retry(later, "Source")


def test_automatic_retry_happens_once():
    d = Driver(plan(stage("Source", "pull"), stage("Build", "a b", retry=RetryMode.FAILED_ACTIONS)))
    run = d.start()
    d.succeed(run, "pull")
    d.fail(run, "a")
    assert d.status(run) == "InProgress"  # waits for its sibling
    d.succeed(run, "b")
    assert d.running(run) == ["a"]
    assert d.state.slots["Build"].automatic_retries == 1
    d.fail(run, "a")
    assert d.status(run) == "Failed"
    assert d.statuses[run] == ["STARTED", "RESUMED", "FAILED"]


def test_stop_and_wait_lets_actions_finish():
    d = Driver(plan(*THREE))
    run = d.start()
    d.succeed(run, "pull")
    d.stop(run)
    assert d.status(run) == "Stopping"
    with pytest.raises(DuplicatedStopRequestException):
        d.stop(run)
    d.succeed(run, "compile")
    d.fail(run, "lint")
    assert d.status(run) == "Stopped"
    assert d.statuses[run] == ["STARTED", "STOPPING", "STOPPED"]
    with pytest.raises(PipelineExecutionNotStoppableException):
        d.stop(run)
    assert d.execution_of(run).stop_reason == "enough"
    d.retry(run, "Build")
    assert d.running(run) == ["lint"]
    assert d.execution_of(run).stop_reason is None  # it is not a stopped one any more


def test_a_stage_that_was_stopped_when_all_had_succeeded_has_nothing_failed_to_retry():
    d = Driver(plan(*THREE))
    run = d.start()
    d.stop(run)
    d.succeed(run, "pull")
    assert d.status(run) == "Stopped"
    with pytest.raises(StageNotRetryableException, match="no failed actions"):
        d.retry(run, "Source")
    d.retry(run, "Source", RetryMode.ALL_ACTIONS)
    assert d.running(run) == ["pull"]


def test_stop_and_abandon_leaves_actions_behind():
    d = Driver(plan(*THREE))
    run, waiting = d.start(), d.start()
    d.stop(run)
    d.stop(run, abandon=True)
    assert d.status(run) == "Stopped"
    assert not any(isinstance(e, StopAction) for e in d.effects)  # AWS: providers keep working
    assert d.running(waiting) == ["pull"]


def test_a_waiting_run_stops_at_once_and_cannot_be_retried():
    d = Driver(plan(*THREE))
    first, waiting = d.start(), d.start()
    d.stop(waiting)
    assert d.status(waiting) == "Stopped"
    assert d.state.slots["Source"].waiting == ()
    with pytest.raises((StageNotRetryableException, NotLatestPipelineExecutionException)):
        d.retry(waiting, "Source")
    d.succeed(first, "pull")
    assert d.running(first) == ["compile", "lint"]


def _unasked_approval(d):
    run = d.start()
    d.succeed(run, "pull")
    return run, d.run_of(run, "ok")


def _approval(d):
    run, action = _unasked_approval(d)
    d.apply(ActionReported(execution=run, action=action.id, details=Details(resolved={})))
    return run, action


def _answer(d, run, action, *, approved, token=None):
    d.apply(
        ApprovalAnswered(
            execution=run,
            action=action.id,
            token=action.token if token is None else token,
            approved=approved,
            summary="fine",
            by="boss",
        )
    )


GATED = (stage("Source", "pull"), stage("Gate", "?ok"), stage("Deploy", "roll"))


def test_an_approval_has_a_token_and_seven_days():
    d = Driver(plan(*GATED))
    _unasked_approval(d)
    timer = next(e for e in d.effects if isinstance(e, SetTimer))
    assert timer.due == d.now + HOUR  # the plan's time-out; the registry's is seven days
    d = Driver(plan(*GATED))
    run, action = _approval(d)
    with pytest.raises(InvalidApprovalTokenException):
        _answer(d, run, action, approved=True, token="other")
    with pytest.raises(InvalidApprovalTokenException):
        _answer(d, run, action, approved=True, token="")
    _answer(d, run, action, approved=True)
    assert any(isinstance(e, CancelTimer) for e in d.effects)
    assert d.running(run) == ["roll"]
    with pytest.raises(InvalidApprovalTokenException):
        _answer(d, run, action, approved=False)


def test_nobody_answers_what_is_not_asked_yet():
    """The token is there before the request: what it asks is still being resolved."""
    d = Driver(plan(*GATED))
    run, action = _unasked_approval(d)
    report = ActionReported(execution=run, action=action.id, details=Details(summary="nothing is resolved"))
    for approved in (True, False):
        with pytest.raises(InvalidApprovalTokenException, match="The approval request of action ok is not made yet"):
            _answer(d, run, action, approved=approved)
        d.apply(report)
    d.apply(replace(report, details=Details(resolved={})))
    _answer(d, run, action, approved=True)
    assert d.running(run) == ["roll"]


def test_rejecting_fails_the_stage():
    d = Driver(plan(*GATED))
    run, action = _approval(d)
    _answer(d, run, action, approved=False)
    assert d.status(run) == "Failed"


def test_an_approval_times_out():
    d = Driver(plan(*GATED))
    run, action = _approval(d)
    d.apply(ActionTimedOut(execution=run, action=action.id))
    assert d.status(run) == "Failed"
    assert not any(isinstance(e, StopAction) for e in d.effects)


def test_an_action_that_a_provider_took_on_has_a_timer_and_is_stopped_by_it():
    d = Driver(plan(*THREE))
    run = d.start()
    action = d.run_of(run, "pull")
    d.apply(ActionAccepted(execution=run, action=action.id))
    assert d.effects == (SetTimer(execution=run, action=action.id, due=action.started + HOUR),)
    d.apply(ActionAccepted(execution=run, action=action.id))
    assert d.effects == ()
    d.apply(ActionTimedOut(execution=run, action=action.id))
    assert StopAction(execution=run, action=action.id) in d.effects
    assert d.status(run) == "Failed"


def test_what_is_shown_of_an_action_is_decided_with_it():
    d = Driver(plan(*THREE))
    run = d.start()
    action = d.run_of(run, "pull").id
    started, percent, ended = Details(external_id="b:1", resolved={}), Details(percent=50), Details(summary="done")
    d.apply(ActionAccepted(execution=run, action=action, details=started))
    assert d.effects[0] == ActionDescribed(action=action, details=started)
    d.apply(ActionReported(execution=run, action=action, details=percent))
    assert d.effects == (ActionDescribed(action=action, details=percent),)
    assert d.run_of(run, "pull").timed
    d.apply(ActionSucceeded(execution=run, action=action, details=ended))
    assert next(e for e in d.effects if isinstance(e, ActionEnded)).details == ended
    before = d.state
    assert d.apply(ActionReported(execution=run, action=action, details=percent)) == ()
    assert d.state is before


def test_a_pipeline_is_created_once():
    d = Driver(plan(*THREE))
    d.start()
    before = d.state
    assert d.apply(PipelineCreated(plan=plan(stage("Other", "x")))) == ()
    assert d.state is before


def test_updating_cancels_after_running_actions():
    d = Driver(plan(*THREE))
    run = d.start()
    d.succeed(run, "pull")
    waiting = d.start()
    d.succeed(waiting, "pull")
    d.apply(PipelineUpdated(plan=plan(*THREE, version=2)))
    assert d.status(waiting) == "Cancelled"
    assert d.status(run) == "InProgress"
    newer = d.start()
    d.succeed(newer, "pull")
    assert d.execution_of(newer).waits  # the old one still holds the stage
    d.succeed(run, "compile", "lint")
    assert d.status(run) == "Cancelled"
    assert d.statuses[run] == ["STARTED", "CANCELED"]
    assert d.running(newer) == ["compile", "lint"]


def test_updating_voids_open_approvals():
    d = Driver(plan(*GATED))
    run, action = _approval(d)
    d.apply(PipelineUpdated(plan=plan(*THREE, version=2)))
    assert d.status(run) == "Cancelled"
    with pytest.raises(InvalidApprovalTokenException):
        _answer(d, run, action, approved=True)


def test_updating_keeps_transitions_by_stage_name():
    d = Driver(plan(*THREE))
    d.shut("Build")
    d.apply(PipelineUpdated(plan=plan(THREE[0], THREE[1], version=2)))
    assert not d.state.slots["Build"].inbound.enabled
    assert "Deploy" not in d.state.slots


def test_parallel_runs_survive_an_update_with_their_own_version():
    d = Driver(plan(*THREE, mode=ExecutionMode.PARALLEL))
    run = d.start()
    d.apply(PipelineUpdated(plan=plan(*GATED, version=2)))
    d.succeed(run, "pull", "compile", "lint", "test", "roll")
    assert d.status(run) == "Succeeded"
    assert list(d.state.plans) == [1, 2]
    d.start()
    assert list(d.state.plans) == [2]


def test_deleting_ends_everything():
    d = Driver(plan(*THREE))
    run, waiting = d.start(), d.start()
    d.apply(PipelineDeleted())
    assert d.status(run) == d.status(waiting) == "Stopped"
    assert d.open_actions == {}


def test_a_missing_variable_fails_the_run_at_once():
    d = Driver(plan(*THREE, required=("A", "B")))
    run = d.start(A="1")
    assert d.status(run) == "Failed"
    assert d.execution_of(run).summary == "Values for required variables haven't been provided: B"
    assert d.statuses[run] == ["STARTED", "FAILED"]


def test_reports_that_come_twice_change_nothing():
    d = Driver(plan(*THREE))
    run = d.start()
    report = ActionSucceeded(execution=run, action=d.run_of(run, "pull").id)
    d.apply(report)
    before = d.state
    assert d.apply(report) == ()
    assert d.state is before
    assert d.apply(ActionSucceeded(execution="gone", action="gone")) == ()


def test_a_run_that_an_update_cancels_is_cancelled_when_its_last_action_fails():
    d = Driver(plan(*THREE))
    run = d.start()
    d.succeed(run, "pull")
    d.apply(PipelineUpdated(plan=plan(*THREE, version=2)))
    d.fail(run, "lint")
    assert d.status(run) == "InProgress"
    d.succeed(run, "compile")
    assert d.status(run) == "Cancelled"
    assert d.statuses[run] == ["STARTED", "CANCELED"]


# --- rolling back a stage (reference 2.9) -----------------------------------------------------------------------------

BACK = (stage("Source", "pull"), stage("Deploy", "roll"), stage("Check", "look"))
BY_ITSELF = (BACK[0], stage("Deploy", "roll watch", rolls_back=True), BACK[2])


def _good(d, *names):
    run = d.start()
    d.succeed(run, *(names or ("pull", "roll", "look")))
    return run


def test_a_stage_is_rolled_back_by_hand_in_an_execution_of_its_own():
    d = Driver(plan(*BACK))
    good, bad = _good(d), _good(d)
    back = d.roll_back("Deploy", good)
    created = next(effect for effect in d.effects if isinstance(effect, ExecutionCreated))
    assert (created.target, created.trigger.type, created.trigger.detail) == (good, TriggerType.MANUAL_ROLLBACK, "me")
    assert d.execution_of(back).type is ExecutionType.ROLLBACK
    assert (d.state.slots["Deploy"].latest, d.state.slots["Deploy"].type) == (back, ExecutionType.ROLLBACK)
    d.succeed(back, "roll")
    assert d.status(back) == "Succeeded"  # and no later stage saw it
    assert d.state.slots["Check"].latest == bad
    assert d.statuses[back] == ["STARTED", "SUCCEEDED"]


def test_a_rollback_goes_before_those_that_wait_and_past_transitions():
    d = Driver(plan(*BACK))
    good = _good(d)
    d.shut("Deploy")
    waiting = d.start()
    d.succeed(waiting, "pull")
    back = d.roll_back("Deploy", good)
    d.open("Deploy")
    assert d.execution_of(waiting).waits
    d.succeed(back, "roll")
    assert d.running(waiting) == ["roll"]
    assert d.state.slots["Deploy"].type is ExecutionType.STANDARD


def test_what_a_stage_cannot_be_rolled_back_to():
    d = Driver(plan(*BACK))
    good = _good(d)
    back = d.roll_back("Deploy", good)
    with pytest.raises(UnableToRollbackStageException, match="the stage is in progress"):
        d.roll_back("Deploy", good)
    d.succeed(back, "roll")
    with pytest.raises(UnableToRollbackStageException, match="it is a rollback itself"):
        d.roll_back("Deploy", back)
    with pytest.raises(UnableToRollbackStageException, match="the stage of the sources"):
        d.roll_back("Source", good)
    with pytest.raises(UnableToRollbackStageException, match="it did not succeed in the stage"):
        d.roll_back("Deploy", good, succeeded=False)
    with pytest.raises(UnableToRollbackStageException, match="the execution does not exist"):
        d.roll_back("Deploy", "nobody")
    d.apply(PipelineUpdated(plan=plan(*BACK, version=2)))
    with pytest.raises(PipelineExecutionOutdatedException, match="ran version 1"):
        d.roll_back("Deploy", good)
    d.apply(PipelineUpdated(plan=plan(*BACK, version=3, mode=ExecutionMode.PARALLEL)))
    other = _good(d)
    with pytest.raises(UnableToRollbackStageException, match="PARALLEL"):
        d.roll_back("Deploy", other)


def test_a_stage_that_fails_is_rolled_back_to_the_last_that_succeeded_when_its_siblings_have_ended():
    d = Driver(plan(*BY_ITSELF))
    good = _good(d, "pull", "roll", "watch", "look")
    bad = d.start()
    d.succeed(bad, "pull")
    d.fail(bad, "roll")
    assert (d.status(bad), d.newest()) == ("Failed", bad)
    d.succeed(bad, "watch")
    created = next(effect for effect in d.effects if isinstance(effect, ExecutionCreated))
    assert (created.target, created.trigger.type, created.trigger.detail) == (
        good,
        TriggerType.AUTOMATED_ROLLBACK,
        bad,
    )
    assert d.running(d.newest()) == ["roll", "watch"]
    assert d.status(bad) == "Failed"
    with pytest.raises(NotLatestPipelineExecutionException):
        d.retry(bad, "Deploy")


def test_a_rollback_that_fails_is_not_rolled_back_and_may_be_retried():
    d = Driver(plan(*BY_ITSELF))
    _good(d, "pull", "roll", "watch", "look")
    bad = d.start()
    d.succeed(bad, "pull", "watch")
    d.fail(bad, "roll")
    back = d.newest()
    d.fail(back, "roll")
    d.succeed(back, "watch")
    assert (d.newest(), d.status(back), d.state.slots["Deploy"].holder) == (back, "Failed", None)
    d.retry(back, "Deploy")
    d.succeed(back, "roll")
    assert d.status(back) == "Succeeded"


@pytest.mark.parametrize("before", ["nothing", "an older version"])
def test_there_may_be_nothing_to_roll_back_to(before):
    d = Driver(plan(*BY_ITSELF))
    if before != "nothing":
        _good(d, "pull", "roll", "watch", "look")
        d.apply(PipelineUpdated(plan=plan(*BY_ITSELF, version=2)))
    bad = d.start()
    d.succeed(bad, "pull", "watch")
    d.fail(bad, "roll")
    assert (d.newest(), d.status(bad), d.state.slots["Deploy"].holder) == (bad, "Failed", None)


def test_a_retry_by_hand_before_the_siblings_end_comes_before_the_rollback():
    d = Driver(plan(*BY_ITSELF))
    _good(d, "pull", "roll", "watch", "look")
    bad = d.start()
    d.succeed(bad, "pull")
    d.fail(bad, "roll")
    d.retry(bad, "Deploy")
    d.succeed(bad, "watch", "roll", "look")
    assert (d.status(bad), d.newest()) == ("Succeeded", bad)
