"""What awsJson and Smithy RPC v2 share: one document in the body each way, shaped as the model says, and errors by `__type`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.wire.call import Body, Input, Output
from penstock.wire.documents import ShapeParsers, ShapeWriters
from penstock.wire.errors import ServiceError
from penstock.wire.event_streams import CONTENT_TYPE, EventStream
from penstock.wire.message import HeaderList, RequestHead, Response
from penstock.wire.refusals import JSON, Wordings
from penstock.wire.shapes import Model, OperationModel, Shape


class RpcCodec:
    """A protocol of documents, for one service."""

    protocol: str
    payload_type: str  # of a document in a stream of events
    refusals: Wordings = JSON

    def __init__(
        self, model: Model, *, parsers: ShapeParsers, writers: ShapeWriters, always: HeaderList, with_body: HeaderList
    ) -> None:
        """`always` are headers of every answer, `with_body` of those that have a body."""
        self._model = model
        self._always = always
        self._with_body = with_body
        self._query_compatible = "awsQueryCompatible" in model.metadata
        self._parsers = parsers
        self._writers = writers

    def read(self, operation: OperationModel, head: RequestHead, body: bytes) -> Any:
        """The document of a body that is not empty; None stands for an empty input. Raises MalformedBody."""
        raise NotImplementedError

    def write(self, document: Any) -> bytes:
        """The bytes of an answer's document."""
        raise NotImplementedError

    def parse(
        self,
        operation: OperationModel,
        head: RequestHead,
        body: bytes | Body,
        *,
        label: str = "",  # noqa: ARG002 - of the codec's interface
    ) -> Input:
        """See Codec. An empty body is an empty input."""
        assert isinstance(body, bytes)
        if operation.input is None or not body:
            return {}
        document = self.read(operation, head, body)
        return {} if document is None else self._parsers.parser(operation.input)(document)

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
        if operation.event_stream:
            return self._streamed(operation, output or {}, request_id)
        if operation.output is not None:
            body = self.write(self._writers.writer(operation.output)(output or {}))
        return self._response(status or operation.response_code, body, request_id, headers)

    def _streamed(self, operation: OperationModel, output: Output, request_id: str) -> Response:
        """The answer whose body is a stream of events."""
        assert operation.output is not None
        member = operation.event_stream
        union = operation.output.members[member].members
        others = {name: value for name, value in output.items() if name != member}
        initial = self.write(self._writers.structure(operation.output, without=frozenset({member}))(others))

        def write(name: str, value: Mapping[str, Any]) -> bytes:
            return self.write(self._writers.writer(union[name])(value))

        kinds = dict((*self._always, *self._with_body))
        stream = EventStream(output[member], initial, write, self.payload_type)
        headers = [(name, value) for name, value in kinds.items() if name != b"content-type"]
        requested = (b"x-amzn-requestid", request_id.encode("latin-1"))
        return Response(operation.response_code, [requested, *headers, (b"content-type", CONTENT_TYPE)], stream)

    def error(
        self,
        operation: OperationModel | None,  # noqa: ARG002 - of the codec's interface
        error: ServiceError,
        request_id: str,
    ) -> Response:
        """See Codec: `__type`, the message as the model spells it, and the modelled members found in the error's values.

        A service that has left Query behind says there under which code its Query clients know the error. That the model has
        a status for it is about Query, too.
        """
        code, status = error.wire_code, error.status
        kind = code
        shape = self._model.error_shape(code)
        extra = None
        if self._query_compatible:
            kind = code if shape is None else shape.name
            extra = {"x-amzn-query-error": f"{code};{'Sender' if error.sender_fault else 'Receiver'}"}
        elif shape is not None:
            status = status_of(error, shape)
        document: dict[str, Any] = {"__type": kind}
        if error.message:
            spelt = "Message" if shape is not None and "Message" in shape.members else "message"
            document[spelt] = error.message
        if shape is not None:
            known = {name: value for name, value in error.values.items() if name in shape.members}
            document |= self._writers.writer(shape)(known)
        return self._response(status, self.write(document), request_id, extra)

    def _response(self, status: int, body: bytes, request_id: str, extra: Mapping[str, str] | None) -> Response:
        headers: HeaderList = [
            (b"x-amzn-requestid", request_id.encode("latin-1")),
            *self._always,
            (b"content-length", str(len(body)).encode()),
        ]
        if body:
            headers += self._with_body
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
