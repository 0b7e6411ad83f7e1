"""One decision: what is asked, what the run has passed, and the two buttons."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from penstock.console.pages.pipeline import link_of
from penstock.console.pages.runs import actions_of, recent
from penstock.console.site import View


async def page(view: View) -> Response:
    """The page; it also says when there is nothing left to decide."""
    name, stage, action = view.path["name"], view.path["stage"], view.path["action"]
    declared = (await view.call("codepipeline", "GetPipeline", name=name))["pipeline"]
    current = await view.call("codepipeline", "GetPipelineState", name=name)
    states = {one["stageName"]: one for one in current["stageStates"]}
    found = states.get(stage, {"actionStates": []})
    latest: dict[str, Any] = next(
        (one.get("latestExecution", {}) for one in found["actionStates"] if one["actionName"] == action), {}
    )
    runs = await recent(view, name, current["stageStates"])
    execution = found.get("latestExecution", {}).get("pipelineExecutionId", "")
    run = next((one for one in runs if one.id == execution), None)
    details = list(reversed(await actions_of(view, name, execution))) if execution else []
    asked = next((one for one in details if one["stageName"] == stage and one["actionName"] == action), None)
    configuration = (asked or {}).get("input", {}).get("resolvedConfiguration", {})
    waits = bool(latest.get("token")) and latest.get("status") == "InProgress"
    return view.render(
        "approval.html",
        name=name,
        stage=stage,
        action=action,
        run=run,
        run_state=latest.get("status", ""),
        open=waits,
        approval=latest.get("token", "") if waits else "",
        question=configuration.get("CustomData") or f"Let run {run.number if run else ''} pass {stage}?",
        link=_safe(configuration.get("ExternalEntityLink", "")),
        asked=asked["startTime"] if asked else None,
        after=_after(declared, stage),
        closed_words=_closed(latest),
        checks=[
            {
                "name": f"{one['stageName']}, {one['actionName']}",
                "state": one["status"],
                "took": one["lastUpdateTime"] - one["startTime"],
                "link": link_of(
                    one["input"]["actionTypeId"]["provider"],
                    one.get("output", {}).get("executionResult", {}).get("externalExecutionId", ""),
                ),
            }
            for one in details
            if one is not asked
        ],
    )


async def decide(view: View) -> Response:
    """Approve or reject."""
    name, stage, action = view.path["name"], view.path["stage"], view.path["action"]
    await view.call(
        "codepipeline",
        "PutApprovalResult",
        pipelineName=name,
        stageName=stage,
        actionName=action,
        token=view.form.get("approval", ""),
        result={"status": view.form.get("decision", ""), "summary": view.form.get("summary", "")},
    )
    return view.back(f"pipelines/{name}")


def _after(declared: dict[str, Any], stage: str) -> str:
    names = [one["name"] for one in declared["stages"]]
    following = names[names.index(stage) + 1 :] if stage in names else []
    return following[0] if following else ""


def _closed(latest: dict[str, Any]) -> str:
    status = latest.get("status")
    if status not in ("Succeeded", "Failed"):
        return "No run waits here."
    who = latest.get("lastUpdatedBy", "").rsplit("/", 1)[-1]
    verdict = "Approved" if status == "Succeeded" else "Rejected"
    comment = f": “{latest['summary']}”" if latest.get("summary") else "."
    return f"{verdict} by {who}{comment}" if who else f"{verdict}{comment}"


def _safe(link: str) -> str:
    return link if link.startswith(("https://", "http://")) else ""


ROUTES = [
    ("GET", "pipelines/{name}/approvals/{stage}/{action}", page),
    ("POST", "pipelines/{name}/approvals/{stage}/{action}", decide),
]
