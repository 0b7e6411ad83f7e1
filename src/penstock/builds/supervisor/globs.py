"""The patterns of a buildspec's artifacts: `*` and `?` within a path component, `**` across components, `[…]`, `{a,b}`.

Pure, and no step is taken twice: the work is that of the pattern's length times the name's at most. It is done within the
limits of the build that brought the pattern, and ends with it.
"""

from __future__ import annotations

MAX_ALTERNATIVES = 64


def matches(pattern: str, path: str) -> bool:
    """Whether a relative path (components joined by `/`) is matched by `pattern` as a whole."""
    parts = path.split("/")
    return any(_match_parts(one, parts) for one in compiled(pattern))


def covers(pattern: str, path: str) -> bool:
    """Whether `pattern` matches the path or a folder above it (how exclude-paths are meant)."""
    parts = path.split("/")
    alternatives = compiled(pattern)
    return any(_match_parts(one, parts[:end]) for end in range(1, len(parts) + 1) for one in alternatives)


def is_literal(pattern: str) -> bool:
    """Whether the pattern stands for exactly one path."""
    return not any(mark in pattern for mark in "*?[{")


def compiled(pattern: str) -> list[list[str]]:
    """The alternatives of a pattern, each as its components; `.` and empty components fall away."""
    return [[part for part in one.split("/") if part not in ("", ".")] for one in braces(pattern)]


def braces(pattern: str) -> list[str]:
    """`a{b,c}` → `ab`, `ac`. More than MAX_ALTERNATIVES leave the pattern as it is."""
    found = [pattern]
    for _ in range(8):
        unfolded: list[str] = []
        for one in found:
            opening = one.find("{")
            closing = one.find("}", opening)
            if opening < 0 or closing < 0 or "," not in one[opening:closing]:
                unfolded.append(one)
                continue
            start = one.rfind("{", opening, closing)
            unfolded += [one[:start] + choice + one[closing + 1 :] for choice in one[start + 1 : closing].split(",")]
        if len(unfolded) > MAX_ALTERNATIVES:
            return [pattern]
        if unfolded == found:
            break
        found = unfolded
    return found


def _match_parts(pattern: list[str], parts: list[str]) -> bool:
    """Components against components; `**` stands for any number of them, none included. Greedy with one way back."""
    at = star_at = resume = 0
    star = False
    index = 0
    while index < len(parts):
        if at < len(pattern) and pattern[at] == "**":
            star, star_at, resume = True, at, index
            at += 1
        elif at < len(pattern) and match_name(pattern[at], parts[index]):
            at += 1
            index += 1
        elif star:
            resume += 1
            at, index = star_at + 1, resume
        else:
            return False
    rest = pattern[at:]
    return all(part == "**" for part in rest) and not (rest and not parts)


def match_name(pattern: str, name: str) -> bool:
    """One component against one name, by the same greedy walk."""
    at = star_at = resume = index = 0
    star = False
    while index < len(name):
        if at < len(pattern) and pattern[at] == "*":
            star, star_at, resume = True, at, index
            at += 1
            continue
        width = _unit(pattern, at, name[index]) if at < len(pattern) else 0
        if width:
            at += width
            index += 1
        elif star:
            resume += 1
            at, index = star_at + 1, resume
        else:
            return False
    return not pattern[at:].strip("*")


def _unit(pattern: str, at: int, character: str) -> int:
    """How many pattern characters at `at` match `character`; 0 when they do not."""
    mark = pattern[at]
    if mark == "?":
        return 1
    if mark == "[":
        end = pattern.find("]", at + 2)
        if end > 0:
            return end + 1 - at if _in_class(pattern[at + 1 : end], character) else 0
    if mark == "\\" and at + 1 < len(pattern):
        return 2 if pattern[at + 1] == character else 0
    return 1 if mark == character else 0


def _in_class(members: str, character: str) -> bool:
    negated = members[:1] in ("!", "^")
    members = members[1:] if negated else members
    index = 0
    found = False
    while index < len(members):
        if members[index + 1 : index + 2] == "-" and index + 2 < len(members):
            found = found or members[index] <= character <= members[index + 2]
            index += 3
        else:
            found = found or members[index] == character
            index += 1
    return found != negated
