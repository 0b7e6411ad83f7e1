"""What a pipeline's actions are about, as their providers present them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.webpages.view import View

Described = Mapping[tuple[str, str], Mapping[str, Any]]  # stage and action → the shape PipelineAction


async def actions_described(view: View, pipeline: str, version: int) -> Described:
    """The actions as the pipeline declares them now. A live stream asks once for each version."""
    key = ("described", version)
    if key not in view.memory:
        view.memory[key] = _by_name(await view.call("penstock", "DescribePipelineActions", pipelineName=pipeline))
    return view.memory[key]


async def actions_of_run(view: View, pipeline: str, execution: str) -> Described:
    """The actions as an execution runs them, with their variables resolved."""
    return _by_name(
        await view.call("penstock", "DescribePipelineActions", pipelineName=pipeline, pipelineExecutionId=execution)
    )


def _by_name(answer: Mapping[str, Any]) -> Described:
    return {(action["stageName"], action["actionName"]): action for action in answer["actions"]}
