"""What pipelines emit. AWS: detect-state-changes-cloudwatch-events."""

from __future__ import annotations

from penstock.store.catalogue import EventType
from penstock.store.events import Event
from penstock.wire.call import partition_of


def _pipeline(event: Event) -> tuple[str]:
    return (
        f"arn:{partition_of(event.region)}:codepipeline:{event.region}:{event.account}:{event.payload['pipeline']}",
    )


_EXECUTION = {
    "pipeline": "shop",
    "execution-id": "3f5b1e0c-6a0f-4d34-9d3b-6f3c4bb1a2d7",
    "start-time": "2026-11-29T22:03:57.581Z",
    "state": "SUCCEEDED",
    "version": 1.0,
    "pipeline-execution-attempt": 1.0,
}

EXECUTION_CHANGED = EventType(
    name="codepipeline.execution.state_changed",
    description="An execution of a pipeline began, continued after a retry, is to stop, or ended.",
    aggregate="pipeline",
    source="aws.codepipeline",
    detail_type="CodePipeline Pipeline Execution State Change",
    resources=_pipeline,
    sample=_EXECUTION
    | {
        "state": "STARTED",
        "execution-trigger": {
            "trigger-type": "StartPipelineExecution",
            "trigger-detail": "arn:aws:iam::111111111111:user/ada",
        },
    },
)

STAGE_CHANGED = EventType(
    name="codepipeline.stage.state_changed",
    description="An execution entered a stage, continued in it after a retry, is to stop in it, or ended or left it.",
    aggregate="pipeline",
    source="aws.codepipeline",
    detail_type="CodePipeline Stage Execution State Change",
    resources=_pipeline,
    sample=_EXECUTION | {"stage": "Build"},
)

ACTION_CHANGED = EventType(
    name="codepipeline.action.state_changed",
    description="An action began or ended.",
    aggregate="pipeline",
    source="aws.codepipeline",
    detail_type="CodePipeline Action Execution State Change",
    resources=_pipeline,
    sample=_EXECUTION
    | {
        "stage": "Build",
        "action": "compile",
        "action-execution-id": "9c1f2f0e-2f6c-4c3a-8f39-0c6f0f5a8e11",
        "region": "us-east-1",
        "type": {"owner": "Custom", "category": "Build", "provider": "Forge", "version": "1"},
        "output-artifacts": [{"name": "Built", "s3location": {"bucket": "artifacts", "key": "shop/Built/aB3dE6g"}}],
        "execution-result": {
            "external-execution-url": "https://forge.example.com/runs/17",
            "external-execution-id": "17",
        },
    },
)

EVENTS = (EXECUTION_CHANGED, STAGE_CHANGED, ACTION_CHANGED)
