"""Filter patterns of plain text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.logfiles.filterpattern import BadPattern, compile_pattern


@pytest.mark.parametrize(
    ("pattern", "message", "expected"),
    [
        ("", "anything", True),
        ("ERROR", "an ERROR here", True),
        ("ERROR", "an error here", False),
        ("ERROR timeout", "timeout after ERROR", True),
        ("ERROR timeout", "ERROR", False),
        ('"exit status 1"', "exit status 1", True),
        ('"exit status 1"', "exit 1 status", False),
        ("?ERROR ?WARN", "a WARN", True),
        ("?ERROR ?WARN", "fine", False),
        ("ERROR -timeout", "ERROR timeout", False),
        ("ERROR -timeout", "ERROR", True),
        (r'"a \"b\""', 'a "b"', True),
    ],
)
def test_terms(pattern: str, message: str, expected: bool):
    assert compile_pattern(pattern).matches(message) is expected


@pytest.mark.parametrize("pattern", ["{ $.a = 1 }", "[a, b]", "%re%", '"open', "a=b", "(x)"])
def test_what_is_not_served_refused_with_a_reason(pattern: str):
    with pytest.raises(BadPattern) as refused:
        compile_pattern(pattern)
    assert str(refused.value)


@given(st.text(max_size=50), st.text(max_size=50))
def test_any_pattern_is_compiled_or_refused(pattern: str, message: str):
    try:
        test = compile_pattern(pattern).matches
    except BadPattern:
        return
    assert test(message) in (True, False)
