"""What a visitor does to a pipeline: release, stop, retry, close and open transitions."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from penstock.webpages.view import View


async def _do(view: View, operation: str, said: str, **members: Any) -> Response:
    """Call an operation and show the pipeline, which then says what was done."""
    await view.call("codepipeline", operation, **members)
    return view.back("pipelines", view.path["name"], query=f"said={said}")


async def start(view: View) -> Response:
    """Release the newest change."""
    return await _do(view, "StartPipelineExecution", "released", name=view.path["name"])


async def stop(view: View) -> Response:
    """Stop a run: let its actions end, or abandon them."""
    reason = view.form.get("reason", "").strip()
    return await _do(
        view,
        "StopPipelineExecution",
        "stopping",
        pipelineName=view.path["name"],
        pipelineExecutionId=view.path["execution"],
        abandon=view.form.get("how") == "abandon",
        **({"reason": reason} if reason else {}),
    )


async def close(view: View) -> Response:
    """Close the transition into a stage."""
    return await _do(
        view,
        "DisableStageTransition",
        "closed",
        pipelineName=view.path["name"],
        stageName=view.path["stage"],
        transitionType="Inbound",
        reason=view.form.get("reason", ""),
    )


async def reopen(view: View) -> Response:
    """Open it again."""
    return await _do(
        view,
        "EnableStageTransition",
        "opened",
        pipelineName=view.path["name"],
        stageName=view.path["stage"],
        transitionType="Inbound",
    )


async def retry(view: View) -> Response:
    """Run the failed actions of a stage again, or all of them."""
    return await _do(
        view,
        "RetryStageExecution",
        "retried",
        pipelineName=view.path["name"],
        stageName=view.path["stage"],
        pipelineExecutionId=view.form.get("execution", ""),
        retryMode="ALL_ACTIONS" if view.form.get("how") == "all" else "FAILED_ACTIONS",
    )


async def roll_back(view: View) -> Response:
    """Run a stage again with what an earlier run brought to it."""
    return await _do(
        view,
        "RollbackStage",
        "rolled-back",
        pipelineName=view.path["name"],
        stageName=view.path["stage"],
        targetPipelineExecutionId=view.form.get("target", ""),
    )


async def override(view: View) -> Response:
    """Let a run continue whatever a condition of its stage says."""
    return await _do(
        view,
        "OverrideStageCondition",
        "overridden",
        pipelineName=view.path["name"],
        stageName=view.path["stage"],
        pipelineExecutionId=view.form.get("execution", ""),
        conditionType=view.form.get("condition", ""),
    )


FORMS = {
    "start": start,
    "runs/{execution}/stop": stop,
    "stages/{stage}/close": close,
    "stages/{stage}/open": reopen,
    "stages/{stage}/retry": retry,
    "stages/{stage}/rollback": roll_back,
    "stages/{stage}/override": override,
}
