"""Filter patterns of unstructured log events (AWS: "Filter pattern syntax"): terms, "phrases", ?either, -without. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable

_TERM = re.compile(r'([?-]?)(?:"((?:[^"\\]|\\.)*)"|([^\s"]+))')
_BARE = re.compile(r"[\w\-./:*@]+\Z")


class BadPattern(Exception):
    """The pattern cannot be read, or is of a kind that is not served. Its text is the message."""


def compile_pattern(pattern: str) -> Callable[[str], bool]:
    """A test for messages; terms are case-sensitive and all must appear. Raises BadPattern."""
    pattern = pattern.strip()
    if not pattern:
        return lambda _message: True
    if pattern.startswith(("{", "[", "%")):
        raise BadPattern("Patterns of JSON, of space-delimited events and of regular expressions are not served yet")
    wanted: list[str] = []
    either: list[str] = []
    unwanted: list[str] = []
    at = 0
    while at < len(pattern):
        found = _TERM.match(pattern, at)
        if found is None:
            raise BadPattern(f"Invalid character(s) in term '{pattern[at:]}'")
        mark, phrase, bare = found.groups()
        if bare is not None and not _BARE.match(bare):
            raise BadPattern(f"Invalid character(s) in term '{bare}'")
        term = bare if bare is not None else re.sub(r"\\(.)", r"\1", phrase)
        {"": wanted, "?": either, "-": unwanted}[mark].append(term)
        at = found.end()
        while at < len(pattern) and pattern[at].isspace():
            at += 1

    def test(message: str) -> bool:
        return (
            all(term in message for term in wanted)
            and not any(term in message for term in unwanted)
            # AWS ignores ?terms beside plain ones.
            and (not either or bool(wanted) or any(term in message for term in either))
        )

    return test
