"""Patterns of events whose fields are separated by spaces: `[ip, user, ..., status = 4*, bytes > 100]`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from penstock.logfiles.patterns import regexes
from penstock.logfiles.patterns.conditions import Comparison, Node, comparison, expression
from penstock.logfiles.patterns.kinds import EVERYTHING, BadPattern, Pattern
from penstock.logfiles.patterns.scanning import Scanner
from penstock.logfiles.patterns.terms import first_of

_NAME = re.compile(r"[\w-]+")
_WORD = re.compile(r"\S+")
_SPACE = re.compile(r"\s*")
_ESCAPE = re.compile(r'\\(["\\])')  # any other backslash, as of a path, is itself
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)


@dataclass(frozen=True, slots=True)
class _Condition:
    compared: Comparison

    def holds(self, document: str) -> bool:
        return self.compared.fits(document)

    def signs(self) -> Sequence[str]:
        return [sign] if (sign := self.compared.sign()) else ()


@dataclass(slots=True)
class _Field:
    name: str = ""
    condition: Node | None = None


class Delimited(Pattern):
    """Events with as many fields as the pattern has, or more where it has `...`."""

    named = True

    def __init__(self, before: Sequence[_Field], behind: Sequence[_Field] | None, regular_expressions: int) -> None:
        """`behind` are the fields behind an ellipsis, None without one."""
        self._before, self._behind = before, behind
        self.regular_expressions = regular_expressions
        known = [field.condition.signs() for field in (*before, *(behind or ())) if field.condition is not None]
        # Quotation marks are written with a backslash within a quoted field, and only ASCII is the same in each file.
        self._signs = next(([s.encode() for s in signs] for signs in known if signs and all(map(_plain, signs))), [])

    def matches(self, event: bytes) -> bool:
        """See Pattern."""
        return self._fields(event) is not None

    def after(self, data: bytes, at: int) -> int:
        """See Pattern."""
        return first_of(self._signs, data, at) if self._signs else at

    def extracted(self, event: bytes) -> Mapping[str, str]:
        """See Pattern. A field without a name has its number, from 1."""
        fields = self._fields(event) or []
        behind = self._behind or ()
        names = [field.name for field in self._before]
        names += [""] * (len(fields) - len(names) - len(behind))
        names += [field.name for field in behind]
        return {f"${name or number}": field for number, (name, field) in enumerate(zip(names, fields, strict=True), 1)}

    def _fields(self, event: bytes) -> list[str] | None:
        """The fields of an event that matches."""
        behind = self._behind
        least = len(self._before) + len(behind or ())
        fields: list[str] = []
        for field in _split(event.decode("utf-8", "replace")):
            if behind is None and len(fields) == least:
                return None
            fields.append(field)
        if len(fields) < least:
            return None
        last = zip(behind, fields[len(fields) - len(behind) :], strict=True) if behind else ()
        for known, field in (*zip(self._before, fields, strict=False), *last):
            if known.condition is not None and not known.condition.holds(field):
                return None
        return fields


def _plain(sign: str) -> bool:
    return sign.isascii() and '"' not in sign and "\\" not in sign


def read(text: str, at: int, end: int) -> Pattern:
    """The pattern between brackets. Raises BadPattern."""
    scanner = Scanner(text, at, end)
    if not scanner.skip():
        return EVERYTHING
    counted: list[Comparison] = []
    before: list[_Field] = []
    behind: list[_Field] | None = None
    while True:
        scanner.skip()
        begins = scanner.at
        if scanner.take("..."):
            if behind is not None:
                raise BadPattern(
                    f"Invalid filter pattern. It has another '...' at character {begins + 1}; one at most may stand in a pattern"
                )
            behind = []
        else:
            (before if behind is None else behind).append(_field(scanner, counted))
        if not scanner.skip():
            break
        if not scanner.take(","):
            raise scanner.refused("a comma or the end of a field")
    many = sum(one.regex is not None for one in counted)
    if many > regexes.MOST:
        raise too_many(many)
    return Delimited(before, behind, many)


def too_many(many: int) -> BadPattern:
    """What is said of a pattern with so many regular expressions."""
    return BadPattern(
        f"Invalid filter pattern. It has {many} regular expressions; a pattern has {regexes.MOST} at most"
    )


def _field(scanner: Scanner, counted: list[Comparison]) -> _Field:
    field = _Field()

    def condition(scanner: Scanner) -> Node:
        begins = scanner.at
        name = scanner.match(_NAME)
        if name is None:
            raise scanner.refused("the name of a field")
        field.name = field.name or name[0]
        if name[0].casefold() != field.name.casefold():
            scanner.at = begins
            raise BadPattern(
                f"Invalid filter pattern. The name '{name[0]}' at character {begins + 1} is not that of its field, which is '{field.name}'; "
                "conditions on another field stand behind a comma"
            )
        counted.append(comparison(scanner))
        return _Condition(counted[-1])

    begins = scanner.at
    if name := scanner.match(_NAME):
        if not scanner.skip() or scanner.text[scanner.at] == ",":
            return _Field(name[0])
        scanner.at = begins
    elif scanner.at >= scanner.end or scanner.text[scanner.at] == ",":
        return field  # one without a name
    field.condition = expression(scanner, condition)
    return field


def _split(event: str) -> Iterator[str]:
    """The fields of an event: what stands in brackets or in quotation marks is one field. Takes time that is linear in the event."""
    at, open_ended = 0, set[str]()
    while True:
        found = _SPACE.match(event, at)
        at = found.end() if found else at
        if at >= len(event):
            return
        opens = event[at]
        if opens == '"' and opens not in open_ended:
            if quoted := _QUOTED.match(event, at):
                yield _ESCAPE.sub(r"\1", quoted[1]) if "\\" in quoted[1] else quoted[1]
                at = quoted.end()
                continue
            open_ended.add(opens)  # nor does a later one end
        elif opens == "[" and opens not in open_ended:
            closes = event.find("]", at)
            if closes >= 0:
                yield event[at + 1 : closes]
                at = closes + 1
                continue
            open_ended.add(opens)
        word = _WORD.match(event, at)
        assert word is not None
        yield word[0]
        at = word.end()
