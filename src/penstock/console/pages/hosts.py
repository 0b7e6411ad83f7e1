"""The hosts of a deployment and how each stands, with as few calls as thousands of them allow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from penstock.webpages.view import View
from penstock.webpages.wording import plural
from penstock.wire.errors import ServiceError

_MOST = 20_000  # hosts that a page shows
_FRESH_MS = 15_000  # a live page does not ask for silent hosts at each of its looks
_NAMED = 3  # silent hosts whose names a warning gives
SILENT = "Unknown"  # AWS's status of a host that says nothing; see `penstock.webpages.wording`
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
    """The hosts by status. The names never change once the deployment has started; the most frequent status is not sent."""
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


async def silent_hosts(view: View, application: str, group: str) -> list[str]:
    """Hosts of a deployment group whose agents do not respond. Empty where the visitor may not list hosts, or without the group."""
    key, now = ("silent", application, group), view.app.clock.now()
    at, known = view.memory.get(key, (0, []))
    if now - at >= _FRESH_MS:
        known = await _silent(view, application, group)
        view.memory[key] = (now, known)
    return known


async def _silent(view: View, application: str, group: str) -> list[str]:
    found: list[str] = []
    request: dict[str, Any] = {"connected": False, "applicationName": application, "deploymentGroupName": group}
    while len(found) < _MOST:
        try:
            answer = await view.allowed("penstock", "ListHosts", **request) or {}
        except ServiceError:  # the application or the group is gone
            return []
        found += [host["name"] for host in answer.get("hosts", [])]
        if not answer.get("nextToken"):
            break
        request["nextToken"] = answer["nextToken"]
    return found


def quiet(hosts: Fleet, silent: list[str]) -> Fleet:
    """The hosts with those marked that are not done and do not respond: nothing happens there, whatever is planned."""
    waiting = {name: SILENT for name in silent if hosts.statuses.get(name) in ("Pending", "InProgress")}
    return Fleet(names=hosts.names, statuses=hosts.statuses | waiting)


def silence(silent: list[str], *, where: str, total: int = 0) -> str:
    """The warning about silent hosts, or ""."""
    if not silent:
        return ""
    named = ", ".join(silent[:_NAMED]) + (f" and {len(silent) - _NAMED:,} more" if len(silent) > _NAMED else "")
    verb = "is" if len(silent) == 1 else "are"
    count = f"{len(silent):,} of {plural(total, 'host')}" if total else plural(len(silent), "host")
    return (
        f"{count} of {where} {verb} silent: {named}. A deployment fails on a silent host. "
        "Start the agent there, or deregister the host."
    )


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
