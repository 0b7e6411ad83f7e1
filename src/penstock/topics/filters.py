"""Filter policies: which messages a subscription gets. Pure.

The language is EventBridge's, narrower: five keys, 150 combinations, and flat unless it speaks of the message's body. (AWS: SNS Developer
Guide, "Amazon SNS message filtering".)
"""

from __future__ import annotations

import ipaddress
import json
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

ATTRIBUTES, BODY = "MessageAttributes", "MessageBody"
_KEYS = 5
_COMBINATIONS = 150
_BYTES = 262_144
_USUAL = 4_096  # characters
_DEPTH = 32
_ADDRESS = 64  # characters
_ABSENT = object()

Condition = Callable[[Any], bool]
"""Whether a value satisfies it; it is given `_ABSENT` where there is none."""


class BadFilter(Exception):
    """What is no filter policy, and why, in AWS's words."""


@dataclass(frozen=True, slots=True)
class _Node:
    """An object of a policy: all of it must hold."""

    fields: Mapping[str, _Node | tuple[Condition, ...]]
    alternatives: tuple[_Node, ...] = ()  # of $or: one of them must hold too


def compiled(text: str, scope: str) -> _Node:
    """A filter policy. Raises BadFilter. Those of a usual length are remembered."""
    return (_remembered if len(text) <= _USUAL else _compiled)(text, scope)


def _compiled(text: str, scope: str) -> _Node:
    if len(text.encode()) > _BYTES:
        raise BadFilter("Filter policy is too complex")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise BadFilter("failed to parse JSON.") from None
    if not isinstance(found, dict):
        raise BadFilter("Filter is not an object")
    keys: set[str] = set()
    node, combinations = _node(found, scope, "", keys, 0)
    if len(keys) > _KEYS:
        raise BadFilter("Filter policy can not have more than 5 keys")
    if combinations > _COMBINATIONS:
        raise BadFilter("Filter policy is too complex")
    return node


_remembered = lru_cache(maxsize=1_000)(_compiled)


def takes(text: str, scope: str, message: str, attributes: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether a subscription with this policy (taken before) gets a message. One without a policy gets all."""
    if not text:
        return True
    node = compiled(text, scope)
    if scope == ATTRIBUTES:
        return _holds(node, {name: values for name, one in attributes.items() if (values := _values(one)) is not None})
    body = _body(message)
    return isinstance(body, dict) and _holds(node, body)


@lru_cache(maxsize=2)
def _body(message: str) -> Any:
    """A message as JSON, read once for all subscriptions; None for any other text."""
    try:
        return json.loads(message)
    except (ValueError, RecursionError):
        return None


def _values(attribute: Mapping[str, Any]) -> Any:
    """What a message attribute is for a filter; None where it is nothing."""
    kind, text = attribute["DataType"], attribute.get("StringValue")
    if text is None:
        return None
    if kind == "String.Array":
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            return text
        return found if isinstance(found, list) else text
    if kind.partition(".")[0] == "Number":
        # As messages may write it, which JSON may not: +5, 05, .5
        return int(text) if text.removeprefix("-").isdigit() else float(text)
    return text


def _node(found: Mapping[str, Any], scope: str, path: str, keys: set[str], depth: int) -> tuple[_Node, int]:
    if depth > _DEPTH:
        raise BadFilter("Filter policy is too complex")
    fields: dict[str, _Node | tuple[Condition, ...]] = {}
    alternatives: list[_Node] = []
    combinations = 1
    for name, value in found.items():
        if name == "$or" and isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
            if len(value) < 2:
                raise BadFilter("There must have at least 2 Objects in $or relationship.")
            parts = [_node(one, scope, path, keys, depth + 1) for one in value]
            alternatives = [part for part, _ in parts]
            combinations *= sum(number for _, number in parts)
        elif isinstance(value, dict):
            if scope == ATTRIBUTES:
                raise BadFilter("Filter policy scope MessageAttributes does not support nested filter policy")
            if not value:
                raise BadFilter("Empty objects are not allowed")
            fields[name], number = _node(value, scope, f"{path}{name}.", keys, depth + 1)
            combinations *= number
        elif isinstance(value, list):
            if not value:
                raise BadFilter("Empty arrays are not allowed")
            keys.add(f"{path}{name}")
            combinations *= len(value)
            if len(value) > _COMBINATIONS:
                raise BadFilter("Filter policy is too complex")
            fields[name] = _conditions(value)
        else:
            raise BadFilter(f'"{name}" must be an object or an array')
        if combinations > _COMBINATIONS or len(keys) > _COMBINATIONS:
            break  # refused by the caller: nothing more is worth its time
    return _Node(fields, tuple(alternatives)), combinations


def _conditions(given: Sequence[Any]) -> tuple[Condition, ...]:
    """Conditions of which one is enough. Texts are looked for all at once: a message may have many values."""
    texts = frozenset(one for one in given if isinstance(one, str))
    others = tuple(_condition(one) for one in given if not isinstance(one, str))
    return (lambda value: isinstance(value, str) and value in texts, *others) if texts else others


def _condition(given: Any) -> Condition:
    if given is None or isinstance(given, (str, bool, int, float)):
        return _same(given)
    if not isinstance(given, dict):
        raise BadFilter("Match value must be String, number, true, false, or null")
    if not given:
        raise BadFilter("Match expression name not found")
    if len(given) > 1:
        raise BadFilter("Only one key allowed in match expression")
    ((name, argument),) = given.items()
    if name not in _OPERATORS:
        raise BadFilter(f"Unrecognized match type {name}")
    return _OPERATORS[name](argument)


def _same(wanted: Any) -> Condition:
    if isinstance(wanted, bool) or wanted is None:
        return lambda value: value is wanted
    if isinstance(wanted, str):
        return lambda value: isinstance(value, str) and value == wanted
    return lambda value: _is_number(value) and value == wanted


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _text(name: str, argument: Any) -> str:
    if not isinstance(argument, str):
        raise BadFilter(f"{name} match pattern must be a string")
    return argument


def _affix(name: str, test: Callable[[str, str], bool]) -> Callable[[Any], Condition]:
    def made(argument: Any) -> Condition:
        if isinstance(argument, dict) and argument:
            key = next(iter(argument))
            if key != "equals-ignore-case":
                raise BadFilter(f"Unsupported {name} pattern: {key}")
            wanted = _text("equals-ignore-case", argument[key]).lower()
            return lambda value: isinstance(value, str) and test(value.lower(), wanted)
        wanted = _text(name, argument)
        return lambda value: isinstance(value, str) and test(value, wanted)

    return made


def _ignoring_case(argument: Any) -> Condition:
    wanted = _text("equals-ignore-case", argument).lower()
    return lambda value: isinstance(value, str) and value.lower() == wanted


def _exists(argument: Any) -> Condition:
    if not isinstance(argument, bool):
        raise BadFilter("exists match pattern must be either true or false.")
    return lambda value: (value is not _ABSENT) is argument


def _anything_but(argument: Any) -> Condition:
    if isinstance(argument, dict):
        if not argument:
            raise BadFilter("Anything-But expression name not found")
        key = next(iter(argument))
        if key != "prefix" or len(argument) > 1:
            raise BadFilter(f"Unsupported anything-but pattern: {key}")
        wanted = argument[key]
        if not isinstance(wanted, str):
            raise BadFilter("prefix/suffix match pattern must be a string")
        if not wanted:
            raise BadFilter("Null prefix/suffix not allowed")
        return lambda value: value is not _ABSENT and not (isinstance(value, str) and value.startswith(wanted))
    listed = argument if isinstance(argument, list) else [argument]
    if not listed:
        raise BadFilter("Empty arrays are not allowed")
    if not all(isinstance(one, str) or _is_number(one) for one in listed):
        if isinstance(argument, list):
            raise BadFilter("Inside anything but list, start|null|boolean is not supported.")
        raise BadFilter("Value of anything-but must be an array or single string/number value.")
    if len({isinstance(one, str) for one in listed}) > 1:
        raise BadFilter("Inside anything but list, either all values are number or string, mixed type is not supported")
    others = [_same(one) for one in listed]
    return lambda value: value is not _ABSENT and not any(one(value) for one in others)


_COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def _numeric(argument: Any) -> Condition:
    if not isinstance(argument, list):
        raise BadFilter("Value of numeric must be an array.")
    if not argument:
        raise BadFilter("Invalid member in numeric match: ]")
    if len(argument) > 4:
        raise BadFilter("Too many terms in numeric range expression")
    terms: list[tuple[str, Any]] = []
    for place in range(0, len(argument), 2):
        sign = argument[place]
        if not isinstance(sign, str):
            raise BadFilter(f"Invalid member in numeric match: {json.dumps(sign)[:100]}")
        if sign not in _COMPARED:
            raise BadFilter(f"Unrecognized numeric range operator: {sign[:100]}")
        bound = argument[place + 1] if place + 1 < len(argument) else None
        if not _is_number(bound):
            raise BadFilter(f"Value of {'equals' if sign == '=' else sign} must be numeric")
        terms.append((sign, bound))
    if len(terms) > 1:
        (lower, bottom), (upper, top) = terms
        if lower == "=":
            raise BadFilter("Too many elements in numeric expression")
        if lower not in (">", ">=") or upper not in ("<", "<="):
            raise BadFilter(f"Bad numeric range operator: {upper if lower in ('>', '>=') else lower}")
        if bottom >= top:
            raise BadFilter("Bottom must be less than top")
    return lambda value: _is_number(value) and all(_COMPARED[sign](value, bound) for sign, bound in terms)


def _cidr(argument: Any) -> Condition:
    text = _text("prefix", argument)
    address, slash, bits = text.partition("/")
    if not slash or "/" in bits:
        raise BadFilter("Malformed CIDR, one '/' required")
    if not re.fullmatch(r"-?[0-9]{1,4}", bits):
        raise BadFilter("Malformed CIDR, mask bits must be an integer")
    if bits.startswith("-"):
        raise BadFilter("Malformed CIDR, mask bits must not be negative")
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        raise BadFilter(f"Nonstandard IP address: {address[:100]}") from None
    if int(bits) >= found.max_prefixlen:
        raise BadFilter(f"IPv{found.version} mask bits must be < {found.max_prefixlen}")
    network = ipaddress.ip_network(text, strict=False)

    def inside(value: Any) -> bool:
        address = _address(value) if isinstance(value, str) and len(value) <= _ADDRESS else None
        return address is not None and address in network

    return inside


@lru_cache(maxsize=64)  # all conditions of a field are asked about one value after the other
def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _wildcard(argument: Any) -> Condition:
    text = _text("wildcard", argument)
    pieces: list[str] = [""]
    place = 0
    while place < len(text):
        letter = text[place]
        if letter == "\\":
            if text[place + 1 : place + 2] not in ("*", "\\"):
                raise BadFilter(f"Invalid escape character at pos {place + 1}")
            pieces[-1] += text[place + 1]
            place += 1
        elif letter == "*":
            if text[place + 1 : place + 2] == "*":
                raise BadFilter(f"Consecutive wildcard characters at pos {place + 2}")
            pieces.append("")
        else:
            pieces[-1] += letter
        place += 1
    return lambda value: isinstance(value, str) and _spelt(value, pieces)


def _spelt(value: str, pieces: Sequence[str]) -> bool:
    """Whether a text is these pieces with anything between them, in linear time."""
    first, *others = pieces
    if not others:
        return value == first
    last = others.pop()
    if len(value) < len(first) + len(last) or not value.startswith(first) or not value.endswith(last):
        return False
    place, end = len(first), len(value) - len(last)
    for piece in others:
        found = value.find(piece, place, end)
        if found < 0:
            return False
        place = found + len(piece)
    return True


_OPERATORS: dict[str, Callable[[Any], Condition]] = {
    "prefix": _affix("prefix", str.startswith),
    "suffix": _affix("suffix", str.endswith),
    "equals-ignore-case": _ignoring_case,
    "anything-but": _anything_but,
    "numeric": _numeric,
    "exists": _exists,
    "cidr": _cidr,
    "wildcard": _wildcard,
}


def _holds(node: _Node, found: Mapping[str, Any]) -> bool:
    for name, wanted in node.fields.items():
        value = found.get(name, _ABSENT)
        if not (_below(wanted, value) if isinstance(wanted, _Node) else _leaf(wanted, value)):
            return False
    return not node.alternatives or any(_holds(one, found) for one in node.alternatives)


def _below(node: _Node, value: Any) -> bool:
    """Of a list of objects one must satisfy all conditions. What has nothing below is asked as an empty object, for `exists`."""
    if isinstance(value, list):
        return any(_holds(node, one) for one in value if isinstance(one, dict))
    return _holds(node, value if isinstance(value, dict) else {})


def _leaf(conditions: Sequence[Condition], value: Any) -> bool:
    if isinstance(value, dict):
        value = _ABSENT
    values = value if isinstance(value, list) else (value,)
    if not values:
        values = (_ABSENT,)
    return any(one(each) for each in values for one in conditions)
