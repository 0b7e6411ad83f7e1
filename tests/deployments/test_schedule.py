"""How many hosts at a time, at every bound; and what a report of hosts waited for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from penstock.deployments.hostcommands import reports
from penstock.deployments.server import schedule
from penstock.deployments.server.model import MinimumKind
from penstock.deployments.server.schedule import Verdict


def deployment(**changes: Any) -> Any:
    made = {
        "targets": 4, "bystanders": 0, "failed": 0, "needed": 2, "running": 0, "pending": 4, "available": 4, "succeeded": 0, "started": None,
    }  # fmt: skip
    return SimpleNamespace(**made | changes)


@pytest.mark.parametrize(
    ("kind", "value", "fleet", "predefined", "hosts"),
    [
        ("HOST_COUNT", 3, 2, False, 3), ("HOST_COUNT", 3, 2, True, 1), ("FLEET_PERCENT", 50, 3, False, 2), ("FLEET_PERCENT", 50, 1, False, 1),
        ("FLEET_PERCENT", 50, 1, True, 0), ("FLEET_PERCENT", 0, 3, False, 0), ("MOST_CONCURRENCY", 1, 3, False, 2), ("MOST_CONCURRENCY", 5, 3, False, 0),
        ("MOST_CONCURRENCY", 1, 0, True, 0),
    ],
)  # fmt: skip
def test_how_many_stay_healthy(kind, value, fleet, predefined, hosts):
    minimum: Any = SimpleNamespace(kind=MinimumKind[kind], value=value, predefined=predefined)
    assert schedule.minimum_hosts(minimum, fleet) == hosts


@pytest.mark.parametrize(
    ("changes", "ending", "appetite"),
    [
        ({}, 1, 3), ({}, 0, 2), ({"running": 2}, 0, 0), ({"running": 2}, 1, 1), ({"running": 4}, 1, 0), ({"pending": 1}, 1, 1),
        ({"targets": 500, "pending": 500, "needed": 0}, 1, 100), ({"failed": 2}, 0, 0),
    ],
)  # fmt: skip
def test_how_many_candidates_are_loaded(changes, ending, appetite):
    assert schedule.appetite(deployment(**changes), ending=ending) == appetite
    assert schedule.possible(deployment(**changes)) is (schedule.slots(deployment(**changes)) > 0)


@pytest.mark.parametrize(
    ("changes", "healthy", "chosen"),
    [
        ({}, [True] * 4, 2), ({}, [False] * 4, 2), ({"running": 1}, [True] * 4, 1), ({"running": 2}, [False], 0),
        ({"available": 2}, [True, False], 0), ({"available": 3}, [True] * 4, 1), ({"available": 2}, [True] * 4, 0), ({"available": 2}, [False, True], 1), ({"available": 1}, [False, False], 2),
        ({"targets": 300, "needed": 0, "available": 300}, [True] * 300, 100),
    ],
)  # fmt: skip
def test_which_hosts_are_started(changes, healthy, chosen):
    hosts: Any = [SimpleNamespace(healthy=one) for one in healthy]
    assert schedule.choose(deployment(**changes), hosts) == hosts[:chosen]


@pytest.mark.parametrize(
    ("changes", "candidates", "chosen", "more"),
    [
        ({"running": 1}, 1, 1, True), ({"running": 2}, 1, 1, False), ({"running": 1, "pending": 0}, 1, 1, False), ({"running": 1}, 2, 1, False),
        ({"running": 0}, 0, 0, False), ({"running": 1}, 150, 100, True), ({"running": 1}, 150, 99, False),
    ],
)  # fmt: skip
def test_whether_more_could_start(changes, candidates, chosen, more):
    hosts: Any = [SimpleNamespace()] * candidates
    assert schedule.unfinished(deployment(**changes), hosts, hosts[:chosen]) is more


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({"running": 1}, Verdict.GO_ON), ({}, Verdict.FAILED), ({"failed": 2, "running": 1}, Verdict.FAILED), ({"failed": 1, "running": 1}, Verdict.GO_ON),
        ({"pending": 0, "succeeded": 1, "available": 2}, Verdict.SUCCEEDED), ({"pending": 0, "succeeded": 1, "available": 1}, Verdict.FAILED),
        ({"pending": 0, "available": 4}, Verdict.FAILED), ({"pending": 0, "failed": 4, "running": 1}, Verdict.GO_ON),
    ],
)  # fmt: skip
def test_where_a_deployment_stands(changes, verdict):
    assert schedule.verdict(deployment(**changes)) is verdict


@pytest.mark.parametrize(("now", "started", "over"), [(109, 100, False), (110, 100, True), (999, None, False)])
def test_when_a_deployment_has_taken_too_long(now, started, over):
    one = deployment(started=started, timeouts=SimpleNamespace(deployment=10))
    assert schedule.overrun(one, now) is over


@pytest.mark.parametrize("fails", [False, True])
async def test_what_an_answer_waited_for_is_known(monkeypatch, fails):
    moments = [1.0, 3.5]
    monkeypatch.setattr(reports, "time", SimpleNamespace(monotonic=lambda: moments.pop(0)))
    made = reports.Reports(None)  # type: ignore[arg-type]

    async def put(key, report):
        assert (key, report.deployment) == ("d-1", "d-1")
        if fails:
            raise ValueError
        return "Succeeded"

    made._together = SimpleNamespace(put=put)  # type: ignore[assignment]
    report: Any = SimpleNamespace(deployment="d-1")
    if fails:
        with pytest.raises(ValueError):
            await made.put(report)
    else:
        assert await made.put(report) == "Succeeded"
    assert made.waited_ms == 2500
