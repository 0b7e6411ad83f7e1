"""The list of pipelines, live."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.responses import Response

from penstock.console.live import Snapshot
from penstock.console.pages import parallel
from penstock.console.pages.runs import GOING, newest, open_approval, recent
from penstock.console.view import View
from penstock.console.wording import plural, state
from penstock.store.events import Event

_FEW = 40  # pipelines on a page


async def _model(view: View) -> dict[str, Any]:
    token = view.query.get("from", "")
    listed = await view.call(
        "codepipeline", "ListPipelines", maxResults=_FEW, **({"nextToken": token} if token else {})
    )
    # Together, since most of each is waiting for the database.
    found = await asyncio.gather(*(_one(view, summary) for summary in listed["pipelines"]))
    pipelines = [one for one in found if one is not None]
    # What fails comes first, then what waits for somebody, then what is in progress.
    rank = {"Failed": 0, "Waiting": 1, "InProgress": 2}
    pipelines.sort(key=lambda one: (rank.get(state(one["state"]).name, 3), one["name"]))
    waiting = sum(one["state"] == "Waiting" for one in pipelines)
    failed = sum(one["state"] == "Failed" for one in pipelines)
    more = listed.get("nextToken", "")
    return {"pipelines": pipelines, "more": more, "lede": _lede(len(pipelines), failed, waiting, more=bool(more))}


async def _one(view: View, summary: dict[str, Any]) -> dict[str, Any] | None:
    name = summary["name"]
    current = await view.allowed("codepipeline", "GetPipelineState", name=name)
    if current is None:
        return None
    stages = current["stageStates"]
    if summary.get("executionMode") == "PARALLEL":
        runs = await recent(view, name, stages, parallel=True)
        stages = parallel.with_runs(stages, runs, await parallel.details_of(view, name, runs))
        run = runs[0] if runs else None
    else:
        run = await newest(view, name)
    marks = [_mark(stage) for stage in stages]
    waiting = next((stage["stageName"] for stage in stages if open_approval(stage)), "")
    failed = next((stage["stageName"] for stage, mark in zip(stages, marks, strict=True) if mark == "Failed"), "")
    status = "Waiting" if waiting else run.state if run else ""
    where = f"in {waiting}" if waiting else f"in {failed}" if failed and status == "Failed" else ""
    if run and run.state in GOING and not waiting:
        going = next((stage["stageName"] for stage, mark in zip(stages, marks, strict=True) if mark in GOING), "")
        where = f"in {going}" if going else ""
    return {
        "name": name,
        "state": status,
        "where": where,
        "marks": marks,
        "sentence": f"{state(status).word} {where}".strip(),
        "change": run.change if run else None,
        "number": run.number if run else 0,
        "started": run.started if run else None,
    }


def _mark(stage: dict[str, Any]) -> str:
    return "Waiting" if open_approval(stage) else stage.get("latestExecution", {}).get("status", "")


def _lede(count: int, failed: int, waiting: int, *, more: bool) -> str:
    if not count:
        return "No pipelines yet."
    parts = [f"{'The first ' if more else ''}{plural(count, 'pipeline')}."]
    if failed:
        parts.append(f"{plural(failed, 'has', 'have')} failed.")
    if waiting:
        parts.append(f"{plural(waiting, 'waits', 'wait')} for a decision.")
    if not failed and not waiting:
        parts.append("None has failed, and none waits for a decision.")
    return " ".join(parts)


async def page(view: View) -> Response:
    """The page."""
    return view.render("pipelines.html", **await _model(view))


async def live(view: View) -> Response:
    """Its stream."""

    async def take() -> Snapshot:
        model = await _model(view)
        return Snapshot(
            {"pipelines": view.fragment("_pipelines.html", **model), "lede": view.block("lede", model["lede"])}
        )

    def concerns(event: Event) -> bool:
        return event.type.startswith("codepipeline.") and event.account == view.visitor.account

    return view.stream(take, concerns)


ROUTES = [("GET", "pipelines", page), ("GET", "pipelines/live", live)]
