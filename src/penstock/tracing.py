"""Traces of runs: what each component tells of them, and the form of OTLP, OpenTelemetry's protocol.

A trace is made when its run has ended, from what the tables say. Its ids derive from the run's id, so that whichever process makes it, and
however often, it is the same trace.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sqlalchemy as sa

    from penstock.store.events import Event

MOST = 5_000  # spans of a trace; those that come last are left out
_INTERNAL = 1  # the kind of a span that is neither a call nor an answer
_OK, _ERROR = 1, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A time in a run, with what happened within it. Times are in ms."""

    key: str  # its id derives from it and the run's: no other span of the run has it
    name: str
    start: int
    end: int
    failed: bool = False
    attributes: Mapping[str, str | int] = field(default_factory=dict)  # by OpenTelemetry's names, where it has one
    refers: str = ""  # id of what was started and is another component's to tell
    children: Sequence[Span] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracer:
    """What a component tells of runs."""

    # (conn, account, region, id) → the span of what has this id, or None when it is not there or not the component's. Few rows by key.
    find: Callable[[sa.Connection, str, str, str], Span | None]
    # Type of events → the id of the run that ends with an event, "" for none.
    ends: Mapping[str, Callable[[Event], str]] = field(default_factory=dict)


def find(conn: sa.Connection, tracers: Sequence[Tracer], account: str, region: str, id: str) -> Span | None:
    """A span with all that it refers to."""
    found = next((span for one in tracers if (span := one.find(conn, account, region, id)) is not None), None)
    return None if found is None else _complete(conn, tracers, account, region, found)


def _complete(conn: sa.Connection, tracers: Sequence[Tracer], account: str, region: str, span: Span) -> Span:
    children = [_complete(conn, tracers, account, region, child) for child in span.children]
    started = find(conn, tracers, account, region, span.refers) if span.refers else None
    if started is not None:
        children.append(started)
    return Span(
        key=span.key,
        name=span.name,
        start=span.start,
        end=span.end,
        failed=span.failed,
        attributes=span.attributes,
        children=children,
    )


def to_otlp(run: str, root: Span, version: str) -> dict[str, Any]:
    """The request that exports a run's trace, in the JSON form of ExportTraceServiceRequest."""
    spans = [
        {
            "traceId": _id(16, run),
            "spanId": _id(8, run, span.key),
            **({"parentSpanId": _id(8, run, parent)} if parent else {}),
            "name": span.name,
            "kind": _INTERNAL,
            "startTimeUnixNano": str(span.start * 1_000_000),
            "endTimeUnixNano": str(max(span.start, span.end) * 1_000_000),
            "attributes": _attributes(span.attributes),
            "status": {"code": _ERROR if span.failed else _OK},
        }
        for span, parent in islice(_flat(root, ""), MOST)
    ]
    resource = {"attributes": _attributes({"service.name": "penstock", "service.version": version})}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": {"name": "penstock"}, "spans": spans}]}]}


def _flat(span: Span, parent: str) -> Iterator[tuple[Span, str]]:
    yield span, parent
    for child in span.children:
        yield from _flat(child, span.key)


def _id(size: int, *parts: str) -> str:
    return hashlib.sha256("\0".join(("penstock trace", *parts)).encode()).hexdigest()[: 2 * size]


def _attributes(found: Mapping[str, str | int]) -> list[dict[str, Any]]:
    return [
        {"key": key, "value": {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value}}
        for key, value in found.items()
        if value != ""
    ]
