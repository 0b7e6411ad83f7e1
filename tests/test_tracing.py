"""Traces: one tree of a run, the same whenever it is made, in the form that OTLP has."""

from __future__ import annotations

import re

import pytest

from penstock import tracing
from penstock.tracing import Span, Tracer, find, to_otlp


def span(key: str, *children: Span, refers: str = "", failed: bool = False, **attributes: str | int) -> Span:
    return Span(
        key=key,
        name=key.upper(),
        start=1_000,
        end=2_500,
        failed=failed,
        attributes=attributes,
        refers=refers,
        children=children,
    )


def exported(run: str, root: Span) -> list[dict]:
    made = to_otlp(run, root, "1.2")
    (resource,) = made["resourceSpans"]
    assert resource["resource"]["attributes"] == [
        {"key": "service.name", "value": {"stringValue": "penstock"}},
        {"key": "service.version", "value": {"stringValue": "1.2"}},
    ]
    (scope,) = resource["scopeSpans"]
    assert scope["scope"] == {"name": "penstock"}
    return scope["spans"]


def test_a_tree_is_one_trace_whose_ids_are_those_of_the_run():
    root = span("push", span("run", span("a", failed=True, number=3, word="w", nothing=""), span("b")))
    spans = exported("r-1", root)
    assert spans == exported("r-1", root)
    assert [one["name"] for one in spans] == ["PUSH", "RUN", "A", "B"]
    assert len({one["traceId"] for one in spans}) == 1
    assert len({one["spanId"] for one in spans}) == 4
    for one in spans:
        assert re.fullmatch("[0-9a-f]{32}", one["traceId"])
        assert re.fullmatch("[0-9a-f]{16}", one["spanId"])
        assert (one["kind"], one["startTimeUnixNano"], one["endTimeUnixNano"]) == (1, "1000000000", "2500000000")
    push, run, a, b = spans
    assert "parentSpanId" not in push
    assert [one["parentSpanId"] for one in (run, a, b)] == [push["spanId"], run["spanId"], run["spanId"]]
    assert [one["status"]["code"] for one in spans] == [1, 1, 2, 1]
    assert a["attributes"] == [
        {"key": "number", "value": {"intValue": "3"}},
        {"key": "word", "value": {"stringValue": "w"}},
    ]
    other = exported("r-2", root)
    assert {one["traceId"] for one in other}.isdisjoint({one["traceId"] for one in spans})
    assert {one["spanId"] for one in other}.isdisjoint({one["spanId"] for one in spans})


def test_a_span_that_ended_before_it_began_has_no_length():
    (one,) = exported("r", Span(key="k", name="n", start=5, end=3))
    assert one["startTimeUnixNano"] == one["endTimeUnixNano"] == "5000000"


def test_a_trace_has_a_bounded_number_of_spans(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tracing, "MOST", 3)
    assert [one["name"] for one in exported("r", span("a", *(span(f"b{n}") for n in range(9))))] == ["A", "B0", "B1"]


def test_components_tell_what_theirs_are():
    """Each is asked in turn; what an action started stands below it, and what nobody knows is left out."""
    known = {"run": span("run", span("x", refers="d-1"), span("y", refers="gone"), span("z"))}
    asked: list[str] = []

    def deployments(_conn, account, region, id):
        assert (account, region) == ("1", "r")
        asked.append(id)
        return span("deployment", span("host")) if id == "d-1" else None

    tracers = [Tracer(find=deployments), Tracer(find=lambda _conn, _account, _region, id: known.get(id))]
    found = find(None, tracers, "1", "r", "run")  # type: ignore[arg-type]
    assert found is not None
    assert asked == ["run", "d-1", "gone"]
    x, y, z = found.children
    assert [child.key for child in x.children] == ["deployment"]
    assert [child.key for child in x.children[0].children] == ["host"]
    assert (y.children, z.children, x.refers) == ([], [], "")
    assert find(None, tracers, "1", "r", "nobody's") is None  # type: ignore[arg-type]
