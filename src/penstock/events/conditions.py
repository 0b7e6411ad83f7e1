"""What the conditions of a pattern are made of."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from ipaddress import IPv6Address
from typing import Any

IPV4 = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+")
IPV6 = re.compile(r"[0-9a-fA-F:]*:[0-9a-fA-F:]*")


class Kind(StrEnum):
    """What a test looks for in a value."""

    LITERAL = "literal"  # a string, number, true, false or null
    PREFIX = "prefix"
    PREFIX_ANY_CASE = "prefix-equals-ignore-case"
    SUFFIX = "suffix"
    SUFFIX_ANY_CASE = "suffix-equals-ignore-case"
    ANY_CASE = "equals-ignore-case"
    WILDCARD = "wildcard"  # the texts between the wildcards
    NUMERIC = "numeric"  # a Range
    CIDR = "cidr"  # a Block
    EXISTS = "exists"  # True or False
    NOT = "anything-but"  # tests, none of which holds


@dataclass(frozen=True, slots=True)
class Condition:
    """One alternative of a field."""

    kind: Kind
    value: Any


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers between two bounds; None where there is none."""

    low: Number | None = None
    high: Number | None = None
    above_low: bool = False  # the bound itself does not belong to it
    below_high: bool = False


@dataclass(frozen=True, slots=True)
class Block:
    """Addresses of one family from the first to the last, as numbers."""

    version: int
    first: int
    last: int


Number = int | float
Branch = dict[str, Sequence[Condition]]
"""Tests by the names of the field's parents and its own, joined by dots. Each field must pass one of its tests."""


def address(text: str) -> tuple[int, int] | None:
    """The family (4 or 6) and number of an address, as Java reads them; None for other text."""
    if IPV4.fullmatch(text) and len(text) <= 64:
        parts = [int(part) for part in text.split(".")]
        return None if max(parts) > 255 else (4, int.from_bytes(bytes(parts)))
    if IPV6.fullmatch(text) and len(text) <= 64:
        try:
            return 6, int(IPv6Address(text))
        except ValueError:
            return None
    return None


def comparable(text: str) -> float | None:
    """A number as ranges compare it; None for one with more digits than a float has."""
    found = float(text)
    try:
        # Not by Decimal of the float itself, whose digits nobody wrote.
        return found if Decimal(repr(found)) == Decimal(text) else None
    except ArithmeticError:  # an exponent that no decimal has either
        return None
