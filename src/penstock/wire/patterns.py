"""Patterns of the models, matched whole as AWS does, in linear time on values from outside.

The models are written for Java. Single classes with one quantifier run on Python's `re`, which is linear on them and knows no
limit of repetition; the rest runs on RE2. What RE2 refuses (look-around in a handful of shapes) runs on `re` on short values.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from functools import lru_cache

import re2

_SIMPLE = re.compile(r"\^?\[(?!\^?\])(?:[^\[\]\\]|\\[^pPbBdDwWsSuU0-9Q]|\\[dws])+\](?:[*+]|\{\d+(?:,\d*)?\})?\$?")
_SET_OPERATION = re.compile(r"--|&&|~~|\|\|")
_JAVA_ESCAPE = re.compile(r"\\u([0-9A-Fa-f]{4})")
_SLOW_LIMIT = 4096  # characters that a pattern outside RE2 is tried on


def _translated(escape: re.Match[str]) -> str:
    point = int(escape[1], 16)
    return "" if 0xD800 <= point <= 0xDFFF else f"\\x{{{escape[1]}}}"


@lru_cache(maxsize=1024)
def full_match(pattern: str) -> Callable[[str], object]:
    """A function that is truthy for the values that match the whole pattern.

    A value too long for a pattern that only a backtracking matcher knows does not match.
    """
    if _SIMPLE.fullmatch(pattern) and not _SET_OPERATION.search(pattern):
        with contextlib.suppress(re.error):  # such as "\\w-_", which Java and RE2 read as three
            return re.compile(pattern, re.ASCII).fullmatch
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 4 << 20
    try:
        return re2.compile(_JAVA_ESCAPE.sub(_translated, pattern), options).fullmatch
    except re2.error:
        slow = re.compile(pattern, re.ASCII)
        return lambda value: len(value) <= _SLOW_LIMIT and slow.fullmatch(value)
