"""Condition elements of policies: compiled once, then asked with what is known of a request. Pure.

Evaluated are the operators and keys listed here; a document with any other is refused when it is put. A key that a request does
not have makes positive operators fail, negated ones hold, and those with IfExists hold.
(AWS: IAM User Guide, "Condition operators", "Global condition context keys".)
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from penstock.identity.errors import MalformedPolicyDocumentException
from penstock.identity.wildcards import arn_wildcard, wildcard

Value = str | tuple[str, ...]  # of a key with several values
Context = Mapping[str, Value]  # lower-case key → value
NOTHING: Context = {}

KEYS = frozenset(
    {
        "aws:calledvia", "aws:calledviafirst", "aws:calledvialast", "aws:currenttime", "aws:epochtime", "aws:principalaccount", "aws:principalarn", "aws:principalisawsservice",
        "aws:principaltype", "aws:requestedregion", "aws:resourceaccount", "aws:securetransport", "aws:sourceaccount",
        "aws:sourcearn", "aws:sourceidentity", "aws:sourceip", "aws:useragent", "aws:userid", "aws:username",
        "aws:viaawsservice", "iam:associatedresourcearn", "iam:awsservicename", "iam:passedtoservice", "sts:externalid",
        "sts:rolesessionname", "sts:sourceidentity",
    }
)  # fmt: skip
_SEVERAL = frozenset({"aws:calledvia"})  # keys with several values
_TAG = "aws:principaltag/"
_ANY, _ALL = "ForAnyValue", "ForAllValues"

Test = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class _Clause:
    key: str
    tests: tuple[Test, ...]  # one per listed value; any of them suffices
    negated: bool
    if_exists: bool
    absent: bool | None = None  # of Null: whether the key must be absent
    quantifier: str = ""

    def holds(self, context: Context) -> bool:
        value = context.get(self.key)
        if self.absent is not None:
            return (value is None) is self.absent
        values = () if value is None else (value,) if isinstance(value, str) else value
        if self.quantifier == _ALL:
            return all(map(self._satisfied, values))
        if self.quantifier == _ANY:
            return any(map(self._satisfied, values)) or (not values and self.if_exists)
        if not values:
            return self.negated or self.if_exists
        return self._satisfied(values[0])

    def _satisfied(self, value: str) -> bool:
        return any(test(value) for test in self.tests) is not self.negated


@dataclass(frozen=True, slots=True)
class Condition:
    """All clauses of a statement's Condition element."""

    clauses: tuple[_Clause, ...]

    def holds(self, context: Context) -> bool:
        """Whether the statement applies to a request."""
        return all(clause.holds(context) for clause in self.clauses)


def compile_condition(element: Mapping[str, Any], version: str) -> Condition | None:
    """Compile a Condition element; None for an empty one. Raises MalformedPolicyDocumentException."""
    clauses = [
        _clause(operator, key, values, version)
        for operator, keys in element.items()
        for key, values in _keys(keys).items()
    ]
    return Condition(tuple(clauses)) if clauses else None


def _keys(keys: Any) -> Mapping[str, Any]:
    if not isinstance(keys, dict):
        raise MalformedPolicyDocumentException("Syntax errors in policy.")
    return keys


def _clause(operator: str, key: str, values: Any, version: str) -> _Clause:
    lowered = key.lower()
    if lowered not in KEYS and not (lowered.startswith(_TAG) and len(lowered) > len(_TAG)):
        raise MalformedPolicyDocumentException(
            f"The condition key {key[:200]} is not evaluated here; the document is refused, since applying it without "
            "the condition would not be what it says."
        )
    texts = _values(values)
    if version == "2012-10-17" and any("${" in text for text in texts):
        raise MalformedPolicyDocumentException(
            f"Policy variables are not evaluated here; the document is refused because of the condition on {key[:200]}."
        )
    if operator == "Null":
        if texts not in (["true"], ["false"]):
            raise MalformedPolicyDocumentException("Syntax errors in policy.")
        return _Clause(lowered, (), negated=False, if_exists=False, absent=texts == ["true"])
    quantifier, colon, single = operator.rpartition(":")
    name = single.removesuffix("IfExists")
    known = _OPERATORS.get(name)
    if known is not None and not colon and lowered in _SEVERAL:
        raise MalformedPolicyDocumentException(
            f"The condition key {key[:200]} has several values: its operator must begin with {_ANY}: or {_ALL}:."
        )
    if known is None or (colon and quantifier not in (_ANY, _ALL)):
        raise MalformedPolicyDocumentException(
            f"The condition operator {operator[:100]} is not evaluated here; the document is refused, since applying it "
            "without the condition would not be what it says."
        )
    make, negated = known
    try:
        tests = tuple(make(text) for text in texts)
    except ValueError:
        raise MalformedPolicyDocumentException(f"The value of the condition on {key[:200]} cannot be read.") from None
    return _Clause(lowered, tests, negated=negated, if_exists=name != single, quantifier=quantifier)


def _values(values: Any) -> list[str]:
    listed = values if isinstance(values, list) else [values]
    texts = []
    for value in listed:
        if isinstance(value, bool):
            texts.append("true" if value else "false")
        elif isinstance(value, str | int):
            texts.append(str(value))
        else:
            raise MalformedPolicyDocumentException("Syntax errors in policy.")
    if not texts:
        raise MalformedPolicyDocumentException("Syntax errors in policy.")
    return texts


def _equal(text: str) -> Test:
    return text.__eq__


def _equal_ignoring_case(text: str) -> Test:
    folded = text.casefold()
    return lambda value: value.casefold() == folded


def _boolean(text: str) -> Test:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return lambda value: value == text.lower()


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


def _moment(text: str) -> dt.datetime:
    if text.isdigit():
        return dt.datetime.fromtimestamp(int(text), dt.UTC)
    moment = dt.datetime.fromisoformat(text)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=dt.UTC)


def _date(compare: Callable[[dt.datetime, dt.datetime], bool]) -> Callable[[str], Test]:
    def make(text: str) -> Test:
        try:
            limit = _moment(text)
        except (OverflowError, OSError):
            raise ValueError(text) from None

        def test(value: str) -> bool:
            try:
                return compare(_moment(value), limit)
            except (ValueError, OverflowError, OSError):
                return False  # the key is no date

        return test

    return make


# Operator → what makes a test of a listed value, and whether it is negated.
_OPERATORS: dict[str, tuple[Callable[[str], Test], bool]] = {
    "StringEquals": (_equal, False),
    "StringNotEquals": (_equal, True),
    "StringEqualsIgnoreCase": (_equal_ignoring_case, False),
    "StringNotEqualsIgnoreCase": (_equal_ignoring_case, True),
    "StringLike": (wildcard, False),
    "StringNotLike": (wildcard, True),
    "ArnEquals": (arn_wildcard, False),  # AWS: ArnEquals and ArnLike behave identically
    "ArnLike": (arn_wildcard, False),
    "ArnNotEquals": (arn_wildcard, True),
    "ArnNotLike": (arn_wildcard, True),
    "Bool": (_boolean, False),
    "IpAddress": (_network, False),
    "NotIpAddress": (_network, True),
    "DateEquals": (_date(lambda value, limit: value == limit), False),
    "DateNotEquals": (_date(lambda value, limit: value == limit), True),
    "DateLessThan": (_date(lambda value, limit: value < limit), False),
    "DateLessThanEquals": (_date(lambda value, limit: value <= limit), False),
    "DateGreaterThan": (_date(lambda value, limit: value > limit), False),
    "DateGreaterThanEquals": (_date(lambda value, limit: value >= limit), False),
}
