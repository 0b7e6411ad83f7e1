"""Whether a value passes the conditions of a field."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any

from penstock.events.conditions import Block, Condition, Kind, Range, address

Check = Callable[[Any], bool]
"""Whether a value passes: of a field, or MISSING."""

MISSING: Any = object()


def literal_key(value: Any) -> Hashable:
    """A value by which it is found among literals: true is not 1, and 300 is 300.0."""
    if value is None or value is True or value is False:
        return (value,)
    return value


def _literals(values: Sequence[Any]) -> Check:
    keys = frozenset(map(literal_key, values))
    if all(type(value) is str for value in values):
        return lambda value: type(value) is str and value in keys
    return lambda value: literal_key(value) in keys


def _range(found: Range) -> Check:
    low = float("-inf") if found.low is None else found.low
    high = float("inf") if found.high is None else found.high
    above_low, below_high = found.above_low, found.below_high

    def check(value: Any) -> bool:
        if type(value) is not int and type(value) is not float:
            return False
        return (low < value or (not above_low and low == value)) and (
            value < high or (not below_high and high == value)
        )

    return check


def _block(block: Block) -> Check:
    def check(value: Any) -> bool:
        if type(value) is not str:
            return False
        found = address(value)
        return found is not None and found[0] == block.version and block.first <= found[1] <= block.last

    return check


def _wildcard(parts: Sequence[str]) -> Check:
    first, *middle = parts

    def check(value: Any) -> bool:
        if type(value) is not str or not value.startswith(first):
            return False
        if not middle:
            return value == first
        at, last = len(first), middle[-1]
        for part in middle[:-1]:  # each as early as it can stand, which leaves most for the others
            at = value.find(part, at)
            if at < 0:
                return False
            at += len(part)
        return len(value) - len(last) >= at and value.endswith(last)

    return check


def _text(of: Callable[[str], bool]) -> Check:
    return lambda value: type(value) is str and of(value)


def _none_of(tests: Sequence[Condition]) -> Check:
    checks = _checks(tests)
    return lambda value: not any(check(value) for check in checks)


def _value_check(test: Condition) -> Check:
    """Of a scalar, for every kind but EXISTS."""
    wanted = test.value
    match test.kind:
        case Kind.LITERAL:
            return _literals((wanted,))
        case Kind.PREFIX:
            return _text(lambda value: value.startswith(wanted))
        case Kind.PREFIX_ANY_CASE:
            return _text(lambda value: value.lower().startswith(wanted))
        case Kind.SUFFIX:
            return _text(lambda value: value.endswith(wanted))
        case Kind.SUFFIX_ANY_CASE:
            return _text(lambda value: value.lower().endswith(wanted))
        case Kind.ANY_CASE:
            return _text(lambda value: value.lower() == wanted)
        case Kind.WILDCARD:
            return _wildcard(wanted)
        case Kind.NUMERIC:
            return _range(wanted)
        case Kind.CIDR:
            return _block(wanted)
        case Kind.NOT:
            return _none_of(wanted)
        case Kind.EXISTS:
            return lambda _value: True


def _checks(tests: Sequence[Condition]) -> list[Check]:
    literals = [test.value for test in tests if test.kind == Kind.LITERAL]
    checks = [_value_check(test) for test in tests if test.kind != Kind.LITERAL]
    return [_literals(literals), *checks] if literals else checks


def scalar_check(tests: Sequence[Condition]) -> Check:
    """Of a scalar that is there: one of the tests is enough."""
    checks = _checks([test for test in tests if not is_absence(test)])
    if len(checks) == 1:
        return checks[0]
    return lambda value: any(check(value) for check in checks)


def is_absence(test: Condition) -> bool:
    return test.kind == Kind.EXISTS and not test.value


def scalars(value: Any) -> Iterator[Any]:
    """What a list and the lists in it have that is no object."""
    waiting = [value]
    while waiting:
        found = waiting.pop()
        if type(found) is list:
            waiting += reversed(found)
        elif type(found) is not dict:
            yield found


def field_check(tests: Sequence[Condition]) -> Check:
    """Of a field, or of MISSING. An object and an empty array are no value."""
    check = scalar_check(tests)
    absent = any(map(is_absence, tests))

    def passes(value: Any) -> bool:
        if value is MISSING or type(value) is dict:
            return absent
        if type(value) is not list:
            return check(value)
        there = False
        for one in scalars(value):
            there = True
            if check(one):
                return True
        return absent and not there

    return passes
