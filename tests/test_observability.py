"""examples/observability: every query of the alert rules and the dashboard names metrics and labels that exist."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from penstock import app, metrics

FOLDER = Path(__file__).parents[1] / "examples" / "observability"
OURS = re.compile(r"\b(?:penstock|cicd)_[a-z0-9_]+")
PROMETHEUS = {"instance", "job", "le"}  # labels that Prometheus and its histograms add
app.every_component()  # declares the metrics of all of them


def queries() -> Iterator[tuple[str, str]]:
    rules = yaml.safe_load((FOLDER / "alerts.yaml").read_text())
    for rule in rules["groups"][0]["rules"]:
        yield rule["alert"], rule["expr"]
    for panel in json.loads((FOLDER / "dashboard.json").read_text())["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


def exposed() -> dict[str, set[str]]:
    """Names as Prometheus has them, with their labels."""
    found: dict[str, set[str]] = {}
    for one in metrics.declared():
        ends = ("_bucket", "_sum", "_count") if one.kind == "histogram" else ("",)
        found |= {f"{one.name}{end}": set(one.labels) for end in ends}
    return found


@pytest.mark.parametrize(("title", "query"), [pytest.param(*found, id=f"{n}") for n, found in enumerate(queries())])
def test_a_query_names_what_there_is(title, query):
    known = exposed()
    labels = set(re.findall(r"([a-z_]+)\s*(?:=~|!=|=)\s*\"", query)) | {
        label.strip() for group in re.findall(r"\bby \(([^)]*)\)", query) for label in group.split(",")
    }
    named = {name for name in OURS.findall(query) if name not in metrics.LABELS}
    assert named or query.startswith(("up{", "process_")), title
    assert named <= known.keys(), title
    assert labels <= {label for name in named for label in known[name]} | PROMETHEUS, title
    assert query.count("(") == query.count(")"), title


def test_every_alert_says_what_it_is_about():
    rules = yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"][0]["rules"]
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert re.search(r"\.`?$|\.$", rule["annotations"]["summary"]), rule["alert"]
        # What a summary names is what the query leaves: a label that is summed away is empty.
        for label in re.findall(r"\$labels\.([a-z_]+)", rule["annotations"]["summary"]):
            assert label in rule["expr"] or not re.search(r"\b(?:sum|max|min)\b", rule["expr"]), rule["alert"]
    readme = (FOLDER / "README.md").read_text()
    assert f"{len(rules)} rules" in readme
    assert yaml.safe_load((FOLDER / "prometheus.yaml").read_text())["rule_files"] == ["alerts.yaml"]


def test_the_dashboard_is_laid_out():
    panels = json.loads((FOLDER / "dashboard.json").read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert not taken & cells, panel["title"]
        taken |= cells
