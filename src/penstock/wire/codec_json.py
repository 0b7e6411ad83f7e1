"""awsJson 1.0 and 1.1, both directions, and what restJson shares with them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import orjson

from penstock.wire.codec_rpc import RpcCodec
from penstock.wire.documents import Convert, ShapeParsers, ShapeWriters, boolean, unexpected
from penstock.wire.errors import MalformedBody
from penstock.wire.message import RequestHead
from penstock.wire.scalars import (
    checked_integer,
    format_blob,
    format_timestamp,
    milliseconds_of,
    number_of_seconds,
    parse_blob,
    parse_timestamp,
    special_float,
)
from penstock.wire.shapes import Model, OperationModel, Shape

MAX_DEPTH = 64


class JsonCodec(RpcCodec):
    """awsJson of one service."""

    protocol = "json"
    payload_type = "application/json"

    def __init__(self, model: Model) -> None:
        version = model.metadata.get("jsonVersion", "1.1")
        content_type = (b"content-type", f"application/x-amz-json-{version}".encode())
        super().__init__(model, parsers=json_parsers(), writers=json_writers(), always=[content_type], with_body=[])

    def read(self, operation: OperationModel, head: RequestHead, body: bytes) -> Any:  # noqa: ARG002 - as RpcCodec has it
        """See RpcCodec."""
        return read_json(body, check_depth=operation.recursive) if body.strip() else None

    def write(self, document: Any) -> bytes:
        """See RpcCodec."""
        return orjson.dumps(document)


def json_parsers() -> ShapeParsers:
    """Converters of JSON values to input values."""
    return ShapeParsers(_SCALARS)


def json_writers() -> ShapeWriters:
    """Converters of output values to JSON values."""
    return ShapeWriters(_writer)


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


def _integer(kind: str, wanted: str) -> Convert:
    def integer(value: Any) -> int:
        if type(value) is float and math.isfinite(value):
            value = int(value)
        elif type(value) is not int:
            raise unexpected(value, wanted)
        return checked_integer(value, kind)

    return integer


_SPECIAL_FLOATS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def _float(value: Any) -> float:
    if type(value) is float:
        return value
    if type(value) is int:
        return float(value)
    if type(value) is str and value in _SPECIAL_FLOATS:
        return _SPECIAL_FLOATS[value]
    raise unexpected(value, "a Double")


def _timestamp(value: Any) -> int:
    if type(value) is float or type(value) is int:
        return milliseconds_of(value)
    if type(value) is str:
        return parse_timestamp(value)
    raise unexpected(value, "a Timestamp")


def _blob(value: Any) -> bytes:
    if type(value) is not str:
        raise unexpected(value, "a Blob")
    return parse_blob(value)


_SCALARS: Mapping[str, Convert] = {
    "integer": _integer("integer", "an Integer"),
    "long": _integer("long", "a Long"),
    "float": _float,
    "double": _float,
    "bigdecimal": _float,
    "boolean": boolean,
    "timestamp": _timestamp,
    "blob": _blob,
}


def _writer(shape: Shape) -> Convert | None:
    match shape.type:
        case "timestamp":
            return _write_timestamp(shape.traits.get("timestampFormat", "unixTimestamp"))
        case "blob":
            return format_blob
        case "float" | "double":
            return _write_float
        case _:
            return None


def _write_timestamp(form: str) -> Convert:
    if form == "unixTimestamp":
        return number_of_seconds
    return lambda value: format_timestamp(value, form)


def _write_float(value: float) -> Any:
    return value if math.isfinite(value) else special_float(value)
