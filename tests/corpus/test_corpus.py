"""Public buildspecs, AppSpec files and pipelines mean today what they meant when they were recorded.

A difference is not a failure of the parser by itself: it is what a change means for the files that people have. `python
tests/support/penstock_corpus.py` records anew, and the difference of tests/golden/corpus.json is for review.
"""

from __future__ import annotations

import pytest
from penstock_corpus import CORPUS, found, golden, key_of, parse, plans_of
from penstock_histories import Life

from penstock.pipelines.effects import ActionStarted

FILES = list(found()) if CORPUS.is_dir() else []
pytestmark = pytest.mark.needs("corpus")


@pytest.mark.parametrize(("kind", "path"), FILES, ids=[key_of(*file) for file in FILES])
def test_a_public_file_means_what_it_meant(kind, path):
    key = key_of(kind, path)
    assert key in golden(), "not recorded yet: run tests/support/penstock_corpus.py"
    assert parse(kind, path) == golden()[key]


def test_every_recorded_file_is_read():
    assert {key_of(*file) for file in FILES} == golden().keys()


def test_pipelines_are_refused_for_what_aws_refuses_too():
    """Action types of an account's own, and examples of the guide that are no complete pipeline."""
    for kind, least in (("pipeline", 3), ("template", 18)):
        read = {key: parsed for key, parsed in golden().items() if key.startswith(f"{kind} ")}
        refused = [parsed.summary for parsed in read.values() if not parsed.parsed]
        assert refused
        assert len(read) - len(refused) >= least
        for sentence in refused:
            assert any(
                message in sentence
                for message in ("Owner: 'Custom'", "Provider: 'AWS CodeBuild'", "has only 1 stage(s)")
            ), sentence


@pytest.mark.parametrize("kind", ["pipeline", "template", "buildspec", "appspec"])
def test_files_of_every_kind_are_taken(kind):
    assert [key for key, parsed in golden().items() if key.startswith(f"{kind} ") and parsed.parsed]


PIPELINES = [file for file in FILES if file[0] in ("pipeline", "template")]


@pytest.mark.parametrize(("kind", "path"), PIPELINES, ids=[key_of(*file) for file in PIPELINES])
def test_public_pipelines_run_to_their_end_whatever_happens_on_the_way(kind, path):
    for plan in plans_of(kind, path):
        through = Life(1, first=plan)
        through.start()
        through.live(steps=0)
        (run,) = through.runs
        assert through.replay.executions[run].status == "Succeeded"
        assert {action.name for stage in plan.stages for group in stage.groups for action in group} <= {
            effect.name for *_, effects in through.entries for effect in effects if isinstance(effect, ActionStarted)
        }
        for seed in range(20):
            life = Life(seed, first=plan).live(steps=40)
            assert not life.broken
            assert all(life.replay.executions[run].status.ended for run in life.runs)
