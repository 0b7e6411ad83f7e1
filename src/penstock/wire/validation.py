"""Checks of an input against its model: closures compiled from the shapes on first use.

Violations are collected as data; an ErrorProfile says with which error a service answers them.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from penstock.wire.constraints import Check, blob, constraints_of, number, size, string, typed, wrong_type
from penstock.wire.profiles import Path, Violation
from penstock.wire.shapes import OperationModel, Shape

if TYPE_CHECKING:
    from penstock.wire.services import Service

MAX_VIOLATIONS = 100  # what one answer lists


def validate(service: Service, operation: OperationModel, value: dict[str, Any]) -> None:
    """Raise the service's error when `value` breaks the model; members that the model does not know are ignored."""
    if operation.input is None:
        return
    violations: list[Violation] = []
    service.validators.of(operation.input)(value, (), violations)
    if violations:
        judged = [violation for violation in violations if violation.kind not in service.profile.ignore]
        if judged:
            raise service.profile.error(operation, judged[:MAX_VIOLATIONS])


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
                return string(shape, member, own)
            case "integer" | "long" | "float" | "double":
                return number(shape, member, own)
            case "boolean":
                return typed(bool, "Member must be a boolean", member, own)
            case "timestamp":
                return typed((int, float, datetime), "Member must be a timestamp", member, own)
            case "blob":
                return None if shape.streaming else blob(shape, member, own)
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
                found.append(wrong_type(path, path[-1] if path else "", "Member must be a structure", value))
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
        sized = size(shape, member, "length")
        element = shape.member
        deep = element.type in {"structure", "list", "map"}
        below = self._check(element, member)
        rules = "" if deep else "Member must satisfy constraint: [" + ", ".join(constraints_of(element)) + "]"

        def check(value: Any, path: Path, found: list[Violation]) -> None:
            if type(value) is not list:
                found.append(wrong_type(path, member, "Member must be a list", value))
                return
            if sized is not None:
                sized(value, path, found)
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
        sized = size(shape, member, "length")
        key_check = self._check(shape.key, member)
        value_check = self._check(shape.value, member)
        deep = shape.value.type in {"structure", "list", "map"}
        key_rules = "Map keys must satisfy constraint: [" + ", ".join(constraints_of(shape.key)) + "]"
        value_rules = "Map value must satisfy constraint: [" + ", ".join(constraints_of(shape.value)) + "]"

        def broken(kind: str, text: str, value: Any, path: Path) -> Violation:
            # Values of a map are never printed: configurations carry secrets.
            return Violation(path=path, member=member, kind=kind, constraint=text, value=value, sensitive=True)

        def check(value: Any, path: Path, found: list[Violation]) -> None:
            if type(value) is not dict:
                found.append(wrong_type(path, member, "Member must be a map", value))
                return
            if sized is not None:
                sized(value, path, found)
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
