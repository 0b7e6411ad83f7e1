"""One decision: what is asked, what the run brings and has passed, and the two buttons."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from penstock.console.live import Look
from penstock.console.pages.pipeline import link_of
from penstock.console.pages.runs import Run, actions_of, recent, run_of
from penstock.console.view import View
from penstock.console.words import person
from penstock.store.events import Event

_LASTS_MINUTES = 7 * 24 * 60  # AWS: an approval without timeoutInMinutes


async def _model(view: View) -> dict[str, Any]:
    name, stage, action = view.path["name"], view.path["stage"], view.path["action"]
    declared = (await view.call("codepipeline", "GetPipeline", name=name))["pipeline"]
    current = await view.call("codepipeline", "GetPipelineState", name=name)
    states = {one["stageName"]: one for one in current["stageStates"]}
    found = states.get(stage, {"actionStates": []})
    latest: dict[str, Any] = next(
        (one.get("latestExecution", {}) for one in found["actionStates"] if one["actionName"] == action), {}
    )
    runs = await recent(view, name, current["stageStates"])
    by_id = {run.id: run for run in runs}
    execution = found.get("latestExecution", {}).get("pipelineExecutionId", "")
    run = by_id.get(execution) or (await run_of(view, name, execution) if execution else None)
    details = list(reversed(await actions_of(view, name, run))) if run else []
    asked = next((one for one in reversed(details) if one["stageName"] == stage and one["actionName"] == action), None)
    configuration = (asked or {}).get("input", {}).get("resolvedConfiguration", {})
    waits = bool(latest.get("token")) and latest.get("status") == "InProgress"
    index = next((at for at, one in enumerate(declared["stages"]) if one["name"] == stage), 0)
    behind = [
        by_id[one["pipelineExecutionId"]]
        for one in found.get("inboundExecutions", [])
        if one["pipelineExecutionId"] in by_id
    ]
    return {
        "name": name,
        "stage": stage,
        "action": action,
        "run": run,
        "run_state": "Waiting" if waits else latest.get("status", ""),
        "open": waits,
        "approval": latest.get("token", "") if waits else "",
        "question": configuration.get("CustomData") or f"Let run {run.number if run else ''} pass {stage}?",
        "link": _safe(configuration.get("ExternalEntityLink", "")),
        "asked": asked["startTime"] if asked else None,
        "expires": asked["startTime"] + 60 * _minutes(declared["stages"][index], action) if asked and waits else None,
        "after": _after(declared, index),
        "waiting": behind,
        "closed_words": _closed(latest),
        "changes": _changes(runs, run, index),
        "replaces": _passed(runs, run, index),
        "may": await view.may(
            "codepipeline",
            "PutApprovalResult",
            pipelineName=name,
            stageName=stage,
            actionName=action,
            token="",
            result={},
        ),
        "checks": [
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
            if one["actionName"] != action or one["stageName"] != stage
        ],
    }


def _passed(runs: list[Run], run: Run | None, index: int) -> Run | None:
    """The newest earlier run that has passed the stage."""
    if run is None:
        return None
    return next(
        (one for one in runs if one.number < run.number and one.marks[index : index + 1] == ["Succeeded"]), None
    )


def _changes(runs: list[Run], run: Run | None, index: int) -> list[dict[str, Any]]:
    """What this run brings: its own revisions, and those of the runs since the last that passed the stage."""
    if run is None:
        return []
    last = _passed(runs, run, index)
    floor = last.number if last else run.number - 1
    seen = {change.revision for change in last.changes} if last else set()
    found: list[dict[str, Any]] = []
    for one in runs if any(each.id == run.id for each in runs) else [run]:
        if not floor < one.number <= run.number:
            continue
        for change in one.changes:
            if change.revision not in seen:
                seen.add(change.revision)
                found.append({"run": one.number, "change": change, "at": one.started})
    return found


def _minutes(declared: dict[str, Any], action: str) -> int:
    return next(
        (one["timeoutInMinutes"] for one in declared["actions"] if one["name"] == action and "timeoutInMinutes" in one),
        _LASTS_MINUTES,
    )


def _after(declared: dict[str, Any], index: int) -> str:
    names = [one["name"] for one in declared["stages"]][index + 1 :]
    return names[0] if names else ""


def _closed(latest: dict[str, Any]) -> str:
    status = latest.get("status")
    if status not in ("Succeeded", "Failed"):
        return "No run waits here."
    who = person(latest.get("lastUpdatedBy", ""))
    verdict = "Approved" if status == "Succeeded" else "Rejected"
    comment = f": “{latest['summary']}”" if latest.get("summary") else "."
    return f"{verdict} by {who}{comment}" if who else f"{verdict}{comment}"


def _safe(link: str) -> str:
    return link if link.startswith(("https://", "http://")) else ""


async def page(view: View) -> Response:
    """The page; it also says when there is nothing left to decide."""
    return view.render("approval.html", **await _model(view))


async def live(view: View) -> Response:
    """Its stream: who else decided, and who waits behind."""
    name = view.path["name"]
    aggregate = f"pipeline/{view.visitor.account}/{view.region}/{name}"

    async def take() -> Look:
        model = await _model(view)
        return Look(
            {"asked": view.fragment("_asked.html", **model), "decision": view.fragment("_decision.html", **model)}
        )

    def concerns(event: Event) -> bool:
        return event.aggregate == aggregate

    return view.stream(take, concerns)


async def decide(view: View) -> Response:
    """Approve or reject."""
    name, stage, action = view.path["name"], view.path["stage"], view.path["action"]
    decision = view.form.get("decision", "")
    await view.call(
        "codepipeline",
        "PutApprovalResult",
        pipelineName=name,
        stageName=stage,
        actionName=action,
        token=view.form.get("approval", ""),
        result={"status": decision, "summary": view.form.get("summary", "")},
    )
    return view.back("pipelines", name, query="said=approved" if decision == "Approved" else "said=rejected")


ROUTES = [
    ("GET", "pipelines/{name}/approvals/{stage}/{action}", page),
    ("GET", "pipelines/{name}/approvals/{stage}/{action}/live", live),
    ("POST", "pipelines/{name}/approvals/{stage}/{action}", decide),
]
