"""Artifact patterns against a naive model, and in bounded time."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from penstock_examples import examples

from penstock.builds.supervisor.globs import braces, covers, match_name, matches


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("**/*", "a", True),
        ("**/*", "a/b/.c", True),
        ("*", "a/b", False),
        ("dir/*", "dir/a", True),
        ("dir/*", "dir/a/b", False),
        ("dir/**/*", "dir/a", True),
        ("dir/**/*", "dir/a/b/c", True),
        ("dir/**", "dir/a/b", True),
        ("./a", "a", True),
        ("target/*.jar", "target/x.jar", True),
        ("**/*.{jar,war}", "a/b/c.war", True),
        ("**.jar", "c.jar", True),
        ("a?c", "abc", True),
        ("[a-c]x", "bx", True),
        ("[!a-c]x", "bx", False),
        ("**/b/**/d", "a/b/c/d", True),
        ("**/b/**/d", "b/d", True),
        ("**/b/**/d", "b/c", False),
    ],
)
def test_patterns(pattern: str, path: str, expected: bool):
    assert matches(pattern, path) is expected


def test_excluding_a_folder_excludes_what_is_below():
    assert covers("node_modules", "node_modules/a/b")
    assert covers("**/*.map", "a/b.map")
    assert not covers("b", "a/b")


def naive(pattern: list[str], path: list[str]) -> bool:
    """`**` is any number of components, tried one by one."""
    if not pattern:
        return not path
    if pattern[0] == "**":
        return naive(pattern[1:], path) or bool(path) and naive(pattern, path[1:])
    if not path:
        return False
    text = "".join({"*": ".*", "?": "."}.get(c, re.escape(c)) for c in pattern[0])
    return bool(re.fullmatch(text, path[0])) and naive(pattern[1:], path[1:])


_PART = st.text("ab*?", min_size=1, max_size=4).filter(lambda part: "**" not in part)


@given(
    st.lists(st.one_of(_PART, st.just("**")), min_size=1, max_size=5),
    st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=5),
)
@settings(max_examples=examples(1000), deadline=None)
def test_agrees_with_the_naive_model(pattern: list[str], path: list[str]):
    assert matches("/".join(pattern), "/".join(path)) is naive(pattern, path)


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("a{b,c}", ["ab", "ac"]), ("{a,b}{c,d}", ["ac", "ad", "bc", "bd"]), ("a{b}c", ["a{b}c"]), ("a{b,c", ["a{b,c"]), ("a,b}", ["a,b}"]),
        ("a{,b}", ["a", "ab"]), ("{{a,b},c}", ["a", "b", "c", "c"]),
        ("{" + "a," * 63 + "a}", ["a"] * 64), ("{" + "a," * 64 + "a}", ["{" + "a," * 64 + "a}"]),
    ],
)  # fmt: skip
def test_what_braces_stand_for(pattern: str, found: list[str]):
    assert sorted(braces(pattern)) == sorted(found)


def test_hostile_patterns_take_no_time():
    started = time.thread_time()
    assert not match_name("*a" * 100 + "b", "a" * 250)
    assert not matches("/".join(["**", "a"] * 50) + "/b", "/".join(["a"] * 200))
    assert braces("{a,b}" * 30)
    assert time.thread_time() - started < 1
