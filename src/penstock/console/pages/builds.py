"""The builds of all projects, the newest first."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from penstock.console.live import Snapshot
from penstock.console.view import View
from penstock.console.wording import plural
from penstock.store.events import Event

_FEW = 50


async def _model(view: View) -> dict[str, Any]:
    project, token = view.query.get("project", ""), view.query.get("from", "")
    page = {"nextToken": token} if token else {}
    if project:
        listed = await view.call(
            "codebuild", "ListBuildsForProject", projectName=project, sortOrder="DESCENDING", **page
        )
    else:
        listed = await view.call("codebuild", "ListBuilds", sortOrder="DESCENDING", **page)
    ids = listed.get("ids", [])[:_FEW]
    found = (await view.call("codebuild", "BatchGetBuilds", ids=ids))["builds"] if ids else []
    place = {id_: at for at, id_ in enumerate(ids)}
    found.sort(key=lambda build: place[build["id"]])
    projects = await view.allowed("codebuild", "ListProjects", sortBy="NAME") if not project else None
    return {
        "builds": [_row(build) for build in found],
        "project": project,
        "projects": (projects or {}).get("projects", []),
        "older": listed.get("nextToken", "") if len(listed.get("ids", [])) <= _FEW else "",
        "lede": _lede(found, (projects or {}).get("projects", []), project),
    }


def _row(build: dict[str, Any]) -> dict[str, Any]:
    running = not build.get("buildComplete", False)
    return {
        "id": build["id"],
        "project": build["projectName"],
        "number": build.get("buildNumber", ""),
        "state": build["buildStatus"],
        "phase": build.get("currentPhase", "") if running else _failed_phase(build),
        "revision": build.get("resolvedSourceVersion") or build.get("sourceVersion", ""),
        "by": build.get("initiator", ""),
        "started": build.get("startTime"),
        "took": build["endTime"] - build["startTime"] if build.get("endTime") and build.get("startTime") else None,
        "running": running,
    }


def _failed_phase(build: dict[str, Any]) -> str:
    for phase in build.get("phases", []):
        if phase.get("phaseStatus") not in (None, "SUCCEEDED", "STOPPED"):
            return phase["phaseType"]
    return ""


def _lede(builds: list[dict[str, Any]], projects: list[str], project: str) -> str:
    running = sum(not build.get("buildComplete", False) for build in builds)
    failed = sum(build["buildStatus"] in ("FAILED", "FAULT", "TIMED_OUT") for build in builds)
    where = f"of {project}" if project else f"of {plural(len(projects), 'project')}" if projects else ""
    if not builds:
        return f"Nothing has been built {where}".rstrip() + "."
    parts = [f"The newest {plural(len(builds), 'build')} {where}".rstrip() + ":"]
    said = [f"{running} {'is' if running == 1 else 'are'} running"] if running else ["none is running"]
    said.append(f"{failed} {'has' if failed == 1 else 'have'} failed" if failed else "none has failed")
    return f"{parts[0]} {', '.join(said)}."


async def page(view: View) -> Response:
    """The page."""
    return view.render("builds.html", **await _model(view))


async def live(view: View) -> Response:
    """Its stream."""

    async def take() -> Snapshot:
        model = await _model(view)
        return Snapshot({"builds": view.fragment("_builds.html", **model), "lede": view.block("lede", model["lede"])})

    def concerns(event: Event) -> bool:
        return event.type.startswith("codebuild.") and event.account == view.visitor.account

    return view.stream(take, concerns)


ROUTES = [("GET", "builds", page), ("GET", "builds/live", live)]
