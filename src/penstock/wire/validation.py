"""Checks of an input against its model: closures compiled from the shapes on first use.

Violations are collected as data; an ErrorProfile says with which error a service answers them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from penstock.wire.errors import ServiceError, error_class
from penstock.wire.patterns import full_match
from penstock.wire.shapes import OperationModel, Shape

if TYPE_CHECKING:
    from penstock.wire.services import Service

MAX_VIOLATIONS = 100  # what one answer lists
_MAX_PRINTED = 1024  # characters of a value in an answer

Path = tuple[str, ...]
Check = Callable[[Any, Path, "list[Violation]"], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One broken constraint."""

    path: Path  # as AWS prints it: ("pipeline", "stages", "2", "member", "name"); list indexes from 1
    member: str  # the model's name of the nearest member: "name"
    kind: str  # required, min_length, max_length, min_value, max_value, pattern, enum, type, items, reserved
    constraint: str  # AWS's words: "Member must not be null"
    value: Any = None
    sensitive: bool = False
    location: str = ""  # of the top-level member: "" (body), uri, querystring, header, headers

    @property
    def where(self) -> str:
        """The path, joined by dots."""
        return ".".join(self.path)


@dataclass(frozen=True, kw_only=True)
class ErrorProfile:
    """How a service words violated constraints. This one is the layout that most services share.

    Layout: terraform-provider-aws#41023 (pasted answers of AWS).
    """

    code: str = "ValidationException"
    prints_values: bool = True  # "Value 'x' at 'name'" or "Value at 'name'"
    ignore: frozenset[str] = frozenset()  # kinds that the service's own code judges

    def error(self, operation: OperationModel, violations: list[Violation]) -> ServiceError:  # noqa: ARG002
        """The error that answers `violations` (at least one)."""
        return error_class(self.code)(self.sentence(violations))

    def sentence(self, violations: list[Violation]) -> str:
        """AWS's sentence over all violations."""
        count = len(violations)
        told = "; ".join(self._clause(violation) for violation in violations)
        return f"{count} validation error{'s' if count > 1 else ''} detected: {told}"

    def _clause(self, violation: Violation) -> str:
        if violation.kind == "required":
            shown = "Value null"
        elif self.prints_values and not violation.sensitive:
            shown = f"Value '{print_value(violation.value)}'"
        else:
            shown = "Value"
        return f"{shown} at '{violation.where}' failed to satisfy constraint: {violation.constraint}"


@dataclass(frozen=True, kw_only=True)
class MemberError:
    """What one member's absence or bad value is answered with; None leaves it to the profile's layout."""

    required: type[ServiceError] | None = None
    invalid: type[ServiceError] | None = None


@dataclass(frozen=True, kw_only=True)
class MemberProfile(ErrorProfile):
    """A service with an error of its own per member (CodeDeploy, CodeCommit): the first violation that the table knows decides.

    Keys of the table, the most telling first: "Operation.member", "path.of.members" (without list indexes), "member".
    """

    members: Mapping[str, MemberError] = field(default_factory=dict)

    def error(self, operation: OperationModel, violations: list[Violation]) -> ServiceError:
        """See ErrorProfile."""
        for violation in violations:
            case = self._case(operation, violation)
            if case is None:
                continue
            chosen = case.required if violation.kind == "required" or violation.value == "" else None
            chosen = chosen or case.invalid or case.required
            if chosen is not None:
                return _made(chosen, violation)
        return super().error(operation, violations)

    def _case(self, operation: OperationModel, violation: Violation) -> MemberError | None:
        plain = [part for part in violation.path if part != "member" and not part.isdigit()]
        for key in (f"{operation.name}.{violation.member}", ".".join(plain), violation.member):
            case = self.members.get(key)
            if case is not None:
                return case
        return None


def _made(chosen: type[ServiceError], violation: Violation) -> ServiceError:
    values = {"value": print_value(violation.value), "member": violation.member, "constraint": violation.constraint}
    try:
        return chosen(**values)
    except (KeyError, IndexError, ValueError):  # the message of that class names values that only its operation knows
        return chosen(f"The value of {violation.member} is not valid: {violation.constraint}")


@dataclass(frozen=True, kw_only=True)
class XmlProfile(ErrorProfile):
    """S3: what stands in the XML body is MalformedXML, what stands in path, query or headers InvalidArgument."""

    code: str = "InvalidArgument"

    def error(self, operation: OperationModel, violations: list[Violation]) -> ServiceError:
        """See ErrorProfile."""
        first = violations[0]
        if not first.location:
            return error_class("MalformedXML")(
                "The XML you provided was not well-formed or did not validate against our published schema"
            )
        assert operation.input is not None
        name = operation.input.members[first.member].wire_name(first.member)  # of the header or parameter
        return error_class(self.code)(
            f"{name}: {first.constraint}",
            ArgumentName=name,
            ArgumentValue="" if first.value is None or first.sensitive else print_value(first.value),
        )


DEFAULT = ErrorProfile()
QUERY = ErrorProfile(code="ValidationError")  # IAM, STS, CloudFormation


def validate(service: Service, operation: OperationModel, value: dict[str, Any], *, sender: str = "") -> None:
    """Raise the service's error when `value` breaks the model; members that the model does not know are ignored.

    A member that is reserved for a service of ours is refused unless `sender` is that service: what it says is believed,
    so a caller from outside is told that it was not, rather than left to think that it counted.
    """
    if operation.input is None:
        return
    reserved = [
        Violation(
            path=(name,),
            member=name,
            kind="reserved",
            constraint=f"Member may be sent by {principal} only",
            sensitive=True,
        )
        for name, principal in operation.reserved
        if name in value and principal != sender
    ]
    if reserved:
        raise service.profile.error(operation, reserved)
    violations: list[Violation] = []
    service.validators.of(operation.input)(value, (), violations)
    if violations:
        judged = [violation for violation in violations if violation.kind not in service.profile.ignore]
        if judged:
            raise service.profile.error(operation, judged[:MAX_VIOLATIONS])


def print_value(value: Any) -> str:
    """A value as Java prints it, shortened."""
    text = _print(value, 0)
    return text if len(text) <= _MAX_PRINTED else text[:_MAX_PRINTED] + "…"


def _print(value: Any, depth: int) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value[: _MAX_PRINTED + 1]
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_print(item, depth + 1) for item in value[:_MAX_PRINTED]) + "]" if depth < 3 else "[…]"
    if isinstance(value, dict):
        if depth >= 3:
            return "{…}"
        items = list(value.items())[:_MAX_PRINTED]
        return "{" + ", ".join(f"{key}={_print(item, depth + 1)}" for key, item in items) + "}"
    if isinstance(value, (bytes, bytearray)):
        return f"{len(value)} bytes"
    return str(value)[: _MAX_PRINTED + 1]


class Validators:
    """The compiled checks of one service."""

    def __init__(self) -> None:
        self._structures: dict[str, Check] = {}

    def of(self, shape: Shape) -> Check:
        """The check of an input shape."""
        return self._structure(shape)

    def _check(self, shape: Shape, member: str, own: Path = ()) -> Check | None:
        """The check of a member; `own` is what a scalar adds to the path of its parent, for its violations only."""
        match shape.type:
            case "structure":
                return None if shape.document else self._structure(shape)
            case "list":
                return self._list(shape, member)
            case "map":
                return self._map(shape, member)
            case "string":
                return _string(shape, member, own)
            case "integer" | "long" | "float" | "double":
                return _number(shape, member, own)
            case "boolean":
                return _typed(bool, "Member must be a boolean", member, own)
            case "timestamp":
                return _typed((int, float, datetime), "Member must be a timestamp", member, own)
            case "blob":
                return None if shape.streaming else _blob(shape, member, own)
            case _:
                return None

    def _structure(self, shape: Shape) -> Check:
        known = self._structures.get(shape.name)
        if known is not None:
            return known
        required: list[tuple[str, str, str]] = []
        checks: dict[str, tuple[Check, str]] = {}  # and what it adds to the path; "" for scalars, which know their own

        def check(value: Any, path: Path, found: list[Violation]) -> None:
            if type(value) is not dict:
                found.append(_wrong(path, path[-1] if path else "", "Member must be a structure", value))
                return
            for name, printed, location in required:
                if value.get(name) is None:
                    found.append(
                        Violation(
                            path=(*path, printed),
                            member=name,
                            kind="required",
                            constraint="Member must not be null",
                            location=location,
                        )
                    )
            for name, item in value.items():
                entry = checks.get(name)
                if entry is not None and item is not None:
                    entry[0](item, (*path, entry[1]) if entry[1] else path, found)

        self._structures[shape.name] = check
        for name, member in shape.members.items():
            printed = printed_name(name)
            if name in shape.required:
                required.append((name, printed, member.location))
            below = self._check(member, name, (printed,))
            if below is not None:
                adds = printed if member.type in {"structure", "list", "map"} else ""
                checks[name] = (_located(below, member.location) if member.location else below, adds)
        return check

    def _list(self, shape: Shape, member: str) -> Check:
        size = _size(shape, member, "length")
        element = shape.member
        deep = element.type in {"structure", "list", "map"}
        below = self._check(element, member)
        rules = "" if deep else "Member must satisfy constraint: [" + ", ".join(_constraints(element)) + "]"

        def check(value: Any, path: Path, found: list[Violation]) -> None:
            if type(value) is not list:
                found.append(_wrong(path, member, "Member must be a list", value))
                return
            if size is not None:
                size(value, path, found)
            if deep:
                assert below is not None or element.document
                wrong: list[Violation] = []
                for index, item in enumerate(value, 1):
                    if item is not None:
                        if below is None:
                            continue
                        below(item, (), wrong)  # of thousands of items hardly one needs the path to it
                        if not wrong:
                            continue
                        wrong.clear()
                    here = (*path, str(index), "member")
                    if item is None:
                        found.append(_null(here, member))
                    elif below is not None:
                        below(item, here, found)
                    if len(found) > MAX_VIOLATIONS:
                        return
                return
            broken: list[Violation] = []
            for index, item in enumerate(value, 1):
                if item is None:
                    found.append(_null((*path, str(index), "member"), member))
                elif below is not None:
                    below(item, path, broken)
                if broken:
                    kind = broken[0].kind
                    text = rules if kind != "type" else broken[0].constraint
                    sensitive = "sensitive" in element.traits or "sensitive" in shape.traits
                    found.append(
                        Violation(
                            path=path, member=member, kind=kind, constraint=text, value=value, sensitive=sensitive
                        )
                    )
                    return

        return check

    def _map(self, shape: Shape, member: str) -> Check:
        size = _size(shape, member, "length")
        key_check = self._check(shape.key, member)
        value_check = self._check(shape.value, member)
        deep = shape.value.type in {"structure", "list", "map"}
        key_rules = "Map keys must satisfy constraint: [" + ", ".join(_constraints(shape.key)) + "]"
        value_rules = "Map value must satisfy constraint: [" + ", ".join(_constraints(shape.value)) + "]"

        def broken(kind: str, text: str, value: Any, path: Path) -> Violation:
            # Values of a map are never printed: configurations carry secrets.
            return Violation(path=path, member=member, kind=kind, constraint=text, value=value, sensitive=True)

        def check(value: Any, path: Path, found: list[Violation]) -> None:
            if type(value) is not dict:
                found.append(_wrong(path, member, "Member must be a map", value))
                return
            if size is not None:
                size(value, path, found)
            bad_keys: list[Violation] = []
            bad_values: list[Violation] = []
            for key, item in value.items():
                if key_check is not None and not bad_keys:
                    key_check(key, path, bad_keys)
                if item is None:
                    found.append(_null((*path, str(key)), member))
                elif value_check is not None and deep:
                    value_check(item, (*path, str(key), "member"), found)
                elif value_check is not None and not bad_values:
                    value_check(item, path, bad_values)
                if len(found) > MAX_VIOLATIONS:
                    return
            if bad_keys:
                found.append(broken(bad_keys[0].kind, key_rules, value, path))
            if bad_values:
                found.append(broken(bad_values[0].kind, value_rules, value, path))

        return check


def printed_name(member: str) -> str:
    """A member in a path as AWS prints it: with a lower-case first letter."""
    return member[:1].lower() + member[1:]


def _wrong(path: Path, member: str, constraint: str, value: Any) -> Violation:
    return Violation(path=path, member=member, kind="type", constraint=constraint, value=value, sensitive=True)


def _null(path: Path, member: str) -> Violation:
    return Violation(path=path, member=member, kind="required", constraint="Member must not be null")


def _located(check: Check, location: str) -> Check:
    def located(value: Any, path: Path, found: list[Violation]) -> None:
        before = len(found)
        check(value, path, found)
        for index in range(before, len(found)):
            old = found[index]
            found[index] = Violation(
                path=old.path,
                member=old.member,
                kind=old.kind,
                constraint=old.constraint,
                value=old.value,
                sensitive=old.sensitive,
                location=location,
            )

    return located


def _typed(wanted: type | tuple[type, ...], constraint: str, member: str, own: Path) -> Check:
    def check(value: Any, path: Path, found: list[Violation]) -> None:
        if not isinstance(value, wanted):
            found.append(_wrong(path + own, member, constraint, value))

    return check


def _constraints(shape: Shape) -> list[str]:
    """The words of every constraint of a scalar, in AWS's order."""
    traits = shape.traits
    told: list[str] = []
    noun = "length" if shape.type in {"string", "blob", "list", "map"} else "value"
    if "max" in traits:
        told.append(_at_most(noun, traits["max"]))
    if "min" in traits:
        told.append(_at_least(noun, traits["min"]))
    if "pattern" in traits:
        told.append(_like(traits["pattern"]))
    if "enum" in traits:
        told.append(_one_of(traits["enum"]))
    return told or ["Member must not be null"]


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


def _size(shape: Shape, member: str, noun: str) -> Check | None:
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


def _blob(shape: Shape, member: str, own: Path) -> Check:
    size = _size(shape, member, "length")

    def check(value: Any, path: Path, found: list[Violation]) -> None:
        if not isinstance(value, (bytes, bytearray, memoryview)):
            if not hasattr(value, "__aiter__"):
                found.append(_wrong(path + own, member, "Member must be a blob", value))
        elif size is not None:
            size(value, path + own, found)

    return check


def _string(shape: Shape, member: str, own: Path) -> Check:
    traits = shape.traits
    size = _size(shape, member, "length")
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
            tell(value, path + own, found)

    def tell(value: Any, path: Path, found: list[Violation]) -> None:
        if not isinstance(value, str):
            found.append(_wrong(path, member, "Member must be a string", value))
            return
        if size is not None:
            size(value, path, found)
        if matches is not None and not matches(value):
            kind, text = "pattern", pattern_text
        elif enum is not None and value not in enum:
            kind, text = "enum", enum_text
        else:
            return
        found.append(Violation(path=path, member=member, kind=kind, constraint=text, value=value, sensitive=sensitive))

    return check


def _number(shape: Shape, member: str, own: Path) -> Check:
    low, high = shape.traits.get("min"), shape.traits.get("max")
    integral = shape.type in {"integer", "long"}

    def check(value: Any, path: Path, found: list[Violation]) -> None:
        if type(value) is not int and (integral or type(value) is not float):
            found.append(_wrong(path + own, member, "Member must be a number", value))
            return
        if high is not None and not value <= high:  # not a number is beyond every bound
            kind, text = "max_value", _at_most("value", high)
        elif low is not None and not value >= low:
            kind, text = "min_value", _at_least("value", low)
        else:
            return
        found.append(Violation(path=path + own, member=member, kind=kind, constraint=text, value=value))

    return check
