"""Reading a filter pattern from left to right, and saying where it cannot be read."""

from __future__ import annotations

import re

from penstock.logfiles.patterns.kinds import BadPattern

_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_SPACE = re.compile(r"\s*")
_SPECIAL = re.compile(r"[^\w\s]+")


class Scanner:
    """A place in a pattern."""

    def __init__(self, text: str, at: int, end: int) -> None:
        self.text = text
        self.at = at
        self.end = end

    def skip(self) -> bool:
        """Go behind white space; False at the end."""
        found = _SPACE.match(self.text, self.at, self.end)
        assert found is not None
        self.at = found.end()
        return self.at < self.end

    def take(self, *tokens: str) -> str:
        """Go behind the first of these that stands here, and give it; "" when none does."""
        for token in tokens:
            if self.text.startswith(token, self.at, self.end):
                self.at += len(token)
                return token
        return ""

    def match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """Go behind what matches here."""
        found = pattern.match(self.text, self.at, self.end)
        if found is not None:
            self.at = found.end()
        return found

    def string(self) -> str | None:
        """What stands between quotation marks here, its escapes as they are. None when there are none. Raises BadPattern."""
        if not self.text.startswith('"', self.at, self.end):
            return None
        found = self.match(_STRING)
        if found is None:
            raise BadPattern(
                f"Invalid filter pattern. The quotation mark at character {self.at + 1} has no other one at its end"
            )
        return found[1]

    def refused(self, expected: str) -> BadPattern:
        """What is said when something else was expected here."""
        if self.at >= self.end:
            return BadPattern(f"Invalid filter pattern. It ends where {expected} is expected")
        found = _SPECIAL.match(self.text, self.at, self.end)
        where = f"at character {self.at + 1}"
        if found is None:
            return BadPattern(f"Invalid filter pattern. Expected {expected} {where}")
        return BadPattern(f"Invalid character(s) in term '{found[0]}' {where}; expected {expected}")


def unescaped(text: str) -> str:
    """A string without its backslashes."""
    return _ESCAPE.sub(r"\1", text)
