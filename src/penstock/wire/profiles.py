"""Violated constraints as data, and with which error a service answers them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from penstock.wire.errors import ServiceError, error_class
from penstock.wire.shapes import OperationModel

_MAX_PRINTED = 1024  # characters of a value in an answer

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One broken constraint."""

    path: Path  # as AWS prints it: ("pipeline", "stages", "2", "member", "name"); list indexes from 1
    member: str  # the model's name of the nearest member: "name"
    kind: str  # required, min_length, max_length, min_value, max_value, pattern, enum, type, items
    constraint: str  # AWS's text: "Member must not be null"
    value: Any = None
    sensitive: bool = False
    location: str = ""  # of the top-level member: "" (body), uri, querystring, header, headers

    @property
    def where(self) -> str:
        """The path, joined by dots."""
        return ".".join(self.path)


@dataclass(frozen=True, kw_only=True)
class ErrorProfile:
    """A service's messages for violated constraints. This one is the layout that most services share.

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
        clauses = "; ".join(self._clause(violation) for violation in violations)
        return f"{count} validation error{'s' if count > 1 else ''} detected: {clauses}"

    def _clause(self, violation: Violation) -> str:
        if violation.kind == "required":
            subject = "Value null"
        elif self.prints_values and not violation.sensitive:
            subject = f"Value '{print_value(violation.value)}'"
        else:
            subject = "Value"
        return f"{subject} at '{violation.where}' failed to satisfy constraint: {violation.constraint}"


@dataclass(frozen=True, kw_only=True)
class MemberError:
    """What one member's absence or bad value is answered with; None leaves it to the profile's layout."""

    required: type[ServiceError] | None = None
    invalid: type[ServiceError] | None = None


@dataclass(frozen=True, kw_only=True)
class MemberProfile(ErrorProfile):
    """A service with an error of its own per member: the first violation that the table knows decides.

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


DEFAULT = ErrorProfile()


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
