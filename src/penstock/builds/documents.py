"""Hostile YAML, read within bounds of size, depth, nodes and aliases, with the line of every node kept for messages."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # The reader of YAML is imported for the first document: it is a fortieth of a server's start.
    import yaml

MAX_BYTES = 512 * 1024
MAX_DEPTH = 40
MAX_NODES = 20_000
MAX_ALIASES = 200

_NULL = ("", "~", "null", "Null", "NULL")
_TRUE = ("yes", "true", "on", "y", "1")


@cache
def _loader() -> Any:
    import yaml  # noqa: PLC0415

    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class DocumentError(Exception):
    """The text cannot be read as one YAML document. Its message is for the author of the text."""


class Document:
    """A node of a document; an absent one answers every question with its default."""

    __slots__ = ("_children", "_key", "_node")

    def __init__(self, node: yaml.Node | None, key: str = "") -> None:
        self._node = None if _is_null(node) else node
        self._key = key
        self._children: dict[str, yaml.Node] | None = None

    @property
    def present(self) -> bool:
        """Whether it is there and not null."""
        return self._node is not None

    @property
    def line(self) -> int:
        """Its first line, counted from 1; 0 when absent."""
        return 0 if self._node is None else self._node.start_mark.line + 1

    @property
    def column(self) -> int:
        """Its first column, counted from 1; 0 when absent."""
        return 0 if self._node is None else self._node.start_mark.column + 1

    @property
    def plain(self) -> bool:
        """Whether it is a value that was written without quotes."""
        return _is(self._node, "scalar") and not getattr(self._node, "style", None)

    def is_sequence(self) -> bool:
        """Whether it is a list."""
        return _is(self._node, "sequence")

    def is_mapping(self) -> bool:
        """Whether it has keys."""
        return _is(self._node, "mapping")

    def is_scalar(self) -> bool:
        """Whether it is a plain value. An absent node counts as the empty one."""
        return self._node is None or _is(self._node, "scalar")

    def expect_mapping(self, what: str) -> None:
        """Raise DocumentError unless it has keys."""
        if not self.is_mapping():
            raise DocumentError(f"Expected {what} to be a mapping at line {self.line}")

    def get(self, key: str) -> Document:
        """The value under a key; an absent document when it is missing, or when this is not a mapping."""
        if self._children is None:
            self._children = dict(_pairs(self._node))
        return Document(self._children.get(key), key)

    def pairs(self) -> Iterator[tuple[str, Document]]:
        """Keys and values of a mapping, in order; of a repeated key the last value."""
        for key, node in dict(_pairs(self._node)).items():
            yield key, Document(node, key)

    def keyed(self) -> Iterator[tuple[str, int]]:
        """Every key of a mapping with its line, a repeated one as often as it is given."""
        if self._node is not None and _is(self._node, "mapping"):
            for key, _ in self._node.value:
                if _is(key, "scalar"):
                    yield key.value, key.start_mark.line + 1

    def entries(self) -> Iterator[tuple[str, tuple[int, int], Document]]:
        """Keys of a mapping with line and column, and their values, a repeated key as often as it is given."""
        if self._node is not None and _is(self._node, "mapping"):
            for key, node in self._node.value:
                at = (key.start_mark.line + 1, key.start_mark.column + 1)
                yield key.value if _is(key, "scalar") else "?", at, Document(node)

    def items(self) -> Iterator[Document]:
        """The items of a list; a single value counts as a list of one."""
        if self._node is not None and _is(self._node, "sequence"):
            for node in self._node.value:
                yield Document(node, self._key)
        elif self._node is not None:
            yield self

    def text(self, *, default: str) -> str:
        """A plain value as it is written (so that 1.10 stays 1.10). Raises DocumentError when it is no plain value."""
        if self._node is None:
            return default
        if not _is(self._node, "scalar"):
            raise DocumentError(
                f"Expected {self._key[:64]} to be of string type: found subkeys instead at line {self.line}"
            )
        return self._node.value

    def truth(self) -> bool:
        """yes, true, on, 1 → True, bare or quoted."""
        return self.text(default="").lower() in _TRUE


def read_document(text: str) -> Document:
    """Parse one YAML (or JSON) document. Raises DocumentError with the line of the fault."""
    import yaml  # noqa: PLC0415
    from yaml.reader import Reader  # noqa: PLC0415

    if len(text) > MAX_BYTES:
        raise DocumentError(f"The document is larger than {MAX_BYTES // 1024} KiB")
    if unprintable := Reader.NON_PRINTABLE.search(text):
        line = text.count("\n", 0, unprintable.start()) + 1
        raise DocumentError(
            f"The document holds the character #x{ord(unprintable[0]):04x} at line {line}, which YAML does not allow"
        )
    try:
        _check_events(text)
        loader = _loader()(text)
        try:
            node = loader.get_single_node()
            if node is not None:
                _flatten(loader, node, set(), 0, [MAX_NODES])
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" at line {mark.line + 1}" if mark else ""
        raise DocumentError(f"{error.problem or error.context}{where}{_remedy(error, text)}") from None
    except (yaml.YAMLError, ValueError, UnicodeError) as error:
        raise DocumentError(" ".join(str(error).split())) from None
    return Document(node)


_REMEDIES = (
    ("found another document", "A file holds one document: remove the line --- and what follows, or merge the two"),
    (
        "mapping values are not allowed",
        "Quote a value that holds a colon and a space; a key needs a space after its colon",
    ),
    ("could not find expected ':'", "An item of a list needs a space after its hyphen, and a key needs a colon"),
    ("did not find expected '-'", "The line is not indented like the items above, or text follows a closing quote"),
    ("did not find expected key", "The line is not indented like the keys above, or text follows a closing quote"),
    ("unexpected end of stream", "A quote is not closed"),
    ("unknown escape character", "Double the backslash, or use single quotes"),
    ("undefined alias", "Quote a value that begins with *"),
    ("found undefined tag", "Quote a value that begins with !"),
)


def _remedy(error: yaml.MarkedYAMLError, text: str) -> str:
    """What to do about a fault, from the parser's message and the place that it names."""
    mark, problem = error.problem_mark or error.context_mark, error.problem or ""
    lines = text.split("\n")
    line = lines[mark.line] if mark and mark.line < len(lines) else ""
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return ". The line is indented by a tab: YAML is indented by spaces only"
    at = line[mark.column : mark.column + 1] if mark else ""
    if "cannot start any token" in problem and at in ("@", "%", "`"):
        return f". Quote a value that begins with {at}"
    if error.context and "alias" in error.context:
        return ". Quote a value that begins with *"
    return next((f". {remedy}" for part, remedy in _REMEDIES if part in problem), "")


def _check_events(text: str) -> None:
    """Bounds on the flat stream of events, before anything is built that recursion would have to walk."""
    import yaml  # noqa: PLC0415

    depth = aliases = 0
    for nodes, event in enumerate(yaml.parse(text, Loader=_loader())):
        if isinstance(event, yaml.events.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.events.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.events.AliasEvent):
            aliases += 1
        if depth > MAX_DEPTH:
            raise DocumentError(
                f"The document is nested deeper than {MAX_DEPTH} levels at line {event.start_mark.line + 1}"
            )
        if nodes > MAX_NODES:
            raise DocumentError(f"The document has more than {MAX_NODES} nodes")
        if aliases > MAX_ALIASES:
            raise DocumentError(f"The document has more than {MAX_ALIASES} aliases")


def _flatten(loader: Any, node: yaml.Node, above: set[int], depth: int, left: list[int]) -> None:
    """Apply merge keys; count every node as often as aliases show it, and refuse one that contains itself."""
    left[0] -= 1
    if left[0] < 0 or depth > MAX_DEPTH or id(node) in above:
        raise DocumentError("The document's aliases unfold into too much")
    if _is(node, "scalar"):
        return
    above.add(id(node))
    if _is(node, "mapping"):
        for _, value in node.value:
            _flatten(loader, value, above, depth + 1, left)
        if any(key.tag == "tag:yaml.org,2002:merge" for key, _ in node.value):
            loader.flatten_mapping(node)
    elif _is(node, "sequence"):
        for value in node.value:
            _flatten(loader, value, above, depth + 1, left)
    above.discard(id(node))


def _pairs(node: yaml.Node | None) -> Iterator[tuple[str, yaml.Node]]:
    if node is not None and _is(node, "mapping"):
        for key, value in node.value:
            if _is(key, "scalar"):
                yield key.value, value


def _is(node: yaml.Node | None, kind: str) -> bool:
    """Whether a node is a `mapping`, a `sequence` or a `scalar`."""
    return getattr(node, "id", "") == kind


def _is_null(node: yaml.Node | None) -> bool:
    return node is None or (_is(node, "scalar") and node.tag == "tag:yaml.org,2002:null" and node.value in _NULL)
