"""Filter patterns of unstructured log events (AWS: "Filter pattern syntax"): terms, "phrases", ?either, -without. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

_TERM = re.compile(r'([?-]?)(?:"((?:[^"\\]|\\.)*)"|([^\s"]+))')
_BARE = re.compile(r"[\w\-./:*@]+\Z")


class BadPattern(Exception):
    """The pattern cannot be read, or is of a kind that is not served. Its text is the message."""


class Pattern:
    """A compiled pattern. Terms are case-sensitive."""

    def __init__(self, wanted: Sequence[str] = (), either: Sequence[str] = (), unwanted: Sequence[str] = ()) -> None:
        self._wanted = wanted
        self._either = () if wanted else either  # AWS ignores ?terms beside plain ones
        self._unwanted = unwanted
        self._needles = [needle for term in wanted if (needle := _needle(term)) is not None]
        alternatives = [_needle(term) for term in self._either]
        self._alternatives = [] if None in alternatives else [needle for needle in alternatives if needle is not None]

    def matches(self, message: str) -> bool:
        """Whether a message matches: all plain terms, one of those with ?, none of those with -."""
        return (
            all(term in message for term in self._wanted)
            and not any(term in message for term in self._unwanted)
            and (not self._either or any(term in message for term in self._either))
        )

    def may_match(self, data: bytes, start: int = 0, end: int | None = None) -> bool:
        """False when no message whose UTF-8 lies in this part of `data` matches."""
        for needle in self._needles:
            if data.find(needle, start, end) < 0:
                return False
        return not self._alternatives or any(data.find(needle, start, end) >= 0 for needle in self._alternatives)


EVERYTHING = Pattern()


def compile_pattern(pattern: str) -> Pattern:
    """The pattern in a text. Raises BadPattern."""
    pattern = pattern.strip()
    if not pattern:
        return EVERYTHING
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
    return Pattern(wanted, either, unwanted)


def _needle(term: str) -> bytes | None:
    """The bytes that a message with this term has; None when other bytes may be read as the term too."""
    if "\N{REPLACEMENT CHARACTER}" in term:
        return None  # stands for whatever is not UTF-8
    try:
        return term.encode()
    except UnicodeEncodeError:
        return None
