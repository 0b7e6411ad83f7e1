"""What a visitor does to a pipeline: release, stop, retry, close and open transitions."""

from __future__ import annotations

from starlette.responses import Response

from penstock.webpages.view import View


async def start(view: View) -> Response:
    """Release the newest change."""
    name = view.path["name"]
    await view.call("codepipeline", "StartPipelineExecution", name=name)
    return view.back("pipelines", name, query="said=released")


async def stop(view: View) -> Response:
    """Stop a run: let its actions end, or abandon them."""
    name = view.path["name"]
    reason = view.form.get("reason", "").strip()
    await view.call(
        "codepipeline",
        "StopPipelineExecution",
        pipelineName=name,
        pipelineExecutionId=view.path["execution"],
        abandon=view.form.get("how") == "abandon",
        **({"reason": reason} if reason else {}),
    )
    return view.back("pipelines", name, query="said=stopping")


async def close(view: View) -> Response:
    """Close the transition into a stage."""
    name = view.path["name"]
    await view.call(
        "codepipeline",
        "DisableStageTransition",
        pipelineName=name,
        stageName=view.path["stage"],
        transitionType="Inbound",
        reason=view.form.get("reason", ""),
    )
    return view.back("pipelines", name, query="said=closed")


async def reopen(view: View) -> Response:
    """Open it again."""
    name = view.path["name"]
    await view.call(
        "codepipeline",
        "EnableStageTransition",
        pipelineName=name,
        stageName=view.path["stage"],
        transitionType="Inbound",
    )
    return view.back("pipelines", name, query="said=opened")


async def retry(view: View) -> Response:
    """Run the failed actions of a stage again, or all of them."""
    name = view.path["name"]
    await view.call(
        "codepipeline",
        "RetryStageExecution",
        pipelineName=name,
        stageName=view.path["stage"],
        pipelineExecutionId=view.form.get("execution", ""),
        retryMode="ALL_ACTIONS" if view.form.get("how") == "all" else "FAILED_ACTIONS",
    )
    return view.back("pipelines", name, query="said=retried")


async def roll_back(view: View) -> Response:
    """Run a stage again with what an earlier run brought to it."""
    name = view.path["name"]
    await view.call(
        "codepipeline",
        "RollbackStage",
        pipelineName=name,
        stageName=view.path["stage"],
        targetPipelineExecutionId=view.form.get("target", ""),
    )
    return view.back("pipelines", name, query="said=rolled-back")


async def override(view: View) -> Response:
    """Let a run continue whatever a condition of its stage says."""
    name = view.path["name"]
    await view.call(
        "codepipeline",
        "OverrideStageCondition",
        pipelineName=name,
        stageName=view.path["stage"],
        pipelineExecutionId=view.form.get("execution", ""),
        conditionType=view.form.get("condition", ""),
    )
    return view.back("pipelines", name, query="said=overridden")


FORMS = {
    "start": start,
    "runs/{execution}/stop": stop,
    "stages/{stage}/close": close,
    "stages/{stage}/open": reopen,
    "stages/{stage}/retry": retry,
    "stages/{stage}/rollback": roll_back,
    "stages/{stage}/override": override,
}
