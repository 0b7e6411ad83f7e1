"""Documents that follow a model's shapes, out of and into the plain values of JSON or CBOR.

Converters are closures made from the shapes on first use. How scalars stand in a document is each format's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from penstock.wire.errors import MalformedBody
from penstock.wire.shapes import Shape

Convert = Callable[[Any], Any]


class ShapeParsers:
    """Values of a document → input values."""

    def __init__(self, scalars: Mapping[str, Convert]) -> None:
        """`scalars` are the converters by the shapes' types; a type that is not among them is a string."""
        self._scalars = scalars
        self._structures: dict[tuple[str, frozenset[str]], Convert] = {}

    def parser(self, shape: Shape) -> Convert:
        """The converter of a shape."""
        match shape.type:
            case "structure":
                return _document if shape.document else self.structure(shape)
            case "list":
                return _list_of(self.parser(shape.member))
            case "map":
                return _map_of(self.parser(shape.value))
            case _:
                return self._scalars.get(shape.type, string)

    def structure(self, shape: Shape, *, without: frozenset[str] = frozenset()) -> Convert:
        """The converter of a structure; members in `without` stand elsewhere than in the document."""
        key = (shape.name, without)
        known = self._structures.get(key)
        if known is not None:
            return known
        table: dict[str, tuple[str, Convert]] = {}

        def structure(value: Any) -> dict[str, Any]:
            if type(value) is not dict:
                raise unexpected(value, "a structure")
            parsed: dict[str, Any] = {}
            for wire_name, item in value.items():
                entry = table.get(wire_name)
                if entry is not None and item is not None:
                    parsed[entry[0]] = entry[1](item)
            return parsed

        self._structures[key] = structure
        for name, member in shape.members.items():
            if name not in without:
                table[member.wire_name(name)] = (name, self.parser(member))
        return structure


class ShapeWriters:
    """Output values → values of a document."""

    def __init__(self, scalar: Callable[[Shape], Convert | None]) -> None:
        """`scalar` gives the converter of a scalar shape; None where its values stand as they are."""
        self._scalar = scalar
        self._structures: dict[tuple[str, frozenset[str]], Convert] = {}

    def writer(self, shape: Shape) -> Convert:
        """The converter of a shape."""
        return self._writer(shape) or _same

    def _writer(self, shape: Shape) -> Convert | None:
        match shape.type:
            case "structure":
                return None if shape.document else self.structure(shape)
            case "list":
                item = self._writer(shape.member)
                return None if item is None else _write_list(item)
            case "map":
                item = self._writer(shape.value)
                return None if item is None else _write_map(item)
            case _:
                return self._scalar(shape)

    def structure(self, shape: Shape, *, without: frozenset[str] = frozenset()) -> Convert:
        """The converter of a structure; members in `without` stand elsewhere than in the document."""
        key = (shape.name, without)
        known = self._structures.get(key)
        if known is not None:
            return known
        table: dict[str, tuple[str, Convert | None]] = {}

        def structure(value: Mapping[str, Any]) -> dict[str, Any]:
            written: dict[str, Any] = {}
            for name, item in value.items():
                if item is None:
                    continue
                entry = table.get(name)
                if entry is not None:
                    written[entry[0]] = item if entry[1] is None else entry[1](item)
            return written

        self._structures[key] = structure
        for name, member in shape.members.items():
            if name not in without:
                table[name] = (member.wire_name(name), self._writer(member))
        return structure


def unexpected(value: Any, wanted: str) -> MalformedBody:
    """The refusal of a value that stands where `wanted` belongs, as AWS's JSON services report it."""
    match value:
        case bool():
            kind = "TRUE_VALUE" if value else "FALSE_VALUE"
        case str():
            kind = "STRING_VALUE"
        case int() | float():
            kind = "NUMBER_VALUE"
        case bytes():
            kind = "BYTE_STRING_VALUE"
        case list():
            return MalformedBody("Start of list found where not expected")
        case dict():
            return MalformedBody("Start of structure or map found where not expected.")
        case _:
            kind = "NULL_VALUE"
    if wanted in {"a list", "a map", "a structure"}:
        return MalformedBody("Unexpected field type")
    return MalformedBody(f"{kind} can not be converted to {wanted}")


def string(value: Any) -> str:
    """Text."""
    if type(value) is not str:
        raise unexpected(value, "a String")
    return value


def boolean(value: Any) -> bool:
    """True or false."""
    if type(value) is not bool:
        raise unexpected(value, "a Boolean")
    return value


def _document(value: Any) -> Any:
    return value


def _same(value: Any) -> Any:
    return value


def _list_of(item: Convert) -> Convert:
    def convert(value: Any) -> list[Any]:
        if type(value) is not list:
            raise unexpected(value, "a list")
        return [None if element is None else item(element) for element in value]

    return convert


def _map_of(item: Convert) -> Convert:
    def convert(value: Any) -> dict[str, Any]:
        if type(value) is not dict:
            raise unexpected(value, "a map")
        return {key: None if element is None else item(element) for key, element in value.items()}

    return convert


def _write_list(item: Convert) -> Convert:
    def write(value: Any) -> Any:
        if type(value) is orjson.Fragment:
            return value
        return [None if element is None else item(element) for element in value]

    return write


def _write_map(item: Convert) -> Convert:
    return lambda value: {key: item(element) for key, element in value.items() if element is not None}
