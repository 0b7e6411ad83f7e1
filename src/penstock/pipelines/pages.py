"""The page of the console that shows how pipelines deliver: DORA's five figures, day by day and by pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from penstock.webpages.listing import Cell, Column, Row
from penstock.webpages.page import Group, Nav, Page
from penstock.webpages.view import View, part
from penstock.webpages.wording import lasted, plural

_TIMES = (7, 30, 90)  # days
_COLUMNS = (
    Column("Pipeline"),
    Column("Production stage"),
    Column("Deployments", "num"),
    Column("Lead time", "num"),
    Column("Failed", "num"),
    Column("Recovery", "num"),
    Column("Rework", "num"),
)
_HEIGHT = 72  # of the tallest bar, in the plot's units
_STEP = 12  # from one day's bar to the next


async def delivery(view: View) -> Mapping[str, Any]:
    """The figures of the last days; `days` and `pipeline` of the address choose."""
    days = next((number for number in _TIMES if view.query.get("days") == str(number)), 30)
    name = view.query.get("pipeline", "")
    asked: dict[str, Any] = {"pipelineName": name} if name else {}
    found = await view.call("penstock", "GetDeliveryFigures", days=days, **asked)
    return {
        "lede": _lede(found["total"], days, name),
        "figures": _figures(found["total"]),
        "times": [(number, urlencode({"days": number, **({"pipeline": name} if name else {})})) for number in _TIMES],
        "days": days,
        "name": name,
        "plot": _plot(found["days"]),
        "columns": _COLUMNS,
        "rows": [_row(one, days) for one in found["pipelines"]],
        "read_since": found.get("readSince"),
        "command": f"penstock dora{f' {name}' if name else ''} --since {days}d",
    }


def _lede(total: Mapping[str, Any], days: int, name: str) -> str:
    made, failed = total["succeededDeployments"], total["failedDeployments"]
    what = f"of {name} " if name else ""
    if not made and not failed:
        return f"No deployment {what}to production in the last {days} days."
    said = f"{plural(made, 'successful deployment')} {what}to production in the last {days} days"
    if total["unrecoveredFailures"]:
        return f"{said}; {plural(total['unrecoveredFailures'], 'failure is', 'failures are')} not recovered from."
    return f"{said}, and no failure is open."


def _figures(total: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Name, value and what it says."""
    return [
        (
            "Deployment frequency",
            f"{_number(total['deploymentsPerDay'])} a day",
            "successful deployments to production",
        ),
        ("Change lead time", _time(total.get("leadTimeSeconds")), "median, from a change to production"),
        ("Change failure rate", _share(total.get("changeFailureRate")), "of deployments failed or were rolled back"),
        (
            "Recovery time",
            _time(total.get("recoveryTimeSeconds")),
            "median, from a failed deployment to the next good one",
        ),
        ("Rework rate", _share(total.get("reworkRate")), "of deployments followed a failed one"),
    ]


def _row(one: Mapping[str, Any], days: int) -> Row:
    figures, name = one["figures"], one["pipelineName"]
    return Row(
        (
            Cell(text=name, href=f"/console/delivery?{urlencode({'days': days, 'pipeline': name})}"),
            Cell(text=one["stageName"], href=f"/console/pipelines/{part(name)}"),
            figures["succeededDeployments"],
            _time(figures.get("leadTimeSeconds")),
            _share(figures.get("changeFailureRate")),
            "open" if figures["unrecoveredFailures"] else _time(figures.get("recoveryTimeSeconds")),
            _share(figures.get("reworkRate")),
        )
    )


def _plot(days: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A bar for each day: deployments that did not fail, and above them those that did."""
    most = max((day["deployments"] + day["failedDeployments"] for day in days), default=0)
    unit = _HEIGHT / most if most else 0
    bars = [
        {
            "x": number * _STEP,
            "good": round(day["deployments"] * unit, 1),
            "failed": round(day["failedDeployments"] * unit, 1),
            "said": f"{day['date']}: {plural(day['deployments'], 'deployment')}, {day['failedDeployments']} failed",
        }
        for number, day in enumerate(days)
    ]
    return {
        "bars": bars,
        "most": most,
        "height": _HEIGHT,
        "width": len(days) * _STEP,
        "first": days[0]["date"],
        "last": days[-1]["date"],
    }


def _number(value: float) -> str:
    return f"{value:.1f}" if value >= 1 else f"{value:.2g}"


def _time(seconds: float | None) -> str:
    return "none" if seconds is None else lasted(round(seconds * 1000))


def _share(rate: float | None) -> str:
    return "none" if rate is None else f"{100 * rate:.0f} %"


PAGE = Page(
    path="delivery",
    title="Delivery",
    load=delivery,
    nav=Nav(group=Group.WATCH, service="penstock", operation="GetDeliveryFigures"),
    template="pipelines/delivery.html",
)
