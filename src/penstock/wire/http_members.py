"""Members of REST protocols that stand in the path, the query, headers and the status: read from requests, written to answers."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote_to_bytes

from penstock.wire.call import Input, Output
from penstock.wire.errors import MalformedBody
from penstock.wire.message import HeaderList, RequestHead
from penstock.wire.rest_routes import split_path, template_of
from penstock.wire.scalars import format_float, format_timestamp
from penstock.wire.shapes import OperationModel, Shape
from penstock.wire.xml_tree import text_parser

_HTTP_DATES = re.compile(r"[A-Za-z]{3,9}, [^,]+")
_QUOTED = re.compile(r'\s*"((?:[^"\\]|\\.)*)"\s*(?=,|$)')
_OPENS = re.compile(r'\s*"')
_PLAIN = re.compile(r"[^,]*")
_ESCAPED = re.compile(r"\\(.)")
_UNSAFE_HEADER = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")

Convert = Callable[[str], Any]


class RequestMembers:
    """Where the members of one operation's input stand in a request."""

    def __init__(self, operation: OperationModel, shape: Shape) -> None:
        self._template = template_of(operation.request_uri)
        self._labels: dict[str, tuple[str, Convert]] = {}  # label → member
        self._queries: list[tuple[str, str, bool, Convert]] = []  # member, parameter, whether it is a list
        # Member that takes all parameters; whether it keeps lists of them.
        self._query_map: tuple[str, bool] | None = None
        self._headers: list[tuple[str, str, Convert]] = []  # member, lower-case header
        self._header_maps: list[tuple[str, str]] = []  # member, lower-case prefix
        self._literals = frozenset(
            pair.partition("=")[0] for pair in operation.request_uri.partition("?")[2].split("&") if pair
        )
        self.payload: str = shape.traits.get("payload", "")
        placed = {name for name, member in shape.members.items() if self._place(name, member)}
        self.placed = frozenset(placed | {self.payload}) if self.payload else frozenset(placed)

    def _place(self, name: str, member: Shape) -> bool:
        wire = member.wire_name(name)
        match member.location:
            case "uri":
                self._labels[wire] = (name, text_parser(member))
            case "querystring" if member.type == "map":
                self._query_map = (name, member.value.type == "list")
            case "querystring":
                is_list = member.type == "list"
                self._queries.append((name, wire, is_list, text_parser(member.member if is_list else member)))
            case "header":
                self._headers.append((name, wire.lower(), _header_parser(member)))
            case "headers":
                self._header_maps.append((name, "" if wire == name else wire.lower()))
            case _:
                return False
        return True

    def read(self, head: RequestHead, label: str) -> Input:
        """What a request's head says. Raises MalformedBody. `label` is the first segment, when the host name bears it."""
        parsed: Input = {}
        self._read_labels(split_path(head.path, label), parsed)
        self._read_query(head.query, parsed)
        for name, header, convert in self._headers:
            value = head.headers.get(header)
            if value is not None:
                parsed[name] = _argument(header, _header_text(value), convert)
        for name, prefix in self._header_maps:
            found = {
                key[len(prefix) :]: _header_text(value) for key, value in head.headers.items() if key.startswith(prefix)
            }
            if found or not prefix:
                parsed[name] = found
        return parsed

    def _read_labels(self, segments: list[str], parsed: Input) -> None:
        for index, part in enumerate(self._template):
            if not part.startswith("{"):
                continue
            label = part[1:-1]
            if label.endswith("+"):
                label = label[:-1]
                tail = len(self._template) - index - 1
                raw = "/".join(segments[index : len(segments) - tail])
            else:
                raw = segments[index] if index < len(segments) else ""
            entry = self._labels.get(label)
            if entry is not None and raw:
                parsed[entry[0]] = entry[1](_decoded(raw))

    def _read_query(self, query: str, parsed: Input) -> None:
        found: dict[str, list[str]] = {}
        for pair in query.split("&"):
            if pair:
                key, _, value = pair.replace("+", " ").partition("=")
                found.setdefault(_decoded(key), []).append(_decoded(value))
        for name, parameter, is_list, convert in self._queries:
            values = found.get(parameter)
            if values:
                read = [_argument(parameter, value, convert) for value in values]
                parsed[name] = read if is_list else read[-1]
        if self._query_map is not None:
            name, keeps_lists = self._query_map
            # Smithy: servers put there what has a member of its own, too.
            others = {key: values for key, values in found.items() if key not in self._literals}
            if others:
                parsed[name] = others if keeps_lists else {key: values[-1] for key, values in others.items()}


class AnswerMembers:
    """Where the members of one operation's output, or of an error, stand in an answer."""

    def __init__(self, shape: Shape) -> None:
        self._headers: list[tuple[str, bytes, Callable[[Any], str]]] = []
        self._header_maps: list[tuple[str, str]] = []
        self._status_member = ""
        self.payload: str = shape.traits.get("payload", "")
        self.payload_shape = shape.members[self.payload] if self.payload else None
        self.placed = frozenset(name for name, member in shape.members.items() if self._place(name, member))

    def _place(self, name: str, member: Shape) -> bool:
        wire = member.wire_name(name)
        match member.location:
            case "header":
                self._headers.append((name, wire.lower().encode("latin-1"), _header_writer(member)))
            case "headers":
                self._header_maps.append((name, "" if wire == name else wire))
            case "statusCode":
                self._status_member = name
            case _:
                return False
        return True

    def headers(self, output: Output) -> HeaderList:
        """The headers of an output."""
        answer: HeaderList = []
        for name, header, text in self._headers:
            value = output.get(name)
            if value is not None:
                answer.append((header, header_bytes(text(value))))
        for name, prefix in self._header_maps:
            for key, value in (output.get(name) or {}).items():
                if value is not None:
                    answer.append((f"{prefix}{key}".lower().encode("latin-1", "replace"), header_bytes(value)))
        return answer

    def status(self, output: Output) -> int | None:
        """The HTTP status that an output states, or None."""
        value = output.get(self._status_member) if self._status_member else None
        return None if value is None else int(value)


def _argument(name: str, value: str, convert: Callable[[str], Any]) -> Any:
    try:
        return convert(value)
    except MalformedBody as refused:
        raise MalformedBody(
            f"Provided {name} is not valid: {refused.message}",
            code="InvalidArgument",
            ArgumentName=name,
            ArgumentValue=value[:256],
        ) from None


def _decoded(raw: str) -> str:
    try:
        text = unquote_to_bytes(raw.encode("latin-1")).decode()
    except UnicodeDecodeError:
        raise MalformedBody("Couldn't parse the specified URI.", code="InvalidURI") from None
    if "\x00" in text:
        raise MalformedBody("Couldn't parse the specified URI.", code="InvalidURI")
    return text


def _header_text(value: str) -> str:
    """Headers carry UTF-8 by custom and Latin-1 by standard."""
    if value.isascii():
        return value
    try:
        return value.encode("latin-1").decode()
    except UnicodeDecodeError:
        return value


def header_bytes(value: object) -> bytes:
    """A header's value; characters that would end it become blanks."""
    return _UNSAFE_HEADER.sub(" ", str(value)).encode()


def _header_parser(member: Shape) -> Callable[[str], Any]:
    if member.type == "list":
        convert = text_parser(member.member)
        if member.member.type == "timestamp" and member.member.traits.get("timestampFormat", "rfc822") == "rfc822":
            return lambda value: [convert(item) for item in _HTTP_DATES.findall(value)]
        return lambda value: [convert(item) for item in _split_header(value)]
    if member.traits.get("jsonvalue"):
        return _json_header
    return text_parser(member)


def _split_header(value: str) -> list[str]:
    items: list[str] = []
    at, quotes = 0, True
    while at < len(value):
        match = _QUOTED.match(value, at) if quotes else None
        if match is not None:
            items.append(_ESCAPED.sub(r"\1", match[1]))
        else:
            # A quote that is never closed is a character, and so is every one behind it: each is looked for once.
            quotes = quotes and _OPENS.match(value, at) is None
            match = _PLAIN.match(value, at)
            assert match is not None
            if plain := match[0].strip():
                items.append(plain)
        at = match.end() + 1
    return items


def _json_header(value: str) -> str:
    try:
        text = base64.b64decode(value, validate=True).decode()
        json.loads(text)
    except (ValueError, RecursionError):
        raise MalformedBody("A header is not valid JSON in base64.") from None
    return text


def _header_writer(member: Shape) -> Callable[[Any], str]:
    match member.type:
        case "list":
            item = _header_writer(member.member)
            return lambda value: ",".join(item(element) for element in value if element is not None)
        case "timestamp":
            form = member.traits.get("timestampFormat", "rfc822")
            return lambda value: format_timestamp(value, form, always_millis=True)
        case "boolean":
            return lambda value: "true" if value else "false"
        case "float" | "double":
            return format_float
        case _ if member.traits.get("jsonvalue"):
            return lambda value: base64.b64encode(str(value).encode()).decode()
        case _:
            return str
