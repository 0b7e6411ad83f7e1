"""XML from outside: a small tree out of expat, bounded, without document types and entities."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from xml.parsers import expat

from penstock.wire.errors import MalformedBody
from penstock.wire.scalars import parse_blob, parse_boolean, parse_float, parse_integer, parse_timestamp
from penstock.wire.shapes import Shape

MAX_DEPTH = 64
MAX_ELEMENTS = 250_000  # 10,000 parts of an upload with every checksum

_NOT_WELL_FORMED = "The XML you provided was not well-formed or did not validate against our published schema"

Parse = Callable[["list[Node]"], Any]


class Node:
    """One element; names are without namespace."""

    __slots__ = ("attributes", "children", "tag", "text")

    def __init__(self, tag: str, attributes: dict[str, str]) -> None:
        self.tag = tag
        self.attributes = attributes
        self.children: list[Node] = []
        self.text = ""


def read_xml(body: bytes) -> Node:
    """The root of a document. Raises MalformedBody on anything that is not plain, bounded XML."""
    parser = expat.ParserCreate(namespace_separator="}")
    parser.buffer_text = True
    parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
    open_nodes: list[Node] = []
    texts: list[list[str]] = []  # of each open element; joined once, at its end
    roots: list[Node] = []
    count = 0

    def refuse(*_: Any) -> None:
        raise MalformedBody(_NOT_WELL_FORMED)

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal count
        count += 1
        if count > MAX_ELEMENTS or len(open_nodes) >= MAX_DEPTH:
            raise MalformedBody(_NOT_WELL_FORMED)
        node = Node(name.rpartition("}")[2], {key.rpartition("}")[2]: value for key, value in attributes.items()})
        if open_nodes:
            if any(not part.isspace() for part in texts[-1]):
                refuse()
            texts[-1].clear()
            open_nodes[-1].children.append(node)
        else:
            roots.append(node)
        open_nodes.append(node)
        texts.append([])

    def end(_name: str) -> None:
        open_nodes.pop().text = "".join(texts.pop())

    def text(data: str) -> None:
        # No request has text beside elements: it is refused where it stands, and blanks between elements are not kept.
        if open_nodes and not open_nodes[-1].children:
            texts[-1].append(data)
        elif not data.isspace():
            refuse()

    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    try:
        parser.Parse(body, True)
    except (expat.ExpatError, ValueError, LookupError):
        raise MalformedBody(_NOT_WELL_FORMED) from None
    if not roots:
        raise MalformedBody(_NOT_WELL_FORMED)
    return roots[0]


class XmlParsers:
    """Elements → input values. A converter gets every element of its name."""

    def __init__(self) -> None:
        self._structures: dict[str, Parse] = {}

    def parser(self, shape: Shape) -> Parse:
        """The converter of a shape."""
        match shape.type:
            case "structure":
                return self.structure(shape)
            case "list":
                return self._list(shape)
            case "map":
                return self._map(shape)
            case _:
                convert = text_parser(shape)

                def scalar(nodes: list[Node]) -> Any:
                    if nodes[-1].children:
                        raise MalformedBody(_NOT_WELL_FORMED)
                    return convert(nodes[-1].text)

                return scalar

    def structure(self, shape: Shape, *, without: frozenset[str] = frozenset()) -> Parse:
        """The converter of a structure; members in `without` stand elsewhere than in its element."""
        key = f"{shape.name} {sorted(without)}" if without else shape.name
        known = self._structures.get(key)
        if known is not None:
            return known
        members: list[tuple[str, str, str, Parse]] = []
        attributes: list[tuple[str, str]] = []

        def structure(nodes: list[Node]) -> dict[str, Any]:
            node = nodes[-1]
            if node.text.strip():  # text where elements belong
                raise MalformedBody(_NOT_WELL_FORMED)
            by_tag: dict[str, list[Node]] = {}
            for child in node.children:
                by_tag.setdefault(child.tag, []).append(child)
            parsed: dict[str, Any] = {}
            for name, tag, other_tag, convert in members:
                found = by_tag.get(tag) or by_tag.get(other_tag)
                if found:
                    parsed[name] = convert(found)
            for name, attribute in attributes:
                if attribute in node.attributes:
                    parsed[name] = node.attributes[attribute]
            return parsed

        self._structures[key] = structure
        for name, member in shape.members.items():
            if name in without:
                continue
            tag = member.wire_name(name)
            if member.traits.get("xmlAttribute"):
                attributes.append((name, tag.rpartition(":")[2]))
                continue
            other = member.member.wire_name(tag) if member.type == "list" and member.flattened else tag
            members.append((name, tag, other, self.parser(member)))
        return structure

    def _list(self, shape: Shape) -> Parse:
        item = self.parser(shape.member)
        if shape.flattened:
            return lambda nodes: [item([node]) for node in nodes]
        tag = shape.member.wire_name("member")

        def convert(nodes: list[Node]) -> list[Any]:
            return [item([child]) for child in nodes[-1].children if child.tag == tag]

        return convert

    def _map(self, shape: Shape) -> Parse:
        key_of, value_of = self.parser(shape.key), self.parser(shape.value)
        key_tag, value_tag = shape.key.wire_name("key"), shape.value.wire_name("value")
        flattened = shape.flattened

        def convert(nodes: list[Node]) -> dict[str, Any]:
            entries = nodes if flattened else [child for child in nodes[-1].children if child.tag == "entry"]
            parsed: dict[str, Any] = {}
            for entry in entries:
                keys = [child for child in entry.children if child.tag == key_tag]
                values = [child for child in entry.children if child.tag == value_tag]
                if not keys or not values:
                    raise MalformedBody(_NOT_WELL_FORMED)
                parsed[key_of(keys)] = value_of(values)
            return parsed

        return convert


def text_parser(shape: Shape) -> Callable[[str], Any]:
    """The converter of a scalar in text."""
    match shape.type:
        case "integer":
            return lambda text: parse_integer(text, "integer")
        case "long":
            return lambda text: parse_integer(text, "long")
        case "float" | "double":
            return parse_float
        case "boolean":
            return parse_boolean
        case "timestamp":
            return parse_timestamp
        case "blob":
            return parse_blob
        case "string" | "character":
            return _string
        case _:
            return _refuse_text


def _string(text: str) -> str:
    if "\x00" in text:
        raise MalformedBody("A string contains the character U+0000.")
    return text


def _refuse_text(_text: str) -> Any:
    raise MalformedBody("Start of structure or map found where not expected.")
