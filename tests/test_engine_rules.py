"""Each rule of docs/reference/engine-rules.md names a test that is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "reference" / "engine-rules.md"
NAMED = sorted(set(re.findall(r"`([a-z_/]+\.py)::(\w+)`", PAGE.read_text())))


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_the_test_of_a_rule_is_there(file, name):
    assert re.search(rf"^(?:async )?(?:def|class) {name}\b", (TESTS / file).read_text(), re.MULTILINE)


def test_every_row_names_one():
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| ") and not line.startswith("| rule ")]
    assert len(rows) > 60
    assert [row for row in rows if not re.search(r"`[a-z_/]+\.py::\w+` \|$", row)] == []
