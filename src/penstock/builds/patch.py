"""What the model of `codebuild` lacks: what our pipelines start builds with, and which version of an object an artifact is."""

from __future__ import annotations

from typing import Any

PATCH: dict[str, Any] = {
    "shapes": {
        "StartBuildInput": {
            "members": {
                "pipelineContext": {"shape": "PipelineContext", "reservedFor": "codepipeline.amazonaws.com"},
            }
        },
        "BuildArtifacts": {"members": {"versionId": {"shape": "String"}, "eTag": {"shape": "String"}}},
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
                # What the object was when it was written: a build that finds another one fails.
                "versionId": {"shape": "String"},
                "eTag": {"shape": "String"},
                "sha256": {"shape": "String"},
            },
        },
    },
}
"""Merged over botocore's model. A request from outside that has the reserved member is refused."""
