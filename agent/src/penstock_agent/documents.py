"""YAML from outside, bounded: size, depth, aliases and nodes have limits, and there are no tags.

Values keep their place: a mapping, a sequence and a scalar know the line that they stand on, so that an error can
name it. A scalar stays the text that was written (`0644` is not a number in base 8, `on` is not true); who reads a
field knows what it must be.
"""

from __future__ import annotations

from typing import Any

MAX_BYTES = 256 * 1024
MAX_DEPTH = 32
MAX_ALIASES = 100
MAX_NODES = 50_000
NULLS = ("", "~", "null", "Null", "NULL")


class DocumentInvalid(Exception):
    """The text is not YAML that is accepted here; the message says why and on which line."""


class Scalar(str):
    """The text of a scalar; `plain` is false when it was quoted or a block."""

    __slots__ = ("line", "plain")
    line: int
    plain: bool


class Mapping(dict):  # type: ignore[type-arg]
    """A mapping with the line of its first key."""

    line = 0


class Sequence(list):  # type: ignore[type-arg]
    """A sequence with the line of its first entry."""

    line = 0


def line_of(value: object) -> int:
    """The line of a loaded value, counted from 1; 0 when it has none (null)."""
    return getattr(value, "line", 0)


class _Build:
    def __init__(self, events: Any, kinds: Any) -> None:
        self.events = events
        self.kinds = kinds
        self.anchors: dict[str, tuple[Any, int]] = {}
        self.open: set[str] = set()
        self.aliases = 0
        self.nodes = 0

    def take(self, event: Any, depth: int) -> tuple[Any, int]:
        """One node and how many nodes it stands for when every alias below it is written out."""
        line = event.start_mark.line + 1
        if depth > MAX_DEPTH:
            raise DocumentInvalid("line %d: nested deeper than %d levels" % (line, MAX_DEPTH))
        kinds = self.kinds
        if isinstance(event, kinds.AliasEvent):
            return self.alias(event, line)
        if event.tag is not None and event.tag != "!":
            raise DocumentInvalid("line %d: the tag %s is not accepted" % (line, event.tag[:60]))
        anchor = event.anchor
        if anchor is not None:
            self.open.add(anchor)
        if isinstance(event, kinds.ScalarEvent):
            value, weight = self.scalar(event, line), 1
        elif isinstance(event, kinds.SequenceStartEvent):
            value, weight = self.sequence(line, depth)
        else:
            value, weight = self.mapping(line, depth)
        self.count(1, line)
        if anchor is not None:
            self.open.discard(anchor)
            self.anchors[anchor] = (value, weight)
        return value, weight

    def count(self, weight: int, line: int) -> None:
        self.nodes += weight
        if self.nodes > MAX_NODES:
            raise DocumentInvalid("line %d: more than %d values" % (line, MAX_NODES))

    def alias(self, event: Any, line: int) -> tuple[Any, int]:
        self.aliases += 1
        if self.aliases > MAX_ALIASES:
            raise DocumentInvalid("line %d: more than %d aliases" % (line, MAX_ALIASES))
        if event.anchor in self.open:
            raise DocumentInvalid("line %d: the alias *%s contains itself" % (line, event.anchor[:60]))
        if event.anchor not in self.anchors:
            raise DocumentInvalid("line %d: the alias *%s has no anchor" % (line, event.anchor[:60]))
        value, weight = self.anchors[event.anchor]
        self.count(weight, line)
        return value, weight

    def scalar(self, event: Any, line: int) -> Any:
        plain = event.style is None
        if plain and event.value in NULLS:
            return None
        text = Scalar(event.value)
        text.line = line
        text.plain = plain
        return text

    def sequence(self, line: int, depth: int) -> tuple[Any, int]:
        values = Sequence()
        values.line = line
        total = 1
        for event in self.events:
            if isinstance(event, self.kinds.SequenceEndEvent):
                break
            value, weight = self.take(event, depth + 1)
            values.append(value)
            total += weight
        return values, total

    def mapping(self, line: int, depth: int) -> tuple[Any, int]:
        values = Mapping()
        values.line = line
        merged: list[Any] = []
        total = 1
        for event in self.events:
            if isinstance(event, self.kinds.MappingEndEvent):
                break
            key, weight = self.take(event, depth + 1)
            total += weight
            if isinstance(key, (Mapping, Sequence)):
                raise DocumentInvalid("line %d: a key must be plain text" % line_of(key))
            value, weight = self.take(next(self.events), depth + 1)
            total += weight
            if isinstance(key, Scalar) and key.plain and key == "<<":
                merged.extend(value if isinstance(value, Sequence) else [value])
            else:
                values[key] = value
        for source in merged:
            if not isinstance(source, Mapping):
                raise DocumentInvalid("line %d: << takes a mapping" % line)
            for key, value in source.items():
                values.setdefault(key, value)
        return values, total


def load(data: bytes) -> Any:
    """The one document in `data` as Mapping, Sequence, Scalar or None.

    Raises:
        DocumentInvalid: not UTF-8, not YAML, beyond a limit, a tag, or more than one document.
    """
    if len(data) > MAX_BYTES:
        raise DocumentInvalid("the file has %d bytes; at most %d are accepted" % (len(data), MAX_BYTES))
    from penstock_agent._vendor import yaml

    try:
        text = data.decode("utf-8-sig")
        events: Any = iter(yaml.Events(text))
        build = _Build(events, yaml)
        result: Any = None
        documents = 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    mark: Any = event.start_mark
                    raise DocumentInvalid("line %d: a second document" % (mark.line + 1))
            elif isinstance(event, yaml.NodeEvent):
                result, _ = build.take(event, 1)
        return result
    except UnicodeDecodeError as error:
        raise DocumentInvalid("byte %d is not UTF-8" % error.start) from None
    except yaml.YAMLError as error:
        raise DocumentInvalid(_message(error)) from None
    except RecursionError:
        raise DocumentInvalid("nested too deep") from None


def _message(error: Any) -> str:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    if mark is None:
        return str(problem)
    tabbed = "'\\t' that cannot start any token" in str(problem)
    remedy = " (YAML is indented by spaces, not by tabs)" if tabbed else ""
    return "line %d, column %d: %s%s" % (mark.line + 1, mark.column + 1, problem, remedy)
