"""Rules of composite alarms: `ALARM(a) AND NOT (OK("b c") OR ALARM(arn:…))`, parsed and judged. Pure.

AWS: PutCompositeAlarm, AlarmRule. Places of errors count from 0, as AWS's do.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

CHILDREN = 100  # AWS: alarms that a rule names
ELEMENTS = 500  # AWS: conditions, operators and parentheses of a rule
_NESTED = 100  # parentheses within each other

_STATES: Final = ("ALARM", "OK", "INSUFFICIENT_DATA")
_TOKEN = re.compile(r'\s*(?:(?P<quoted>"[^"]*")|(?P<sign>[()])|(?P<word>[^\s()"]+))')
_BEGINS = "'(', NOT, TRUE, FALSE, ALARM, OK or INSUFFICIENT_DATA"


class RuleError(ValueError):
    """A rule that is not valid; the message says why, and where."""


@dataclass(frozen=True, slots=True)
class Condition:
    """An alarm is in a state."""

    state: str
    alarm: str  # a name or an ARN


@dataclass(frozen=True, slots=True)
class Constant:
    """`TRUE` or `FALSE`."""

    value: bool


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite of a rule."""

    of: Node


@dataclass(frozen=True, slots=True)
class Every:
    """Rules with AND between them."""

    of: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Some:
    """Rules with OR between them."""

    of: tuple[Node, ...]


Node = Condition | Constant | Not | Every | Some


@functools.lru_cache(maxsize=1024)
def parse(text: str) -> Node:
    """The rule of a text. Raises RuleError."""
    if text != text.strip():
        raise RuleError("AlarmRule must not contain leading or trailing whitespace or be null")
    parser = _Parser(text)
    node = parser.parse()
    if parser.elements > ELEMENTS:
        raise RuleError(f"Error in AlarmRule [The rule has more than {ELEMENTS} elements]")
    if len(children(node)) > CHILDREN:
        raise RuleError(f"Error in AlarmRule [The rule names more than {CHILDREN} alarms]")
    return node


def children(node: Node) -> tuple[str, ...]:
    """The alarms that a rule names, each once, as it names them."""
    found: dict[str, None] = {}
    left = [node]
    while left:
        match left.pop():
            case Condition(alarm=alarm):
                found[alarm] = None
            case Not(of=of):
                left.append(of)
            case Every(of=each) | Some(of=each):
                left += reversed(each)
            case Constant():
                pass
    return tuple(found)


def holds(node: Node, states: Mapping[str, str]) -> bool:
    """Whether a rule holds. `states` are those of alarms as the rule names them; one that is missing is in no state."""
    match node:
        case Condition(state=state, alarm=alarm):
            return states.get(alarm) == state
        case Constant(value=value):
            return value
        case Not(of=of):
            return not holds(of, states)
        case Every(of=each):
            return all(holds(one, states) for one in each)
        case Some(of=each):
            return any(holds(one, states) for one in each)


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens: list[tuple[str, str, int]] = []
        at = 0
        while at < len(text):
            found = _TOKEN.match(text, at)
            if found is None or found.lastgroup is None:
                raise RuleError(
                    f"Error in AlarmRule [Unsupported token '\"' at char {text.index(chr(34), at)}, nothing ends it]"
                )
            group = found.lastgroup
            self._tokens.append((group, found[group], found.start(group)))
            at = found.end()
        self._end = ("end", "", len(text))
        self._next = self._depth = 0
        self.elements = 0

    def parse(self) -> Node:
        node = self._any()
        if self._peek()[0] != "end":
            self._refuse("AND or OR")
        return node

    def _peek(self) -> tuple[str, str, int]:
        return self._tokens[self._next] if self._next < len(self._tokens) else self._end

    def _take(self, *words: str) -> bool:
        """Whether one of these comes next, which is taken then."""
        kind, text, _ = self._peek()
        found = kind != "quoted" and text in words
        self._next += found
        self.elements += found
        return found

    def _refuse(self, wanted: str) -> None:
        _, text, at = self._peek()
        raise RuleError(f"Error in AlarmRule [Unsupported token '{text}' at char {at}, must be: {wanted}]")

    def _any(self) -> Node:
        found = [self._every()]
        while self._take("OR"):
            found.append(self._every())
        return found[0] if len(found) == 1 else Some(tuple(found))

    def _every(self) -> Node:
        found = [self._one()]
        while self._take("AND"):
            found.append(self._one())
        return found[0] if len(found) == 1 else Every(tuple(found))

    def _one(self) -> Node:
        negated = False
        while self._take("NOT"):
            negated = not negated
        node = self._primary()
        return Not(node) if negated else node

    def _primary(self) -> Node:
        if self._take("("):
            self._depth += 1
            if self._depth > _NESTED:
                raise RuleError(
                    f"Error in AlarmRule [More than {_NESTED} parentheses within each other at char {self._peek()[2]}]"
                )
            node = self._any()
            self._depth -= 1
            if not self._take(")"):
                self._refuse("')', AND or OR")
            return node
        for word, value in (("TRUE", True), ("FALSE", False)):
            if self._take(word):
                return Constant(value)
        for state in _STATES:
            if self._take(state):
                return Condition(state, self._alarm())
        self._refuse(_BEGINS)
        raise AssertionError

    def _alarm(self) -> str:
        if not self._take("("):
            self._refuse("'('")
        kind, text, _ = self._peek()
        name = text[1:-1] if kind == "quoted" else text
        if kind not in ("quoted", "word") or not name:
            self._refuse("the name or ARN of an alarm")
        self._next += 1
        if not self._take(")"):
            self._refuse("')'")
        self.elements -= 2  # the condition is one element
        return name
