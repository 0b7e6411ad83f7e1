"""Public pipeline declarations: each is taken, or refused for what Penstock says it does not run."""

import json
import os
from pathlib import Path

import pytest

from penstock.pipelines.actions import built_in
from penstock.pipelines.declaration import check, normalise
from penstock.pipelines.plan import plan_of
from penstock.wire.errors import ServiceError

CORPUS = Path(os.environ.get("PENSTOCK_CORPUS", "corpus"))  # a folder of public files; none is shipped


def _files():
    found = sorted(CORPUS.glob("**/*.pipeline.json")) if CORPUS.is_dir() else []
    return found or [pytest.param(None, marks=pytest.mark.skip(reason="there is no corpus of declarations here"))]


@pytest.mark.parametrize("path", _files(), ids=lambda path: path.name if path else "none")
def test_a_public_declaration(path):
    document = json.loads(path.read_text())
    declaration = document.get("pipeline", document)
    types = built_in().type
    refusal = _refusal(declaration, types)
    if refusal:
        assert any(words in refusal for words in ("is not available in region", "artifactStores", "Penstock does not"))
        return
    plan = plan_of(normalise(declaration, 1), 1, types)
    assert [stage.name for stage in plan.stages] == [stage["name"] for stage in declaration["stages"]]


def _refusal(declaration, types):
    try:
        check(declaration, types, region="us-east-1")
    except ServiceError as refused:
        return refused.message
    return ""
