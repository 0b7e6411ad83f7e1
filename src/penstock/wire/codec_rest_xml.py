"""restXml: members in the path, query and headers, and an XML or raw body."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from penstock.wire import refusals
from penstock.wire.codec_rest import ReadDocument, RestCodec, WriteDocument
from penstock.wire.codec_rpc import status_of
from penstock.wire.errors import ServiceError
from penstock.wire.http_members import AnswerMembers, header_bytes
from penstock.wire.message import HeaderList, Response
from penstock.wire.shapes import Model, OperationModel, Shape
from penstock.wire.xml_tree import XmlParsers, read_xml
from penstock.wire.xml_writer import DECLARATION, XmlWriters, escape

WriteElement = Callable[[list[str], Mapping[str, Any]], None]


class RestXmlCodec(RestCodec):
    """restXml of one service."""

    protocol = "rest-xml"
    refusals = refusals.QUERY
    content_type = b"application/xml"
    always_millis: ClassVar[bool] = False  # of timestamps, even when they are zero

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self.namespace = _uri(model.metadata.get("xmlNamespace"))
        self._parsers = XmlParsers()
        self._writers = XmlWriters(always_millis=self.always_millis)

    def document_reader(self, operation: OperationModel, shape: Shape, without: frozenset[str]) -> ReadDocument:  # noqa: ARG002 - of RestCodec
        """See RestCodec."""
        convert = self._parsers.structure(shape, without=without) if without else self._parsers.parser(shape)
        return lambda body: convert([read_xml(body)])

    def document_writer(self, operation: OperationModel, shape: Shape, without: frozenset[str]) -> WriteDocument | None:
        """See RestCodec."""
        if shape.type != "structure":
            return None
        if operation.output is not None and operation.output.traits.get("payload"):
            element = self._element(shape, shape.wire_name(shape.name), without)
        elif operation.traits.get("unwrappedXmlOutput"):
            element = self._unwrapped(shape)
        else:
            root = shape.wire_name(operation.traits.get("output", {}).get("locationName", shape.name))
            element = self._element(shape, root, without)

        def write(output: Mapping[str, Any]) -> bytes:
            out = [DECLARATION]
            element(out, output)
            return "".join(out).encode()

        return write

    def error(
        self,
        operation: OperationModel | None,  # noqa: ARG002 - of the codec's interface
        error: ServiceError,
        request_id: str,
    ) -> Response:
        """See Codec."""
        code, status = error.wire_code, error.status
        shape = self._model.error_shape(code)
        if shape is not None:
            code, status = shape.traits.get("error", {}).get("code", code), status_of(error, shape)
        answer = self.id_headers(request_id)
        answer += [(name.encode("latin-1"), header_bytes(value)) for name, value in error.headers.items()]
        if status in {204, 304}:
            return Response(status, answer, b"")
        text = self.error_document(code, error, shape, request_id, answer)
        body = f"{DECLARATION}{text}".encode()
        answer += [(b"content-type", self.content_type), (b"content-length", str(len(body)).encode())]
        return Response(status, answer, body)

    def error_document(
        self, code: str, error: ServiceError, shape: Shape | None, request_id: str, answer: HeaderList
    ) -> str:
        """The document of an error; `shape` is its model's, `answer` takes the members that stand in headers."""
        members: list[str] = []
        if shape is not None:
            known = {name: value for name, value in error.values.items() if name.lower() not in {"message", "code"}}
            placed = AnswerMembers(shape)
            self._writers.contents(shape, without=placed.placed)(members, known)
            answer += placed.headers(known)
        fault = "Sender" if error.sender_fault else "Receiver"
        return (
            f"<ErrorResponse><Error><Type>{fault}</Type><Code>{escape(code)}</Code>"
            f"<Message>{escape(error.message)}</Message>{''.join(members)}</Error>"
            f"<RequestId>{escape(request_id)}</RequestId></ErrorResponse>"
        )

    def _element(
        self, shape: Shape, root: str, placed: frozenset[str]
    ) -> Callable[[list[str], Mapping[str, Any]], None]:
        if not placed and (
            shape.traits.get("xmlNamespace") or any(m.traits.get("xmlAttribute") for m in shape.members.values())
        ):
            write_element = self._writers.writer(shape)
            return lambda out, value: write_element(out, root, value)
        contents = self._writers.contents(shape, without=placed)
        xmlns = f' xmlns="{escape(self.namespace)}"' if self.namespace else ""

        def write(out: list[str], value: Mapping[str, Any]) -> None:
            out.append(f"<{root}{xmlns}>")
            contents(out, value)
            out.append(f"</{root}>")

        return write

    def _unwrapped(self, shape: Shape) -> Callable[[list[str], Mapping[str, Any]], None]:
        """The only member is the root itself."""
        name, member = next(iter(shape.members.items()))
        text = self._writers.text(member)
        tag = member.wire_name(name)
        xmlns = f' xmlns="{escape(self.namespace)}"' if self.namespace else ""

        def write(out: list[str], value: Mapping[str, Any]) -> None:
            item = value.get(name)
            out.append(f"<{tag}{xmlns}/>" if not item else f"<{tag}{xmlns}>{text(item)}</{tag}>")

        return write


def _uri(namespace: str | Mapping[str, str] | None) -> str:
    if not namespace:
        return ""
    return namespace if isinstance(namespace, str) else namespace["uri"]
