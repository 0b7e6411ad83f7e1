"""Checks of scalars, lengths and numbers against a shape's constraints, with AWS's messages."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from penstock.wire.patterns import full_match
from penstock.wire.profiles import Path, Violation
from penstock.wire.shapes import Shape

Check = Callable[[Any, Path, "list[Violation]"], None]


def wrong_type(path: Path, member: str, constraint: str, value: Any) -> Violation:
    """A value of another type; it is never printed."""
    return Violation(path=path, member=member, kind="type", constraint=constraint, value=value, sensitive=True)


def typed(wanted: type | tuple[type, ...], constraint: str, member: str, own: Path) -> Check:
    """The check of a scalar without further constraints."""

    def check(value: Any, path: Path, found: list[Violation]) -> None:
        if not isinstance(value, wanted):
            found.append(wrong_type(path + own, member, constraint, value))

    return check


def constraints_of(shape: Shape) -> list[str]:
    """The messages of every constraint of a scalar, in AWS's order."""
    traits = shape.traits
    messages: list[str] = []
    noun = "length" if shape.type in {"string", "blob", "list", "map"} else "value"
    if "max" in traits:
        messages.append(_at_most(noun, traits["max"]))
    if "min" in traits:
        messages.append(_at_least(noun, traits["min"]))
    if "pattern" in traits:
        messages.append(_like(traits["pattern"]))
    if "enum" in traits:
        messages.append(_one_of(traits["enum"]))
    return messages or ["Member must not be null"]


def _number_text(bound: float) -> str:
    return str(int(bound)) if bound == int(bound) else str(bound)


def _at_most(noun: str, bound: float) -> str:
    return f"Member must have {noun} less than or equal to {_number_text(bound)}"


def _at_least(noun: str, bound: float) -> str:
    return f"Member must have {noun} greater than or equal to {_number_text(bound)}"


def _like(pattern: str) -> str:
    return f"Member must satisfy regular expression pattern: {pattern}"


def _one_of(values: list[str]) -> str:
    return f"Member must satisfy enum value set: [{', '.join(values)}]"


def size(shape: Shape, member: str, noun: str) -> Check | None:
    """The check of a length or a number of elements; None where the shape has no bound."""
    low, high = shape.traits.get("min"), shape.traits.get("max")
    if low is None and high is None:
        return None
    least, most = low or 0, math.inf if high is None else high
    sensitive = "sensitive" in shape.traits or shape.type == "map"
    too_long = "" if high is None else _at_most(noun, high)
    too_short = _at_least(noun, least)

    def check(value: Any, path: Path, found: list[Violation]) -> None:
        length = len(value)
        if length > most:
            kind, text = "max_length", too_long
        elif length < least:
            kind, text = "min_length", too_short
        else:
            return
        found.append(Violation(path=path, member=member, kind=kind, constraint=text, value=value, sensitive=sensitive))

    return check


def blob(shape: Shape, member: str, own: Path) -> Check:
    """The check of bytes, or of a stream of them."""
    length = size(shape, member, "length")

    def check(value: Any, path: Path, found: list[Violation]) -> None:
        if not isinstance(value, (bytes, bytearray, memoryview)):
            if not hasattr(value, "__aiter__"):
                found.append(wrong_type(path + own, member, "Member must be a blob", value))
        elif length is not None:
            length(value, path + own, found)

    return check


def string(shape: Shape, member: str, own: Path) -> Check:
    """The check of a text."""
    traits = shape.traits
    length = size(shape, member, "length")
    least, most = traits.get("min", 0), traits.get("max", math.inf)
    pattern: str | None = traits.get("pattern")
    matches = full_match(pattern) if pattern else None
    enum = frozenset(traits["enum"]) if traits.get("enum") else None
    enum_text = _one_of(traits["enum"]) if enum else ""
    pattern_text = _like(pattern) if pattern else ""
    sensitive = "sensitive" in traits

    def check(value: Any, path: Path, found: list[Violation]) -> None:
        if (
            type(value) is not str
            or not least <= len(value) <= most
            or (matches is not None and not matches(value))
            or (enum is not None and value not in enum)
        ):
            report(value, path + own, found)

    def report(value: Any, path: Path, found: list[Violation]) -> None:
        if not isinstance(value, str):
            found.append(wrong_type(path, member, "Member must be a string", value))
            return
        if length is not None:
            length(value, path, found)
        if matches is not None and not matches(value):
            kind, text = "pattern", pattern_text
        elif enum is not None and value not in enum:
            kind, text = "enum", enum_text
        else:
            return
        found.append(Violation(path=path, member=member, kind=kind, constraint=text, value=value, sensitive=sensitive))

    return check


def number(shape: Shape, member: str, own: Path) -> Check:
    """The check of a number."""
    low, high = shape.traits.get("min"), shape.traits.get("max")
    integral = shape.type in {"integer", "long"}

    def check(value: Any, path: Path, found: list[Violation]) -> None:
        if type(value) is not int and (integral or type(value) is not float):
            found.append(wrong_type(path + own, member, "Member must be a number", value))
            return
        if high is not None and not value <= high:  # not a number is beyond every bound
            kind, text = "max_value", _at_most("value", high)
        elif low is not None and not value >= low:
            kind, text = "min_value", _at_least("value", low)
        else:
            return
        found.append(Violation(path=path + own, member=member, kind=kind, constraint=text, value=value))

    return check
