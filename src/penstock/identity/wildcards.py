"""IAM's wildcards: `*` stands for any characters, `?` for exactly one. Pure; no regular expressions, no backtracking.

A pattern is cut at its stars when it is compiled. Each piece is then looked for once, behind the piece before it: a piece without
`?` by `str.find`, which is linear, and one with `?` by intersecting, for all of the text at once, the places where its letters
stand; where they stand is worked out once for all patterns. So the number of steps is that of the pattern's characters and the text's, not of one times the other.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

Matcher = Callable[[str], bool]

# Characters of a text that is compared. The longest ARN of ours is that of an object: 1,024 bytes of key and its bucket.
MAX_TEXT = 2048


def wildcard(pattern: str) -> Matcher:
    """A predicate for complete strings."""
    head, *pieces = pattern.split("*")
    if not pieces:
        return pattern.__eq__ if "?" not in pattern else lambda text: _stands(pattern, text, 0, len(text))
    tail = pieces.pop()
    pieces = [piece for piece in pieces if piece]
    if not tail and not pieces and "?" not in head:
        return lambda text: text.startswith(head)
    return lambda text: _covers(head, pieces, tail, text)


def _covers(head: str, pieces: list[str], tail: str, text: str) -> bool:
    end = len(text) - len(tail)
    at = len(head)
    if at > end or not _stands(head, text, 0, at) or not _stands(tail, text, end, len(text)):
        return False
    places: dict[str, int] | None = None
    for piece in pieces:
        # The first place is the best: it leaves the most for the pieces that follow.
        if "?" not in piece:
            found = text.find(piece, at, end)
        else:
            places = _places(text) if places is None else places
            found = _find(piece, places, at, end)
        if found < 0:
            return False
        at = found + len(piece)
    return True


def _stands(piece: str, text: str, start: int, end: int) -> bool:
    """Whether a piece without stars is exactly what stands between two places."""
    if len(piece) != end - start:
        return False
    if "?" not in piece:
        return text.startswith(piece, start)
    return all(want in ("?", have) for want, have in zip(piece, text[start:end], strict=True))


@lru_cache(maxsize=32)  # one resource is compared with thousands of patterns, as a whole and in segments
def _places(text: str) -> dict[str, int]:
    """Letter → a number whose bit i says whether the letter stands at i."""
    size = len(text) // 8 + 1
    marks: dict[str, bytearray] = {}
    for at, letter in enumerate(text):
        if letter not in marks:
            marks[letter] = bytearray(size)
        marks[letter][at >> 3] |= 1 << (at & 7)
    return {letter: int.from_bytes(mark, "little") for letter, mark in marks.items()}


def _find(piece: str, places: dict[str, int], start: int, end: int) -> int:
    """The first place between two at which a piece with `?` stands, or -1 when it is missing."""
    room = end - start - len(piece) + 1
    if room <= 0:
        return -1
    left = ((1 << room) - 1) << start  # bit i: the piece may stand at i
    for offset, letter in enumerate(piece):
        if letter != "?":
            left &= places.get(letter, 0) >> offset
    return (left & -left).bit_length() - 1


def arn_wildcard(pattern: str) -> Matcher:
    """A predicate for resource ARNs.

    A wildcard stays within its segment (`arn:partition:service:region:account:`), except in the pattern's last one, where
    it goes beyond colons. (AWS: IAM JSON policy elements: Resource.)
    """
    if pattern == "*":
        return lambda _text: True
    if "*" not in pattern and "?" not in pattern:
        return pattern.__eq__
    segments = pattern.split(":", 5)
    plain = [i for i, segment in enumerate(segments) if "*" in segment or "?" in segment]
    if plain[0] == len(segments) - 1:
        return wildcard(pattern)  # every wildcard is in the last segment: one comparison does it
    last = len(segments) - 1
    # From the back: what is named there differs most from one resource to the next.
    parts = [(i, wildcard(segments[i])) for i in range(last, -1, -1) if segments[i] != "*"]

    def match(text: str) -> bool:
        pieces = text.split(":", last)
        if len(pieces) != last + 1:
            return False
        for i, part in parts:  # noqa: SIM110 - a generator takes as long as the comparisons
            if not part(pieces[i]):
                return False
        return True

    return match
