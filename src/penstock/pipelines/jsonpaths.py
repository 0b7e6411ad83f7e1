"""Paths into JSON, as filters of webhooks have them. Pure.

The part of Jayway's JSONPath that picks values by place: `$.ref`, `$['ref']`, `$.commits[0].id`, `$.commits[-1]`, `$.commits[*].id`, `$..id`.
Filter expressions, slices, lists of places and functions are refused: an expression of somebody's would be run over a stranger's document.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

_MOST_STEPS = 20
_MOST_VALUES = 20_000  # of a document that a path may look at
_NAME = re.compile(r"[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_\-\x80-\U0010ffff]*")
_QUOTED = re.compile(r"\[\s*(?:'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\")\s*\]")
_INDEX = re.compile(r"\[\s*(-?[0-9]{1,9})\s*\]")
_ALL = re.compile(r"\[\s*\*\s*\]|\.\*")
_ESCAPED = re.compile(r"\\(.)")


class BadPath(ValueError):
    """What is no path, and where."""


class TooMuch(Exception):
    """The document has too many values for the path."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step: to a member by name, to an element by number, or to all (None); below it at any depth when `deep`."""

    to: str | int | None
    deep: bool = False


def parse(text: str) -> tuple[Step, ...]:
    """The steps of a path. Raises BadPath."""
    if not text.startswith("$"):
        raise BadPath("it begins with $")
    steps: list[Step] = []
    at = 1
    while at < len(text):
        deep = text.startswith("..", at)
        begin = at + 1 if deep else at
        if deep and text.startswith("[", begin + 1):
            begin += 1
        step, at = _step(text, begin, deep=deep)
        steps.append(step)
        if len(steps) > _MOST_STEPS:
            raise BadPath(f"it has more than {_MOST_STEPS} steps")
    return tuple(steps)


def _step(text: str, at: int, *, deep: bool) -> tuple[Step, int]:
    if found := _ALL.match(text, at):
        return Step(None, deep), found.end()
    if found := _QUOTED.match(text, at):
        return Step(_ESCAPED.sub(r"\1", found[1] if found[1] is not None else found[2]), deep), found.end()
    if found := _INDEX.match(text, at):
        return Step(int(found[1]), deep), found.end()
    if text.startswith(".", at) and (found := _NAME.match(text, at + 1)):
        return Step(found[0], deep), found.end()
    raise BadPath(
        f"at character {at + 1}, {text[at : at + 10]!r} is no step: there may be .name, ['name'], [0], [*] and .. before these"
    )


def select(document: Any, path: Sequence[Step]) -> list[Any]:
    """The values at a path. Raises TooMuch."""
    budget = [_MOST_VALUES]
    values = [document]
    for step in path:
        values = [found for value in values for found in _taken(value, step, budget)]
    return values


def _taken(value: Any, step: Step, budget: list[int]) -> Iterator[Any]:
    for one in _below(value, budget) if step.deep else (value,):
        _spend(budget)
        if step.to is None:
            yield from _children(one, budget)
        elif type(step.to) is str:
            if type(one) is dict and step.to in one:
                yield one[step.to]
        elif type(one) is list and -len(one) <= step.to < len(one):  # type: ignore[operator]
            yield one[step.to]  # type: ignore[index]


def _below(value: Any, budget: list[int]) -> Iterator[Any]:
    """A value and all that is in it, in the order of the document."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        yield one
        waiting.extend(reversed(list(_children(one, budget))))


def _children(value: Any, budget: list[int]) -> Iterator[Any]:
    found = value.values() if type(value) is dict else value if type(value) is list else ()
    for one in found:
        _spend(budget)
        yield one


def _spend(budget: list[int]) -> None:
    budget[0] -= 1
    if budget[0] < 0:
        raise TooMuch
