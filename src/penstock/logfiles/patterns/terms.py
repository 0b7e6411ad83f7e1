"""Patterns of unstructured events: terms, "phrases", ?either, -without; or one regular expression."""

from __future__ import annotations

import re
from collections.abc import Sequence

from penstock.logfiles.patterns import regexes
from penstock.logfiles.patterns.kinds import EVERYTHING, Pattern
from penstock.logfiles.patterns.scanning import Scanner, unescaped

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}".encode()
_WORD = re.compile(r"\w+")
_WINDOW = 512  # bytes


class Terms(Pattern):
    """All plain terms, one of those with ?, none of those with -. Case counts."""

    def __init__(self, wanted: Sequence[str] = (), either: Sequence[str] = (), unwanted: Sequence[str] = ()) -> None:
        # As events are written: what has no UTF-8 is a question mark there.
        self._wanted, self._either, self._unwanted = (
            [term.encode("utf-8", "replace") for term in terms]
            for terms in (wanted, () if wanted else either, unwanted)  # AWS ignores ?terms beside plain ones
        )

    def matches(self, event: bytes) -> bool:
        """See Pattern."""
        for term in self._wanted:
            if term not in event:
                return False
        for term in self._unwanted:
            if term in event:
                return False
        return not self._either or any(term in event for term in self._either)

    def after(self, data: bytes, at: int) -> int:
        """See Pattern."""
        places = [data.find(term, at) for term in self._wanted if _sure(term)]
        if self._either and all(map(_sure, self._either)):
            places.append(first_of(self._either, data, at))
        return -1 if -1 in places else max(places, default=at)


def _sure(term: bytes) -> bool:
    """Whether a file has the term as it is: a replacement character stands for whatever is not UTF-8."""
    return _REPLACEMENT not in term


def first_of(needles: Sequence[bytes], data: bytes, at: int) -> int:
    """Where the first of any of these stands, -1 for none.

    In windows that grow: looking up to the end for a needle that is rare would take, at each place of another one, as long as all that follows.
    """
    begins, window = at, _WINDOW
    while True:
        ends = begins + window
        places = [data.find(needle, begins, ends + len(needle)) for needle in needles]
        if (first := min((place for place in places if place >= 0), default=-1)) >= 0 or ends >= len(data):
            return first
        begins, window = ends, 2 * window


def read(text: str, at: int, end: int) -> Pattern:
    """The pattern in a part of a text. Raises BadPattern."""
    scanner = Scanner(text, at, end)
    if scanner.take("%"):
        regex = regexes.read(scanner)
        if scanner.skip():
            raise scanner.refused("nothing behind a regular expression")
        return regex
    terms: dict[str, list[str]] = {"": [], "?": [], "-": []}
    while scanner.skip():
        mark = scanner.take("?", "-")
        phrase = scanner.string()
        if phrase is not None:
            terms[mark].append(unescaped(phrase))
        elif word := scanner.match(_WORD):
            terms[mark].append(word[0])
        else:
            raise scanner.refused("a term of letters, digits and underscores, or one in quotation marks")
        if scanner.at < end and not text[scanner.at].isspace():
            raise scanner.refused("a space between two terms")
    plain = [term for term in terms[""] if term.strip()]  # AWS: " " matches everything
    return Terms(plain, terms["?"], terms["-"]) if plain or terms["?"] or terms["-"] else EVERYTHING
