"""Event patterns: their text is read into branches, each a set of tests by the path of the field that they are about.

A pattern with `$or` has several branches, of which one must match. AWS: "Amazon EventBridge event patterns". Texts of refusals and the
order of the checks are those of the engine that AWS uses (event-ruler).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from penstock.events.conditions import IPV4, IPV6, Block, Branch, Condition, Kind, Number, Range, address, comparable
from penstock.events.reading import PatternError, Reader, Token

MAX_BRANCHES = 1000  # AWS: the combinations of a rule with $or
MAX_DEPTH = 100  # objects within each other
MAX_WILDCARDS = 5  # of one value. AWS refuses six; what it counts beyond that is not documented

_TOO_COMPLEX = "Rule is too complex - try using fewer wildcard characters or fewer repeating character sequences after a wildcard character"
_ONE_KEY = "Only one key allowed in match expression"
_RESERVED = frozenset(
    [
        "exactly",
        "equals-ignore-case",
        "prefix",
        "suffix",
        "anything-but",
        "exists",
        "wildcard",
        "numeric",
        "cidr",
        "=",
        "<",
        "<=",
        ">",
        ">=",
        "regex",
        "not-wildcard",
        "not-equals-ignore-case",
        "date-after",
        "date-on-or-after",
        "date-before",
        "date-on-or-before",
        "in-date-range",
        "ip-address-in-range",
        "ip-address-not-in-range",
    ]
)


def parse(text: str) -> list[Branch]:
    """The branches of a pattern. Raises PatternError with AWS's text."""
    reader = Reader(text)
    if reader.next() != Token.OBJECT:
        reader.refuse("Filter is not an object")
    branches: list[Branch] = []
    _object(reader, branches, (), inside_or=False)
    if reader.next() != Token.END:
        reader.refuse("A pattern is one object: something stands behind it")
    return branches


def _object(reader: Reader, branches: list[Branch], path: tuple[str, ...], *, inside_or: bool) -> None:
    """The members of an object, whose beginning was read."""
    if reader.depth > MAX_DEPTH:
        reader.refuse(f"A pattern has at most {MAX_DEPTH} objects within each other")
    present = False
    while reader.next() != Token.OBJECT_END:
        present = True
        name = reader.name
        if name == "$or":
            _or(reader, branches, path)
            continue
        if inside_or and name in _RESERVED:
            reader.refuse(f"{name} is Ruler reserved fieldName which cannot be used inside $or.")
        match reader.next():
            case Token.OBJECT:
                _object(reader, branches, (*path, name), inside_or=inside_or)
            case Token.ARRAY:
                _field(reader, branches, ".".join((*path, name)))
            case _:
                reader.refuse(f'"{name}" must be an object or an array')
    if not present:
        reader.refuse("Empty objects are not allowed")


def _or(reader: Reader, branches: list[Branch], path: tuple[str, ...]) -> None:
    before = [*branches] or [{}]
    branches.clear()
    if reader.next() != Token.ARRAY:
        reader.refuse("It must be an Array followed with $or.")
    count = 0
    while (token := reader.next()) != Token.ARRAY_END:
        count += 1
        if token != Token.OBJECT:
            reader.refuse("Only JSON object is allowed in array of $or relationship.")
        more = [dict(branch) for branch in before]
        _object(reader, more, path, inside_or=True)
        branches += more
        if len(branches) > MAX_BRANCHES:
            raise PatternError(f"Rule is too complex - its $or make more than {MAX_BRANCHES} combinations")
    if count < 2:
        reader.refuse("There must have at least 2 Objects in $or relationship.")


def _field(reader: Reader, branches: list[Branch], path: str) -> None:
    if path.count(".") >= MAX_DEPTH:  # a name with dots stands for objects too
        reader.refuse(f"A pattern has at most {MAX_DEPTH} objects within each other")
    tests: list[Condition] = []
    while (token := reader.next()) != Token.ARRAY_END:
        match token:
            case Token.OBJECT:
                tests.append(_expression(reader))
            case Token.STRING | Token.NUMBER | Token.TRUE | Token.FALSE | Token.NULL:
                tests.append(Condition(Kind.LITERAL, _literal(reader, token)))
            case _:
                reader.refuse("Match value must be String, number, true, false, or null")
    if not tests:
        reader.refuse("Empty arrays are not allowed")
    if not branches:
        branches.append({})
    for branch in branches:
        if path in branch:
            reader.refuse(f"Path `{path}` cannot be allowed multiple times")
        branch[path] = tests


def _literal(reader: Reader, token: Token) -> Any:
    match token:
        case Token.STRING:
            return reader.text()
        case Token.NUMBER:
            return _number(reader.text())
        case Token.NULL:
            return None
    return token == Token.TRUE


def _number(text: str) -> Number:
    # An account's number or a position may be longer than a float's digits: integers stay what they are.
    if text.removeprefix("-").isdecimal():
        return int(text)
    return float(text)


def _expression(reader: Reader) -> Condition:
    if reader.next() != Token.NAME:
        reader.refuse("Match expression name not found")
    read = _EXPRESSIONS.get(reader.name)
    if read is None:
        reader.refuse(f"Unrecognized match type {reader.name}")
    return read(reader)


def _exactly(reader: Reader) -> Condition:
    if reader.next() != Token.STRING:
        reader.refuse("exact match pattern must be a string")
    return _closed(reader, Condition(Kind.LITERAL, reader.text()))


def _any_case(reader: Reader) -> Condition:
    if reader.next() != Token.STRING:
        reader.refuse("equals-ignore-case match pattern must be a string")
    return _closed(reader, Condition(Kind.ANY_CASE, reader.text().lower()))


def _affix(name: str, kind: Kind, any_case: Kind) -> Callable[[Reader], Condition]:
    def read(reader: Reader) -> Condition:
        token = reader.next()
        if token == Token.OBJECT:
            if reader.next() != Token.NAME:
                reader.refuse(f"{name.capitalize()} expression name not found")
            if reader.name != "equals-ignore-case":
                reader.refuse(f"Unsupported {name} pattern: {reader.name}")
            if reader.next() != Token.STRING:
                reader.refuse("equals-ignore-case match pattern must be a string")
            return _closed(reader, _closed(reader, Condition(any_case, reader.text().lower())))
        if token != Token.STRING:
            reader.refuse(f"{name} match pattern must be a string")
        return _closed(reader, Condition(kind, reader.text()))

    return read


def _closed(reader: Reader, test: Condition) -> Condition:
    if reader.next() != Token.OBJECT_END:
        reader.refuse(_ONE_KEY)
    return test


def _wildcard(reader: Reader) -> Condition:
    if reader.next() != Token.STRING:
        reader.refuse("wildcard match pattern must be a string")
    test = _wildcard_of(reader, reader.text())
    return _closed(reader, test)


def _wildcard_of(reader: Reader, text: str) -> Condition:
    """The texts between wildcards. Places are counted in bytes, behind the quote that the engine keeps."""
    found = text.encode("utf-8", "replace")
    parts, part, at = [], bytearray(), 0
    while at < len(found):
        one, following = found[at : at + 1], found[at + 1 : at + 2]
        if one == b"*":
            if following == b"*":
                reader.refuse(f"Consecutive wildcard characters at pos {at + 1}")
            parts.append(part.decode("utf-8"))
            part = bytearray()
        elif one == b"\\":
            if following not in (b"*", b"\\"):
                reader.refuse(f"Invalid escape character at pos {at + 1}")
            part += following
            at += 1
        else:
            part += one
        at += 1
    parts.append(part.decode("utf-8"))
    if len(parts) - 1 > MAX_WILDCARDS:
        raise PatternError(_TOO_COMPLEX)
    return Condition(Kind.WILDCARD, tuple(parts))


def _exists(reader: Reader) -> Condition:
    token = reader.next()
    if token not in (Token.TRUE, Token.FALSE):
        reader.refuse("exists match pattern must be either true or false.")
    return _closed(reader, Condition(Kind.EXISTS, token == Token.TRUE))


def _cidr(reader: Reader) -> Condition:
    if reader.next() != Token.STRING:
        reader.refuse("prefix match pattern must be a string")
    test = Condition(Kind.CIDR, _block(reader.text()))
    return _closed(reader, test)


def _block(text: str) -> Block:
    parts = text.split("/")
    while len(parts) > 1 and not parts[-1]:  # Java drops what is empty at the end
        parts.pop()
    if len(parts) != 2:
        raise PatternError("Malformed CIDR, one '/' required")
    if not re.fullmatch(r"[+-]?[0-9]{1,9}", parts[1]):
        raise PatternError("Malformed CIDR, mask bits must be an integer")
    bits = int(parts[1])
    if bits < 0:
        raise PatternError("Malformed CIDR, mask bits must not be negative")
    if not (IPV4.fullmatch(parts[0]) or IPV6.fullmatch(parts[0])):
        raise PatternError(f"Nonstandard IP address: {parts[0]}")
    found = address(parts[0])
    if found is None:
        raise PatternError(f"Invalid IP address: {parts[0]}")
    version, number = found
    width = 32 if version == 4 else 128
    if bits >= width:
        raise PatternError(f"IPv{version} mask bits must be < {width}")
    size = 1 << (width - bits)
    first = number // size * size
    return Block(version, first, first + size - 1)


# --- numeric ----------------------------------------------------------------------------------------------------------


def _numeric(reader: Reader) -> Condition:
    if reader.next() != Token.ARRAY:
        reader.refuse("Value of numeric must be an array.")
    test = _comparison(reader)
    if reader.next() != Token.OBJECT_END:
        reader.refuse("Too many elements in numeric expression")
    return test


def _comparison(reader: Reader) -> Condition:
    if reader.next() != Token.STRING:
        reader.refuse(f"Invalid member in numeric match: {reader.text()}")
    operator = reader.text()
    token = reader.next()
    if operator not in ("=", "<", "<=", ">", ">="):
        reader.refuse(f"Unrecognized numeric range operator: {operator}")
    if token != Token.NUMBER:
        reader.refuse(f"Value of {'equals' if operator == '=' else operator} must be numeric")
    text = reader.text()
    token = reader.next()
    if operator in ("=", "<", "<="):
        if token != Token.ARRAY_END:
            reader.refuse("Too many elements in numeric expression")
        number = _comparable(reader, text)
        if operator == "=":
            return Condition(Kind.NUMERIC, Range(number, number))
        return Condition(Kind.NUMERIC, Range(high=number, below_high=operator == "<"))
    if token == Token.ARRAY_END:
        return Condition(Kind.NUMERIC, Range(low=_comparable(reader, text), above_low=operator == ">"))
    return _between(reader, token, text, above_low=operator == ">")


def _between(reader: Reader, token: Token, low: str, *, above_low: bool) -> Condition:
    if token != Token.STRING:
        reader.refuse(f"Bad value in numeric range: {reader.text()}")
    operator = reader.text()
    if operator not in ("<", "<="):
        reader.refuse(f"Bad numeric range operator: {operator}")
    if reader.next() != Token.NUMBER:
        reader.refuse(f"Value of {operator} must be numeric")
    high = reader.text()
    if reader.next() != Token.ARRAY_END:
        reader.refuse("Too many terms in numeric range expression")
    found = Range(_comparable(reader, low), _comparable(reader, high), above_low, operator == "<")
    if found.low is None or found.high is None or found.low >= found.high:
        reader.refuse("Bottom must be less than top")
    return Condition(Kind.NUMERIC, found)


def _comparable(reader: Reader, text: str) -> float:
    found = comparable(text)
    if found is None:
        reader.refuse(f"Cannot compare number : {text}")
    return found


# --- anything-but -----------------------------------------------------------------------------------------------------

_NOT_ALONE = "Inside anything-but list, start|null|boolean is not supported."
_NOT_WITHIN = {
    "equals-ignore-case": "Inside anything-but/equals-ignore-case list, number|start|null|boolean is not supported.",
    "wildcard": "wildcard match pattern must be a string",
    "prefix": "prefix/suffix match pattern must be a string",
    "suffix": "prefix/suffix match pattern must be a string",
}


def _anything_but(reader: Reader) -> Condition:
    token, within = reader.next(), ""
    if token == Token.OBJECT:
        if reader.next() != Token.NAME:
            reader.refuse("Anything-But expression name not found")
        within = reader.name
        if within not in _NOT_WITHIN:
            reader.refuse(f"Unsupported anything-but pattern: {within}")
        token = reader.next()
    if token not in (Token.ARRAY, Token.STRING, Token.NUMBER):
        reader.refuse("Value of anything-but must be an array or single string/number value.")
    if token == Token.ARRAY:
        tests = _twice(reader, within)
    elif within:
        tests = [_excluded(reader, token, within)]
    else:
        tests = [_excluded_value(reader, token, _NOT_ALONE)]
    for _ in range(2 if within else 1):
        if reader.next() != Token.OBJECT_END:
            reader.refuse("Too many elements in numeric expression")
    return Condition(Kind.NOT, tuple(tests))


def _twice(reader: Reader, within: str) -> list[Condition]:
    """The members of a list. Its refusals say their place twice: AWS's engine passes them on as the text of another one."""
    tests: list[Condition] = []
    texts: list[str] = []  # of wildcards, which the engine looks at behind the list
    try:
        while (token := reader.next()) != Token.ARRAY_END:
            if within == "wildcard":
                texts.append(_excluded_text(reader, token, within))
            elif within:
                tests.append(_excluded(reader, token, within))
            else:
                tests.append(
                    _excluded_value(reader, token, "Inside anything but list, start|null|boolean is not supported.")
                )
    except PatternError as error:
        reader.refuse(str(error))
    tests += [_wildcard_of(reader, text) for text in texts]
    kinds = {type(test.value) is str for test in tests if not within}
    if not within and len(kinds) != 1:
        reader.refuse("Inside anything but list, either all values are number or string, mixed type is not supported")
    return tests


def _excluded_value(reader: Reader, token: Token, otherwise: str) -> Condition:
    if token not in (Token.STRING, Token.NUMBER):
        reader.refuse(otherwise)
    text = reader.text()
    if token == Token.STRING:
        return Condition(Kind.LITERAL, text)
    if comparable(text) is None:
        reader.refuse(f"Cannot compare number : {text}")
    return Condition(Kind.LITERAL, _number(text))


def _excluded(reader: Reader, token: Token, within: str) -> Condition:
    text = _excluded_text(reader, token, within)
    if within == "wildcard":
        return _wildcard_of(reader, text)
    return Condition(Kind.ANY_CASE, text.lower()) if within == "equals-ignore-case" else Condition(Kind(within), text)


def _excluded_text(reader: Reader, token: Token, within: str) -> str:
    if token != Token.STRING:
        reader.refuse(_NOT_WITHIN[within])
    text = reader.text()
    if not text and within in ("prefix", "suffix"):
        reader.refuse("Null prefix/suffix not allowed")
    return text


_EXPRESSIONS: dict[str, Callable[[Reader], Condition]] = {
    "exactly": _exactly,
    "prefix": _affix("prefix", Kind.PREFIX, Kind.PREFIX_ANY_CASE),
    "suffix": _affix("suffix", Kind.SUFFIX, Kind.SUFFIX_ANY_CASE),
    "equals-ignore-case": _any_case,
    "wildcard": _wildcard,
    "numeric": _numeric,
    "anything-but": _anything_but,
    "exists": _exists,
    "cidr": _cidr,
}
