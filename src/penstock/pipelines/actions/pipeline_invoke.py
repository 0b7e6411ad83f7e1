"""Pipeline invoke: declared, not run. Starts another pipeline. AWS: action-reference-PipelineInvoke."""

from __future__ import annotations

from penstock.pipelines.actions.not_run import NotRun
from penstock.pipelines.model import HOUR, ActionType, ActionTypeId, Property


class PipelineInvoke(NotRun):
    """Starts another pipeline."""

    types = (
        ActionType(
            id=ActionTypeId(category="Invoke", owner="AWS", provider="CodePipeline"),
            properties=(
                Property(name="PipelineName", description="The pipeline", required=True, key=True),
                Property(name="SourceRevisions", description="Revisions of its sources, as a JSON list"),
                Property(name="Variables", description="Values of its variables, as a JSON list"),
            ),
            inputs=(0, 0),
            outputs=(0, 0),
            timeout=HOUR,
            v2_only=True,
        ),
    )
    why = "Penstock does not start pipelines from pipelines yet. Use an EventBridge rule on the end of this one."


PROVIDER = PipelineInvoke()
