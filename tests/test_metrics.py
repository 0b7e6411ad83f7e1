"""Metrics: declared in one place, exposed as declared, written by somebody, and bounded in what their labels hold."""

from __future__ import annotations

import ast
import importlib
import json
import re
import urllib.request
from collections import Counter
from pathlib import Path

import pytest
from penstock_live import live  # noqa: F401 - the fixture
from penstock_waiting import until
from prometheus_client.parser import text_string_to_metric_families

import penstock
from penstock import metrics

SOURCE = Path(penstock.__file__).parent
TEXTS = {path: path.read_text() for path in sorted(SOURCE.rglob("*.py"))}
DECLARING = {"counter", "gauge", "histogram"}


def declarations() -> list[tuple[Path, str, str]]:
    """The constant and the metric of every declaration in the source, with its module."""
    found: list[tuple[Path, str, str]] = []
    for path, text in TEXTS.items():
        if "penstock.metrics" not in text and "import metrics" not in text and ", metrics" not in text:
            continue
        for node in ast.parse(text).body:
            calls = [call for call in ast.walk(node) if isinstance(call, ast.Call) and called(call) in DECLARING]
            for call in calls if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) else ():
                assert isinstance(call.args[0], ast.Constant), ast.unparse(node)
                found.append((path, node.targets[0].id, call.args[0].value))
    return found


def called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def test_every_metric_is_declared_in_one_way_and_written_by_somebody():
    found = declarations()
    for path, *_ in found:
        importlib.import_module(".".join(path.relative_to(SOURCE.parent).with_suffix("").parts))
    assert sorted(name for *_, name in found) == [one.name for one in metrics.declared()]
    assert [path for path, text in TEXTS.items() if "prometheus_client" in text] == [SOURCE / "metrics.py"]
    words = Counter(word for text in TEXTS.values() for word in re.findall(r"\b_?[A-Z][A-Z_]+\b", text))
    assert [name for _, constant, name in found if words[constant] < 2] == []


def test_what_is_exposed_is_documented(live):  # noqa: F811
    live.client("codepipeline").list_pipelines()
    until(lambda: 'operation="ListPipelines"' in metrics.exposition())  # a call is counted when its answer is sent
    with urllib.request.urlopen(f"{live.url}/metrics") as answer:
        text = answer.read().decode()
    documented = (Path(__file__).parents[1] / "docs" / "reference" / "metrics.md").read_text()
    declared = {one.name: one for one in metrics.declared()}
    families = list(text_string_to_metric_families(text))
    for family in families:
        name = f"{family.name}_total" if family.type == "counter" else family.name
        assert f"`{name}`" in documented
        if name.startswith("process_"):
            continue
        assert (family.type, family.documentation) == (declared[name].kind, declared[name].description)
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(declared[name].labels), sample
    samples = {(one.name, *one.labels.values()): one.value for family in families for one in family.samples}
    assert samples["penstock_requests_total", "ListPipelines", "codepipeline", "200", "http"] >= 1
    # What is read from the database and the disk is there at the first question.
    assert samples[("penstock_approvals_waiting",)] == 0
    assert samples["penstock_builds", "queued"] == samples["penstock_builds", "running"] == 0
    assert samples["penstock_hosts", "connected"] == samples[("penstock_deployments_running",)] == 0
    assert samples[("penstock_blobs_bytes",)] == 0
    assert 0 < samples[("penstock_data_dir_free_bytes",)] < samples[("penstock_data_dir_size_bytes",)]


def test_the_dashboard_shows_how_much_is_going_on_when_nothing_is(live):  # noqa: F811
    with urllib.request.urlopen(f"{live.url}/metrics") as answer:
        text = answer.read().decode()
    panels = json.loads((Path(__file__).parents[1] / "examples/observability/dashboard.json").read_text())["panels"]
    named = [one["title"] for one in panels]
    now = panels[named.index("Now") + 1 : named.index("Delivery: DORA, the last 30 days")]
    assert len(now) > 5
    for panel in now:
        query = panel["targets"][0]["expr"]
        series = re.search(r"(?:penstock|cicd)_[a-z_]+(?:\{[^}]*\})?", query.replace("(cicd_pipeline_name, ", "("))
        assert query.endswith(" or vector(0)") or f"\n{series[0]} " in text, panel["title"]


def test_how_to_pages_name_metrics_that_exist():
    known = {one.name for one in metrics.declared()}
    known |= {f"{name}{end}" for name in known for end in ("_bucket", "_sum", "_count")}
    for page in sorted((Path(__file__).parents[1] / "docs").rglob("*.md")):
        for name in re.findall(r"`(penstock_[a-z_]+_[a-z]+)\b[`{\[]", page.read_text()):
            assert name in known, f"{page} names {name}"


@pytest.mark.parametrize(
    ("kind", "name", "labels", "description"),
    [
        ("counter", "penstock_things", (), "Things."),
        ("gauge", "penstock_things_total", (), "Things."),
        ("gauge", "things", (), "Things."),
        ("gauge", "penstock_Things", (), "Things."),
        ("gauge", "penstock_things", ("run_id",), "Things."),
        ("gauge", "penstock_things", (), "Things"),
    ],
)
def test_a_declaration_keeps_to_the_rules(kind, name, labels, description):
    with pytest.raises(ValueError, match=name):
        getattr(metrics, kind)(name, description, *labels)
    assert name not in {one.name for one in metrics.declared()}


def test_every_label_is_some_metrics():
    assert {label for one in metrics.declared() for label in one.labels} == metrics.LABELS.keys()


def test_names_that_people_chose_are_few():
    names = metrics.Names()
    assert [names.of(f"p{number}") for number in range(200)] == [f"p{number}" for number in range(200)]
    assert {names.of(f"q{number}") for number in range(1_000)} == {"_other"}
    assert names.of("p7") == "p7"


def test_a_call_is_counted_under_what_is_registered_only(live):  # noqa: F811
    request = urllib.request.Request(f"{live.url}/", method="POST", data=b"{}", headers={"X-Amz-Target": "Made.Up"})
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(request)
    counted = re.compile(r'penstock_requests_total\{operation="",service="",status="4\d\d",via="http"\}')
    until(lambda: counted.search(metrics.exposition()))
    assert "Made" not in metrics.exposition()
