"""Regular expressions in filter patterns: `%…%`, of a few operators, run by RE2, whose time is linear in what it searches."""

from __future__ import annotations

import re
from typing import Any

from penstock.logfiles.patterns.kinds import BadPattern, Pattern
from penstock.logfiles.patterns.scanning import Scanner

MOST = 2  # in one pattern. AWS: "Filter pattern syntax", quotas
_MEMORY = 4 << 20  # bytes that RE2 takes for one
_LARGEST = 1_000  # instructions that one becomes: its time is at most proportional to them
# AWS: "Supported regular expressions (regex) syntax". Spaces and parentheses are written as \s and \x28.
_PART = re.compile(
    r"\\(?:x[0-9A-Fa-f]{2}|[dDsSwW]|[^A-Za-z0-9\s])|\[\^?\]?(?:[^\\\]]|\\.)*\]|[A-Za-z0-9:_#=@/;,\-?\[\]{}|*+.^$]"
)
_IN_CLASS = re.compile(r"(?:[A-Za-z0-9:_#=@/;,\-?\[\]{}|*+.^$]|\\.)*\Z")


class Regex(Pattern):
    """Events in which a regular expression is found."""

    regular_expressions = 1

    def __init__(self, expression: str, anywhere: str) -> None:
        """`anywhere` is the expression without its anchors: it is found wherever the expression is, also in several events beside each other."""
        self._found = _compiled(expression)
        self._anywhere = _compiled(anywhere)

    def matches(self, event: bytes) -> bool:
        """Whether it is found in the event."""
        return self._found.search(event) is not None

    def after(self, data: bytes, at: int) -> int:
        """See Pattern."""
        found = self._anywhere.search(data, at)
        return -1 if found is None else found.start()


def read(scanner: Scanner) -> Regex:
    """The expression that begins here, behind its `%`. Raises BadPattern."""
    begins = scanner.at
    scanner.at = ends = scanner.text.find("%", begins, scanner.end)
    if ends < 0:
        scanner.at = begins - 1
        raise BadPattern(
            f"Invalid filter pattern. The regular expression that begins with '%' at character {begins} has no other '%' at its end"
        )
    expression, anywhere = scanner.text[begins:ends], []
    if not expression:
        scanner.at = begins - 1
        raise scanner.refused("an expression between '%' and '%'")
    scanner.at = begins
    while scanner.at < ends:
        found = _PART.match(scanner.text, scanner.at, ends)
        if found is None or (found[0].startswith("[") and not _IN_CLASS.match(found[0])):
            raise scanner.refused("an operator of regular expressions")
        anywhere.append("(?:)" if found[0] in ("^", "$") else found[0])
        scanner.at = found.end()
    scanner.at = ends + 1
    try:
        return Regex(expression, "".join(anywhere))
    except ValueError as bad:
        raise BadPattern(
            f"Invalid filter pattern. The regular expression at character {begins + 1} cannot be read: {bad}"
        ) from None


def _compiled(expression: str) -> Any:
    """Raises ValueError."""
    import re2  # noqa: PLC0415 - readers of other patterns start without it

    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MEMORY
    try:
        compiled = re2.compile(expression.encode(), options)
    except re2.error as error:
        reason = error.args[0]
        raise ValueError(reason.decode() if isinstance(reason, bytes) else str(reason)) from None
    if compiled.programsize > _LARGEST:
        raise ValueError("it repeats more than can be searched in a short time")
    return compiled
