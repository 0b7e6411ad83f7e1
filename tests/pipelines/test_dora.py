"""DORA's figures: the definitions by example, and against a model that looks at everything for each deployment anew."""

from __future__ import annotations

import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from penstock_examples import examples

from penstock.pipelines import production
from penstock.pipelines.dora import DAY_MS, Attempt, Deployment, Revision, by_day, figures, judged

HOUR = 3_600_000


def attempt(ended: int, *revisions: str, ok: bool = True, made: int = 0) -> Attempt:
    return Attempt(ended=ended, succeeded=ok, revisions={Revision("Source", id): made for id in revisions})


def test_a_day_of_a_pipeline():
    """One comes into production; the next breaks, is tried again and mended; one is rolled back."""
    found = judged(
        [
            attempt(10 * HOUR, "a", made=8 * HOUR),
            attempt(11 * HOUR, "b", ok=False, made=9 * HOUR),
            attempt(12 * HOUR, "b", ok=False, made=9 * HOUR),
            attempt(13 * HOUR, "c", made=12 * HOUR),
            attempt(14 * HOUR, "d", made=13 * HOUR),
            attempt(15 * HOUR, "c", made=12 * HOUR),
        ]
    )
    assert [one.failed for one in found] == [False, True, True, False, True, False]
    assert [one.rework for one in found] == [False, False, True, True, False, True]
    assert [one.leads for one in found] == [(2 * HOUR,), (), (), (HOUR,), (HOUR,), ()]
    assert [one.recovered for one in found] == [None, 2 * HOUR, None, None, HOUR, None]
    day = figures(found, since=0, until=DAY_MS)
    assert (day.succeeded, day.failed, day.per_day, day.unrecovered) == (4, 3, 4.0, 0)
    assert (day.lead, day.lead_p90, day.recovery) == (3_600, 7_200, 5_400)
    assert (day.failure_rate, day.rework_rate) == (0.5, 0.5)
    assert by_day(found, since=0, until=2 * DAY_MS) == [("1970-01-01", 3, 3), ("1970-01-02", 0, 0)]


def test_of_nothing_there_is_no_rate():
    nothing = figures([], since=0, until=30 * DAY_MS)
    assert (nothing.succeeded, nothing.failed, nothing.per_day, nothing.unrecovered) == (0, 0, 0, 0)
    assert {nothing.lead, nothing.lead_p90, nothing.failure_rate, nothing.recovery, nothing.rework_rate} == {None}


def test_a_failure_that_nobody_mended_is_open():
    found = judged([attempt(1, "a"), attempt(2, "b", ok=False), attempt(3, "b", ok=False)])
    assert figures(found, since=0, until=10).unrecovered == 1
    assert figures(found, since=3, until=10).unrecovered == 0  # it began before


@pytest.mark.parametrize(
    ("lives", "failed"),
    [
        ("ab", [False, False]),
        ("aba", [False, True, False]),  # back to what had been there
        ("aab", [False, False, False]),
        ("abb", [False, False, False]),  # again, not back
        ("abca", [False, False, True, False]),
        ("abab", [False, True, True, False]),
    ],
)
def test_a_deployment_is_rolled_back_by_the_next_with_what_was_live_before(lives, failed):
    assert [one.failed for one in judged(attempt(n, id) for n, id in enumerate(lives))] == failed


def test_without_revisions_nothing_is_a_rollback():
    assert [one.failed for one in judged(attempt(n) for n in range(3))] == [False] * 3


@pytest.mark.parametrize(("count", "p90"), [(1, 1), (2, 2), (9, 9), (10, 9), (11, 10), (20, 18)])
def test_nine_of_ten_are_as_fast_as_that(count, p90):
    found = judged(attempt(number, f"r{number}") for number in range(1, count + 1))
    assert figures(found, since=0, until=DAY_MS).lead_p90 == p90 / 1000


# --- against a naive model --------------------------------------------------------------------------------------------

ATTEMPTS = st.lists(
    st.builds(
        lambda ok, ids: (ok, ids),
        st.booleans(),
        st.dictionaries(st.builds(Revision, st.sampled_from("xy"), st.sampled_from("abc")), st.integers(-50, 900)),
    ),
    max_size=12,
).map(lambda many: [Attempt(ended=100 * n, succeeded=ok, revisions=ids) for n, (ok, ids) in enumerate(many)])


def naive(attempts: list[Attempt], place: int) -> Deployment:
    """What holds of one attempt, from the sentences of the definitions."""
    one, before, after = attempts[place], attempts[:place], attempts[place + 1 :]

    def failed(other: int) -> bool:
        this = attempts[other]
        if not this.succeeded:
            return True
        following = [a for a in attempts[other + 1 :] if a.succeeded and a.revisions]
        earlier = [set(a.revisions) for a in attempts[:other] if a.succeeded and a.revisions]
        if not this.revisions or not following:
            return False
        back = set(following[0].revisions)
        return back != set(this.revisions) and back in earlier

    opens = failed(place) and not (place and failed(place - 1))
    mended = [a.ended for n, a in enumerate(after, place + 1) if not failed(n)]
    known = {revision for a in before if a.succeeded for revision in a.revisions}
    new = {revision: made for revision, made in one.revisions.items() if revision not in known} if one.succeeded else {}
    return Deployment(
        ended=one.ended,
        succeeded=one.succeeded,
        failed=failed(place),
        rework=bool(place and failed(place - 1)),
        leads=tuple(max(0, one.ended - new[revision]) for revision in sorted(new)),
        opens=opens,
        recovered=mended[0] - one.ended if opens and mended else None,
    )


@given(ATTEMPTS, st.randoms(use_true_random=False), st.integers(0, 1_200), st.integers(1, 1_200))
@settings(max_examples=examples(200))
def test_it_judges_as_the_model_does(attempts, random, since, length):
    shuffled = random.sample(attempts, len(attempts))
    found = judged(shuffled)
    assert found == [naive(attempts, place) for place in range(len(attempts))]
    within = [one for one in found if since <= one.ended < since + length]
    told = figures(found, since=since, until=since + length)
    assert told.succeeded == len([one for one in within if one.succeeded])
    assert told.failed == len([one for one in within if one.failed])
    assert told.failure_rate == (told.failed / len(within) if within else None)
    leads = [lead for one in within for lead in one.leads]
    assert told.lead == (statistics.median(leads) / 1000 if leads else None)
    assert told.lead_p90 in (*(lead / 1000 for lead in leads), None)
    days = by_day(found, since=since, until=since + length)
    assert (sum(day.good for day in days), sum(day.failed for day in days)) == (len(within) - told.failed, told.failed)


# --- which stage ------------------------------------------------------------------------------------------------------


def stage(name: str, *categories: str) -> dict:
    return {"name": name, "actions": [{"actionTypeId": {"category": category}} for category in categories]}


@pytest.mark.parametrize(
    ("stages", "tags", "found"),
    [
        ([stage("Source", "Source"), stage("Build", "Build")], {}, None),
        ([stage("Source", "Source"), stage("Test", "Deploy"), stage("Live", "Deploy")], {}, ("Live", True)),
        ([stage("Source", "Source"), stage("Live", "Approval", "Deploy"), stage("Tidy", "Build")], {}, ("Live", True)),
        ([stage("A", "Source"), stage("B", "Deploy"), stage("C", "Deploy")], {production.TAG: "B"}, ("B", True)),
        ([stage("A", "Source"), stage("B", "Build")], {production.TAG: "B"}, ("B", False)),
        ([stage("A", "Source"), stage("B", "Deploy")], {production.TAG: "gone"}, ("B", True)),
    ],
)
def test_the_production_stage(stages, tags, found):
    assert production.production_stage({"stages": stages}, tags) == found
