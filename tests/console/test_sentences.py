"""What the pages say follows from the state: every combination of the states is tabulated."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from penstock.console.pages.approval import _changes
from penstock.console.pages.runs import Change, Run
from penstock.console.pages.sentences import approving, checks, enters, lede


@pytest.mark.parametrize(
    ("waiting", "enabled", "holder", "said"),
    [
        ([], True, None, ""),
        ([], False, 2, ""),
        ([3], True, None, ""),
        ([3], True, 2, "It enters when run 2 leaves."),
        ([3], False, None, "It enters when the transition is opened."),
        ([3], False, 2, "It enters when run 2 leaves and the transition is opened."),
        ([3, 4], True, 2, "Run 3 enters first, when run 2 leaves."),
        ([3, 4], False, None, "Run 3 enters first, when the transition is opened."),
        ([3, 4], False, 2, "Run 3 enters first, when run 2 leaves and the transition is opened."),
    ],
)
def test_when_a_waiting_run_enters(waiting, enabled, holder, said):
    assert enters(waiting, enabled=enabled, holder=holder) == said


CANARY = {"name": "Canary", "enabled": True, "holder": ""}


@pytest.mark.parametrize(
    ("others", "following", "said"),
    [
        ([], CANARY, "Once it is approved, run 3 continues to Canary at once."),
        ([], None, "Once it is approved, run 3 is complete: this is its last stage."),
        (
            [],
            CANARY | {"enabled": False},
            "After approval run 3 waits before Canary, because its transition is closed.",
        ),
        ([], CANARY | {"holder": "run 2"}, "After approval run 3 waits before Canary, because run 2 holds it."),
        (
            [],
            CANARY | {"holder": "run 2", "enabled": False},
            "After approval run 3 waits before Canary, because run 2 holds it and its transition is closed.",
        ),
        (
            ["Legal"],
            CANARY,
            "Approving passes this action only: Legal has to succeed before run 3 leaves the stage.",
        ),
        (
            ["Legal", "Smoke"],
            None,
            "Approving passes this action only: Legal and Smoke have to succeed before run 3 leaves the stage.",
        ),
        (
            ["A", "B", "C", "D", "E"],
            CANARY | {"enabled": False},
            "Approving passes this action only: A, B, C and 2 more have to succeed before run 3 leaves the stage.",
        ),
    ],
)
def test_what_an_approval_leads_to(others, following, said):
    assert approving(others, following, number=3) == said


@pytest.mark.parametrize(
    ("states", "said"),
    [
        (["Succeeded", "Succeeded"], "2 of 2 passed"),
        (["Succeeded", "InProgress"], "1 of 2 passed, 1 in progress"),
        (["Succeeded", "InProgress", "Failed", "Abandoned"], "1 of 4 passed, 1 in progress, 1 failed, 1 stopped"),
    ],
)
def test_checks_count_only_what_has_passed(states, said):
    assert checks(states) == said


def _stage(name, answer="", number=None, *, holder=False, inside=(), waiting=()):
    run = SimpleNamespace(number=number) if number else None
    return {
        "name": name,
        "shown": answer,
        "last": run,
        "holder": run if holder else None,
        "inside": [{"run": SimpleNamespace(number=one), "action": action} for one, action in inside],
        "waiting": [SimpleNamespace(number=one) for one in waiting],
    }


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        ([_stage("A"), _stage("B")], "Run 4 is the newest."),
        ([_stage("A", "Succeeded", 4), _stage("B", "Succeeded", 4)], "All stages succeeded in run 4."),
        ([_stage("A", "Succeeded", 4), _stage("B", "Succeeded", 3)], "The last to finish all stages was run 3."),
        (
            [_stage("A", "InProgress", 4, holder=True), _stage("B", "Succeeded", 3)],
            "Run 4 is in A. The last to finish all stages was run 3.",
        ),
        ([_stage("A", "Failed", 4), _stage("B")], "Run 4 failed in A."),
        ([_stage("A", "Stopped", 4), _stage("B")], "Run 4 was stopped in A."),
        ([_stage("A", "Stopping", 4, holder=True), _stage("B")], "Run 4 is stopping in A."),
        ([_stage("A", "Waiting", 4, holder=True), _stage("B")], "Run 4 waits for a decision in A."),
        (
            [_stage("A"), _stage("B", "InProgress", 2, holder=True, waiting=[3])],
            "Run 2 is in B. Run 3 waits before B.",
        ),
        ([_stage("A"), _stage("B", waiting=[2, 3, 4])], "Runs 2, 3 and 4 wait before B."),
        ([_stage("A"), _stage("B", waiting=range(1, 8))], "Runs 1, 2, 3 and 4 more wait before B."),
        (
            [_stage("A"), _stage("B", "Waiting", 2, inside=[(2, "Ask"), (3, "Ask"), (4, "")])],
            "Runs 2 and 3 wait for a decision in B. Run 4 is in B.",
        ),
    ],
)
def test_how_a_pipeline_stands(stages, said):
    assert lede(stages, [4]) == said


def test_a_pipeline_without_runs_says_so():
    assert lede([_stage("A")], []) == "This pipeline has not run yet."


def _run(number, mark, revision):
    change = Change(action="App", revision=revision, summary=revision, url="")
    return Run(
        id=str(number), number=number, state="Succeeded", started=number, updated=number, trigger="", by="", why="",
        changes=[change], marks=["Succeeded", mark],
    )  # fmt: skip


def test_changes_reach_from_the_last_run_that_passed_to_this_one():
    """Neither the run that passed nor what came before it, and nothing newer than the run that is decided."""
    runs = [
        _run(5, "", "e"),
        _run(4, "Waiting", "d"),
        _run(3, "Failed", "c"),
        _run(2, "Succeeded", "b"),
        _run(1, "", "a"),
    ]
    found = _changes(runs, runs[1], 1)
    assert [(one["run"], one["change"].revision) for one in found] == [(4, "d"), (3, "c")]
