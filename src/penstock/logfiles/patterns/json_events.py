"""Patterns of events that are JSON: `{ ($.a.b[0] = "x*") && ($.n >= 1.5e3) || ($.z NOT EXISTS) }`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from penstock.logfiles.patterns import regexes
from penstock.logfiles.patterns.conditions import Comparison, Node, comparison, expression, text_of
from penstock.logfiles.patterns.delimited import too_many
from penstock.logfiles.patterns.kinds import BadPattern, Pattern
from penstock.logfiles.patterns.scanning import Scanner
from penstock.logfiles.patterns.terms import first_of

_WILDCARDS = 3  # in one pattern; one in each selector. AWS: "Filter pattern syntax"
_STEP = re.compile(r"""\.?\[(?:(\d{1,9})|(\*)|'([^']+)'|"([^"]+)")\]|\.(?:([\w-]+)|(\*))""")
_NOT_EXISTS = re.compile(r"NOT\s+EXISTS\b")
_IS = re.compile(r"IS\b\s*")
_CONSTANT = re.compile(r"\w*")
_CONSTANTS = {"NULL": None, "TRUE": True, "FALSE": False}
_SCALARS = (str, int, float)
_ESCAPED = re.compile(rb'[\\/"\x00-\x1f]')  # may be written with a backslash in JSON
_ANY = object()  # a step of a selector: every element, every member

Step = str | int | object


@dataclass(frozen=True, slots=True)
class Selector:
    """`$.a.b[0]`: where a value stands."""

    text: str
    steps: Sequence[Step]

    def values(self, document: Any) -> Iterator[Any]:
        """The values that stand there: of a selector without wildcards one or none."""
        found = [document]
        for step in self.steps:
            following: list[Any] = []
            for value in found:
                if isinstance(value, dict):
                    if step is _ANY:
                        following += value.values()
                    elif step in value:
                        following.append(value[step])
                elif isinstance(value, list):
                    if step is _ANY:
                        following += value
                    elif isinstance(step, int) and step < len(value):
                        following.append(value[step])
            found = following
        yield from found


def selector(scanner: Scanner) -> Selector:
    """The selector that begins here. Raises BadPattern."""
    begins = scanner.at
    steps: list[Step] = []
    if scanner.take("$"):
        while step := scanner.match(_STEP):
            index, every, quoted, double, name, any_member = step.groups()
            steps.append(_ANY if every or any_member else int(index) if index else quoted or double or name)
    if not steps or (scanner.at < scanner.end and scanner.text[scanner.at] in ".["):
        scanner.at = scanner.at if steps else begins
        raise scanner.refused("a property selector such as $.name or $.list[0]")
    if steps.count(_ANY) > 1:
        raise BadPattern(
            f"Invalid filter pattern. The property selector at character {begins + 1} has more than one wildcard"
        )
    return Selector(scanner.text[begins : scanner.at], steps)


@dataclass(frozen=True, slots=True)
class _Compared:
    selected: Selector
    compared: Comparison

    def holds(self, document: Any) -> bool:
        fits = self.compared.fits
        return any(
            fits(value) for value in self.selected.values(document) if isinstance(value, _SCALARS)
        )  # arrays, objects and null never match

    def signs(self) -> Sequence[str]:
        return [sign] if (sign := self.compared.sign()) else ()


@dataclass(frozen=True, slots=True)
class _Is:
    selected: Selector
    value: bool | None

    def holds(self, document: Any) -> bool:
        return any(value is self.value for value in self.selected.values(document))

    def signs(self) -> Sequence[str]:
        return ()


@dataclass(frozen=True, slots=True)
class _Missing:
    selected: Selector

    def holds(self, document: Any) -> bool:
        return next(self.selected.values(document), _ANY) is _ANY

    def signs(self) -> Sequence[str]:
        return ()


class JsonEvents(Pattern):
    """Events that are a JSON object, or an array, of which an expression holds."""

    named = True

    def __init__(self, holds: Node, selectors: Sequence[Selector], regular_expressions: int) -> None:
        self._expression = holds
        self._selectors = selectors
        self.regular_expressions = regular_expressions
        signs = [sign.encode() for sign in holds.signs()]
        # What is no ASCII, and what JSON lets stand behind a backslash, has more than one form.
        self._signs = [] if any(_ESCAPED.search(sign) or not sign.isascii() for sign in signs) else signs
        if self._signs:
            self._signs.append(b"\\u")  # with which any character can be written

    def matches(self, event: bytes) -> bool:
        """See Pattern."""
        document = parsed(event)
        return document is not None and self._expression.holds(document)

    def after(self, data: bytes, at: int) -> int:
        """See Pattern."""
        return first_of(self._signs, data, at) if self._signs else data.find(b"{", at)

    def extracted(self, event: bytes) -> Mapping[str, str]:
        """See Pattern. They are named by their selectors."""
        document = parsed(event)
        found = {one.text: next(one.values(document), None) for one in self._selectors}
        return {name: text_of(value) for name, value in found.items() if isinstance(value, _SCALARS)}


def parsed(event: bytes) -> Any:
    """An event as JSON; None when it is no object."""
    try:
        document = orjson.loads(event)
    except orjson.JSONDecodeError:
        return None
    return document if isinstance(document, dict) else None


def read(text: str, at: int, end: int) -> Pattern:
    """The pattern between braces. Raises BadPattern."""
    scanner = Scanner(text, at, end)
    selectors: list[Selector] = []
    counted: list[Comparison] = []

    def condition(scanner: Scanner) -> Node:
        selectors.append(selected := selector(scanner))
        scanner.skip()
        if scanner.match(_NOT_EXISTS):
            return _Missing(selected)
        if scanner.match(_IS):
            begins, constant = scanner.at, scanner.match(_CONSTANT)
            if constant is None or constant[0] not in _CONSTANTS:
                scanner.at = begins
                raise scanner.refused("NULL, TRUE or FALSE")
            return _Is(selected, _CONSTANTS[constant[0]])
        counted.append(comparison(scanner))
        return _Compared(selected, counted[-1])

    holds = expression(scanner, condition)
    if scanner.skip():
        raise scanner.refused("&& or ||")
    many = sum(one.regex is not None for one in counted)
    if many > regexes.MOST:
        raise too_many(many)
    if sum(_ANY in one.steps for one in selectors) > _WILDCARDS:
        raise BadPattern(f"Invalid filter pattern. More than {_WILDCARDS} of its property selectors have a wildcard")
    return JsonEvents(holds, selectors, many)
