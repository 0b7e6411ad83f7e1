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
