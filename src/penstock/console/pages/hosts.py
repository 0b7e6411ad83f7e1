"""The hosts of a deployment and how each stands, with as few calls as thousands of them allow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from penstock.console.view import View

_MOST = 20_000  # hosts that a page shows
CODES = {
    "Pending": "p",
    "InProgress": "i",
    "Succeeded": "s",
    "Failed": "f",
    "Skipped": "k",
    "Ready": "i",
    "Unknown": "u",
}


@dataclass(frozen=True, slots=True)
class Fleet:
    """Every host in the order of names, with its status."""

    names: list[str]
    statuses: dict[str, str]

    @property
    def codes(self) -> str:
        """One letter a host, in the order of names: what the grid draws."""
        return "".join(CODES.get(self.statuses[name], "u") for name in self.names)


async def fleet(view: View, deployment: str, overview: dict[str, int]) -> Fleet:
    """Who is in which status. The names of a deployment never change once it has begun; the largest status is what the others leave over."""
    total = sum(overview.values())
    key = ("hosts", deployment, total)
    if key not in view.memory:
        view.memory[key] = await _targets(view, deployment, [])
    names: list[str] = view.memory[key]
    present = sorted(((count, status) for status, count in overview.items() if count), reverse=True)
    rest = present[0][1] if present else "Pending"
    statuses = dict.fromkeys(names, rest)
    for _, status in present[1:]:
        for name in await _targets(view, deployment, [status]):
            if name in statuses:
                statuses[name] = status
    return Fleet(names=names, statuses=statuses)


async def _targets(view: View, deployment: str, statuses: list[str]) -> list[str]:
    found: list[str] = []
    request: dict[str, Any] = {"deploymentId": deployment}
    if statuses:
        request["targetFilters"] = {"TargetStatus": statuses}
    while len(found) < _MOST:
        answer = await view.call("codedeploy", "ListDeploymentTargets", **request)
        found += answer.get("targetIds", [])
        if not answer.get("nextToken"):
            break
        request["nextToken"] = answer["nextToken"]
    return found
