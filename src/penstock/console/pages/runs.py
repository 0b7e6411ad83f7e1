"""Runs of a pipeline as the pages show them: numbers, states per stage, what changed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from penstock.console.site import View
from penstock.console.words import state

_TRIGGERS = {
    "CreatePipeline": "Creation",
    "StartPipelineExecution": "Release",
    "PollForSourceChanges": "Push",
    "CloudWatchEvent": "Event",
    "Webhook": "Webhook",
    "ManualRollback": "Rollback",
    "AutomatedRollback": "Rollback",
}
GOING = frozenset({"InProgress", "Stopping"})


@dataclass(frozen=True, slots=True)
class Change:
    """A source revision of a run."""

    revision: str
    summary: str

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
    started: float
    updated: float
    trigger: str
    words: str
    change: Change | None
    marks: list[str] = field(default_factory=list)  # API state per stage, in order
    sentence: str = ""

    @property
    def going(self) -> bool:
        """Whether it has not ended."""
        return self.state in GOING or self.state == "Waiting"

    @property
    def took(self) -> float:
        """Seconds from start to the last change."""
        return self.updated - self.started


async def recent(view: View, pipeline: str, stages: list[dict[str, Any]], *, limit: int = 20) -> list[Run]:
    """The newest runs, with the state of each stage of `stages` (as GetPipelineState has them)."""
    listed = await view.call("codepipeline", "ListPipelineExecutions", pipelineName=pipeline, maxResults=limit)
    runs = [_run(summary) for summary in listed["pipelineExecutionSummaries"]]
    names = [stage["stageName"] for stage in stages]
    for run in runs:
        run.marks = await _marks(view, pipeline, run, names, stages)
        reached = [name for name, mark in zip(names, run.marks, strict=True) if mark]
        run.sentence = f"{state(run.state).word}{f', reached {reached[-1]}' if reached else ''}"
    return runs


def _run(summary: dict[str, Any]) -> Run:
    sources = summary.get("sourceRevisions", [])
    change = Change(sources[0].get("revisionId", ""), _first_line(sources[0].get("revisionSummary", ""))) if sources else None
    trigger = summary.get("trigger", {})
    return Run(
        id=summary["pipelineExecutionId"],
        number=summary.get("executionNumber", 0),
        state=summary["status"],
        started=summary["startTime"],
        updated=summary["lastUpdateTime"],
        trigger=_TRIGGERS.get(trigger.get("triggerType", ""), trigger.get("triggerType", "")),
        words=summary.get("statusSummary", ""),
        change=change,
    )


async def _marks(view: View, pipeline: str, run: Run, names: list[str], stages: list[dict[str, Any]]) -> list[str]:
    details = await actions_of(view, pipeline, run.id)
    worst: dict[str, str] = {}
    order = {"Succeeded": 0, "": 0, "InProgress": 1, "Abandoned": 2, "Failed": 3}
    for detail in reversed(details):  # the newest attempt of an action stands first
        worst.setdefault(detail["stageName"], "Succeeded")
    latest: dict[tuple[str, str], dict[str, Any]] = {}
    for detail in details:
        latest.setdefault((detail["stageName"], detail["actionName"]), detail)
    for (stage, _), detail in latest.items():
        if order.get(detail["status"], 0) > order.get(worst[stage], 0):
            worst[stage] = detail["status"]
    for stage in stages:
        if stage.get("latestExecution", {}).get("pipelineExecutionId") == run.id and open_approval(stage):
            worst[stage["stageName"]] = "Waiting"
            run.state = "Waiting"
    return [worst.get(name, "") for name in names]


async def actions_of(view: View, pipeline: str, execution: str) -> list[dict[str, Any]]:
    """The action executions of a run, the newest start first."""
    listed = await view.call(
        "codepipeline",
        "ListActionExecutions",
        pipelineName=pipeline,
        filter={"pipelineExecutionId": execution},
        maxResults=100,
    )
    return listed["actionExecutionDetails"]


def open_approval(stage: dict[str, Any]) -> dict[str, Any] | None:
    """The action state that waits for a decision, of a stage of GetPipelineState."""
    for action in stage["actionStates"]:
        latest = action.get("latestExecution", {})
        if latest.get("token") and latest.get("status") == "InProgress":
            return action
    return None


def _first_line(text: str) -> str:
    return text.splitlines()[0] if text else ""
