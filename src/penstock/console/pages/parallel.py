"""PARALLEL pipelines: GetPipelineState says nothing about their runs, so the pages take it from the actions of the runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from penstock.console.pages.runs import GOING, Run, actions_of, asks
from penstock.webpages.view import View

Details = Sequence[Mapping[str, Any]]
_RANK = {"Waiting": 0, "InProgress": 1}


async def details_of(view: View, pipeline: str, runs: Sequence[Run]) -> dict[str, Details]:
    """What the actions of each run did, by the run's id; the newest start of a run stands first."""
    return {run.id: await actions_of(view, pipeline, run) for run in runs}


def with_runs(
    states: Sequence[Mapping[str, Any]], runs: Sequence[Run], details: Mapping[str, Details]
) -> list[dict[str, Any]]:
    """The stages of GetPipelineState, each with the run that matters most in it, and `inside`: all that are in it now.

    What waits for a decision matters most, then what is in progress, then what came last. `runs` are the newest first.
    """
    return [_stage(state, runs, details) for state in states]


def _stage(state: Mapping[str, Any], runs: Sequence[Run], details: Mapping[str, Details]) -> dict[str, Any]:
    name = state["stageName"]
    found: list[tuple[Run, dict[str, Mapping[str, Any]], str]] = []
    for run in runs:
        latest: dict[str, Mapping[str, Any]] = {}
        for detail in details.get(run.id, ()):
            if detail["stageName"] == name:
                latest.setdefault(detail["actionName"], detail)
        if latest:
            last = details[run.id][0]["stageName"] == name
            found.append((run, latest, _status(run, latest, len(state["actionStates"]), last=last)))
    inside = [
        _inside(run, action, status)
        for run, latest, status in found
        if status in _RANK
        for action in _current(latest, status)
    ]
    inside.sort(key=lambda one: (not one["action"], one["run"].number))
    chosen = min(found, key=lambda one: (_RANK.get(one[2], 2), -one[0].number), default=None)
    if chosen is None:
        return {**state, "inside": inside}
    run, latest, status = chosen
    return {
        **state,
        "inside": inside,
        "latestExecution": {
            "pipelineExecutionId": run.id,
            "status": "InProgress" if status == "Waiting" else status,
        },
        "actionStates": [_action(action, latest.get(action["actionName"])) for action in state["actionStates"]],
    }


def _status(run: Run, latest: Mapping[str, Mapping[str, Any]], declared: int, *, last: bool) -> str:
    statuses = {detail["status"] for detail in latest.values()}
    if run.state in GOING or run.state == "Waiting":
        if any(asks(detail) for detail in latest.values()):
            return "Waiting"
        # Between two actions none of them is in progress.
        if "InProgress" in statuses or (last and (statuses != {"Succeeded"} or len(latest) < declared)):
            return "InProgress"
    if "Failed" in statuses:
        return "Failed"
    return "Stopped" if statuses & {"Abandoned", "InProgress"} else "Succeeded"


def _current(latest: Mapping[str, Mapping[str, Any]], status: str) -> list[Mapping[str, Any]]:
    running = [detail for detail in latest.values() if detail["status"] == "InProgress"]
    asked = [detail for detail in running if asks(detail)]
    return asked or running[:1] or list(latest.values())[:1] if status in _RANK else []


def _inside(run: Run, detail: Mapping[str, Any], status: str) -> dict[str, Any]:
    return {
        "run": run,
        "since": detail["startTime"],
        "action": detail["actionName"] if status == "Waiting" else "",
    }


def _action(state: Mapping[str, Any], detail: Mapping[str, Any] | None) -> dict[str, Any]:
    if detail is None:
        return {"actionName": state["actionName"]}
    result = detail.get("output", {}).get("executionResult", {})
    external = result.get("externalExecutionId", "")
    latest = {
        "actionExecutionId": detail["actionExecutionId"],
        "status": detail["status"],
        "summary": result.get("externalExecutionSummary", ""),
        "lastStatusChange": detail["lastUpdateTime"],
        "lastUpdatedBy": detail.get("updatedBy", ""),
        "externalExecutionId": external,
        "externalExecutionUrl": result.get("externalExecutionUrl", ""),
        "errorDetails": result.get("errorDetails", {}),
    }
    if asks(detail):
        latest["token"] = external  # AWS: the external execution id is the token of an approval in PARALLEL mode
    return {**state, "latestExecution": latest}
