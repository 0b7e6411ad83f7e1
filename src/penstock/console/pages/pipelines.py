"""The list of pipelines, live."""

from __future__ import annotations

import asyncio
from typing import Any

from penstock.console.pages import parallel
from penstock.console.pages.runs import GOING, newest, open_approval, recent
from penstock.webpages.listing import Cell, Column, Empty, Listing, Row, following
from penstock.webpages.page import Group, Nav, Page
from penstock.webpages.view import View, part
from penstock.webpages.wording import plural, state

_FEW = 40  # pipelines on a page


_COLUMNS = (
    Column("Pipeline"),
    Column("State", wide=True),
    Column("Stages"),
    Column("Newest change", "clip"),
    Column("Runs", "num"),
    Column("Last run", "num"),
)


async def load(view: View) -> Listing:
    """What fails comes first, then what waits for somebody, then what is in progress."""
    listed = await view.call("codepipeline", "ListPipelines", maxResults=_FEW, **view.listed_from())
    # Together, since most of each is waiting for the database.
    found = await asyncio.gather(*(_one(view, summary) for summary in listed["pipelines"]))
    pipelines = [one for one in found if one is not None]
    rank = {"Failed": 0, "Waiting": 1, "InProgress": 2}
    pipelines.sort(key=lambda one: (rank.get(state(one["state"]).name, 3), one["name"]))
    waiting = sum(one["state"] == "Waiting" for one in pipelines)
    failed = sum(one["state"] == "Failed" for one in pipelines)
    more = listed.get("nextToken", "")
    return Listing(
        lede=_lede(len(pipelines), failed, waiting, more=bool(more)),
        columns=_COLUMNS,
        rows=[_row(one) for one in pipelines],
        empty=Empty(
            icon="branch",
            title="No pipelines yet",
            text="A pipeline carries a commit through build, approval and deployment. Create one from a declaration in JSON:",
            command="aws codepipeline create-pipeline --cli-input-json file://pipeline.json",
        ),
        behind="ListPipelines, GetPipelineState",
        command="aws codepipeline list-pipelines",
        next_page=following(more),
        next_label="More pipelines",
    )


def _row(one: dict[str, Any]) -> Row:
    change = one["change"]
    return Row(
        (
            Cell(text=one["name"], href=f"/console/pipelines/{part(one['name'])}"),
            Cell(state=one["state"], below=one["where"]),
            Cell(marks=one["marks"], text=f"{one['name']}: {one['sentence']}"),
            Cell(code=change.short, title=change.revision, text=change.summary) if change else None,
            one["number"] or None,
            Cell(at=one["started"], text="" if one["started"] else "never"),
        )
    )


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
    parts = [f"{plural(count, 'pipeline')}{' on this page' if more else ''}."]
    if failed:
        parts.append(f"{plural(failed, 'has', 'have')} failed.")
    if waiting:
        parts.append(f"{plural(waiting, 'waits', 'wait')} for a decision.")
    if not failed and not waiting:
        parts.append("None has failed, and none waits for a decision.")
    return " ".join(parts)


PAGE = Page(
    path="pipelines",
    title="Pipelines",
    load=load,
    nav=Nav(group=Group.DELIVER, service="codepipeline", operation="ListPipelines", key="p"),
    events="codepipeline.",
)
