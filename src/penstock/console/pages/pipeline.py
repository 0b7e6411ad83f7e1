"""One pipeline, live: its sources, stages with their locks and transitions, and its runs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from starlette.responses import Response

from penstock.console.pages import parallel, sentences
from penstock.console.pages.descriptions import Described, actions_described
from penstock.console.pages.hosts import silence, silent_hosts
from penstock.console.pages.pipeline_forms import FORMS
from penstock.console.pages.runs import GOING, Run, actions_of, open_approval, recent, run_columns, run_of, run_row
from penstock.webpages.live import Snapshot
from penstock.webpages.page import Page
from penstock.webpages.view import View
from penstock.webpages.wording import first_line, person

_DEPLOYMENT_GROUP = "codedeploy:deploymentgroup"
_ACTS = {
    "start": "StartPipelineExecution",
    "stop": "StopPipelineExecution",
    "close": "DisableStageTransition",
    "open": "EnableStageTransition",
    "retry": "RetryStageExecution",
    "rollback": "RollbackStage",
    "override": "OverrideStageCondition",
}
_CONDITIONS = (
    # member of a stage, what people call it, the type by which it is overridden
    ("beforeEntry", "Before entry", "BEFORE_ENTRY"),
    ("onSuccess", "On success", "ON_SUCCESS"),
    ("onFailure", "On failure", ""),
)
_KEEPS = frozenset({"InProgress", "Failed"})  # a condition with such a status keeps its run


async def _model(view: View, name: str) -> dict[str, Any]:
    found = await view.call("codepipeline", "GetPipeline", name=name)
    current = await view.call("codepipeline", "GetPipelineState", name=name)
    declaration, states = found["pipeline"], current["stageStates"]
    side_by_side = declaration.get("executionMode") == "PARALLEL"
    runs = await recent(view, name, states, parallel=side_by_side)
    if side_by_side:
        states = parallel.with_runs(states, runs, await parallel.details_of(view, name, runs))
    by_id = {run.id: run for run in runs}
    for execution in _mentioned(states) - by_id.keys():
        older = await run_of(view, name, execution)
        if older is not None:
            by_id[execution] = older
    may = await _may(view, name, declaration)
    starts = await _starts(view, name, by_id, states)
    declared = {stage["name"]: stage for stage in declaration["stages"]}
    stages = [
        _stage(name, index, declared[state["stageName"]], state, runs=by_id, starts=starts)
        for index, state in enumerate(states, 1)
        if state["stageName"] in declared
    ]
    if not side_by_side:
        for stage in stages[1:]:
            stage["targets"] = [] if stage["holder"] else _targets(stage, runs)
    for before, stage in pairwise(stages):
        stage["flows"] = stage["working"] or (before["working"] and not stage["holder"] and stage["enabled"])
    described = await actions_described(view, name, declaration["version"])
    await _describe(view, stages, described)
    return {
        "name": name,
        "mode": declaration.get("executionMode", "SUPERSEDED"),
        "type": declaration.get("pipelineType", "V1"),
        "pipeline_version": declaration["version"],
        "sources": _sources(declaration["stages"][0], states[0], described),
        "stages": stages,
        "runs": runs,
        "run_columns": run_columns(acts=may["stop"]),
        "run_rows": [run_row(run, acts=may["stop"]) for run in runs],
        "next_number": runs[0].number + 1 if runs else 1,
        "lede": sentences.lede(stages, [run.number for run in runs]),
        "may": may,
    }


async def _describe(view: View, stages: list[dict[str, Any]], described: Described) -> None:
    """Say at each action what it is about, and at each deployment which of its hosts are silent, before it starts."""
    for stage in stages:
        for tile in (tile for group in stage["groups"] if not group["label"] for tile in group["tiles"]):
            about = described.get((stage["name"], tile["name"]), {})
            tile["meta"] = tile["meta"] or about.get("summary", "")
            if about.get("region", view.region) != view.region:
                tile["meta"] = f"{tile['meta']} · in {about['region']}"
            elif about.get("entityType") == _DEPLOYMENT_GROUP:
                application, name = about.get("subject", ""), about.get("part", "")
                tile["warning"] = silence(await silent_hosts(view, application, name), where=name)


async def _may(view: View, name: str, declaration: dict[str, Any]) -> dict[str, bool]:
    """What the visitor may do here. Transitions are asked of the first stage that has one."""
    if "may" not in view.memory:
        stage = declaration["stages"][1]["name"]
        inputs: dict[str, dict[str, Any]] = {
            "start": {"name": name},
            "stop": {"pipelineName": name, "pipelineExecutionId": ""},
            "close": {"pipelineName": name, "stageName": stage, "transitionType": "Inbound", "reason": ""},
            "open": {"pipelineName": name, "stageName": stage, "transitionType": "Inbound"},
            "retry": {
                "pipelineName": name,
                "stageName": stage,
                "pipelineExecutionId": "",
                "retryMode": "FAILED_ACTIONS",
            },
            "rollback": {"pipelineName": name, "stageName": stage, "targetPipelineExecutionId": ""},
            "override": {
                "pipelineName": name,
                "stageName": stage,
                "pipelineExecutionId": "",
                "conditionType": "BEFORE_ENTRY",
            },
        }
        view.memory["may"] = {
            act: await view.may("codepipeline", operation, **inputs[act]) for act, operation in _ACTS.items()
        }
    return view.memory["may"]


def _mentioned(states: list[dict[str, Any]]) -> set[str]:
    found = {state["latestExecution"]["pipelineExecutionId"] for state in states if "latestExecution" in state}
    return found | {one["pipelineExecutionId"] for state in states for one in state.get("inboundExecutions", [])}


async def _starts(view: View, name: str, runs: dict[str, Run], states: list[dict[str, Any]]) -> dict[str, int]:
    """Start time by action execution id, of the runs that the stages show."""
    starts: dict[str, int] = {}
    for execution in {
        state["latestExecution"]["pipelineExecutionId"] for state in states if "latestExecution" in state
    }:
        if execution in runs:
            for detail in await actions_of(view, name, runs[execution]):
                starts[detail["actionExecutionId"]] = detail["startTime"]
    return starts


def _stage(
    pipeline: str,
    index: int,
    declared: dict[str, Any],
    state: dict[str, Any],
    *,
    runs: dict[str, Run],
    starts: dict[str, int],
) -> dict[str, Any]:
    latest = state.get("latestExecution", {})
    status = latest.get("status", "")
    run = runs.get(latest.get("pipelineExecutionId", ""))
    waits = open_approval(state)
    inside = [_inside(pipeline, declared["name"], one) for one in state.get("inside", [])]
    side_by_side = "inside" in state
    transition = state.get("inboundTransitionState", {})
    waiting = [
        runs[one["pipelineExecutionId"]]
        for one in state.get("inboundExecutions", [])
        if one["pipelineExecutionId"] in runs
    ]
    executions = [action["latestExecution"] for action in state["actionStates"] if "latestExecution" in action]
    starts_of_holders = [
        starts[one["actionExecutionId"]] for one in executions if one.get("actionExecutionId") in starts
    ]
    return {
        "index": index,
        "name": declared["name"],
        "shown": "Waiting" if waits else status,
        "holder": run if status in GOING and not side_by_side else None,
        "inside": inside,
        "side_by_side": side_by_side,
        "working": status in GOING and not waits,
        "held_since": min(starts_of_holders, default=None),
        "last": run,
        "waiting": waiting,
        "enters": sentences.enters(
            [one.number for one in waiting],
            enabled=transition.get("enabled", True),
            holder=run.number if run and status in GOING else None,
        ),
        "enabled": transition.get("enabled", True),
        "reason": transition.get("disabledReason", ""),
        "closed_by": person(transition.get("lastChangedBy", "")),
        "closed_at": transition.get("lastChangedAt"),
        "groups": _groups(pipeline, declared, state, run, starts),
        "retry": run if status in ("Failed", "Stopped") else None,
        "failed": status == "Failed",
        "override": _override(declared, state) if run else "",
        "targets": [],
        "ended": max((one["lastStatusChange"] for one in executions if one.get("lastStatusChange")), default=None),
        "flows": False,
    }


def _inside(pipeline: str, stage: str, one: dict[str, Any]) -> dict[str, Any]:
    return {**one, "review": _review(pipeline, stage, one["action"], one["run"].id) if one["action"] else ""}


def _review(pipeline: str, stage: str, action: str, run: str = "") -> str:
    """The page of a decision. In a PARALLEL pipeline several runs wait at one action, and `run` says which is meant."""
    return f"/console/pipelines/{pipeline}/approvals/{stage}/{action}{f'?run={run}' if run else ''}"


def _groups(
    pipeline: str, declared: dict[str, Any], state: dict[str, Any], run: Run | None, starts: dict[str, int]
) -> list[dict[str, Any]]:
    states = {action["actionName"]: action for action in state["actionStates"]}
    groups: dict[int, list[dict[str, Any]]] = {}
    for action in declared["actions"]:
        tile = _tile(
            pipeline,
            declared["name"],
            action,
            states.get(action["name"], {}),
            run=run,
            starts=starts,
            side_by_side="inside" in state,
        )
        groups.setdefault(action.get("runOrder", 1), []).append(tile)
    found = [{"order": order, "label": "", "tiles": groups[order]} for order in sorted(groups)]
    checks = {
        label: [
            _rule_tile(rule, run)
            for one in state.get(f"{gate}ConditionState", {}).get("conditionStates", ())
            for rule in one["ruleStates"]
        ]
        for gate, label, _ in _CONDITIONS
    }
    entry, *after = ({"order": 0, "label": label, "tiles": tiles} for label, tiles in checks.items())
    return [group for group in (entry, *found, *after) if group["tiles"]]


def _rule_tile(state: dict[str, Any], run: Run | None) -> dict[str, Any]:
    """A rule of a condition."""
    latest = state.get("latestExecution", {})
    status = latest.get("status", "")
    return {
        "name": state["ruleName"],
        "state": status,
        "run": run.number if run and latest else None,
        "meta": latest.get("summary", "") if status != "Failed" else "",
        "link": latest.get("externalExecutionUrl", ""),
        "review": "",
        "warning": "",
        "error": _error(latest) if status == "Failed" else "",
        "since": None,
        "took": None,
    }


def _override(declared: dict[str, Any], state: dict[str, Any]) -> str:
    """The type of the condition that keeps the stage's last run and may be overridden; "" without one."""
    for gate, _, type in _CONDITIONS:
        status = state.get(f"{gate}ConditionState", {}).get("latestExecution", {}).get("status", "")
        skips = any(condition.get("result") == "SKIP" for condition in declared.get(gate, {}).get("conditions", ()))
        if status in _KEEPS and type and not skips:
            return type
    return ""


def _targets(stage: dict[str, Any], runs: Sequence[Run]) -> list[Run]:
    """The listed runs that the stage may be rolled back to, newest first."""
    place = stage["index"] - 1
    return [run for run in runs if run is not stage["last"] and not run.rollback and run.marks[place] == "Succeeded"]


def _tile(
    pipeline: str,
    stage: str,
    action: dict[str, Any],
    state: dict[str, Any],
    *,
    run: Run | None,
    starts: dict[str, int],
    side_by_side: bool,
) -> dict[str, Any]:
    latest = state.get("latestExecution", {})
    status = latest.get("status", "")
    waits = bool(latest.get("token")) and status == "InProgress"
    started = starts.get(latest.get("actionExecutionId", ""))
    changed = latest.get("lastStatusChange")
    return {
        "name": action["name"],
        "state": "Waiting" if waits else status,
        "run": run.number if run and latest else None,
        "meta": _progress(latest) if status == "InProgress" and not waits else "",
        "link": latest.get("externalExecutionUrl", ""),
        # Where runs go side by side, each that waits has its own line above the tiles.
        "review": _review(pipeline, stage, action["name"]) if waits and not side_by_side else "",
        "warning": "",
        "error": _error(latest) if status == "Failed" else "",
        "since": started if status == "InProgress" else None,
        "took": changed - started if started and changed and status not in ("", "InProgress") else None,
    }


def _progress(latest: dict[str, Any]) -> str:
    """How far an action's job worker says that it is; "" for one that says nothing."""
    percent = latest.get("percentComplete")
    if percent is None:
        return ""
    summary = first_line(latest.get("summary", ""))
    return f"{percent}% done{f' · {summary}' if summary else ''}"


def _error(latest: dict[str, Any]) -> str:
    return latest.get("errorDetails", {}).get("message", "") or latest.get("summary", "")


def _sources(declared: dict[str, Any], state: dict[str, Any], described: Described) -> list[dict[str, Any]]:
    states = {action["actionName"]: action for action in state["actionStates"]}
    sources = []
    for action in declared["actions"]:
        about = described.get((declared["name"], action["name"]), {})
        current = states.get(action["name"], {})
        latest = current.get("latestExecution", {})
        revision = current.get("currentRevision", {}).get("revisionId", "")
        summary = first_line(latest.get("summary") or "")
        sources.append(
            {
                "where": about.get("subject") or action["name"],
                "branch": about.get("part", ""),
                "revision": revision,
                "summary": "" if revision and revision in summary else summary,
                "at": current.get("currentRevision", {}).get("created") or latest.get("lastStatusChange"),
            }
        )
    return sources


async def load(view: View) -> dict[str, Any]:
    """The page's values."""
    return await _model(view, view.path["name"])


async def live(view: View) -> Response:
    """Its stream: a block per stage, gate, dialog and run."""
    name = view.path["name"]

    async def take() -> Snapshot:
        model = await _model(view, name)
        return Snapshot(_blocks(view, model))

    return view.stream(take, view.of_pipeline(name))


def _blocks(view: View, model: dict[str, Any]) -> dict[str, str]:
    blocks = {
        "lede": view.block("lede", model["lede"]),
        "sources": view.fragment("_sources.html", **model),
    }
    for stage in model["stages"]:
        blocks[f"stage-{stage['name']}"] = view.fragment("_stage.html", stage=stage, **model)
        blocks[f"dialogs-{stage['name']}"] = view.fragment("_stage_dialogs.html", stage=stage, **model)
        if stage["index"] > 1:
            blocks[f"gate-{stage['name']}"] = view.fragment("_gate.html", stage=stage, **model)
    numbers = [run.number for run in model["runs"]]
    if view.memory.get("numbers") != numbers:
        view.memory["numbers"] = numbers
        blocks["runs"] = view.fragment("_runs.html", **model)
    blocks |= view.rows(model["run_columns"], model["run_rows"])
    blocks["stop-dialogs"] = view.fragment("_stop_dialogs.html", **model)
    return blocks


PAGE = Page(path="pipelines/{name}", template="pipeline.html", load=load, live=live, forms=FORMS)
