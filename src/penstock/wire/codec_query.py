"""awsQuery: form fields in, XML out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

from penstock.wire.call import Body, Input, Output
from penstock.wire.codec_rpc import status_of
from penstock.wire.errors import MalformedBody, ServiceError
from penstock.wire.message import HeaderList, RequestHead, Response
from penstock.wire.refusals import QUERY, Wordings
from penstock.wire.shapes import Model, OperationModel, Shape
from penstock.wire.xml_tree import text_parser
from penstock.wire.xml_writer import XmlWriters, escape

MAX_DEPTH = 64
MAX_FIELDS = 10_000

Tree = dict[str, Any]  # part of a name → Tree; "" → the text itself
Parse = Callable[[Tree], Any]


def form_fields(head: RequestHead, body: bytes) -> dict[str, str]:
    """The parameters of a Query request: of the form, or of the URL when there is no body. Raises MalformedBody."""
    raw = body if body.strip() else head.query.encode("latin-1")
    pairs = raw.strip().split(b"&", MAX_FIELDS)
    if len(pairs) > MAX_FIELDS:
        raise MalformedBody(f"The request has more than {MAX_FIELDS} parameters.")
    fields: dict[str, str] = {}
    try:
        for pair in pairs:
            if pair:
                name, _, value = pair.replace(b"+", b" ").partition(b"=")
                fields[unquote_to_bytes(name).decode()] = unquote_to_bytes(value).decode()
    except UnicodeDecodeError:
        raise MalformedBody("A parameter is not valid UTF-8.") from None
    return fields


class QueryCodec:
    """awsQuery of one service."""

    protocol = "query"
    refusals: Wordings = QUERY

    def __init__(self, model: Model) -> None:
        self._model = model
        self._xmlns = _attribute(model.metadata.get("xmlNamespace"))
        self._parsers: dict[str, Parse] = {}
        self._writers = XmlWriters()

    def parse(
        self,
        operation: OperationModel,
        head: RequestHead,
        body: bytes | Body,
        *,
        label: str = "",  # noqa: ARG002 - of the codec's interface
    ) -> Input:
        """See Codec. Parameters that the model does not know are ignored."""
        assert isinstance(body, bytes)
        if operation.input is None:
            return {}
        tree: Tree = {}
        for name, value in form_fields(head, body).items():
            parts = name.split(".", MAX_DEPTH)
            if len(parts) > MAX_DEPTH:
                raise MalformedBody("A parameter name nests too deep.")
            node = tree
            for part in parts:
                node = node.setdefault(part or " ", {})
            node[""] = value
        return self._structure(operation.input)(tree)

    def serialize(
        self,
        operation: OperationModel,
        output: Output | None,
        request_id: str,
        *,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """See Codec."""
        out = [f"<{operation.name}Response{self._xmlns}>"]
        if operation.output is not None:
            wrapper = operation.result_wrapper
            if wrapper:
                out.append(f"<{wrapper}>")
            self._writers.contents(operation.output)(out, output or {})
            if wrapper:
                out.append(f"</{wrapper}>")
        out.append(f"<ResponseMetadata><RequestId>{escape(request_id)}</RequestId></ResponseMetadata>")
        out.append(f"</{operation.name}Response>")
        return _response(status or operation.response_code, out, request_id, headers)

    def error(
        self,
        operation: OperationModel | None,  # noqa: ARG002 - of the codec's interface
        error: ServiceError,
        request_id: str,
    ) -> Response:
        """See Codec. The code on the wire is the one that the model's error shape states."""
        code, status = error.wire_code, error.status
        shape = self._model.error_shape(code)
        out = [f"<ErrorResponse{self._xmlns}><Error><Type>{'Sender' if error.sender_fault else 'Receiver'}</Type>"]
        members: list[str] = []
        if shape is not None:
            stated = shape.traits.get("error", {})
            code, status = stated.get("code", code), status_of(error, shape)
            known = {
                name: value
                for name, value in error.values.items()
                if name in shape.members and name.lower() not in {"message", "code", "type"}
            }
            self._writers.contents(shape)(members, known)
        out.append(f"<Code>{escape(code)}</Code><Message>{escape(error.message)}</Message>")
        out += members
        out.append(f"</Error><RequestId>{escape(request_id)}</RequestId></ErrorResponse>")
        return _response(status, out, request_id, None)

    def _parser(self, shape: Shape) -> Parse:
        match shape.type:
            case "structure":
                return self._structure(shape)
            case "list":
                return self._list(shape)
            case "map":
                return self._map(shape)
            case _:
                convert = text_parser(shape)

                def scalar(tree: Tree) -> Any:
                    if "" not in tree:
                        raise MalformedBody("Start of structure or map found where not expected.")
                    return convert(tree[""])

                return scalar

    def _structure(self, shape: Shape) -> Parse:
        known = self._parsers.get(shape.name)
        if known is not None:
            return known
        members: list[tuple[str, str, str, Parse]] = []

        def structure(tree: Tree) -> dict[str, Any]:
            parsed: dict[str, Any] = {}
            for name, wire, other, convert in members:
                below = tree.get(wire)
                if below is None:
                    below = tree.get(other)
                if below is not None:
                    parsed[name] = convert(below)
            return parsed

        self._parsers[shape.name] = structure
        for name, member in shape.members.items():
            wire = member.wire_name(name)
            # A flattened list goes by the name of its elements when they have one.
            flat = member.type == "list" and member.flattened
            other = member.member.wire_name(wire) if flat else wire
            members.append((name, other, wire, self._parser(member)))
        return structure

    def _list(self, shape: Shape) -> Parse:
        item = self._parser(shape.member)
        tag = "" if shape.flattened else shape.member.wire_name("member")

        def convert(tree: Tree) -> list[Any]:
            below = tree.get(tag) if tag else tree
            if below is None and tag != "member":
                below = tree.get("member")
            if below is None:
                if set(tree) <= {""}:
                    return []
                raise MalformedBody("Unexpected complex element termination")
            return [item(element) for element in _numbered(below)]

        return convert

    def _map(self, shape: Shape) -> Parse:
        key_of, value_of = self._parser(shape.key), self._parser(shape.value)
        key_tag, value_tag = shape.key.wire_name("key"), shape.value.wire_name("value")
        flattened = shape.flattened

        def convert(tree: Tree) -> dict[str, Any]:
            below = tree if flattened else tree.get("entry", {})
            parsed: dict[str, Any] = {}
            for entry in _numbered(below):
                if key_tag not in entry or value_tag not in entry:
                    raise MalformedBody("Unexpected complex element termination")
                parsed[key_of(entry[key_tag])] = value_of(entry[value_tag])
            return parsed

        return convert


def _numbered(tree: Tree) -> list[Tree]:
    """The elements `1`, `2`, … of a list, in order."""
    found: list[tuple[int, Tree]] = []
    for index, element in tree.items():
        if index == "":
            continue
        if not (index.isascii() and index.isdigit() and len(index) <= 9):
            raise MalformedBody("Unexpected complex element termination")
        found.append((int(index), element))
    found.sort(key=lambda pair: pair[0])
    return [element for _, element in found]


def _attribute(namespace: str | Mapping[str, str] | None) -> str:
    if not namespace:
        return ""
    uri = namespace if isinstance(namespace, str) else namespace["uri"]
    return f' xmlns="{escape(uri)}"'


def _response(status: int, out: list[str], request_id: str, extra: Mapping[str, str] | None) -> Response:
    body = "".join(out).encode()
    headers: HeaderList = [
        (b"x-amzn-requestid", request_id.encode("latin-1")),
        (b"content-type", b"text/xml"),
        (b"content-length", str(len(body)).encode()),
    ]
    if extra:
        headers += [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in extra.items()]
    return Response(status, headers, body)
