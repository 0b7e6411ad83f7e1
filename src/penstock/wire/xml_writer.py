"""Output values → XML text, for Query and restXml."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from penstock.wire.scalars import format_blob, format_float, format_timestamp
from penstock.wire.shapes import Shape

DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'

Write = Callable[["list[str]", str, Any], None]

_SPECIAL = re.compile('[&<>"\r\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]')
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\r": "&#xD;"}


def escape(text: str) -> str:
    """Character data or a quoted attribute. What XML 1.0 cannot hold becomes U+FFFD."""
    return _SPECIAL.sub(lambda match: _ESCAPES.get(match[0], "\ufffd"), text) if _SPECIAL.search(text) else text


class XmlWriters:
    """Converters of one service. `always_millis`: timestamps with milliseconds even when they are zero (S3)."""

    def __init__(self, *, always_millis: bool = False) -> None:
        self._always_millis = always_millis
        self._contents: dict[str, Callable[[list[str], Mapping[str, Any]], None]] = {}

    def writer(self, shape: Shape) -> Write:
        """The writer of an element of a shape: `write(out, tag, value)`."""
        match shape.type:
            case "structure":
                return self._structure(shape)
            case "list":
                return self._list(shape)
            case "map":
                return self._map(shape)
            case _:
                text = self.text(shape)
                xmlns = _namespace(shape)

                def scalar(out: list[str], tag: str, value: Any) -> None:
                    out.append(f"<{tag}{xmlns}>{text(value)}</{tag}>")

                return scalar

    def text(self, shape: Shape) -> Callable[[Any], str]:
        """The escaped text of a scalar."""
        match shape.type:
            case "boolean":
                return lambda value: "true" if value else "false"
            case "timestamp":
                form, millis = shape.traits.get("timestampFormat", "iso8601"), self._always_millis
                return lambda value: format_timestamp(value, form, always_millis=millis)
            case "blob":
                return format_blob
            case "float" | "double":
                return format_float
            case _:
                return lambda value: escape(str(value))

    def contents(
        self, shape: Shape, *, without: frozenset[str] = frozenset()
    ) -> Callable[[list[str], Mapping[str, Any]], None]:
        """What stands inside a structure's element; members in `without` stand elsewhere."""
        key = f"{shape.name} {sorted(without)}" if without else shape.name
        known = self._contents.get(key)
        if known is not None:
            return known
        members: list[tuple[str, str, Write]] = []

        def contents(out: list[str], value: Mapping[str, Any]) -> None:
            for name, tag, write in members:
                item = value.get(name)
                if item is not None:
                    write(out, tag, item)

        self._contents[key] = contents
        for name, member in shape.members.items():
            if name in without or member.traits.get("xmlAttribute"):
                continue
            tag = member.wire_name(name)
            if member.type == "list" and member.flattened:
                tag = member.member.wire_name(tag)
            members.append((name, tag, self.writer(member)))
        return contents

    def _structure(self, shape: Shape) -> Write:
        contents = self.contents(shape)
        xmlns = _namespace(shape)
        attributes = [
            (name, member.wire_name(name), self.text(member))
            for name, member in shape.members.items()
            if member.traits.get("xmlAttribute")
        ]

        def structure(out: list[str], tag: str, value: Mapping[str, Any]) -> None:
            attribute_text = "".join(
                f' {wire}="{text(value[name])}"' for name, wire, text in attributes if value.get(name) is not None
            )
            out.append(f"<{tag}{xmlns}{attribute_text}>")
            contents(out, value)
            out.append(f"</{tag}>")

        return structure

    def _list(self, shape: Shape) -> Write:
        item = self.writer(shape.member)
        if shape.flattened:

            def flat(out: list[str], tag: str, value: Any) -> None:
                for element in value:
                    if element is not None:
                        item(out, tag, element)

            return flat
        xmlns = _namespace(shape)
        item_tag = shape.member.wire_name("member")

        def wrapped(out: list[str], tag: str, value: Any) -> None:
            out.append(f"<{tag}{xmlns}>")
            for element in value:
                if element is not None:
                    item(out, item_tag, element)
            out.append(f"</{tag}>")

        return wrapped

    def _map(self, shape: Shape) -> Write:
        key, item = self.writer(shape.key), self.writer(shape.value)
        key_tag, value_tag = shape.key.wire_name("key"), shape.value.wire_name("value")
        xmlns = _namespace(shape)

        def entries(out: list[str], tag: str, value: Mapping[str, Any]) -> None:
            for name, element in value.items():
                if element is not None:
                    out.append(f"<{tag}>")
                    key(out, key_tag, name)
                    item(out, value_tag, element)
                    out.append(f"</{tag}>")

        if shape.flattened:
            return entries

        def wrapped(out: list[str], tag: str, value: Mapping[str, Any]) -> None:
            out.append(f"<{tag}{xmlns}>")
            entries(out, "entry", value)
            out.append(f"</{tag}>")

        return wrapped


def _namespace(shape: Shape) -> str:
    stated = shape.traits.get("xmlNamespace")
    if not stated:
        return ""
    if isinstance(stated, str):
        return f' xmlns="{escape(stated)}"'
    prefix = f":{stated['prefix']}" if stated.get("prefix") else ""
    return f' xmlns{prefix}="{escape(stated["uri"])}"'
