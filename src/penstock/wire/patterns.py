"""Patterns of the models, matched in full as AWS does, in linear time on values from outside.

The models are written for Java. Single classes with one quantifier run on Python's `re`, which is linear on them and knows no
limit of repetition; the rest runs on RE2. What RE2 refuses (look-around in a handful of shapes) runs on `re` on short values.
"""

from __future__ import annotations

import contextlib
import logging
import re
import warnings
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import re2

log = logging.getLogger("penstock.wire")

_SIMPLE = re.compile(r"\^?\[(?!\^?\])(?:[^\[\]\\]|\\[^pPbBdDwWsSuU0-9Q]|\\[dws])+\](?:[*+]|\{\d+(?:,\d*)?\})?\$?")
_SET_OPERATION = re.compile(r"--|&&|~~|\|\|")
_JAVA_ESCAPE = re.compile(r"\\u([0-9A-Fa-f]{4})")
_CLASS_THEN_DASH = re.compile(r"(\\[wds])-(?=[^\]])")  # Java and RE2 read such a dash as itself
_MEMORY = 4 << 20  # bytes that RE2 takes for one expression
_REMEMBERED = 256  # characters
_SLOW_LIMIT = 4096  # characters that a pattern outside RE2 is tried on


def _translated(escape: re.Match[str]) -> str:
    point = int(escape[1], 16)
    return "" if 0xD800 <= point <= 0xDFFF else f"\\x{{{escape[1]}}}"


@lru_cache(maxsize=256)
def compiled(expression: str) -> Any:
    """An expression for RE2, whose time is linear in what it searches and whose memory has a bound. Raises ValueError, with the reason."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MEMORY
    try:
        return re2.compile(expression, options)
    except re2.error as error:
        reason = error.args[0] if error.args else ""
        raise ValueError(reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)) from None


@lru_cache(maxsize=1024)
def full_match(pattern: str) -> Callable[[str], object]:
    """A function that is truthy for the values that match the whole pattern.

    A value too long for a pattern that only a backtracking matcher knows does not match.
    """
    if _SIMPLE.fullmatch(pattern) and not _SET_OPERATION.search(pattern):
        with contextlib.suppress(re.error):
            return re.compile(pattern, re.ASCII).fullmatch
    try:
        return _remembering(compiled(_JAVA_ESCAPE.sub(_translated, pattern)).fullmatch)
    except ValueError:
        slow = _python(pattern)
    if slow is None:
        log.warning("pattern.unusable", extra={"pattern": pattern})
        return lambda _value: True
    return lambda value: len(value) <= _SLOW_LIMIT and slow.fullmatch(value)


def _python(pattern: str) -> re.Pattern[str] | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of set operations that Python may have one day
        try:
            return re.compile(_CLASS_THEN_DASH.sub(r"\1\\-", pattern), re.ASCII)
        except re.error:
            return None


def _remembering(match: Callable[[str], object]) -> Callable[[str], object]:
    # One document names the same role again and again, and a call into RE2 costs thirty times a look-up.
    @lru_cache(maxsize=64)
    def recall(value: str) -> bool:
        return bool(match(value))

    return lambda value: recall(value) if len(value) <= _REMEMBERED else match(value)
