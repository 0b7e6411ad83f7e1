"""Whether a pattern takes an event.

An event is what its JSON says: dicts, lists, texts, numbers. Arrays are looked into: one of the elements has to pass, and conditions of
fields of objects in one array have to hold for the same element (AWS: event-ruler, "And and Or Relationship Among Fields with Ruler").
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from penstock.events.conditions import Branch, Condition
from penstock.events.patterns import parse
from penstock.events.values import MISSING, Check, field_check, is_absence

MAX_DEPTH = 200  # of events, objects and arrays within each other


def takes(pattern: str, event: dict[str, Any]) -> bool:
    """Whether a pattern takes an event. Raises PatternError."""
    dotless = undotted(event)
    return any(check_of(branch)(dotless) for branch in parse(pattern))


def undotted(event: dict[str, Any]) -> dict[str, Any]:
    """An event whose names have no dots: `"a.b"` is `b` within `a`, as in patterns."""
    return _split(event) if _has_dots(event) else event


def is_deeper(event: dict[str, Any], levels: int) -> bool:
    """Whether objects and arrays lie deeper within each other than `levels`."""
    level: list[Any] = [event]
    for _ in range(levels):
        inner = [value for found in level for value in (found.values() if type(found) is dict else found)]
        level = [value for value in inner if type(value) is dict or type(value) is list]
        if not level:
            return False
    return True


def _has_dots(event: dict[str, Any]) -> bool:
    waiting: list[Any] = [event]
    for found in waiting:
        if type(found) is dict:
            for name, value in found.items():
                if "." in name:
                    return True
                if type(value) is dict or type(value) is list:
                    waiting.append(value)
        else:
            waiting += [value for value in found if type(value) is dict or type(value) is list]
    return False


def _split(value: Any) -> Any:
    if type(value) is list:
        return [_split(one) for one in value]
    if type(value) is not dict:
        return value
    found: dict[str, Any] = {}
    for name, member in value.items():
        _put(found, name.split(".", MAX_DEPTH), _split(member))  # no pattern asks for more names
    return found


def _put(found: dict[str, Any], names: Sequence[str], member: Any) -> None:
    """Add a member to an object, below these names. Of what stands twice under a name either may match."""
    waiting: list[tuple[dict[str, Any], Sequence[str], Any]] = [(found, names, member)]
    for at, (*above, last), value in waiting:
        for name in above:
            below = at.get(name, MISSING)
            if type(below) is not dict:
                fresh: dict[str, Any] = {}
                at[name] = fresh if below is MISSING else [below, fresh]
                below = fresh
            at = below  # noqa: PLW2901 - the object that has the last name
        before = at.get(last, MISSING)
        if type(before) is dict and type(value) is dict:
            waiting += [(before, (name,), inner) for name, inner in value.items()]
        else:
            at[last] = value if before is MISSING else [before, value]


@dataclass(slots=True)
class _Node:
    """A name in a pattern: the tests of its value, and the names within it."""

    tests: Sequence[Condition] | None = None
    within: dict[str, _Node] = field(default_factory=dict)


def check_of(branch: Branch) -> Check:
    root = _Node()
    for path, tests in branch.items():
        node = root
        for name in path.split("."):
            node = node.within.setdefault(name, _Node())
        node.tests = tests
    return _object_check(_paths(root))


def _paths(node: _Node) -> list[tuple[str, Sequence[Condition], tuple[str, ...]]]:
    """The fields below a name, in the order of their paths."""
    found: list[tuple[str, Sequence[Condition], tuple[str, ...]]] = []

    def walk(at: _Node, path: tuple[str, ...]) -> None:
        if at.tests is not None:
            found.append((".".join(path), at.tests, path))
        for name, inner in at.within.items():
            walk(inner, (*path, name))

    walk(node, ())
    return sorted(found, key=lambda one: one[0])


def _object_check(fields: Sequence[tuple[str, Sequence[Condition], tuple[str, ...]]]) -> Check:
    """Of an object, or of a list of them, of which one has to have all fields.

    Fields that have to be absent and come before all others are asked of every element, since AWS's engine goes through the names in their
    order and has not settled on an element by then.
    """
    names: dict[str, list[tuple[str, Sequence[Condition], tuple[str, ...]]]] = {}
    for text, tests, path in fields:
        names.setdefault(path[0], []).append((text, tests, path[1:]))
    members = [(name, _member_check(inner)) for name, inner in names.items()]
    leading = 0
    while leading < len(fields) and all(map(is_absence, fields[leading][1])):
        leading += 1
    if len(members) == 1:
        ((only, of_only),) = members

        def has(value: dict[str, Any]) -> bool:
            return of_only(value.get(only, MISSING))

    else:

        def has(value: dict[str, Any]) -> bool:
            for name, check in members:  # noqa: SIM110 - a generator takes twice as long
                if not check(value.get(name, MISSING)):
                    return False
            return True

    first = _object_check(fields[:leading]) if 0 < leading < len(fields) else None
    only_absent = leading == len(fields)
    may_miss = all(any(map(is_absence, tests)) for _, tests, _ in fields)

    def passes(value: Any) -> bool:
        if type(value) is dict:
            return has(value)
        if type(value) is not list:
            return may_miss  # neither a text nor what is missing has members
        elements = list(objects(value))
        if only_absent:
            return all(map(has, elements))
        if not elements:
            return may_miss
        return (first is None or first(value)) and any(map(has, elements))

    return passes


def objects(value: Any) -> Iterator[dict[str, Any]]:
    waiting = [value]
    while waiting:
        found = waiting.pop()
        if type(found) is list:
            waiting += reversed(found)
        elif type(found) is dict:
            yield found


def _member_check(fields: Sequence[tuple[str, Sequence[Condition], tuple[str, ...]]]) -> Check:
    own = [tests for _, tests, path in fields if not path]
    inner = [one for one in fields if one[2]]
    if not own:
        return _object_check(inner)
    if not inner:
        return field_check(own[0])
    of_value, of_members = field_check(own[0]), _object_check(inner)
    return lambda value: of_value(value) and of_members(value)
