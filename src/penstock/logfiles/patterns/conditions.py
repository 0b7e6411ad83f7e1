"""Conditions on one value, and how they are put together by && and ||: what patterns of JSON and of space-delimited events have in common."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from penstock.logfiles.patterns import regexes
from penstock.logfiles.patterns.kinds import BadPattern
from penstock.logfiles.patterns.scanning import Scanner, unescaped

Value = str | int | float | bool

_DEEPEST = 50  # parentheses within each other
_NUMBER = re.compile(r"[+-]?(?:\d+(\.\d*)?|(\.\d+))([eE][+-]?\d+)?\Z")
_LONGEST_NUMBER = 64  # characters
_BARE = re.compile(r"[\w.*+\-/:@]+")
_PIECE = re.compile(r"(?:[^*\\]|\\.)+|\*", re.DOTALL)
_TELLING = re.compile(r"[^\d.eE+\-]")  # in what no number is written as
_ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt,
}  # fmt: skip


class Node(Protocol):
    """Something that holds of a document (a JSON value, a field) or does not."""

    def holds(self, document: Any) -> bool:
        """Whether it does."""
        ...

    def signs(self) -> Sequence[str]:
        """Texts of which a document has at least one, literally, if it holds; none when nothing can be said."""
        ...


@dataclass(frozen=True, slots=True)
class All:
    """Conditions that hold together."""

    parts: Sequence[Node]

    def holds(self, document: Any) -> bool:
        """Whether each does."""
        return all(part.holds(document) for part in self.parts)

    def signs(self) -> Sequence[str]:
        """See Node."""
        known = (part.signs() for part in self.parts)
        return next((signs for signs in known if signs), ())


@dataclass(frozen=True, slots=True)
class Some:
    """Conditions of which one is enough."""

    parts: Sequence[Node]

    def holds(self, document: Any) -> bool:
        """Whether one does."""
        return any(part.holds(document) for part in self.parts)

    def signs(self) -> Sequence[str]:
        """See Node."""
        known = [part.signs() for part in self.parts]
        return [sign for signs in known for sign in signs] if all(known) else ()


def expression(scanner: Scanner, condition: Callable[[Scanner], Node], depth: int = 0) -> Node:
    """Conditions with && before ||, and parentheses. Raises BadPattern."""
    if depth > _DEEPEST:
        raise BadPattern(
            f"Invalid filter pattern. At most {_DEEPEST} parentheses may stand within each other, and at character {scanner.at} another one opens"
        )
    either: list[Node] = []
    both: list[Node] = []
    while True:
        scanner.skip()
        if scanner.take("("):
            both.append(expression(scanner, condition, depth + 1))
            if not scanner.take(")"):
                raise scanner.refused("')'")
        else:
            both.append(condition(scanner))
        scanner.skip()
        joint = scanner.take("&&", "||")
        if joint != "&&":
            either.append(both[0] if len(both) == 1 else All(both))
            both = []
        if not joint:
            return either[0] if len(either) == 1 else Some(either)


@dataclass(frozen=True, slots=True)
class Comparison:
    """`operator operand`, of a value."""

    operator: str
    pieces: Sequence[str] = ()  # of a text, around its wildcards
    number: float | None = None
    regex: regexes.Regex | None = None

    def fits(self, value: Value) -> bool:
        """Whether a value compares so."""
        if order := _ORDERS.get(self.operator):
            number = number_of(value)
            return number is not None and order(number, self.number)
        return self._equals(value) is (self.operator == "=")

    def sign(self) -> str:
        """A text that stands in each value that compares so; "" when there is none."""
        if self.operator != "=" or self.number is not None:
            return ""
        return max((piece for piece in self.pieces if _TELLING.search(piece)), key=len, default="")

    def _equals(self, value: Value) -> bool:
        if self.regex is not None:
            return self.regex.matches(text_of(value).encode("utf-8", "replace"))
        return _like(text_of(value), self.pieces) or (self.number is not None and number_of(value) == self.number)


def comparison(scanner: Scanner) -> Comparison:
    """An operator and what stands behind it. Raises BadPattern."""
    scanner.skip()
    operator = scanner.take("!=", "<=", ">=", "=", "<", ">")
    if not operator:
        raise scanner.refused("one of = != < > <= >=")
    scanner.skip()
    begins = scanner.at
    if scanner.take("%"):
        made = Comparison(operator, regex=regexes.read(scanner))
    elif (text := scanner.string()) is not None:
        made = Comparison(operator, _pieces(text))
    elif bare := scanner.match(_BARE):
        made = Comparison(operator, bare[0].split("*"), number_of(bare[0]))
    else:
        raise scanner.refused("a number, a word, or a text in quotation marks")
    if operator in _ORDERS and made.number is None:
        scanner.at = begins
        raise scanner.refused(f"a number behind {operator}")
    return made


def text_of(value: Value) -> str:
    """A value as patterns compare it, and as it is extracted."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _pieces(quoted: str) -> list[str]:
    """The texts around the wildcards of a string, without its escapes: one that is escaped is no wildcard."""
    pieces = [""]
    for piece in _PIECE.findall(quoted):
        if piece == "*":
            pieces.append("")
        else:
            pieces[-1] += unescaped(piece)
    return pieces


def _like(text: str, pieces: Sequence[str]) -> bool:
    """Whether a text has these pieces one behind the other, from its beginning to its end. Looks at each character once or twice."""
    if len(pieces) == 1:
        return text == pieces[0]
    first, *middle, last = pieces
    if not (text.startswith(first) and text.endswith(last)):
        return False
    at, end = len(first), len(text) - len(last)
    for piece in middle:
        found = text.find(piece, at, end)
        if found < 0:
            return False
        at = found + len(piece)
    return at <= end


def number_of(value: Value) -> float | None:
    """A value as a number, when it is one or reads as one."""
    if not isinstance(value, str):
        return None if isinstance(value, bool) else value
    if len(value) > _LONGEST_NUMBER or (found := _NUMBER.match(value)) is None:
        return None
    return float(value) if any(found.groups()) else int(value)
