"""IAM's wildcards: `*` stands for any characters, `?` for exactly one. Pure; no regular expressions, no backtracking."""

from __future__ import annotations

from collections.abc import Callable

Matcher = Callable[[str], bool]


def wildcard(pattern: str) -> Matcher:
    """A predicate for whole strings. Worst case O(len(pattern) * len(text)), whatever the pattern."""
    if "?" not in pattern:
        first = pattern.find("*")
        if first < 0:
            return pattern.__eq__
        head, tail = pattern[:first], pattern[first:].lstrip("*")
        if not tail:
            return (lambda _text: True) if not head else (lambda text: text.startswith(head))
    return lambda text: matches(pattern, text)


def matches(pattern: str, text: str) -> bool:
    """Whether the pattern covers the whole text."""
    # Greedy with one restart point: only the last star can still need to grow.
    at, here = 0, 0
    star, resume = -1, 0
    while here < len(text):
        if at < len(pattern) and pattern[at] == "*":
            star, resume = at, here
            at += 1
        elif at < len(pattern) and pattern[at] in ("?", text[here]):
            at += 1
            here += 1
        elif star >= 0:
            resume += 1
            at, here = star + 1, resume
        else:
            return False
    return all(rest == "*" for rest in pattern[at:])


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
    parts = [wildcard(segment) for segment in segments]
    last = len(parts) - 1

    def match(text: str) -> bool:
        pieces = text.split(":", last)
        return len(pieces) == len(parts) and all(part(piece) for part, piece in zip(parts, pieces, strict=True))

    return match
