"""Smithy RPC v2 CBOR, both directions.

Source: Smithy 2.0 specification, "Smithy RPC v2 CBOR protocol". Numbers are read
where nothing of them is lost: an integer may be written as a float without a fraction, and a float as an integer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.wire.call import Body, Input
from penstock.wire.cbor import Timestamp, read_cbor, write_cbor
from penstock.wire.codec_rpc import RpcCodec
from penstock.wire.documents import Convert, ShapeParsers, ShapeWriters, boolean, unexpected
from penstock.wire.errors import MalformedBody
from penstock.wire.message import RequestHead
from penstock.wire.scalars import checked_integer, milliseconds_of, number_of_seconds
from penstock.wire.shapes import Model, OperationModel, Shape

PROTOCOL_HEADER = "rpc-v2-cbor"
_CONTENT_TYPE = "application/cbor"


class CborCodec(RpcCodec):
    """Smithy RPC v2 CBOR of one service."""

    protocol = "smithy-rpc-v2-cbor"
    payload_type = "application/cbor"

    def __init__(self, model: Model) -> None:
        super().__init__(
            model,
            parsers=ShapeParsers(_SCALARS),
            writers=ShapeWriters(_writer),
            always=[(b"smithy-protocol", PROTOCOL_HEADER.encode())],
            with_body=[(b"content-type", _CONTENT_TYPE.encode())],
        )

    def parse(self, operation: OperationModel, head: RequestHead, body: bytes | Body, *, label: str = "") -> Input:
        """See Codec."""
        if head.headers.get("smithy-protocol", "") != PROTOCOL_HEADER:
            raise MalformedBody(f"The header smithy-protocol of a request at /service/… must be {PROTOCOL_HEADER}.")
        return super().parse(operation, head, body, label=label)

    def read(self, operation: OperationModel, head: RequestHead, body: bytes) -> Any:  # noqa: ARG002 - as RpcCodec has it
        """See RpcCodec."""
        content_type = head.headers.get("content-type", "").partition(";")[0].strip().lower()
        if content_type != _CONTENT_TYPE:
            raise MalformedBody(f"The Content-Type of a request at /service/… must be {_CONTENT_TYPE}.")
        return read_cbor(body)

    def write(self, document: Any) -> bytes:
        """See RpcCodec."""
        return write_cbor(document)


def _integer(kind: str, wanted: str) -> Convert:
    def integer(value: Any) -> int:
        if type(value) is float and value.is_integer():
            value = int(value)
        elif type(value) is not int:
            raise unexpected(value, wanted)
        return checked_integer(value, kind)

    return integer


def _float(value: Any) -> float:
    if type(value) is float:
        return value
    if type(value) is int:
        return float(value)
    raise unexpected(value, "a Double")


def _timestamp(value: Any) -> int:
    if type(value) is not Timestamp:
        raise unexpected(value, "a Timestamp")
    return milliseconds_of(value)


def _blob(value: Any) -> bytes:
    if type(value) is not bytes:
        raise unexpected(value, "a Blob")
    return value


_SCALARS: Mapping[str, Convert] = {
    "integer": _integer("integer", "an Integer"),
    "long": _integer("long", "a Long"),
    "float": _float,
    "double": _float,
    "boolean": boolean,
    "timestamp": _timestamp,
    "blob": _blob,
}


def _writer(shape: Shape) -> Convert | None:
    match shape.type:
        case "timestamp":
            return lambda value: Timestamp(number_of_seconds(value))
        case "blob":
            return lambda value: value.encode() if isinstance(value, str) else value
        case "float" | "double":
            return float
        case _:
            return None
