"""The syntax of metric math: from a text to a tree. Pure.

AWS: CloudWatch User Guide, "Metric math syntax and functions".
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_NESTED = 40  # parentheses, arrays, functions and powers within each other


class ExpressionError(Exception):
    """An expression that is not valid; the message says why, and where."""


@dataclass(frozen=True, slots=True)
class Number:
    """A number."""

    value: float


@dataclass(frozen=True, slots=True)
class Name:
    """The id of a metric or of another expression; or a word that a function takes, such as REPEAT."""

    name: str
    at: int


@dataclass(frozen=True, slots=True)
class Text:
    """A quoted text."""

    value: str


@dataclass(frozen=True, slots=True)
class Negated:
    """Unary minus."""

    of: Node


@dataclass(frozen=True, slots=True)
class Chain:
    """Operators of one precedence, computed from the left. Not nested, since a chain may be long."""

    first: Node
    rest: tuple[tuple[str, Node], ...]


@dataclass(frozen=True, slots=True)
class Power:
    """`base ^ exponent`."""

    base: Node
    exponent: Node


@dataclass(frozen=True, slots=True)
class Items:
    """`[m1, m2]`."""

    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Applied:
    """A function and its arguments."""

    function: str
    arguments: tuple[Node, ...]
    at: int


Node = Number | Name | Text | Negated | Chain | Power | Items | Applied

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:[0-9]{1,40}(?:\.[0-9]{0,40})?|\.[0-9]{1,40})(?:[eE][+-]?[0-9]{1,3})?)|(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<text>'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")|(?P<sign>==|!=|<=|>=|&&|\|\||[-+*/^()\[\],<>]))"
)
_LEVELS: Final = (
    ("OR", "||"),
    ("AND", "&&"),
    ("==", "!=", "<=", ">=", "<", ">"),
    ("+", "-"),
    ("*", "/"),
)  # loosest first


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int  # of its first character, from 1


def _tokens(text: str) -> Iterator[_Token]:
    at, length = 0, len(text.rstrip())
    while at < length:
        found = _TOKEN.match(text, at)
        if found is None or found.lastgroup is None:
            begins = next(place for place in range(at, length) if not text[place].isspace())
            raise ExpressionError(f"Invalid syntax: unexpected character '{text[begins]}' at char {begins + 1}")
        group = found.lastgroup
        yield _Token(group, found[group], found.start(group) + 1)
        at = found.end()
    yield _Token("end", "", len(text) + 1)


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))
        self._next = 0
        self._depth = 0

    def parse(self) -> Node:
        node = self._level(0)
        if self._peek().kind != "end":
            self._refuse()
        return node

    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _take(self) -> _Token:
        token = self._peek()
        self._next += 1
        return token

    def _refuse(self) -> None:
        token = self._peek()
        said = "unexpected end" if token.kind == "end" else f"unexpected '{token.text}'"
        raise ExpressionError(f"Invalid syntax: {said} at char {token.at}")

    def _expect(self, text: str) -> None:
        if self._peek().text != text or self._peek().kind != "sign":
            self._refuse()
        self._take()

    def _level(self, level: int) -> Node:
        if level == len(_LEVELS):
            return self._signed()
        first, rest = self._level(level + 1), list[tuple[str, Node]]()
        while self._peek().kind in ("sign", "name") and self._peek().text in _LEVELS[level]:
            sign = self._take().text
            rest.append((sign, self._level(level + 1)))
        return Chain(first, tuple(rest)) if rest else first

    def _signed(self) -> Node:
        minus = 0
        while self._peek().kind == "sign" and self._peek().text in ("-", "+"):
            minus += self._take().text == "-"
        base = self._atom()
        if self._peek().kind == "sign" and self._peek().text == "^":
            self._take()
            self._enter()
            base = Power(base, self._signed())
            self._depth -= 1
        return Negated(base) if minus % 2 else base

    def _enter(self) -> None:
        self._depth += 1
        if self._depth > _NESTED:
            raise ExpressionError(
                f"Invalid syntax: more than {_NESTED} levels within each other at char {self._peek().at}"
            )

    def _atom(self) -> Node:
        token = self._peek()
        match token.kind, token.text:
            case "number", text:
                self._take()
                return Number(_number(text, token.at))
            case "text", text:
                self._take()
                return Text(re.sub(r"\\(.)", r"\1", text[1:-1]))
            case "name", text if text not in ("AND", "OR"):
                self._take()
                if self._peek().kind == "sign" and self._peek().text == "(":
                    self._take()
                    return Applied(text, self._listed(")"), token.at)
                return Name(text, token.at)
            case "sign", "(":
                self._take()
                self._enter()
                node = self._level(0)
                self._depth -= 1
                self._expect(")")
                return node
            case "sign", "[":
                self._take()
                return Items(self._listed("]"))
        self._refuse()
        raise AssertionError

    def _listed(self, end: str) -> tuple[Node, ...]:
        self._enter()
        items: list[Node] = []
        if self._peek().kind != "sign" or self._peek().text != end:
            items.append(self._level(0))
            while self._peek().kind == "sign" and self._peek().text == ",":
                self._take()
                items.append(self._level(0))
        self._depth -= 1
        self._expect(end)
        return tuple(items)


def _number(text: str, at: int) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ExpressionError(f"Invalid syntax: the number at char {at} is too large")
    return value


def tree_of(text: str) -> Node:
    """The tree of a text, whatever functions it names. Raises ExpressionError."""
    return _Parser(text).parse()


def parts(node: Node) -> Iterator[Node]:
    """An expression and everything in it, from the left."""
    left = [node]
    while left:
        one = left.pop()
        yield one
        match one:
            case Negated(of=of):
                left.append(of)
            case Chain(first=first, rest=rest):
                left += [*(operand for _, operand in reversed(rest)), first]
            case Power(base=base, exponent=exponent):
                left += [exponent, base]
            case Items(items=items) | Applied(arguments=items):
                left += reversed(items)
            case _:
                pass
