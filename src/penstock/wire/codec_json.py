"""awsJson 1.0 and 1.1, both directions. Converters are closures made from the shapes on first use."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from penstock.wire.call import Body, Input, Output
from penstock.wire.errors import MalformedBody, ServiceError
from penstock.wire.message import HeaderList, RequestHead, Response
from penstock.wire.scalars import (
    checked_integer,
    checked_seconds,
    format_blob,
    format_timestamp,
    number_of_seconds,
    parse_blob,
    parse_timestamp,
    special_float,
)
from penstock.wire.shapes import Model, OperationModel, Shape

MAX_DEPTH = 64

Convert = Callable[[Any], Any]


class JsonCodec:
    """awsJson of one service."""

    protocol = "json"
    family = "json"

    def __init__(self, model: Model) -> None:
        self._model = model
        version = model.metadata.get("jsonVersion", "1.1")
        self._content_type = f"application/x-amz-json-{version}".encode()
        self._query_compatible = "awsQueryCompatible" in model.metadata
        self._parsers = ShapeParsers()
        self._writers = ShapeWriters()

    def parse(
        self,
        operation: OperationModel,
        head: RequestHead,  # noqa: ARG002 - of the codec's interface
        body: bytes | Body,
        *,
        bucket: str = "",  # noqa: ARG002 - of the codec's interface
    ) -> Input:
        """See Codec. An empty body is an empty input."""
        assert isinstance(body, bytes)
        return self._parsers.parse_body(operation, body)

    def serialize(
        self,
        operation: OperationModel,
        output: Output | None,
        request_id: str,
        *,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """See Codec. An operation without an output shape answers with an empty body."""
        body = b""
        if operation.output is not None:
            body = orjson.dumps(self._writers.writer(operation.output)(output or {}))
        return self._response(status or operation.response_code, body, request_id, headers)

    def error(
        self,
        operation: OperationModel | None,  # noqa: ARG002 - of the codec's interface
        error: ServiceError,
        request_id: str,
    ) -> Response:
        """See Codec: `__type`, `message` and the modelled members found in the error's values."""
        code = error.wire_code
        document: dict[str, Any] = {"__type": code}
        if error.message:
            document["message"] = error.message
        status = error.status
        shape = self._model.error_shape(code)
        if shape is not None:
            status = status_of(error, shape)
            known = {name: value for name, value in error.values.items() if name in shape.members}
            document |= self._writers.writer(shape)(known)
        extra = None
        if self._query_compatible:
            extra = {"x-amzn-query-error": f"{code};{'Sender' if error.sender_fault else 'Receiver'}"}
        return self._response(status, orjson.dumps(document), request_id, extra)

    def _response(self, status: int, body: bytes, request_id: str, extra: Mapping[str, str] | None) -> Response:
        headers: HeaderList = [
            (b"x-amzn-requestid", request_id.encode("latin-1")),
            (b"content-type", self._content_type),
            (b"content-length", str(len(body)).encode()),
        ]
        if extra:
            headers += [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in extra.items()]
        return Response(status, headers, body)


def status_of(error: ServiceError, shape: Shape) -> int:
    """The HTTP status of a modelled error: the model's, unless the error's class states one of its own."""
    return (
        error.status
        if error.status != ServiceError.status
        else shape.traits.get("error", {}).get("httpStatusCode", 400)
    )


class ShapeParsers:
    """JSON values → input values."""

    def __init__(self) -> None:
        self._structures: dict[str, Convert] = {}

    def parse_body(self, operation: OperationModel, body: bytes) -> Input:
        """The input in a JSON body. Raises MalformedBody."""
        if operation.input is None or not body.strip():
            return {}
        document = read_json(body, check_depth=operation.recursive)
        return {} if document is None else self.parser(operation.input)(document)

    def parser(self, shape: Shape) -> Convert:
        """The converter of a shape."""
        match shape.type:
            case "structure":
                return _document if shape.document else self._structure(shape)
            case "list":
                return _list_of(self.parser(shape.member))
            case "map":
                return _map_of(self.parser(shape.value))
            case "integer" | "long":
                return _INTEGERS[shape.type]
            case "float" | "double" | "bigdecimal":
                return _float
            case "boolean":
                return _boolean
            case "timestamp":
                return _timestamp
            case "blob":
                return _blob
            case _:
                return _string

    def _structure(self, shape: Shape) -> Convert:
        known = self._structures.get(shape.name)
        if known is not None:
            return known
        table: dict[str, tuple[str, Convert]] = {}

        def structure(value: Any) -> dict[str, Any]:
            if type(value) is not dict:
                raise _unexpected(value, "a structure")
            parsed: dict[str, Any] = {}
            for wire_name, item in value.items():
                entry = table.get(wire_name)
                if entry is not None and item is not None:
                    parsed[entry[0]] = entry[1](item)
            return parsed

        self._structures[shape.name] = structure
        for name, member in shape.members.items():
            table[member.wire_name(name)] = (name, self.parser(member))
        return structure


class ShapeWriters:
    """Output values → JSON values."""

    def __init__(self) -> None:
        self._structures: dict[str, Convert] = {}

    def writer(self, shape: Shape) -> Convert:
        """The converter of a shape."""
        return self._writer(shape) or _same

    def _writer(self, shape: Shape) -> Convert | None:
        match shape.type:
            case "structure":
                return None if shape.document else self._structure(shape)
            case "list":
                item = self._writer(shape.member)
                return None if item is None else _write_list(item)
            case "map":
                item = self._writer(shape.value)
                return None if item is None else _write_map(item)
            case "timestamp":
                return _write_timestamp(shape.traits.get("timestampFormat", "unixTimestamp"))
            case "blob":
                return format_blob
            case "float" | "double":
                return _write_float
            case _:
                return None

    def _structure(self, shape: Shape) -> Convert:
        known = self._structures.get(shape.name)
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

        self._structures[shape.name] = structure
        for name, member in shape.members.items():
            table[name] = (member.wire_name(name), self._writer(member))
        return structure


def read_json(body: bytes, *, check_depth: bool) -> Any:
    """A JSON document of outside. Raises MalformedBody; refuses NUL characters, which no store keeps."""
    try:
        document = orjson.loads(body)
    except (orjson.JSONDecodeError, RecursionError):
        raise MalformedBody("The request body is not valid JSON.") from None
    if check_depth or b"\\u0000" in body:
        _walk(document)
    return document


def _walk(document: Any) -> None:
    level: list[Any] = [document]
    for _ in range(MAX_DEPTH + 1):
        below: list[Any] = []
        for value in level:
            if type(value) is dict:
                below += value.values()
                below += value
            elif type(value) is list:
                below += value
            elif type(value) is str and "\x00" in value:
                raise MalformedBody("A string contains the character U+0000.")
        if not below:
            return
        level = below
    raise MalformedBody(f"The request body nests deeper than {MAX_DEPTH} levels.")


def _unexpected(value: Any, wanted: str) -> MalformedBody:
    match value:
        case bool():
            kind = "TRUE_VALUE" if value else "FALSE_VALUE"
        case str():
            kind = "STRING_VALUE"
        case int() | float():
            kind = "NUMBER_VALUE"
        case list():
            return MalformedBody("Start of list found where not expected")
        case dict():
            return MalformedBody("Start of structure or map found where not expected.")
        case _:
            kind = "NULL_VALUE"
    if wanted in {"a list", "a map", "a structure"}:
        return MalformedBody("Unexpected field type")
    return MalformedBody(f"{kind} can not be converted to {wanted}")


def _string(value: Any) -> str:
    if type(value) is not str:
        raise _unexpected(value, "a String")
    return value


def _boolean(value: Any) -> bool:
    if type(value) is not bool:
        raise _unexpected(value, "a Boolean")
    return value


def _integer(kind: str, wanted: str) -> Convert:
    def integer(value: Any) -> int:
        if type(value) is float and math.isfinite(value):
            value = int(value)
        elif type(value) is not int:
            raise _unexpected(value, wanted)
        return checked_integer(value, kind)

    return integer


_INTEGERS = {"integer": _integer("integer", "an Integer"), "long": _integer("long", "a Long")}
_SPECIAL_FLOATS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def _float(value: Any) -> float:
    if type(value) is float:
        return value
    if type(value) is int:
        return float(value)
    if type(value) is str and value in _SPECIAL_FLOATS:
        return _SPECIAL_FLOATS[value]
    raise _unexpected(value, "a Double")


def _timestamp(value: Any) -> float:
    if type(value) is float or type(value) is int:
        return checked_seconds(float(value))
    if type(value) is str:
        return parse_timestamp(value)
    raise _unexpected(value, "a Timestamp")


def _blob(value: Any) -> bytes:
    if type(value) is not str:
        raise _unexpected(value, "a Blob")
    return parse_blob(value)


def _document(value: Any) -> Any:
    return value


def _same(value: Any) -> Any:
    return value


def _list_of(item: Convert) -> Convert:
    def convert(value: Any) -> list[Any]:
        if type(value) is not list:
            raise _unexpected(value, "a list")
        return [None if element is None else item(element) for element in value]

    return convert


def _map_of(item: Convert) -> Convert:
    def convert(value: Any) -> dict[str, Any]:
        if type(value) is not dict:
            raise _unexpected(value, "a map")
        return {key: None if element is None else item(element) for key, element in value.items()}

    return convert


def _write_list(item: Convert) -> Convert:
    return lambda value: [None if element is None else item(element) for element in value]


def _write_map(item: Convert) -> Convert:
    return lambda value: {key: item(element) for key, element in value.items() if element is not None}


def _write_timestamp(form: str) -> Convert:
    if form == "unixTimestamp":
        return number_of_seconds
    return lambda value: format_timestamp(value, form)


def _write_float(value: float) -> Any:
    return value if math.isfinite(value) else special_float(value)
