"""One pipeline, live: its sources, stages with their locks and doors, and its runs. And the forms on it."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from penstock.console.pages.runs import GOING, Run, actions_of, open_approval, recent
from penstock.console.site import View
from penstock.store.events import Event


async def _model(view: View, name: str) -> dict[str, Any]:
    found = await view.call("codepipeline", "GetPipeline", name=name)
    current = await view.call("codepipeline", "GetPipelineState", name=name)
    declaration = found["pipeline"]
    runs = await recent(view, name, current["stageStates"])
    by_id = {run.id: run for run in runs}
    starts = await _starts(view, name, runs, current["stageStates"])
    stages = [
        _stage(name, index, declared, state, by_id, starts)
        for index, (declared, state) in enumerate(zip(declaration["stages"], current["stageStates"], strict=True), 1)
    ]
    for before, stage in zip(stages, stages[1:], strict=False):
        stage["flows"] = stage["holder"] is not None or before["holder"] is not None
    return {
        "name": name,
        "mode": declaration.get("executionMode", "SUPERSEDED"),
        "type": declaration.get("pipelineType", "V1"),
        "pipeline_version": declaration["version"],
        "sources": _sources(declaration["stages"][0], current["stageStates"][0]),
        "stages": stages,
        "runs": runs,
        "next_number": runs[0].number + 1 if runs else 1,
        "lede": _lede(stages, runs),
    }


async def _starts(view: View, name: str, runs: list[Run], stages: list[dict[str, Any]]) -> dict[str, float]:
    """Start time by action execution id, of the runs that the stages show."""
    shown = {stage["latestExecution"]["pipelineExecutionId"] for stage in stages if "latestExecution" in stage}
    starts: dict[str, float] = {}
    for run in runs:
        if run.id in shown:
            for detail in await actions_of(view, name, run.id):
                starts[detail["actionExecutionId"]] = detail["startTime"]
    return starts


def _stage(
    pipeline: str,
    index: int,
    declared: dict[str, Any],
    state: dict[str, Any],
    runs: dict[str, Run],
    starts: dict[str, float],
) -> dict[str, Any]:
    latest = state.get("latestExecution", {})
    status = latest.get("status", "")
    run = runs.get(latest.get("pipelineExecutionId", ""))
    waits = open_approval(state)
    transition = state.get("inboundTransitionState", {})
    waiting = [runs[one["pipelineExecutionId"]] for one in state.get("inboundExecutions", []) if one["pipelineExecutionId"] in runs]
    changed = [action.get("latestExecution", {}).get("lastStatusChange") for action in state["actionStates"]]
    return {
        "index": index,
        "name": declared["name"],
        "shown": "Waiting" if waits else status,
        "holder": run if status in GOING else None,
        "last": run,
        "waiting": waiting,
        "enabled": transition.get("enabled", True),
        "reason": transition.get("disabledReason", ""),
        "closed_by": _who(transition.get("lastChangedBy", "")),
        "closed_at": transition.get("lastChangedAt"),
        "groups": _groups(pipeline, declared, state, run, starts),
        "retry": latest.get("pipelineExecutionId") if status == "Failed" else None,
        "ended": max((at for at in changed if at), default=None),
        "flows": False,
    }


def _groups(
    pipeline: str, declared: dict[str, Any], state: dict[str, Any], run: Run | None, starts: dict[str, float]
) -> list[dict[str, Any]]:
    states = {action["actionName"]: action for action in state["actionStates"]}
    groups: dict[int, list[dict[str, Any]]] = {}
    for action in declared["actions"]:
        tile = _tile(pipeline, declared["name"], action, states[action["name"]], run, starts)
        groups.setdefault(action.get("runOrder", 1), []).append(tile)
    return [{"order": order, "tiles": groups[order]} for order in sorted(groups)]


def _tile(
    pipeline: str,
    stage: str,
    action: dict[str, Any],
    state: dict[str, Any],
    run: Run | None,
    starts: dict[str, float],
) -> dict[str, Any]:
    latest = state.get("latestExecution", {})
    status = latest.get("status", "")
    provider = action["actionTypeId"]["provider"]
    waits = bool(latest.get("token")) and status == "InProgress"
    started = starts.get(latest.get("actionExecutionId", ""))
    changed = latest.get("lastStatusChange")
    return {
        "name": action["name"],
        "state": "Waiting" if waits else status,
        "run": run.number if run and latest else None,
        "meta": _meta(provider, action.get("configuration", {})),
        "link": link_of(provider, latest.get("externalExecutionId", "")),
        "review": f"/console/pipelines/{pipeline}/approvals/{stage}/{action['name']}" if waits else "",
        "error": latest.get("errorDetails", {}).get("message", "") if status == "Failed" else "",
        "since": started if status == "InProgress" else None,
        "took": changed - started if started and changed and status not in ("", "InProgress") else None,
    }


def link_of(provider: str, external: str) -> str:
    """The page of what an action has started."""
    if not external:
        return ""
    if provider == "CodeBuild":
        return f"/console/builds/{external}"
    if provider == "CodeDeploy":
        return f"/console/deployments/{external}"
    return ""


def _meta(provider: str, configuration: dict[str, str]) -> str:
    what = {
        "CodeDeploy": configuration.get("DeploymentGroupName"),
        "CodeBuild": configuration.get("ProjectName"),
        "CodeCommit": configuration.get("BranchName"),
        "S3": configuration.get("S3ObjectKey"),
        "Manual": "a person decides",
    }.get(provider)
    return f"{provider}, {what}" if what else provider


def _sources(declared: dict[str, Any], state: dict[str, Any]) -> list[dict[str, Any]]:
    states = {action["actionName"]: action for action in state["actionStates"]}
    sources = []
    for action in declared["actions"]:
        configuration = action.get("configuration", {})
        current = states[action["name"]]
        latest = current.get("latestExecution", {})
        sources.append(
            {
                "where": configuration.get("RepositoryName") or configuration.get("S3Bucket") or action["name"],
                "branch": configuration.get("BranchName") or configuration.get("S3ObjectKey") or "",
                "revision": current.get("currentRevision", {}).get("revisionId", ""),
                "summary": (latest.get("summary") or "").splitlines()[0] if latest.get("summary") else "",
                "at": latest.get("lastStatusChange"),
            }
        )
    return sources


def _lede(stages: list[dict[str, Any]], runs: list[Run]) -> str:
    if not runs:
        return "It has not run yet."
    said = []
    for stage in stages:
        if stage["shown"] == "Waiting":
            said.append(f"Run {stage['last'].number if stage['last'] else '?'} asks for a decision in {stage['name']}.")
        elif stage["holder"]:
            said.append(f"Run {stage['holder'].number} is in {stage['name']}.")
        elif stage["shown"] == "Failed" and stage["last"]:
            said.append(f"Run {stage['last'].number} failed in {stage['name']}.")
    last = stages[-1]
    if last["shown"] == "Succeeded" and last["last"]:
        said.append(f"Run {last['last'].number} was the last to leave {last['name']}.")
    return " ".join(said) or f"Run {runs[0].number} is the newest."


def _who(arn: str) -> str:
    return arn.rsplit("/", 1)[-1] if arn else ""


async def page(view: View) -> Response:
    """The page."""
    return view.render("pipeline.html", **await _model(view, view.path["name"]))


async def live(view: View) -> Response:
    """Its stream: a block per stage and gate."""
    name = view.path["name"]

    async def blocks() -> dict[str, str]:
        model = await _model(view, name)
        changed = {
            "lede": view.block("lede", model["lede"]),
            "sources": view.fragment("_sources.html", **model),
            "runs": view.fragment("_runs.html", **model),
        }
        for stage in model["stages"]:
            changed[f"stage-{stage['name']}"] = view.fragment("_stage.html", stage=stage, **model)
            if stage["index"] > 1:
                changed[f"gate-{stage['name']}"] = view.fragment("_gate.html", stage=stage, **model)
        return changed

    aggregate = f"pipeline/{view.visitor.account}/{view.region}/{name}"

    def concerns(event: Event) -> bool:
        return event.aggregate == aggregate

    return view.stream(blocks, concerns)


async def start(view: View) -> Response:
    """Release the newest change."""
    name = view.path["name"]
    await view.call("codepipeline", "StartPipelineExecution", name=name)
    return view.back(f"pipelines/{name}")


async def close(view: View) -> Response:
    """Close the transition into a stage."""
    name, stage = view.path["name"], view.path["stage"]
    await view.call(
        "codepipeline",
        "DisableStageTransition",
        pipelineName=name,
        stageName=stage,
        transitionType="Inbound",
        reason=view.form.get("reason", ""),
    )
    return view.back(f"pipelines/{name}")


async def reopen(view: View) -> Response:
    """Open it again."""
    name, stage = view.path["name"], view.path["stage"]
    await view.call(
        "codepipeline", "EnableStageTransition", pipelineName=name, stageName=stage, transitionType="Inbound"
    )
    return view.back(f"pipelines/{name}")


async def retry(view: View) -> Response:
    """Retry the failed actions of a stage."""
    name, stage = view.path["name"], view.path["stage"]
    await view.call(
        "codepipeline",
        "RetryStageExecution",
        pipelineName=name,
        stageName=stage,
        pipelineExecutionId=view.form.get("execution", ""),
        retryMode="FAILED_ACTIONS",
    )
    return view.back(f"pipelines/{name}")


ROUTES = [
    ("GET", "pipelines/{name}", page),
    ("GET", "pipelines/{name}/live", live),
    ("POST", "pipelines/{name}/start", start),
    ("POST", "pipelines/{name}/stages/{stage}/close", close),
    ("POST", "pipelines/{name}/stages/{stage}/open", reopen),
    ("POST", "pipelines/{name}/stages/{stage}/retry", retry),
]
