"""Runs of a pipeline as the pages show them: numbers, states per stage, what changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from penstock.webpages.listing import Cell, Column, Row
from penstock.webpages.view import View
from penstock.webpages.wording import first_line, person, state
from penstock.wire.errors import ServiceError

_TRIGGERS = {
    "CreatePipeline": "Created with the pipeline",
    "StartPipelineExecution": "Release",
    "PollForSourceChanges": "Push",
    "CloudWatchEvent": "Event",
    "Webhook": "Webhook",
    "WebhookV2": "Webhook",
    "ManualRollback": "Rollback",
    "AutomatedRollback": "Rollback",
}
GOING = frozenset({"InProgress", "Stopping"})
_FEW = 20  # runs that a page lists
_PAGES = 5  # of a hundred each, in which something older is looked for
_WORST = {"Succeeded": 0, "": 0, "InProgress": 1, "Abandoned": 2, "Failed": 3}


@dataclass(frozen=True, slots=True)
class Change:
    """A source revision of a run."""

    action: str
    revision: str
    summary: str
    url: str

    @property
    def short(self) -> str:
        """What fits into a table."""
        return self.revision[:8]


@dataclass(slots=True)
class Run:
    """One execution."""

    id: str
    number: int
    state: str
    started: int  # ms UTC
    updated: int
    trigger: str
    by: str  # who released it; "" when nobody did by hand
    why: str  # why it is in its state
    decided: int | None = None  # when that was decided, ms UTC
    changes: list[Change] = field(default_factory=list)
    marks: list[str] = field(default_factory=list)  # API state per stage, in order
    sentence: str = ""
    rollback: bool = False  # it runs one stage, with what an earlier run brought to it

    @property
    def change(self) -> Change | None:
        """The change of its first source."""
        return self.changes[0] if self.changes else None

    @property
    def going(self) -> bool:
        """Whether it has not ended."""
        return self.state in GOING or self.state == "Waiting"

    @property
    def took(self) -> int:
        """Milliseconds from start to the last change."""
        return self.updated - self.started


def run_columns(*, acts: bool) -> list[Column]:
    """The columns of a table of runs; with `acts` the visitor may stop them."""
    return [
        Column("Run"),
        Column("State", wide=True),
        Column("Stages"),
        Column("Change", "clip"),
        Column("Started by", "by"),
        Column("Started", "num"),
        Column("Took", "num"),
        *([Column("Act", "num", hidden=True)] if acts else []),
    ]


def run_row(run: Run, *, acts: bool) -> Row:
    """A run in that table."""
    change = run.change
    cells = [
        Cell(text=str(run.number), title=run.id),
        Cell(state=run.state, below=run.why, below_at=run.decided if run.why else None),
        Cell(marks=run.marks, text=run.sentence),
        Cell(code=change.short, title=change.revision, text=change.summary) if change else None,
        Cell(person=run.by) if run.by else run.trigger,
        Cell(at=run.started),
        Cell(since=run.started) if run.going else Cell(took=run.took),
    ]
    if acts:
        stops = run.going and run.state != "Stopping"
        cells.append(Cell(opens=f"stop-{run.number}", text="Stop…", title=f"Stop run {run.number}") if stops else None)
    return Row(cells, id=f"run-{run.number}", run=run.number)


async def recent(
    view: View, pipeline: str, stages: Sequence[Mapping[str, Any]], *, parallel: bool = False
) -> list[Run]:
    """The newest runs, with the state of each stage of `stages` (as GetPipelineState has them).

    Of a PARALLEL pipeline every run that has not ended is among them, since nothing else leads to its approval.
    """
    runs = await (_unended if parallel else _newest)(view, pipeline)
    names = [stage["stageName"] for stage in stages]
    for run in runs:
        details = await actions_of(view, pipeline, run)
        run.marks = _marks(run, details, names, stages)
        _explain(run, details)
        reached = [name for name, mark in zip(names, run.marks, strict=True) if mark]
        run.sentence = (
            f"Run {run.number}: {state(run.state).word.lower()}{f', reached {reached[-1]}' if reached else ''}"
        )
    return runs


async def _newest(view: View, pipeline: str) -> list[Run]:
    listed = await view.call("codepipeline", "ListPipelineExecutions", pipelineName=pipeline, maxResults=_FEW)
    return [_run(summary) for summary in listed["pipelineExecutionSummaries"]]


async def _unended(view: View, pipeline: str) -> list[Run]:
    runs: list[Run] = []
    page: dict[str, Any] = {}
    for _ in range(_PAGES):
        listed = await view.call(
            "codepipeline", "ListPipelineExecutions", pipelineName=pipeline, maxResults=100, **page
        )
        found = [_run(summary) for summary in listed["pipelineExecutionSummaries"]]
        runs += [run for at, run in enumerate(found, len(runs)) if run.going or at < _FEW]
        if not listed.get("nextToken"):
            break
        page = {"nextToken": listed["nextToken"]}
    return runs


async def run_behind(view: View, pipeline: str, external: str) -> dict[str, Any] | None:
    """The pipeline and number of the run whose action started a build or deployment.

    None when no recent action did, or the visitor may not see it: what names a pipeline proves nothing by itself.
    """
    key = ("behind", external)
    if pipeline and key not in view.memory:
        try:
            view.memory[key] = await _behind(view, pipeline, external)
        except ServiceError:  # the pipeline is gone
            view.memory[key] = None
    return view.memory.get(key)


async def _behind(view: View, pipeline: str, external: str) -> dict[str, Any] | None:
    page: dict[str, Any] = {}
    for _ in range(_PAGES):
        listed = await view.allowed(
            "codepipeline", "ListActionExecutions", pipelineName=pipeline, maxResults=100, **page
        )
        for detail in (listed or {}).get("actionExecutionDetails", []):
            result = detail.get("output", {}).get("executionResult", {})
            if result.get("externalExecutionId") == external:
                found = await view.allowed(
                    "codepipeline",
                    "GetPipelineExecution",
                    pipelineName=pipeline,
                    pipelineExecutionId=detail["pipelineExecutionId"],
                )
                number = (found or {}).get("pipelineExecution", {}).get("executionNumber")
                return {"pipeline": pipeline, "number": number} if number else None
        if not (listed or {}).get("nextToken"):
            break
        page = {"nextToken": listed["nextToken"]} if listed else {}
    return None


async def newest(view: View, pipeline: str) -> Run | None:
    """The newest run, without what its stages did."""
    listed = await view.call("codepipeline", "ListPipelineExecutions", pipelineName=pipeline, maxResults=1)
    return next((_run(summary) for summary in listed["pipelineExecutionSummaries"]), None)


async def run_of(view: View, pipeline: str, execution: str) -> Run | None:
    """A run that is older than those that `recent` lists."""
    key = ("run", execution)
    if key not in view.memory:
        found = await view.allowed(
            "codepipeline", "GetPipelineExecution", pipelineName=pipeline, pipelineExecutionId=execution
        )
        if found is None:
            return None
        one = found["pipelineExecution"]
        run = _run({**one, "startTime": 0.0, "lastUpdateTime": 0.0})
        details = await actions_of(view, pipeline, run)
        if details:
            run.started, run.updated = details[-1]["startTime"], details[0]["lastUpdateTime"]
        view.memory[key] = run
    return view.memory[key]


def _run(summary: dict[str, Any]) -> Run:
    trigger = summary.get("trigger", {})
    kind, detail = trigger.get("triggerType", ""), trigger.get("triggerDetail", "")
    why = summary.get("statusSummary", "") or summary.get("stopTrigger", {}).get("reason", "")
    return Run(
        id=summary["pipelineExecutionId"],
        number=summary.get("executionNumber", 0),
        state=summary["status"],
        started=summary["startTime"],
        updated=summary["lastUpdateTime"],
        trigger=_TRIGGERS.get(kind) or kind,
        by=person(detail) if detail.startswith("arn:") and kind in ("StartPipelineExecution", "ManualRollback") else "",
        why=why,
        rollback=summary.get("executionType") == "ROLLBACK",
        changes=[
            Change(
                action=source.get("actionName", ""),
                revision=source.get("revisionId", ""),
                summary=_says(source),
                url=source.get("revisionUrl", ""),
            )
            for source in summary.get("sourceRevisions", [])
        ],
    )


def _says(source: dict[str, Any]) -> str:
    """The summary of a revision; "" where it only repeats the revision."""
    summary = first_line(source.get("revisionSummary", ""))
    return "" if source.get("revisionId") and source["revisionId"] in summary else summary


def _marks(run: Run, details: list[dict[str, Any]], names: list[str], stages: Sequence[Mapping[str, Any]]) -> list[str]:
    worst: dict[str, str] = {}
    latest: dict[tuple[str, str], dict[str, Any]] = {}
    for detail in details:  # the newest attempt of an action stands first
        latest.setdefault((detail["stageName"], detail["actionName"]), detail)
    for (stage, _), detail in latest.items():
        found = worst.setdefault(stage, "Succeeded")
        if _WORST.get(detail["status"], 0) > _WORST.get(found, 0):
            worst[stage] = detail["status"]
        if run.going and asks(detail):
            worst[stage] = run.state = "Waiting"
    for name in names:  # whose condition failed, whatever its actions did
        if run.state == "Failed" and f" of stage {name} failed: " in run.why:
            worst[name] = "Failed"
    for stage in stages:
        if not run.why and any(one["pipelineExecutionId"] == run.id for one in stage.get("inboundExecutions", [])):
            run.why = f"Waits before {stage['stageName']}"
        now = stage.get("latestExecution", {})
        if now.get("pipelineExecutionId") != run.id:
            continue
        checked = [
            stage.get(f"{gate}ConditionState", {}).get("latestExecution", {}) for gate in ("beforeEntry", "onSuccess")
        ]
        if not run.why and any(one.get("status") == "InProgress" for one in checked):
            run.why = f"Checks a condition of {stage['stageName']}"
        if now.get("status") == "Skipped":
            worst[stage["stageName"]] = "Skipped"
        if open_approval(stage):
            worst[stage["stageName"]] = run.state = "Waiting"
        elif now.get("status") in GOING:  # between two actions none of them is in progress
            worst[stage["stageName"]] = "InProgress"
    return [worst.get(name, "") for name in names]


def asks(detail: Mapping[str, Any]) -> bool:
    """Whether an action execution waits for a person's decision."""
    category = detail.get("input", {}).get("actionTypeId", {}).get("category", "")
    return category == "Approval" and detail["status"] == "InProgress"


def decision(detail: Mapping[str, Any]) -> str:
    """Who decided what, and why, of an approval that is over; "" for every other action."""
    status, who = detail["status"], person(detail.get("updatedBy", ""))
    category = detail.get("input", {}).get("actionTypeId", {}).get("category", "")
    if category != "Approval" or status not in ("Succeeded", "Failed") or not who:
        return ""
    verdict = "Approved" if status == "Succeeded" else "Rejected"
    comment = detail.get("output", {}).get("executionResult", {}).get("externalExecutionSummary", "")
    return f"{verdict} in {detail['stageName']} by {who}{f': “{comment}”' if comment else ''}"


def _explain(run: Run, details: Sequence[Mapping[str, Any]]) -> None:
    """Say why a run failed: from what its own actions keep, so that later runs take nothing away."""
    if run.state != "Failed" or run.why:
        return
    seen: set[tuple[str, str]] = set()
    for detail in details:  # the newest attempt of an action stands first
        key = (detail["stageName"], detail["actionName"])
        if key in seen or detail["status"] != "Failed":
            seen.add(key)
            continue
        result = detail.get("output", {}).get("executionResult", {})
        message = result.get("errorDetails", {}).get("message", "") or result.get("externalExecutionSummary", "")
        reason = f": {first_line(message)}" if message else ""
        run.why = decision(detail) or f"{detail['stageName']}, {detail['actionName']}{reason}"
        run.decided = detail["lastUpdateTime"]
        return


async def actions_of(view: View, pipeline: str, run: Run) -> list[dict[str, Any]]:
    """The action executions of a run, the newest start first. Those of a run that has ended are read once."""
    key = ("actions", run.id, run.updated)
    if key in view.memory:
        return view.memory[key]
    listed = await view.call(
        "codepipeline",
        "ListActionExecutions",
        pipelineName=pipeline,
        filter={"pipelineExecutionId": run.id},
        maxResults=100,
    )
    if not run.going:
        view.memory[key] = listed["actionExecutionDetails"]
    return listed["actionExecutionDetails"]


def open_approval(stage: Mapping[str, Any]) -> dict[str, Any] | None:
    """The action state that waits for a decision, of a stage of GetPipelineState."""
    for action in stage["actionStates"]:
        latest = action.get("latestExecution", {})
        if latest.get("token") and latest.get("status") == "InProgress":
            return action
    return None
