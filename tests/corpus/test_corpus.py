"""Public buildspecs, AppSpec files and pipelines mean today what they meant when they were recorded.

A difference is not a failure of the parser by itself: it is what a change means for the files that people have. `python
tests/support/penstock_corpus.py` records anew, and the difference of tests/golden/corpus.json is for review.
"""

from __future__ import annotations

import pytest
from penstock_corpus import CORPUS, found, golden, key_of, parse

FILES = list(found()) if CORPUS.is_dir() else []
pytestmark = pytest.mark.needs("corpus")


@pytest.mark.parametrize(("kind", "path"), FILES, ids=[key_of(*file) for file in FILES])
def test_a_public_file_means_what_it_meant(kind, path):
    key = key_of(kind, path)
    assert key in golden(), "not recorded yet: run tests/support/penstock_corpus.py"
    assert parse(kind, path) == golden()[key]


def test_every_recorded_file_is_read():
    assert {key_of(*file) for file in FILES} == golden().keys()


def test_pipelines_are_refused_for_what_penstock_does_not_run_only():
    refused = [parsed.summary for key, parsed in golden().items() if key.startswith("pipeline ") and not parsed.parsed]
    assert refused
    for sentence in refused:
        assert any(
            message in sentence for message in ("is not available in region", "artifactStores", "Penstock does not")
        )


@pytest.mark.parametrize("kind", ["pipeline", "buildspec", "appspec"])
def test_files_of_every_kind_are_taken(kind):
    assert [key for key, parsed in golden().items() if key.startswith(f"{kind} ") and parsed.parsed]
