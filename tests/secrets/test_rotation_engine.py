"""How a rotation is planned, fails and ends: pure, each rule at its bound."""

from dataclasses import replace

import pytest

from penstock.secrets import rotation
from penstock.secrets.errors import InvalidRequestException
from penstock.secrets.rotation import Rotation

DAY, HOUR = 86_400_000, 3_600_000
NOW = 20_000 * DAY + 9 * HOUR
WEEKLY, CRON = {"AutomaticallyAfterDays": 7}, {"ScheduleExpression": "cron(0 12 * * ? *)"}
PLANNED = Rotation(function="f", rules=WEEKLY, opens=NOW + 3 * DAY, closes=NOW + 4 * DAY, days=3, rotated=NOW - DAY)
RUNNING = replace(PLANNED, run=4, token="t", test=True, step=2, failures=1, reason="r")
WEEK = {"opens": 20_007 * DAY, "closes": 20_008 * DAY, "days": 7}  # from now on


@pytest.mark.parametrize(
    ("rules", "days", "answered"),
    [
        (WEEKLY, 3, WEEKLY),
        (CRON, 3, {**CRON, "AutomaticallyAfterDays": 3}),
        (CRON, 0, CRON),
        ({}, 0, {}),
    ],
)
def test_only_a_schedule_amounts_to_days(rules, days, answered):
    assert replace(PLANNED, rules=rules, days=days).rules_to_api == answered


@pytest.mark.parametrize(
    ("rules", "since", "days"),
    [
        ({"AutomaticallyAfterDays": 1}, NOW, 1),
        ({"AutomaticallyAfterDays": 2}, NOW, 2),
        ({"AutomaticallyAfterDays": 2}, NOW - 9 * DAY, 1),
        ({"ScheduleExpression": "rate(4 hours)"}, NOW, 1),
        ({"ScheduleExpression": "rate(24 hours)"}, NOW, 1),
        ({"ScheduleExpression": "rate(25 hours)"}, NOW, 2),
    ],
)
def test_part_of_a_day_is_one(rules, since, days):
    assert rotation.planned(replace(PLANNED, rules=rules), since=since, now=NOW).days == days


@pytest.mark.parametrize("change", [{"enabled": False}, {"rules": {}}])
def test_without_a_schedule_no_window_is_planned(change):
    state = rotation.planned(replace(PLANNED, **change), since=NOW, now=NOW)
    assert (state.opens, state.closes, state.days) == (0, 0, 0)


@pytest.mark.parametrize(
    ("before", "rules", "after"),
    [
        (None, WEEKLY, {"rules": WEEKLY, **WEEK, "rotated": 0}),
        (PLANNED, None, {}),
        (PLANNED, WEEKLY, {}),
        (PLANNED, {"AutomaticallyAfterDays": 8}, {**WEEK, "rules": {"AutomaticallyAfterDays": 8}}),  # since it was rotated
        (replace(PLANNED, enabled=False), None, {"opens": 20_006 * DAY, "closes": 20_007 * DAY, "days": 6}),
        (replace(PLANNED, opens=0), None, {"opens": 20_006 * DAY, "closes": 20_007 * DAY, "days": 6}),
        (PLANNED, {}, {"rules": {}, "opens": 0, "closes": 0, "days": 0}),
    ],
)  # fmt: skip
def test_a_window_stays_where_it_is_unless_the_rules_change(before, rules, after):
    state = rotation.configured(before, "g", rules, NOW)
    assert state == replace(before or PLANNED, function="g", enabled=True, **after)


@pytest.mark.parametrize(
    ("change", "counts"),
    [
        ({}, True),
        ({"rules": {"ScheduleExpression": "rate(7 days)"}}, True),
        ({"rules": CRON}, False),
        ({"token": "t"}, False),
        ({"opens": 0}, False),
    ],
)
def test_a_value_that_is_put_by_hand_counts_for_a_schedule_in_days(change, counts):
    state = replace(PLANNED, **change)
    assert rotation.changed_by_hand(state, NOW) == (replace(state, **WEEK) if counts else state)


@pytest.mark.parametrize(
    ("token", "stages", "free"),
    [
        ("", {}, True),
        ("t", {"t": ["AWSPENDING"]}, True),
        ("u", {}, False),
        ("", {"u": ["AWSPENDING"]}, False),
        ("", {"u": ["AWSPENDING", "AWSCURRENT"]}, True),
        (None, {"u": ["AWSPENDING"]}, False),
        (None, {"u": ["AWSCURRENT"]}, True),
    ],
)
def test_one_rotation_at_a_time(token, stages, free):
    state = None if token is None else replace(PLANNED, token=token)
    if free:
        rotation.check_free(state, stages, "t")
    else:
        with pytest.raises(InvalidRequestException, match="still in progress"):
            rotation.check_free(state, stages, "t")


def test_a_rotation_begins_afresh_and_leaves_nothing_under_way():
    assert rotation.started(RUNNING, "u") == replace(PLANNED, run=5, token="u")
    assert rotation.started(PLANNED, "u", test=True) == replace(PLANNED, run=1, token="u", test=True)
    assert rotation.succeeded(RUNNING, NOW) == replace(PLANNED, run=4)  # only tried
    done = rotation.succeeded(replace(RUNNING, test=False), NOW)
    assert done == replace(PLANNED, run=4, rotated=NOW, **WEEK)
    cancelled = rotation.cancelled(RUNNING)
    assert cancelled == replace(
        RUNNING, enabled=False, opens=0, closes=0, token="", test=False, step=0
    )  # and says why it failed
    assert (rotation.TEST, len(rotation.STEPS)) == (RUNNING.steps, len(PLANNED.steps))


def test_a_failure_is_tried_again_four_times_each_after_twice_the_time():
    state, pauses = replace(RUNNING, failures=0), []
    for failures in range(1, 6):
        state, pause = rotation.failed(replace(state, step=2), f"{failures}" * 600)
        pauses.append(pause)
        assert (state.failures, state.step, state.reason) == (failures, 0, f"{failures}" * 500)
        assert (state.token, state.test) == (("", False) if failures == 5 else ("t", True))
    assert pauses == [60_000, 120_000, 240_000, 480_000, None]
    assert rotation.failed(RUNNING, "why", last=True) == (
        rotation.ended(replace(RUNNING, failures=2, reason="why")),
        None,
    )


@pytest.mark.parametrize(
    ("of_it", "test", "done", "why"),
    [
        (None, False, False, "the version t is gone"),
        ([], False, False, "the version t has lost the stage AWSPENDING"),
        (["AWSPENDING"], False, False, ""),
        (["AWSCURRENT"], False, False, ""),
        (["AWSCURRENT"], False, True, ""),
        (["AWSPENDING"], False, True, "finishSecret has not moved AWSCURRENT to the version t"),
        (["AWSPENDING"], True, True, ""),
        ([], True, True, "the version t has lost the stage AWSPENDING"),
    ],
)
def test_the_version_that_is_made_must_be_where_it_belongs(of_it, test, done, why):
    stages = {} if of_it is None else {"t": of_it}
    assert rotation.why_lost(replace(RUNNING, test=test), stages, done=done) == why
