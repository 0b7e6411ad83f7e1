"""What traces and metrics tell of a build: its phases, and how it ended."""

from __future__ import annotations

from penstock_builder import Builder
from penstock_waiting import until

from penstock import tracing
from penstock.metrics import REGISTRY


def failed() -> float:
    return REGISTRY.get_sample_value("penstock_build_seconds_count", {"result": "FAILED"}) or 0


def test_a_build_is_its_phases(builder: Builder):
    before = failed()
    project = builder.project({"version": 0.2, "phases": {"build": {"commands": ["exit 3"]}}})
    build = builder.run(project)
    app = builder.live.app

    def told(id: str, account: str = "111111111111") -> tracing.Span | None:
        return builder.live.run(app.store.scan(tracing.find, app.tracers, account, "us-east-1", id))

    found = told(build["id"])
    assert found is not None
    assert (found.name, found.failed) == (f"build {project}", True)
    assert found.attributes == {"penstock.build.id": build["id"], "penstock.build.status": "FAILED"}
    assert [phase.name for phase in found.children] == [f"phase {phase['phaseType']}" for phase in build["phases"]]
    assert [phase.name for phase in found.children if phase.failed] == ["phase BUILD"]
    assert found.start == found.children[0].start
    assert found.end == max(phase.end for phase in found.children)
    assert told(build["id"], "222222222222") is None
    assert told("no:such") is None
    until(lambda: failed() == before + 1)
