"""S3 deploy: declared, not run. Puts an artifact, or its files, into a bucket. AWS: action-reference-S3Deploy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.pipelines.actions.not_run import NotRun
from penstock.pipelines.model import MINUTE, ActionType, ActionTypeId, Property


def _refuse(action: Mapping[str, Any]) -> str | None:
    configuration = action.get("configuration", {})
    if configuration.get("Extract") == "false" and "ObjectKey" not in configuration:
        return f"Action configuration for action '{action['name']}' is missing required configuration 'ObjectKey'"
    return None


class S3Deploy(NotRun):
    """Puts an artifact, or its files, into a bucket."""

    types = (
        ActionType(
            id=ActionTypeId(category="Deploy", owner="AWS", provider="S3"),
            properties=(
                Property(name="BucketName", description="The bucket", required=True, key=True),
                Property(
                    name="Extract",
                    description="Whether to put the artifact's files instead of the artifact",
                    required=True,
                    values=("true", "false"),
                ),
                Property(name="ObjectKey", description="The object, or the folder of the files"),
                Property(name="KMSEncryptionKeyARN", description="The key that encrypts the objects"),
                Property(name="CannedACL", description="The access list of the objects"),
                Property(name="CacheControl", description="The objects' Cache-Control header"),
            ),
            inputs=(1, 1),
            outputs=(0, 0),
            timeout=90 * MINUTE,
            refuse=_refuse,
        ),
    )
    why = "Penstock does not deploy to buckets yet. Use a CodeBuild action that runs `aws s3 sync`."


PROVIDER = S3Deploy()
