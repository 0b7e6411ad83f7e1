"""What builds emit, in EventBridge's form (AWS: "Build notifications input format reference")."""

from __future__ import annotations

from penstock.store.catalogue import EventType
from penstock.store.events import Event


def _build(event: Event) -> tuple[str]:
    return (event.payload["build-id"],)


_BUILD = "arn:aws:codebuild:us-east-1:111111111111:build/shop:0b9ec8ae-8d1e-4f0c-9a31-6c1a3a1d2f11"
_MORE = {
    "artifact": {"location": "arn:aws:s3:::artifacts/shop/build/Ab3dE5f"},
    "environment": {
        "image": "aws/codebuild/standard:7.0",
        "privileged-mode": False,
        "compute-type": "BUILD_GENERAL1_SMALL",
        "type": "LINUX_CONTAINER",
        "environment-variables": [],
    },
    "timeout-in-minutes": 60,
    "build-complete": True,
    "build-number": 7.0,
    "initiator": "codepipeline/shop",
    "build-start-time": "Nov 29, 2026 10:03:46 PM",
    "source": {"type": "CODEPIPELINE"},
    "source-version": "arn:aws:s3:::artifacts/shop/source/Xy9zQ1r",
    "logs": {
        "group-name": "/aws/codebuild/shop",
        "stream-name": "0b9ec8ae-8d1e-4f0c-9a31-6c1a3a1d2f11",
        "deep-link": "",
    },
    "phases": [],
}
_SAMPLE = {
    "project-name": "shop",
    "build-id": _BUILD,
    "version": "1",
    "initiator": "codepipeline/shop",
    "additional-information": _MORE,
}

STATE_CHANGED = EventType(
    name="codebuild.build.state_changed",
    description="A build began, or ended.",
    aggregate="build",
    source="aws.codebuild",
    detail_type="CodeBuild Build State Change",
    resources=_build,
    sample={"build-status": "SUCCEEDED", "current-phase": "COMPLETED", "current-phase-context": "[]", **_SAMPLE},
)
PHASE_CHANGED = EventType(
    name="codebuild.build.phase_changed",
    description="A phase of a build ended.",
    aggregate="build",
    source="aws.codebuild",
    detail_type="CodeBuild Build Phase Change",
    resources=_build,
    sample={
        **_SAMPLE,
        "completed-phase": "BUILD",
        "completed-phase-status": "SUCCEEDED",
        "completed-phase-context": "[: ]",
        "completed-phase-duration-seconds": 12,
        "completed-phase-start": "Nov 29, 2026 10:03:48 PM",
        "completed-phase-end": "Nov 29, 2026 10:04:00 PM",
    },
)

EVENTS = (STATE_CHANGED, PHASE_CHANGED)
