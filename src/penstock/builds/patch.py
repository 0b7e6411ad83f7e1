"""What the model of `codebuild` lacks: the members that our pipelines start builds with."""

from __future__ import annotations

from typing import Any

PATCH: dict[str, Any] = {
    "shapes": {
        "StartBuildInput": {"members": {"pipelineContext": {"shape": "PipelineContext"}}},
        "PipelineContext": {
            "type": "structure",
            "required": ["pipelineName", "executionId", "actionExecutionId", "inputArtifacts", "outputArtifacts"],
            "members": {
                "pipelineName": {"shape": "NonEmptyString"},
                "executionId": {"shape": "NonEmptyString"},
                "actionExecutionId": {"shape": "NonEmptyString"},
                "inputArtifacts": {"shape": "PipelineArtifacts"},
                "outputArtifacts": {"shape": "PipelineArtifacts"},
                "primarySource": {"shape": "String"},
                "encryptionKey": {"shape": "String"},
            },
        },
        "PipelineArtifacts": {"type": "list", "member": {"shape": "PipelineArtifact"}},
        "PipelineArtifact": {
            "type": "structure",
            "required": ["name", "location"],
            "members": {
                "name": {"shape": "NonEmptyString"},
                "location": {"shape": "PipelineArtifactLocation"},
                "revision": {"shape": "String"},  # of the source that it was made from, such as a commit
            },
        },
        "PipelineArtifactLocation": {
            "type": "structure",
            "required": ["bucket", "key"],
            "members": {
                "bucket": {"shape": "NonEmptyString"},
                "key": {"shape": "NonEmptyString"},
                "versionId": {"shape": "String"},
            },
        },
    },
}
"""Merged over botocore's model. Clients that do not know the member never send it."""
