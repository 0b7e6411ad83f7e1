"""The page of how pipelines deliver: its sentence, figures, bars and rows, for what the operation may answer."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.pipelines import pages

NOTHING: dict[str, Any] = {
    "succeededDeployments": 0,
    "failedDeployments": 0,
    "deploymentsPerDay": 0.0,
    "unrecoveredFailures": 0,
}
SHOP = NOTHING | {
    "succeededDeployments": 9,
    "failedDeployments": 3,
    "deploymentsPerDay": 9 / 7,
    "leadTimeSeconds": 5_400.0,
    "leadTimeP90Seconds": 90_000.0,
    "changeFailureRate": 0.25,
    "recoveryTimeSeconds": 240.0,
    "reworkRate": 1 / 12,
}


class View:
    """A visitor; `query` is what the address says, `answer` what the operation does."""

    def __init__(self, answer: Any, **query: str) -> None:
        self.query, self.answer = query, answer
        self.asked: dict[str, Any] = {}

    async def call(self, service: str, operation: str, **input: Any) -> Any:
        assert (service, operation) == ("penstock", "GetDeliveryFigures")
        self.asked = input
        return self.answer


def answer(total: dict[str, Any], *days: tuple[int, int], **more: Any) -> dict[str, Any]:
    shown = [
        {"date": f"2026-11-{number:02}", "deployments": good, "failedDeployments": failed}
        for number, (good, failed) in enumerate(days or [(0, 0)], 1)
    ]
    return {"total": total, "pipelines": [], "days": shown, **more}


@pytest.mark.parametrize(
    ("total", "query", "said"),
    [
        (NOTHING, {}, "No deployment to production in the last 30 days."),
        (NOTHING, {"pipeline": "shop", "days": "7"}, "No deployment of shop to production in the last 7 days."),
        (SHOP, {"days": "90"}, "9 successful deployments to production in the last 90 days, and no failure is open."),
        (
            SHOP | {"succeededDeployments": 1, "unrecoveredFailures": 2},
            {"pipeline": "shop"},
            "1 successful deployment of shop to production in the last 30 days; 2 failures are not recovered from.",
        ),
    ],
)
async def test_the_sentence(total, query, said):
    assert (await pages.delivery(View(answer(total), **query)))["lede"] == said  # type: ignore[arg-type]


@pytest.mark.parametrize("days", ["", "31", "-7", "7x", "1000000"])
async def test_a_time_that_is_not_offered_is_thirty_days(days):
    view = View(answer(NOTHING), days=days)
    shown = await pages.delivery(view)  # type: ignore[arg-type]
    assert (view.asked, shown["command"]) == ({"days": 30}, "penstock dora --since 30d")


async def test_figures_bars_and_rows():
    one = {"pipelineName": "a b", "stageName": "Live", "figures": SHOP}
    broken = {"pipelineName": "c", "stageName": "Live", "figures": NOTHING | {"unrecoveredFailures": 1}}
    view = View(answer(SHOP, (3, 1), (0, 0), (1, 0), pipelines=[one, broken]), days="7", pipeline="a b")
    shown = await pages.delivery(view)  # type: ignore[arg-type]
    assert view.asked == {"days": 7, "pipelineName": "a b"}
    assert [value for _, value, _ in shown["figures"]] == ["1.3 a day", "1 h 30 min", "25 %", "4 min 0 s", "8 %"]
    assert [(bar["x"], bar["good"], bar["failed"]) for bar in shown["plot"]["bars"]] == [
        (0, 54, 18),
        (12, 0, 0),
        (24, 18, 0),
    ]
    assert shown["plot"]["bars"][0]["said"] == "2026-11-01: 3 deployments, 1 failed"
    cells = [row.cells for row in shown["rows"]]
    assert (cells[0][0].href, cells[0][1].href) == ("/console/delivery?days=7&pipeline=a+b", "/console/pipelines/a%20b")
    assert list(cells[0][2:]) == [9, "1 h 30 min", "25 %", "4 min 0 s", "8 %"]
    assert list(cells[1][2:]) == [0, "none", "none", "open", "none"]
