"""A service model as the wire layer sees it: operations and shapes, without botocore's classes and without documentation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

# What clients prefer is what the service must speak first; `metadata.protocol` names the newest, not the one that is sent.
PROTOCOL_PRIORITY = ("json", "rest-json", "rest-xml", "smithy-rpc-v2-cbor", "query")


class Shape:
    """One shape, as one place of the model refers to it: traits of the reference lie over those of the shape."""

    __slots__ = ("_key", "_member", "_members", "_model", "_value", "name", "traits", "type")

    def __init__(self, model: Model, name: str, traits: Mapping[str, Any]) -> None:
        self._model = model
        self.name = name
        self.traits = traits
        self.type: str = traits["type"]
        self._members: dict[str, Shape] | None = None
        self._member: Shape | None = None
        self._key: Shape | None = None
        self._value: Shape | None = None

    @property
    def members(self) -> dict[str, Shape]:
        """The members of a structure, in the model's order."""
        if self._members is None:
            members = self.traits.get("members", {})
            self._members = {name: self._model.shape(reference) for name, reference in members.items()}
        return self._members

    @property
    def member(self) -> Shape:
        """The element of a list."""
        if self._member is None:
            self._member = self._model.shape(self.traits["member"])
        return self._member

    @property
    def key(self) -> Shape:
        """The key of a map."""
        if self._key is None:
            self._key = self._model.shape(self.traits["key"])
        return self._key

    @property
    def value(self) -> Shape:
        """The value of a map."""
        if self._value is None:
            self._value = self._model.shape(self.traits["value"])
        return self._value

    @property
    def required(self) -> tuple[str, ...]:
        """Names of the members that must be there."""
        return tuple(self.traits.get("required", ()))

    @property
    def location(self) -> str:
        """Where a REST protocol puts it: uri, querystring, header, headers, statusCode, or "" for the body."""
        return self.traits.get("location", "")

    @property
    def flattened(self) -> bool:
        """A list or map without an element around it."""
        return bool(self.traits.get("flattened"))

    @property
    def streaming(self) -> bool:
        """A payload that is handed over as a stream."""
        return bool(self.traits.get("streaming"))

    @property
    def document(self) -> bool:
        """Any JSON value."""
        return bool(self.traits.get("document"))

    def wire_name(self, default: str) -> str:
        """The name on the wire of a member called `default`."""
        return self.traits.get("locationName", default)

    def children(self) -> Iterator[Shape]:
        """The shapes directly below."""
        match self.type:
            case "structure":
                yield from self.members.values()
            case "list":
                yield self.member
            case "map":
                yield self.key
                yield self.value

    def __repr__(self) -> str:
        return f"<{self.type} {self.name}>"


class OperationModel:
    """One operation of a model."""

    __slots__ = (
        "_event_stream",
        "_milliseconds",
        "_model",
        "_recursive",
        "deprecated",
        "errors",
        "input",
        "method",
        "name",
        "output",
        "request_uri",
        "response_code",
        "result_wrapper",
        "traits",
    )

    def __init__(self, model: Model, name: str, traits: Mapping[str, Any]) -> None:
        self._model = model
        self.name = name
        self.traits = traits
        http = traits.get("http", {})
        self.method: str = http.get("method", "POST")
        self.request_uri: str = http.get("requestUri", "/")
        self.response_code: int = http.get("responseCode", 200)
        self.input = model.shape(traits["input"]) if "input" in traits else None
        self.output = model.shape(traits["output"]) if "output" in traits else None
        self.result_wrapper: str = traits.get("output", {}).get("resultWrapper", "")
        self.errors: tuple[str, ...] = tuple(error["shape"] for error in traits.get("errors", ()))
        self.deprecated = bool(traits.get("deprecated"))
        self._event_stream: str | None = None
        self._recursive: bool | None = None
        self._milliseconds: Callable[[Any], Any] | None = None

    @property
    def unsigned(self) -> bool:
        """Whether clients send it without a signature (AssumeRoleWithWebIdentity)."""
        return self.traits.get("authtype") == "none"

    @property
    def compressible(self) -> bool:
        """Whether clients may compress its body."""
        return "requestcompression" in self.traits

    @property
    def streaming_input(self) -> str:
        """The member that takes the request's body as a stream, or ""."""
        return _streaming_member(self.input)

    @property
    def streaming_output(self) -> str:
        """The member that is the answer's body as a stream, or ""."""
        return _streaming_member(self.output)

    @property
    def event_stream(self) -> str:
        """The member of the output that is a stream of events, or ""."""
        if self._event_stream is None:
            members = {} if self.output is None else self.output.members
            self._event_stream = next((name for name, one in members.items() if one.traits.get("eventstream")), "")
        return self._event_stream

    @property
    def recursive(self) -> bool:
        """Whether an input can nest deeper than its shapes."""
        if self._recursive is None:
            self._recursive = self.input is not None and _recurses(self.input, frozenset(), set())
        return self._recursive

    def in_milliseconds(self, value: dict[str, Any]) -> dict[str, Any]:
        """An input of a caller in process with its datetimes as milliseconds, as the codecs give them. `value` stays as it is."""
        if self._milliseconds is None:
            made = _in_milliseconds(self.input, frozenset()) if self.input is not None else None
            self._milliseconds = made or (lambda unchanged: unchanged)
        return self._milliseconds(value)


def _in_milliseconds(shape: Shape, above: frozenset[str]) -> Callable[[Any], Any] | None:
    """A converter, or None where no timestamp lies below. Shapes that recurse have none in any model."""
    if shape.type == "timestamp":
        return lambda value: round(value.timestamp() * 1000) if isinstance(value, datetime) else value
    if shape.name in above or shape.type not in {"structure", "list", "map"}:
        return None
    inside = above | {shape.name}
    if shape.type == "structure":
        below = {
            name: convert for name, member in shape.members.items() if (convert := _in_milliseconds(member, inside))
        }
        if not below:
            return None
        return lambda value: (
            {name: below[name](item) if name in below else item for name, item in value.items()}
            if isinstance(value, dict)
            else value
        )
    item_of = _in_milliseconds(shape.member if shape.type == "list" else shape.value, inside)
    if item_of is None:
        return None
    if shape.type == "list":
        return lambda value: [item_of(item) for item in value] if isinstance(value, list) else value
    return lambda value: {key: item_of(item) for key, item in value.items()} if isinstance(value, dict) else value


def _streaming_member(shape: Shape | None) -> str:
    if shape is None:
        return ""
    payload = shape.traits.get("payload", "")
    return payload if payload and shape.members[payload].type == "blob" and shape.members[payload].streaming else ""


def _recurses(shape: Shape, above: frozenset[str], finished: set[str]) -> bool:
    if shape.document or shape.name in above:
        return True
    if shape.name in finished or shape.type not in {"structure", "list", "map"}:
        return False
    inside = above | {shape.name}
    if any(_recurses(child, inside, finished) for child in shape.children()):
        return True
    finished.add(shape.name)
    return False


class Model:
    """One service model: botocore's JSON after its patch, its operations and shapes made when they are first asked for."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.metadata: Mapping[str, Any] = document["metadata"]
        self._operations: Mapping[str, Any] = document.get("operations", {})
        self._shapes: Mapping[str, Any] = document.get("shapes", {})
        self._made: dict[str, OperationModel] = {}
        self._by_name: dict[str, Shape] = {}
        self._by_reference: dict[int, Shape] = {}  # references live as long as the document does
        self._error_shapes: dict[str, Shape] | None = None

    @property
    def api_version(self) -> str:
        """Such as 2015-07-09."""
        return self.metadata.get("apiVersion", "")

    @property
    def operation_names(self) -> tuple[str, ...]:
        """Every operation of the model."""
        return tuple(self._operations)

    @property
    def document_id(self) -> int:
        """Identity of the shapes, for caches."""
        return id(self._shapes)

    def operation(self, name: str) -> OperationModel | None:
        """The operation, or None when the model has none of that name."""
        made = self._made.get(name)
        if made is None and name in self._operations:
            made = self._made[name] = OperationModel(self, name, self._operations[name])
        return made

    def shape(self, reference: Mapping[str, Any]) -> Shape:
        """What a reference (`{"shape": name, …}`) stands for."""
        name = reference["shape"]
        if len(reference) == 1:
            shape = self._by_name.get(name)
            if shape is None:
                shape = self._by_name[name] = Shape(self, name, self._shapes[name])
            return shape
        shape = self._by_reference.get(id(reference))
        if shape is None:
            shape = self._by_reference[id(reference)] = Shape(self, name, {**self._shapes[name], **reference})
        return shape

    def error_shape(self, code: str) -> Shape | None:
        """The modelled error of a wire code: by shape name, or by the code that the shape states."""
        if self._error_shapes is None:
            found: dict[str, Shape] = {}
            for name, traits in self._shapes.items():
                if traits.get("exception") or "error" in traits:
                    shape = self.shape({"shape": name})
                    found[name] = shape
                    found.setdefault(traits.get("error", {}).get("code", name), shape)
            self._error_shapes = found
        return self._error_shapes.get(code)

    def protocols(self) -> tuple[str, ...]:
        """The protocols of the service, the first one being what clients of today choose."""
        stated = self.metadata.get("protocols") or [self.metadata.get("protocol", "")]
        return tuple(protocol for protocol in PROTOCOL_PRIORITY if protocol in stated)
