"""Runs of pipelines, as the command line names them: by their id, or by their pipeline, whose newest is meant."""

from __future__ import annotations

import re
from typing import Any

from penstock.cli.clients import Clients

_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def explained(clients: Clients, run: str) -> dict[str, Any]:
    """What the server says of a run (ExplainExecution)."""
    which = {"pipelineExecutionId": run} if _ID.fullmatch(run) else {"pipelineName": run}
    found: dict[str, Any] = clients("penstock").explain_execution(**which)
    found.pop("ResponseMetadata", None)
    return found


def meant(clients: Clients, run: str) -> tuple[str, str]:
    """The pipeline and the id of a run; "" for a pipeline that has not run yet."""
    if _ID.fullmatch(run):
        found = explained(clients, run)
        return found["pipelineName"], run
    listed = clients("codepipeline").list_pipeline_executions(pipelineName=run, maxResults=1)
    summaries = listed["pipelineExecutionSummaries"]
    return run, summaries[0]["pipelineExecutionId"] if summaries else ""
