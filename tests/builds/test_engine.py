"""The engine: whatever happens in whatever order, a build's phases are consistent and it ends once."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from penstock_examples import examples

from penstock.builds.engine import (
    BuildState,
    Claimed,
    Dispatch,
    Halt,
    Lost,
    PhaseEnded,
    StateChanged,
    StopRequested,
    Submitted,
    TimePassed,
    deadline,
    decide,
    is_given_up,
    supervisor_limit,
)
from penstock.builds.phases import ORDER, Status, build_status, next_phase
from penstock.builds.records import STATE

MINUTE = 60_000


def queued_build(now: int = 1000) -> BuildState:
    state, effects = decide(BuildState(), Submitted(queued_timeout_ms=5 * MINUTE, timeout_ms=10 * MINUTE), now)
    assert [type(effect) for effect in effects] == [StateChanged, type(effects[1]), Dispatch]
    return state


def through(state: BuildState, *ended: tuple[str, str] | tuple[str, str, str], now: int = 2000) -> BuildState:
    for phase, status, *on_failure in ended:
        state, _ = decide(
            state, PhaseEnded(phase=phase, status=status, at=now, on_failure=(on_failure or [""])[0]), now
        )
    return state


def story(state: BuildState) -> list[str]:
    return [f"{phase.type}:{phase.status}" for phase in state.phases]


BEFORE = (("PROVISIONING", "SUCCEEDED"), ("DOWNLOAD_SOURCE", "SUCCEEDED"))


def running() -> BuildState:
    state, _ = decide(queued_build(), Claimed(node="n"), 1500)
    return through(state, *BEFORE)


def test_a_good_build_goes_through_every_phase():
    state = through(running(), *((phase, "SUCCEEDED") for phase in ORDER[4:10]))
    assert (state.complete, state.status, state.phase) == (True, "SUCCEEDED", "COMPLETED")
    assert [phase.type for phase in state.phases] == list(ORDER)


def test_a_failed_build_phase_still_runs_post_build_and_upload():
    state = through(
        running(),
        ("INSTALL", "SUCCEEDED"),
        ("PRE_BUILD", "SUCCEEDED"),
        ("BUILD", "FAILED"),
        ("POST_BUILD", "SUCCEEDED"),
        ("UPLOAD_ARTIFACTS", "SUCCEEDED"),
        ("FINALIZING", "SUCCEEDED"),
    )
    assert (state.complete, state.status) == (True, "FAILED")


def test_a_failed_install_goes_to_the_end():
    state = through(running(), ("INSTALL", "FAILED"))
    assert state.phase == "FINALIZING"


def test_on_failure_decides_otherwise():
    assert through(running(), ("INSTALL", "FAILED", "CONTINUE")).phase == "PRE_BUILD"
    built = through(running(), ("INSTALL", "SUCCEEDED"), ("PRE_BUILD", "SUCCEEDED"))
    assert through(built, ("BUILD", "FAILED", "ABORT")).phase == "FINALIZING"


def test_waiting_too_long_ends_it_and_no_worker_gets_it():
    state, effects = decide(queued_build(), TimePassed(), 1000 + 5 * MINUTE)
    assert (state.complete, state.status) == (True, "TIMED_OUT")
    assert effects[-1] == StateChanged("TIMED_OUT")
    late, _ = decide(queued_build(), Claimed(node="n"), 1000 + 5 * MINUTE)
    assert late.status == "TIMED_OUT"


def test_a_stop_in_the_queue_is_the_end_and_later_reports_the_run():
    state, _ = decide(queued_build(), StopRequested(), 1500)
    assert (state.complete, state.status) == (True, "STOPPED")
    state, effects = decide(running(), StopRequested(), 3000)
    assert effects == [Halt("STOPPED")]
    assert decide(state, StopRequested(), 3001) == (state, [])
    state = through(state, ("INSTALL", "STOPPED"), ("FINALIZING", "SUCCEEDED"))
    assert (state.complete, state.status) == (True, "STOPPED")


def test_a_lost_run_is_a_fault_with_a_reason():
    state, _ = decide(running(), Lost(message="the supervisor is gone"), 3000)
    assert (state.complete, state.status) == (True, "FAULT")
    assert story(state)[-3:] == ["INSTALL:FAULT", "FINALIZING:SUCCEEDED", "COMPLETED:"]
    assert state.phases[-3].message == "the supervisor is gone"


_EVENTS = st.one_of(
    st.builds(Claimed, node=st.just("n")),
    st.builds(StopRequested),
    st.builds(TimePassed),
    st.builds(Lost, message=st.just("gone")),
    st.builds(
        PhaseEnded,
        phase=st.sampled_from(ORDER[2:10]),
        status=st.sampled_from(["SUCCEEDED", "SUCCEEDED", "SUCCEEDED", "FAILED", "STOPPED", "TIMED_OUT", "FAULT"]),
        at=st.integers(0, 10**6),
        on_failure=st.sampled_from(["", "ABORT", "CONTINUE"]),
    ),
)


@given(st.lists(st.tuples(_EVENTS, st.integers(0, 3 * MINUTE)), max_size=40))
@settings(max_examples=examples(500), deadline=None)
def test_any_order_of_events_is_consistent(inputs):
    state, now, ends = queued_build(), 1000, 0
    for event, passed in inputs:
        now += passed
        before = state
        state, effects = decide(state, event, now)
        assert decide(before, event, now) == (state, effects)
        assert STATE.load(STATE.dump(state)) == state
        ends += sum(isinstance(effect, StateChanged) for effect in effects)
        order = [ORDER.index(phase.type) for phase in state.phases]
        assert order == sorted(set(order))
        for one, other in zip(state.phases, state.phases[1:], strict=False):
            assert one.status
            assert one.end == other.start >= one.start
        assert (state.phase == "COMPLETED") == state.complete == (state.ended is not None)
        if before.complete:
            assert (state, effects) == (before, [])
    assert ends == int(state.complete)
    if state.complete:
        assert state.status == build_status([phase.status for phase in state.phases[:-1]])


@pytest.mark.parametrize(
    ("statuses", "status"),
    [
        ([], "SUCCEEDED"),
        (["SUCCEEDED", "SUCCEEDED"], "SUCCEEDED"),
        (["SUCCEEDED", "FAILED", "SUCCEEDED"], "FAILED"),
        (["FAILED", "STOPPED"], "STOPPED"),
        (["FAILED", "TIMED_OUT", "SUCCEEDED"], "TIMED_OUT"),
        (["STOPPED", "TIMED_OUT"], "TIMED_OUT"),
        (["FAILED", "STOPPED", "TIMED_OUT", "FAULT", "SUCCEEDED"], "FAULT"),
    ],
)
def test_the_gravest_end_of_a_phase_is_that_of_the_build(statuses, status):
    assert build_status(statuses) == status


@pytest.mark.parametrize(
    ("phase", "status", "on_failure", "following"),
    [
        ("QUEUED", "FAILED", "", "COMPLETED"),
        ("PROVISIONING", "FAULT", "", "COMPLETED"),
        ("DOWNLOAD_SOURCE", "FAILED", "", "FINALIZING"),
        ("INSTALL", "FAILED", "", "FINALIZING"),
        ("PRE_BUILD", "FAILED", "", "FINALIZING"),
        ("PRE_BUILD", "FAILED", "CONTINUE", "BUILD"),
        ("BUILD", "FAILED", "", "POST_BUILD"),
        ("BUILD", "FAILED", "ABORT", "FINALIZING"),
        ("BUILD", "STOPPED", "CONTINUE", "FINALIZING"),
        ("POST_BUILD", "FAILED", "", "UPLOAD_ARTIFACTS"),
        ("POST_BUILD", "FAILED", "ABORT", "FINALIZING"),
        ("POST_BUILD", "TIMED_OUT", "", "FINALIZING"),
        ("UPLOAD_ARTIFACTS", "FAILED", "", "FINALIZING"),
        ("FINALIZING", "FAILED", "", "COMPLETED"),
    ],
)
def test_what_follows_a_phase_that_did_not_succeed(phase, status, on_failure, following):
    assert next_phase(phase, status, on_failure) == following


@given(
    st.sampled_from(ORDER),
    st.sampled_from(["SUCCEEDED", "FAILED", "STOPPED", "TIMED_OUT", "FAULT"]),
    st.sampled_from(["", "ABORT", "CONTINUE"]),
)
def test_phases_only_go_forward(phase, status, on_failure):
    following = next_phase(phase, status, on_failure)
    assert ORDER.index(following) > ORDER.index(phase) or phase == following == "COMPLETED"


def test_time_ends_a_build_at_its_deadline_and_not_before():
    queued, claimed = queued_build(), running()
    assert deadline(queued) == 1000 + 5 * MINUTE
    assert deadline(claimed) == 1500 + 10 * MINUTE
    assert deadline(BuildState(complete=True)) is None
    for state in (queued, claimed):
        due = deadline(state)
        assert due is not None
        assert decide(state, TimePassed(), due - 1) == (state, [])
        ended, effects = decide(state, TimePassed(), due)
        assert effects
        assert Status.TIMED_OUT in (ended.ending, ended.status)


def test_the_supervisor_ends_a_build_only_when_no_worker_did():
    state = running()
    due = deadline(state)
    assert due is not None
    assert supervisor_limit(state, 2000) == due - 2000 + 30_000
    assert supervisor_limit(state, due + MINUTE) == 31_000
    assert not is_given_up(queued_build(), 1 << 60)  # a build in the queue is nobody's
    assert not is_given_up(state, due + 2 * MINUTE - 1)
    assert is_given_up(state, due + 2 * MINUTE)
