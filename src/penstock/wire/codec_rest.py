"""What restXml and restJson share: members in the path, the query, headers and the status, the rest as a document or raw body."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from penstock.wire.call import Body, Input, Output
from penstock.wire.errors import MalformedBody
from penstock.wire.http_members import AnswerMembers, RequestMembers, header_bytes
from penstock.wire.message import HeaderList, RequestHead, Response
from penstock.wire.refusals import Wordings
from penstock.wire.shapes import Model, OperationModel, Shape

_NO_BODY = frozenset({204, 304})

ReadDocument = Callable[[bytes], Any]
WriteDocument = Callable[[Mapping[str, Any]], bytes]


@dataclass(frozen=True, slots=True)
class _RequestPlan:
    members: RequestMembers
    read: ReadDocument | None  # a document → members, or the payload member's value


@dataclass(frozen=True, slots=True)
class _AnswerPlan:
    members: AnswerMembers
    write: WriteDocument | None


class RestCodec:
    """A REST protocol of one service; what its documents look like is the subclass's."""

    protocol: str
    refusals: Wordings
    content_type: bytes  # of documents

    def __init__(self, model: Model) -> None:
        self._model = model
        self._requests: dict[str, _RequestPlan] = {}
        self._answers: dict[str, _AnswerPlan] = {}

    def document_reader(self, operation: OperationModel, shape: Shape, without: frozenset[str]) -> ReadDocument:
        """The reader of a document of a shape; members in `without` stand elsewhere."""
        raise NotImplementedError

    def document_writer(self, operation: OperationModel, shape: Shape, without: frozenset[str]) -> WriteDocument | None:
        """The writer of a document of a shape; members in `without` stand elsewhere."""
        raise NotImplementedError

    def id_headers(self, request_id: str) -> HeaderList:
        """The headers that name the request."""
        return [(b"x-amzn-requestid", request_id.encode("latin-1"))]

    def parse(self, operation: OperationModel, head: RequestHead, body: bytes | Body, *, label: str = "") -> Input:
        """See Codec."""
        if operation.input is None:
            return {}
        plan = self._requests.get(operation.name)
        if plan is None:
            plan = self._requests[operation.name] = self._request_plan(operation, operation.input)
        parsed = plan.members.read(head, label)
        self._read_body(plan, operation.input, body, parsed)
        return parsed

    def _read_body(self, plan: _RequestPlan, shape: Shape, body: bytes | Body, parsed: Input) -> None:
        payload = plan.members.payload
        if payload:
            member = shape.members[payload]
            if member.type == "blob":
                if not isinstance(body, bytes) or body or member.streaming:
                    parsed[payload] = body
                return
            assert isinstance(body, bytes)
            if not body:
                return
            if member.type == "string":
                parsed[payload] = _text(body)
            elif plan.read is not None:
                parsed[payload] = plan.read(body)
        elif plan.read is not None and isinstance(body, bytes) and body.strip():
            parsed.update(plan.read(body))

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
        answer = self.id_headers(request_id)
        code = status or operation.response_code
        body: bytes | AsyncIterable[bytes] = b""
        if operation.output is not None:
            output = output or {}
            plan = self._answers.get(operation.name)
            if plan is None:
                plan = self._answers[operation.name] = self._answer_plan(operation, operation.output)
            answer += plan.members.headers(output)
            code = status or plan.members.status(output) or code
            body = self._answer_body(plan, output, answer)
        for name, value in (headers or {}).items():
            raw = name.lower().encode("latin-1")
            answer = [pair for pair in answer if pair[0] != raw]
            answer.append((raw, header_bytes(value)))
        counted = any(name == b"content-length" for name, _ in answer)
        if isinstance(body, bytes) and not counted and code not in _NO_BODY:
            answer.append((b"content-length", str(len(body)).encode()))
        return Response(code, answer, body)

    def _answer_body(self, plan: _AnswerPlan, output: Output, answer: HeaderList) -> bytes | AsyncIterable[bytes]:
        if plan.members.payload:
            value = output.get(plan.members.payload)
            if value is None:
                return b""
            shape = plan.members.payload_shape
            assert shape is not None
            if shape.type == "blob":
                return bytes(value) if isinstance(value, (bytes, bytearray, memoryview)) else value
            if shape.type not in {"structure", "list", "map"}:
                if not any(name == b"content-type" for name, _ in answer):
                    answer.append((b"content-type", b"text/plain"))
                return str(value).encode()
            output = value
        if plan.write is None:
            return b""
        answer.append((b"content-type", self.content_type))
        return plan.write(output)

    def _request_plan(self, operation: OperationModel, shape: Shape) -> _RequestPlan:
        members = RequestMembers(operation, shape)
        read: ReadDocument | None = None
        if members.payload:
            payload = shape.members[members.payload]
            if payload.type in {"structure", "list", "map"}:
                read = self.document_reader(operation, payload, frozenset())
        elif len(members.placed) < len(shape.members):
            read = self.document_reader(operation, shape, members.placed)
        return _RequestPlan(members, read)

    def _answer_plan(self, operation: OperationModel, shape: Shape) -> _AnswerPlan:
        members = AnswerMembers(shape)
        write: WriteDocument | None = None
        if members.payload_shape is not None:
            if members.payload_shape.type in {"structure", "list", "map"}:
                write = self.document_writer(operation, members.payload_shape, frozenset())
        elif len(members.placed) < len(shape.members):
            write = self.document_writer(operation, shape, members.placed)
        return _AnswerPlan(members, write)


def _text(body: bytes) -> str:
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise MalformedBody("The body is not valid UTF-8.") from None
    if "\x00" in text:
        raise MalformedBody("A string contains the character U+0000.")
    return text
