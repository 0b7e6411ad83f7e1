"""restJson1: members in the path, query and headers, and a JSON or raw body; the code of an error stands in a header."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from penstock.wire import refusals
from penstock.wire.codec_json import json_parsers, json_writers, read_json
from penstock.wire.codec_rest import ReadDocument, RestCodec, WriteDocument
from penstock.wire.codec_rpc import status_of
from penstock.wire.errors import ServiceError
from penstock.wire.http_members import AnswerMembers
from penstock.wire.message import Response
from penstock.wire.shapes import Model, OperationModel, Shape


class RestJsonCodec(RestCodec):
    """restJson1 of one service."""

    protocol = "rest-json"
    refusals = refusals.JSON
    content_type = b"application/json"

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self._parsers = json_parsers()
        self._writers = json_writers()

    def document_reader(self, operation: OperationModel, shape: Shape, without: frozenset[str]) -> ReadDocument:
        """See RestCodec."""
        convert = self._parsers.structure(shape, without=without) if without else self._parsers.parser(shape)
        deep = operation.recursive

        def read(body: bytes) -> Any:
            document = read_json(body, check_depth=deep)
            return {} if document is None else convert(document)

        return read

    def document_writer(self, operation: OperationModel, shape: Shape, without: frozenset[str]) -> WriteDocument | None:  # noqa: ARG002 - of RestCodec
        """See RestCodec."""
        convert = self._writers.structure(shape, without=without) if without else self._writers.writer(shape)
        return lambda output: orjson.dumps(convert(output))

    def error(
        self,
        operation: OperationModel | None,  # noqa: ARG002 - of the codec's interface
        error: ServiceError,
        request_id: str,
    ) -> Response:
        """See Codec: the code in `x-amzn-errortype`, `message` and the modelled members in the body or in their headers."""
        code, status = error.wire_code, error.status
        shape = self._model.error_shape(code)
        answer = self.id_headers(request_id)
        # Some services, as Scheduler, call the message by another name.
        key = "Message" if shape is not None and "Message" in shape.members else "message"
        document: dict[str, Any] = {key: error.message} if error.message else {}
        if shape is not None:
            code, status = shape.name, status_of(error, shape)
            known: Mapping[str, Any] = {name: error.values[name] for name in shape.members if name in error.values}
            placed = AnswerMembers(shape)
            answer += placed.headers(known)
            document |= self._writers.structure(shape, without=placed.placed)(known)
        body = orjson.dumps(document)
        answer += [
            (b"x-amzn-errortype", code.encode("latin-1")),
            (b"content-type", self.content_type),
            (b"content-length", str(len(body)).encode()),
        ]
        return Response(status, answer, body)
