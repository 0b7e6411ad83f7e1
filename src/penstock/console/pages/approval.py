"""One decision: what is asked, what the run brings and has passed, and the two buttons."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from penstock.console.pages import parallel, sentences
from penstock.console.pages.descriptions import actions_of_run
from penstock.console.pages.runs import GOING, Run, actions_of, recent, run_of
from penstock.webpages.live import Snapshot
from penstock.webpages.page import Page
from penstock.webpages.view import View
from penstock.webpages.wording import person
from penstock.wire.errors import Refused, ServiceError

_LASTS_MINUTES = 7 * 24 * 60  # AWS: an approval without timeoutInMinutes


async def _model(view: View) -> dict[str, Any]:
    name, stage, action = view.path["name"], view.path["stage"], view.path["action"]
    declared = (await view.call("codepipeline", "GetPipeline", name=name))["pipeline"]
    current = await view.call("codepipeline", "GetPipelineState", name=name)
    side_by_side = declared.get("executionMode") == "PARALLEL"
    runs = await recent(view, name, current["stageStates"], parallel=side_by_side)
    by_id = {run.id: run for run in runs}
    listed, asked_for = current["stageStates"], view.query.get("run", "")
    if side_by_side:
        chosen = [by_id[asked_for]] if asked_for in by_id else [] if asked_for else runs
        listed = parallel.with_runs(listed, chosen, await parallel.details_of(view, name, chosen))
    states = {one["stageName"]: one for one in listed}
    found = states.get(stage, {"actionStates": []})
    latest: dict[str, Any] = next(
        (one.get("latestExecution", {}) for one in found["actionStates"] if one["actionName"] == action), {}
    )
    execution = found.get("latestExecution", {}).get("pipelineExecutionId", "")
    run = by_id.get(execution) or (await run_of(view, name, execution) if execution else None)
    details = list(reversed(await actions_of(view, name, run))) if run else []
    asked = next((one for one in reversed(details) if one["stageName"] == stage and one["actionName"] == action), None)
    described = await actions_of_run(view, name, run.id) if run and asked else {}
    about = described.get((stage, action), {})
    waits = bool(latest.get("token")) and latest.get("status") == "InProgress"
    index = next((at for at, one in enumerate(declared["stages"]) if one["name"] == stage), 0)
    earlier = _latest([one for one in details if one["actionName"] != action or one["stageName"] != stage])
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
        "so_far": latest.get("summary", "") if waits else "",
        "needs": about.get("needs", ""),
        "may_not_approve": about.get("mayNotApprove", ""),
        "may_not_reject": about.get("mayNotReject", ""),
        "question": " ".join(about.get("question", "").split()) or f"Let run {run.number if run else ''} pass {stage}?",
        "link": about.get("entityUrl", ""),
        "asked": asked["startTime"] if asked else None,
        "expires": asked["startTime"] + 60_000 * _minutes(declared["stages"][index], action)
        if asked and waits
        else None,
        "leads": _leads(declared, states, index, action, run, by_id=by_id, side_by_side=side_by_side),
        # What a form and the live stream of this page must say again.
        "which": f"?run={run.id}" if side_by_side and run else "",
        "waiting": behind,
        "closed_message": _closed(latest),
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
        "passed": sentences.checks([one["status"] for one in earlier]),
        "checks": [
            {
                "name": f"{one['stageName']}, {one['actionName']}",
                "state": one["status"],
                "took": one["lastUpdateTime"] - one["startTime"] if one["status"] != "InProgress" else None,
                "since": one["startTime"],
                "link": one.get("output", {}).get("executionResult", {}).get("externalExecutionUrl", ""),
            }
            for one in earlier
        ],
    }


def _latest(details: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The last attempt of each action, in the order in which the actions first started."""
    latest: dict[tuple[str, str], dict[str, Any]] = {}
    for detail in details:
        latest[detail["stageName"], detail["actionName"]] = detail
    return list(latest.values())


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


def _leads(
    declared: dict[str, Any],
    states: dict[str, dict[str, Any]],
    index: int,
    action: str,
    run: Run | None,
    *,
    by_id: dict[str, Run],
    side_by_side: bool,
) -> str:
    """What an approval of `action` in the stage at `index` leads to, as things stand."""
    stage = declared["stages"][index]
    state = {one["actionName"]: one for one in states.get(stage["name"], {"actionStates": []})["actionStates"]}
    others = [
        one["name"]
        for one in stage["actions"]
        if one["name"] != action and state.get(one["name"], {}).get("latestExecution", {}).get("status") != "Succeeded"
    ]
    number = run.number if run else None
    if index + 1 == len(declared["stages"]):
        return sentences.approving(others, None, number=number)
    following = states.get(declared["stages"][index + 1]["name"], {})
    latest = following.get("latestExecution", {})
    busy = latest.get("status") in GOING and not side_by_side
    holder = by_id.get(latest.get("pipelineExecutionId", ""))
    return sentences.approving(
        others,
        {
            "name": declared["stages"][index + 1]["name"],
            # Executions of a PARALLEL pipeline enter every stage at once.
            "enabled": side_by_side or following.get("inboundTransitionState", {}).get("enabled", True),
            "holder": (f"run {holder.number}" if holder else "another run") if busy else "",
        },
        number=number,
    )


def _closed(latest: dict[str, Any]) -> str:
    status = latest.get("status")
    if status not in ("Succeeded", "Failed"):
        return "No run waits at this action."
    who = person(latest.get("lastUpdatedBy", ""))
    verdict = "Approved" if status == "Succeeded" else "Rejected"
    comment = f": “{latest['summary']}”" if latest.get("summary") else "."
    return f"{verdict} by {who}{comment}" if who else f"{verdict}{comment}"


async def load(view: View) -> dict[str, Any]:
    """The page's values; it also says when there is nothing left to decide."""
    return {**await _model(view), "comment": "", "comment_error": ""}


async def live(view: View) -> Response:
    """Its stream: who else decided, and who waits behind."""
    name = view.path["name"]

    async def take() -> Snapshot:
        model = await _model(view)
        return Snapshot(
            {
                "asked": view.fragment("_asked.html", **model),
                "decision": view.fragment("_decision.html", **model, comment="", comment_error=""),
                "checks": view.fragment("_checks.html", **model),
            }
        )

    return view.stream(take, view.of_pipeline(name))


async def decide(view: View) -> Response:
    """Approve or reject. A rejection needs a comment: whoever meets the failed run asks why."""
    name, stage, action = view.path["name"], view.path["stage"], view.path["action"]
    decision, comment = view.form.get("decision", ""), view.form.get("summary", "").strip()
    if decision == "Rejected" and not comment:
        error = "Write a comment before you reject. It is kept with your name in the history of the run."
        return view.render("approval.html", status=400, **await _model(view), comment="", comment_error=error)
    await view.call(
        "codepipeline",
        "PutApprovalResult",
        pipelineName=name,
        stageName=stage,
        actionName=action,
        token=view.form.get("approval", ""),
        result={"status": decision, "summary": comment},
    )
    if decision == "Approved" and await _still_asked(view):
        return view.back("pipelines", name, query="said=approved-so-far")
    return view.back("pipelines", name, query="said=approved" if decision == "Approved" else "said=rejected")


async def _still_asked(view: View) -> bool:
    """Whether the approval needs more of them, as far as the visitor may see; to decide asks for less than to look."""
    try:
        return (await _model(view))["approval"] == view.form.get("approval")
    except (Refused, ServiceError):  # the approval counts in any case
        return False


PAGE = Page(
    path="pipelines/{name}/approvals/{stage}/{action}",
    template="approval.html",
    load=load,
    live=live,
    forms={"": decide},
)
