"""Condition elements of policies: compiled once, then asked with what is known of a request. Pure.

A key that a request does not have makes positive operators fail, negated ones hold, and those with IfExists hold. Keys that nothing
here fills, such as those of VPC endpoints and organisations, are absent from every request, as they are on AWS where there are none.
(AWS: IAM User Guide, "Condition operators", "Global condition context keys".)
"""

from __future__ import annotations

import base64
import datetime as dt
import decimal
import ipaddress
import operator as compare
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from penstock.identity.errors import MalformedPolicyDocumentException
from penstock.identity.variables import Context, Template, template
from penstock.identity.wildcards import arn_wildcard, wildcard

LEGACY = "The policy failed legacy parsing"
SYNTAX = "Syntax errors in policy."
_ANY, _ALL = "ForAnyValue", "ForAllValues"
_NUMBER = 64  # characters of a number
_DATE = re.compile(
    r"([+-]?\d{1,9})(?:-(\d{1,2})(?:-(\d{1,2}))?)?(?:T(?:(\d{1,2})(?::(\d{1,2})(?::(\d{1,2})(?:[.,](\d{1,9}))?)?)?)?)?(Z|[+-]\d{2}:?\d{2})?",
    re.ASCII,
)
_EPOCH = re.compile(r"-?\d{1,18}", re.ASCII)

Test = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class _Clause:
    key: str
    tests: tuple[Test, ...]  # one per listed value without variables; any of them suffices
    negated: bool
    if_exists: bool
    absent: bool | None = None  # of Null: whether the key must be absent
    quantifier: str = ""
    templates: tuple[Template, ...] = ()  # listed values with variables
    make: Callable[[str], Test] | None = None  # of templates
    wild: bool = False  # whether `*` and `?` in templates are wildcards

    def holds(self, context: Context) -> bool:
        value = context.get(self.key)
        if self.absent is not None:
            return (not value) is self.absent if isinstance(value, tuple) else (value is None) is self.absent
        values = () if value is None else (value,) if isinstance(value, str) else value
        if self.quantifier == _ALL:
            return all(self._satisfied(one, context) for one in values)
        if self.quantifier == _ANY:
            return any(self._satisfied(one, context) for one in values) or (not values and self.if_exists)
        if not values:
            return self.negated or self.if_exists
        return any(self._matched(one, context) for one in values) is not self.negated

    def _satisfied(self, value: str, context: Context) -> bool:
        return self._matched(value, context) is not self.negated

    def _matched(self, value: str, context: Context) -> bool:
        return any(test(value) for test in self.tests) or any(self._like(one, value, context) for one in self.templates)

    def _like(self, one: Template, value: str, context: Context) -> bool:
        assert self.make is not None
        if self.wild:
            return one.compare(self.make, value, context)
        text = one.text(context)
        return text is not None and self.make(text)(value)


@dataclass(frozen=True, slots=True)
class Condition:
    """All clauses of a statement's Condition element."""

    clauses: tuple[_Clause, ...]

    def holds(self, context: Context) -> bool:
        """Whether the statement applies to a request."""
        return all(clause.holds(context) for clause in self.clauses)

    @property
    def keys(self) -> frozenset[str]:
        """The keys that it asks for, in lower case, those of variables among them."""
        return frozenset(
            key
            for clause in self.clauses
            for key in (clause.key, *(key for found in clause.templates for key in found.keys))
        )


def compile_condition(element: Any, version: str) -> Condition | None:
    """Compile a Condition element; None for an empty one. Raises MalformedPolicyDocumentException.

    `version` is the document's: variables are text in one of 2008.
    """
    clauses = [
        _clause(operator, key, values, version)
        for operator, keys in _members(element).items()
        for key, values in _members(keys).items()
    ]
    return Condition(tuple(clauses)) if clauses else None


def _members(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise MalformedPolicyDocumentException(SYNTAX)
    return value


def _clause(operator: str, key: str, values: Any, version: str) -> _Clause:
    texts, lowered = _values(values), key.lower()
    if operator == "Null":
        if not all(text.lower() in ("true", "false") for text in texts):
            raise MalformedPolicyDocumentException(LEGACY)
        # Both or none would never or always hold; a key is absent or it is not.
        wanted = {text.lower() for text in texts}
        return _Clause(lowered, (), negated=False, if_exists=False, absent="true" in wanted)
    quantifier, colon, single = operator.rpartition(":")
    name = single.removesuffix("IfExists")
    known = _OPERATORS.get(name)
    if known is None or (colon and quantifier not in (_ANY, _ALL)):
        raise MalformedPolicyDocumentException(SYNTAX)
    varied = {text: found for text in texts if known.varies and version == "2012-10-17" and (found := template(text))}
    try:
        tests = tuple(known.make(text) for text in texts if text not in varied)
    except ValueError:
        raise MalformedPolicyDocumentException(LEGACY) from None
    return _Clause(
        lowered,
        tests,
        negated=known.negated,
        if_exists=name != single,
        quantifier=quantifier,
        templates=tuple(varied.values()),
        make=known.make,
        wild=known.wild,
    )


def _values(values: Any) -> list[str]:
    listed = values if isinstance(values, list) else [values]
    texts = []
    for value in listed:
        if isinstance(value, bool):
            texts.append("true" if value else "false")
        elif isinstance(value, str | int | float):
            texts.append(str(value))
        else:
            raise MalformedPolicyDocumentException(SYNTAX)
    return texts


def check_value(kind: str, text: str) -> None:
    """Raises ValueError unless a text is a value of a kind of keys, such as `numeric` (IAM: ContextKeyTypeEnum)."""
    _KINDS[kind](text)


def _equal(text: str) -> Test:
    return text.__eq__


def _equal_ignoring_case(text: str) -> Test:
    folded = text.casefold()
    return lambda value: value.casefold() == folded


def _boolean(text: str) -> Test:
    wanted = text.lower()
    if wanted not in ("true", "false"):
        raise ValueError(text)
    return lambda value: value.lower() == wanted


def _binary(text: str) -> Test:
    wanted = base64.b64decode(text, validate=True)

    def test(value: str) -> bool:
        try:
            return base64.b64decode(value, validate=True) == wanted
        except ValueError:
            return False

    return test


def _network(text: str) -> Test:
    network = ipaddress.ip_network(text, strict=False)
    if network.version == 6 and network.prefixlen >= 96 and network.network_address.ipv4_mapped is not None:
        # `::ffff:a.b.c.d/120` and `a.b.c.d/24` are the same addresses; requests come with the shorter form.
        network = ipaddress.ip_network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - 96))

    def within(value: str) -> bool:
        try:
            address = ipaddress.ip_address(value)
        except ValueError:
            return False
        address = getattr(address, "ipv4_mapped", None) or address
        return address.version == network.version and address in network

    return within


def _number(text: str) -> decimal.Decimal:
    if len(text) > _NUMBER:
        raise ValueError(text)
    try:
        found = decimal.Decimal(text)
    except decimal.InvalidOperation:
        raise ValueError(text) from None
    if not found.is_finite():
        raise ValueError(text)
    return found


def _moment(text: str) -> decimal.Decimal:
    """Seconds since 1970 of a date: ISO 8601, or the seconds themselves when it is a number of more than four digits."""
    if _EPOCH.fullmatch(text) and (text.startswith("-") or len(text) > 4):
        return decimal.Decimal(text)
    found = _DATE.fullmatch(text)
    if found is None:
        raise ValueError(text)
    year, month, day, hour, minute, second = (
        int(part or lowest) for part, lowest in zip(found.groups(), "011000", strict=False)
    )
    # The calendar repeats itself after 400 years, and dates may lie outside of the years that a datetime knows.
    cycles, within = divmod(year, 400)
    moment = dt.datetime(within + 400, month, day, hour, minute, second, tzinfo=dt.UTC)
    seconds = int(moment.timestamp()) + (cycles - 1) * 146_097 * 86_400
    zone = found[8] or "Z"
    if zone != "Z":
        offset = int(zone[1:3]) * 3600 + int(zone[-2:]) * 60
        seconds -= offset if zone[0] == "+" else -offset
    return decimal.Decimal(f"{seconds}") + decimal.Decimal(f"0.{found[7] or 0}")


_KINDS: dict[str, Callable[[str], Any]] = {
    "string": str,
    "numeric": _number,
    "boolean": _boolean,
    "ip": _network,
    "binary": _binary,
    "date": _moment,
}


def _comparison(
    read: Callable[[str], decimal.Decimal], holds: Callable[[decimal.Decimal, decimal.Decimal], bool]
) -> Callable[[str], Test]:
    """What makes a test of a listed number or date."""

    def make(text: str) -> Test:
        limit = read(text)

        def test(value: str) -> bool:
            try:
                return holds(read(value), limit)
            except ValueError:
                return False  # the value is not one of this kind

        return test

    return make


@dataclass(frozen=True, slots=True)
class _Operator:
    make: Callable[[str], Test]  # a test of a listed value; raises ValueError
    negated: bool = False
    varies: bool = False  # its values may have variables
    wild: bool = False  # its values may have wildcards


def _ordered(kind: str, read: Callable[[str], decimal.Decimal]) -> dict[str, _Operator]:
    return {
        f"{kind}Equals": _Operator(_comparison(read, compare.eq)),
        f"{kind}NotEquals": _Operator(_comparison(read, compare.eq), negated=True),
        f"{kind}LessThan": _Operator(_comparison(read, compare.lt)),
        f"{kind}LessThanEquals": _Operator(_comparison(read, compare.le)),
        f"{kind}GreaterThan": _Operator(_comparison(read, compare.gt)),
        f"{kind}GreaterThanEquals": _Operator(_comparison(read, compare.ge)),
    }


_OPERATORS: dict[str, _Operator] = {
    "StringEquals": _Operator(_equal, varies=True),
    "StringNotEquals": _Operator(_equal, negated=True, varies=True),
    "StringEqualsIgnoreCase": _Operator(_equal_ignoring_case, varies=True),
    "StringNotEqualsIgnoreCase": _Operator(_equal_ignoring_case, negated=True, varies=True),
    "StringLike": _Operator(wildcard, varies=True, wild=True),
    "StringNotLike": _Operator(wildcard, negated=True, varies=True, wild=True),
    "ArnEquals": _Operator(arn_wildcard, varies=True, wild=True),  # AWS: ArnEquals and ArnLike behave identically
    "ArnLike": _Operator(arn_wildcard, varies=True, wild=True),
    "ArnNotEquals": _Operator(arn_wildcard, negated=True, varies=True, wild=True),
    "ArnNotLike": _Operator(arn_wildcard, negated=True, varies=True, wild=True),
    "Bool": _Operator(_boolean),
    "BinaryEquals": _Operator(_binary),
    "IpAddress": _Operator(_network),
    "NotIpAddress": _Operator(_network, negated=True),
    **_ordered("Numeric", _number),
    **_ordered("Date", _moment),
}
