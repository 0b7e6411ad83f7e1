"""Deployments, the newest first."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from penstock.console.live import Snapshot
from penstock.console.view import View
from penstock.console.wording import plural
from penstock.store.events import Event

_GOING = ("Created", "Queued", "InProgress", "Baking", "Ready")


async def _model(view: View) -> dict[str, Any]:
    application, group, token = (view.query.get(name, "") for name in ("application", "group", "from"))
    narrowed = {"applicationName": application, "deploymentGroupName": group} if application and group else {}
    listed = await view.call("codedeploy", "ListDeployments", **narrowed, **({"nextToken": token} if token else {}))
    ids = listed.get("deployments", [])
    found = (await view.call("codedeploy", "BatchGetDeployments", deploymentIds=ids))["deploymentsInfo"] if ids else []
    applications = await view.allowed("codedeploy", "ListApplications") if not ids else None
    return {
        "deployments": [_row(info) for info in found],
        "application": application if narrowed else "",
        "group": group if narrowed else "",
        "applications": (applications or {}).get("applications", []),
        "older": listed.get("nextToken") or "",
        "lede": _lede(found),
    }


def _row(info: dict[str, Any]) -> dict[str, Any]:
    overview = info.get("deploymentOverview", {})
    total = sum(overview.values())
    began, ended = info.get("startTime"), info.get("completeTime")
    return {
        "id": info["deploymentId"],
        "application": info["applicationName"],
        "group": info["deploymentGroupName"],
        "state": info["status"],
        "why": info.get("errorInformation", {}).get("code", ""),
        "revision": revision_label(info.get("revision", {})),
        "hosts": f"{overview.get('Succeeded', 0)} of {total}" if total else "",
        "failed": overview.get("Failed", 0),
        "rollback": info.get("creator") == "codeDeployRollback",
        "created": info.get("createTime"),
        "began": began,
        "took": ended - began if began and ended else None,
        "going": info["status"] in _GOING,
    }


def revision_label(revision: dict[str, Any]) -> str:
    """The shortest label of what is deployed."""
    where = revision.get("s3Location")
    if where:
        version = f", version {where['version'][:8]}" if where.get("version") else ""
        return f"{where.get('bucket', '')}/{where.get('key', '')}{version}"
    github = revision.get("gitHubLocation")
    if github:
        return f"{github.get('repository', '')} {github.get('commitId', '')[:8]}"
    return revision.get("revisionType", "")


def _lede(found: list[dict[str, Any]]) -> str:
    if not found:
        return "Nothing has been deployed yet."
    going = sum(info["status"] in _GOING for info in found)
    failed = sum(info["status"] == "Failed" for info in found)
    said = [f"{going} {'is' if going == 1 else 'are'} running" if going else "none is running"]
    said.append(f"{failed} {'has' if failed == 1 else 'have'} failed" if failed else "none has failed")
    return f"The newest {plural(len(found), 'deployment')}: {', '.join(said)}."


async def page(view: View) -> Response:
    """The page."""
    return view.render("deployments.html", **await _model(view))


async def live(view: View) -> Response:
    """Its stream."""

    async def take() -> Snapshot:
        model = await _model(view)
        return Snapshot(
            {"deployments": view.fragment("_deployments.html", **model), "lede": view.block("lede", model["lede"])}
        )

    def concerns(event: Event) -> bool:
        return event.type.startswith("codedeploy.") and event.account == view.visitor.account

    return view.stream(take, concerns)


ROUTES = [("GET", "deployments", page), ("GET", "deployments/live", live)]
