"""restXml: labels, query parameters, headers and an XML or raw body; S3's error form."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import AsyncIterable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

from penstock.wire.call import Body, Input, Output
from penstock.wire.codec_rpc import status_of
from penstock.wire.errors import MalformedBody, ServiceError
from penstock.wire.message import HeaderList, RequestHead, Response
from penstock.wire.rest_routes import split_path, template_of
from penstock.wire.scalars import format_float, format_timestamp
from penstock.wire.shapes import Model, OperationModel, Shape
from penstock.wire.xml_tree import XmlParsers, read_xml, text_parser
from penstock.wire.xml_writer import DECLARATION, XmlWriters, escape

_HTTP_DATES = re.compile(r"[A-Za-z]{3,9}, [^,]+")
_HEADER_VALUE = re.compile(r'"((?:[^"\\]|\\.)*)"|([^,]+)')
_UNSAFE_HEADER = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_ERROR_ELEMENT = re.compile(r"[A-Z][A-Za-z0-9-]*|additionalMessage")
_NO_BODY = frozenset({204, 304})


@dataclass(frozen=True, slots=True)
class _RequestPlan:
    """How one operation's request is read."""

    template: tuple[str, ...]
    labels: Mapping[str, tuple[str, Callable[[str], Any]]]  # label → member
    queries: tuple[tuple[str, str, bool, Callable[[str], Any]], ...]  # member, parameter, is a list
    query_map: tuple[str, bool] | None  # member that takes the other parameters; whether it keeps lists of them
    headers: tuple[tuple[str, str, Callable[[str], Any]], ...]  # member, lower-case header
    header_maps: tuple[tuple[str, str], ...]  # member, lower-case prefix
    literals: frozenset[str]  # parameters of the URI itself
    payload: str
    body: Callable[[Any], Any] | None  # XML elements → members, or the payload member's value
    body_required: bool


@dataclass(frozen=True, slots=True)
class _AnswerPlan:
    """How one operation's answer is written."""

    headers: tuple[tuple[str, str, Callable[[Any], str]], ...]
    header_maps: tuple[tuple[str, str], ...]
    status_member: str
    payload: str
    payload_shape: Shape | None
    root: str
    write: Callable[[list[str], Mapping[str, Any]], None] | None


class RestXmlCodec:
    """restXml of one service."""

    protocol = "rest-xml"

    def __init__(self, model: Model) -> None:
        self._model = model
        # S3 answers errors without the wrapper that other restXml services have; botocore's models drop that trait.
        self._is_s3 = model.metadata.get("signatureVersion") in {"s3", "s3v4"}
        self.family = "s3" if self._is_s3 else "query"
        self._xmlns = (
            "http://s3.amazonaws.com/doc/2006-03-01/" if self._is_s3 else _uri(model.metadata.get("xmlNamespace"))
        )
        self._parsers = XmlParsers()
        self._writers = XmlWriters(always_millis=self._is_s3)
        self._requests: dict[str, _RequestPlan] = {}
        self._answers: dict[str, _AnswerPlan] = {}

    def parse(self, operation: OperationModel, head: RequestHead, body: bytes | Body, *, bucket: str = "") -> Input:
        """See Codec."""
        if operation.input is None:
            return {}
        plan = self._requests.get(operation.name)
        if plan is None:
            plan = self._requests[operation.name] = self._request_plan(operation, operation.input)
        parsed: Input = {}
        _read_labels(plan, split_path(head.path, bucket), parsed)
        _read_query(plan, head.query, parsed)
        for name, header, convert in plan.headers:
            value = head.headers.get(header)
            if value is not None:
                parsed[name] = _argument(header, _header_text(value), convert)
        for name, prefix in plan.header_maps:
            found = {
                key[len(prefix) :]: _header_text(value) for key, value in head.headers.items() if key.startswith(prefix)
            }
            if found or not prefix:
                parsed[name] = found
        self._read_body(plan, operation.input, body, parsed)
        return parsed

    def _read_body(self, plan: _RequestPlan, shape: Shape, body: bytes | Body, parsed: Input) -> None:
        if plan.payload:
            member = shape.members[plan.payload]
            if member.type == "blob":
                if not isinstance(body, bytes) or body or member.streaming:
                    parsed[plan.payload] = body
                return
            assert isinstance(body, bytes)
            if not body:
                return
            if member.type == "string":
                parsed[plan.payload] = _text(body)
            elif plan.body is not None:
                parsed[plan.payload] = plan.body([read_xml(body)])
        elif plan.body is not None and isinstance(body, bytes) and body.strip():
            parsed.update(plan.body([read_xml(body)]))

    def serialize(
        self,
        operation: OperationModel,
        output: Output | None,
        request_id: str,
        *,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """See Codec. A stream's length is the ContentLength member's."""
        answer: HeaderList = self._ids(request_id)
        code = status or operation.response_code
        body: bytes | AsyncIterable[bytes] = b""
        if operation.output is not None:
            output = output or {}
            plan = self._answers.get(operation.name)
            if plan is None:
                plan = self._answers[operation.name] = self._answer_plan(operation, operation.output)
            for name, header, text in plan.headers:
                value = output.get(name)
                if value is not None:
                    answer.append((header.lower().encode("latin-1"), _header_bytes(text(value))))
            for name, prefix in plan.header_maps:
                for key, value in (output.get(name) or {}).items():
                    if value is not None:
                        answer.append((f"{prefix}{key}".lower().encode("latin-1", "replace"), _header_bytes(value)))
            if plan.status_member and output.get(plan.status_member) is not None:
                code = status or int(output[plan.status_member])
            body = self._answer_body(plan, output, answer)
        for name, value in (headers or {}).items():
            raw = name.lower().encode("latin-1")
            answer = [pair for pair in answer if pair[0] != raw]
            answer.append((raw, _header_bytes(value)))
        counted = any(name == b"content-length" for name, _ in answer)
        if isinstance(body, bytes) and not counted and code not in _NO_BODY:
            answer.append((b"content-length", str(len(body)).encode()))
        return Response(code, answer, body)

    def _answer_body(self, plan: _AnswerPlan, output: Output, answer: HeaderList) -> bytes | AsyncIterable[bytes]:
        if plan.payload:
            value = output.get(plan.payload)
            if value is None:
                return b""
            shape = plan.payload_shape
            assert shape is not None
            if shape.type == "blob":
                return bytes(value) if isinstance(value, (bytes, bytearray, memoryview)) else value
            if shape.type != "structure":
                if not any(name == b"content-type" for name, _ in answer):
                    answer.append((b"content-type", b"text/plain"))
                return str(value).encode()
            output = value
        if plan.write is None:
            return b""
        out = [DECLARATION]
        plan.write(out, output)
        answer.append((b"content-type", b"application/xml"))
        return "".join(out).encode()

    def error(
        self,
        operation: OperationModel | None,  # noqa: ARG002 - of the codec's interface
        error: ServiceError,
        request_id: str,
    ) -> Response:
        """See Codec. S3: values whose names start with a capital become elements."""
        code, status = error.wire_code, error.status
        shape = self._model.error_shape(code)
        if shape is not None:
            code, status = shape.traits.get("error", {}).get("code", code), status_of(error, shape)
        answer = self._ids(request_id)
        answer += [(name.encode("latin-1"), _header_bytes(value)) for name, value in error.headers.items()]
        if status in _NO_BODY:
            return Response(status, answer, b"")
        told = f"<Code>{escape(code)}</Code><Message>{escape(error.message)}</Message>"
        extra: list[str] = []
        if self._is_s3:
            for name, value in error.values.items():
                if _ERROR_ELEMENT.fullmatch(name) and value is not None:
                    extra.append(f"<{name}>{escape(str(value))}</{name}>")
            identity = f"<RequestId>{escape(request_id)}</RequestId><HostId>{_host_id(request_id)}</HostId>"
            text = f"<Error>{told}{''.join(extra)}{identity}</Error>"
        else:
            if shape is not None:
                known = {name: value for name, value in error.values.items() if name.lower() not in {"message", "code"}}
                self._error_members(shape, known, extra, answer)
            fault = "Sender" if error.sender_fault else "Receiver"
            text = (
                f"<ErrorResponse><Error><Type>{fault}</Type>{told}{''.join(extra)}</Error>"
                f"<RequestId>{escape(request_id)}</RequestId></ErrorResponse>"
            )
        body = f"{DECLARATION}{text}".encode()
        answer += [(b"content-type", b"application/xml"), (b"content-length", str(len(body)).encode())]
        return Response(status, answer, body)

    def _error_members(self, shape: Shape, values: Mapping[str, Any], out: list[str], answer: HeaderList) -> None:
        placed = frozenset(name for name, member in shape.members.items() if member.location)
        self._writers.contents(shape, without=placed)(out, values)
        for name in placed:
            member = shape.members[name]
            if member.location == "header" and values.get(name) is not None:
                header = member.wire_name(name).lower().encode("latin-1")
                answer.append((header, _header_bytes(_header_writer(member)(values[name]))))

    def _ids(self, request_id: str) -> HeaderList:
        raw = request_id.encode("latin-1")
        if self._is_s3:
            return [(b"x-amz-request-id", raw), (b"x-amz-id-2", _host_id(request_id).encode("latin-1"))]
        return [(b"x-amzn-requestid", raw)]

    def _request_plan(self, operation: OperationModel, shape: Shape) -> _RequestPlan:
        labels: dict[str, tuple[str, Callable[[str], Any]]] = {}
        queries: list[tuple[str, str, bool, Callable[[str], Any]]] = []
        query_map: tuple[str, bool] | None = None
        headers: list[tuple[str, str, Callable[[str], Any]]] = []
        header_maps: list[tuple[str, str]] = []
        placed: set[str] = set()
        for name, member in shape.members.items():
            wire = member.wire_name(name)
            match member.location:
                case "uri":
                    labels[wire] = (name, text_parser(member))
                case "querystring" if member.type == "map":
                    query_map = (name, member.value.type == "list")
                case "querystring":
                    is_list = member.type == "list"
                    queries.append((name, wire, is_list, text_parser(member.member if is_list else member)))
                case "header":
                    headers.append((name, wire.lower(), _header_parser(member)))
                case "headers":
                    header_maps.append((name, "" if wire == name else wire.lower()))
                case _:
                    continue
            placed.add(name)
        payload = shape.traits.get("payload", "")
        body: Callable[[Any], Any] | None = None
        if payload:
            placed.add(payload)
            if shape.members[payload].type in {"structure", "list", "map"}:
                body = self._parsers.parser(shape.members[payload])
        elif len(placed) < len(shape.members):
            body = self._parsers.structure(shape, without=frozenset(placed))
        return _RequestPlan(
            template=template_of(operation.request_uri),
            labels=labels,
            queries=tuple(queries),
            query_map=query_map,
            headers=tuple(headers),
            header_maps=tuple(header_maps),
            literals=frozenset(
                pair.partition("=")[0] for pair in operation.request_uri.partition("?")[2].split("&") if pair
            ),
            payload=payload,
            body=body,
            body_required=payload in shape.required,
        )

    def _answer_plan(self, operation: OperationModel, shape: Shape) -> _AnswerPlan:
        headers: list[tuple[str, str, Callable[[Any], str]]] = []
        header_maps: list[tuple[str, str]] = []
        status_member = ""
        placed: set[str] = set()
        for name, member in shape.members.items():
            wire = member.wire_name(name)
            match member.location:
                case "header":
                    headers.append((name, wire, _header_writer(member)))
                case "headers":
                    header_maps.append((name, "" if wire == name else wire))
                case "statusCode":
                    status_member = name
                case _:
                    continue
            placed.add(name)
        payload = shape.traits.get("payload", "")
        payload_shape = shape.members[payload] if payload else None
        write: Callable[[list[str], Mapping[str, Any]], None] | None = None
        root = ""
        if payload_shape is not None:
            if payload_shape.type == "structure":
                root = payload_shape.wire_name(payload_shape.name)
                write = self._element(payload_shape, root, frozenset())
        elif len(placed) < len(shape.members):
            root = shape.wire_name(operation.traits.get("output", {}).get("locationName", shape.name))
            if operation.traits.get("unwrappedXmlOutput"):
                write = self._unwrapped(shape)
            else:
                write = self._element(shape, root, frozenset(placed))
        return _AnswerPlan(
            headers=tuple(headers),
            header_maps=tuple(header_maps),
            status_member=status_member,
            payload=payload,
            payload_shape=payload_shape,
            root=root,
            write=write,
        )

    def _element(
        self, shape: Shape, root: str, placed: frozenset[str]
    ) -> Callable[[list[str], Mapping[str, Any]], None]:
        if not placed and (
            shape.traits.get("xmlNamespace") or any(m.traits.get("xmlAttribute") for m in shape.members.values())
        ):
            whole = self._writers.writer(shape)
            return lambda out, value: whole(out, root, value)
        contents = self._writers.contents(shape, without=placed)
        xmlns = f' xmlns="{escape(self._xmlns)}"' if self._xmlns else ""

        def write(out: list[str], value: Mapping[str, Any]) -> None:
            out.append(f"<{root}{xmlns}>")
            contents(out, value)
            out.append(f"</{root}>")

        return write

    def _unwrapped(self, shape: Shape) -> Callable[[list[str], Mapping[str, Any]], None]:
        """GetBucketLocation: the only member is the root itself."""
        name, member = next(iter(shape.members.items()))
        text = self._writers.text(member)
        tag = member.wire_name(name)
        xmlns = f' xmlns="{escape(self._xmlns)}"' if self._xmlns else ""

        def write(out: list[str], value: Mapping[str, Any]) -> None:
            item = value.get(name)
            out.append(f"<{tag}{xmlns}/>" if not item else f"<{tag}{xmlns}>{text(item)}</{tag}>")

        return write


def _read_labels(plan: _RequestPlan, segments: list[str], parsed: Input) -> None:
    for index, part in enumerate(plan.template):
        if not part.startswith("{"):
            continue
        label = part[1:-1]
        if label.endswith("+"):
            label = label[:-1]
            tail = len(plan.template) - index - 1
            raw = "/".join(segments[index : len(segments) - tail])
        else:
            raw = segments[index] if index < len(segments) else ""
        entry = plan.labels.get(label)
        if entry is not None and raw:
            parsed[entry[0]] = entry[1](_decoded(raw))


def _read_query(plan: _RequestPlan, query: str, parsed: Input) -> None:
    found: dict[str, list[str]] = {}
    for pair in query.split("&"):
        if pair:
            key, _, value = pair.replace("+", " ").partition("=")
            found.setdefault(_decoded(key), []).append(_decoded(value))
    for name, parameter, is_list, convert in plan.queries:
        values = found.pop(parameter, None)
        if values:
            read = [_argument(parameter, value, convert) for value in values]
            parsed[name] = read if is_list else read[-1]
    if plan.query_map is not None:
        name, keeps_lists = plan.query_map
        others = {key: values for key, values in found.items() if key not in plan.literals}
        if others:
            parsed[name] = others if keeps_lists else {key: values[-1] for key, values in others.items()}


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


def _header_bytes(value: str) -> bytes:
    return _UNSAFE_HEADER.sub(" ", str(value)).encode()


def _text(body: bytes) -> str:
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise MalformedBody("The body is not valid UTF-8.") from None
    if "\x00" in text:
        raise MalformedBody("A string contains the character U+0000.")
    return text


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
    for match in _HEADER_VALUE.finditer(value):
        quoted, plain = match.groups()
        if quoted is not None:
            items.append(re.sub(r"\\(.)", r"\1", quoted))
        elif plain.strip():
            items.append(plain.strip())
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


def _uri(namespace: str | Mapping[str, str] | None) -> str:
    if not namespace:
        return ""
    return namespace if isinstance(namespace, str) else namespace["uri"]


def _host_id(request_id: str) -> str:
    return base64.b64encode(request_id.encode()).decode()
