"""S3 source: the current version of an object in a versioned bucket. AWS: action-reference-S3."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar
from urllib.parse import quote

from penstock.pipelines.actions.provider import Action, Failed, Outcome, Provider, Succeeded, polls
from penstock.pipelines.model import HOUR, ActionType, ActionTypeId, Property, Revision
from penstock.wire.errors import AccessDenied, ServiceError

_SUMMARY = "codepipeline-artifact-revision-summary"  # object metadata that becomes the revision's summary
_ABSENT = ("NoSuchKey", "NoSuchVersion", "NotFound", "404")


class S3Source(Provider):
    """Answers at once: the object is copied into the artifact store."""

    types = (
        ActionType(
            id=ActionTypeId(category="Source", owner="AWS", provider="S3"),
            properties=(
                Property(name="S3Bucket", description="The S3 Bucket", required=True, key=True),
                Property(name="S3ObjectKey", description="The object in the bucket", required=True, key=True),
                Property(
                    name="AllowOverrideForS3ObjectKey",
                    description="Whether a start may name another object",
                    values=("true", "false"),
                ),
                Property(
                    name="PollForSourceChanges",
                    description="Whether a new object starts the pipeline",
                    values=("true", "false"),
                ),
            ),
            inputs=(0, 0),
            outputs=(1, 1),
            timeout=HOUR,
            works_on="s3:object",
            revision_types=("S3_OBJECT_VERSION_ID", "S3_OBJECT_KEY"),
        ),
    )
    news: ClassVar = {
        "s3.object.created": lambda payload: _subject(payload["bucket"]["name"], payload["object"]["key"])
    }

    def watches(self, configuration: Mapping[str, str]) -> str | None:
        """New versions of the object."""
        return _subject(configuration["S3Bucket"], configuration["S3ObjectKey"]) if polls(configuration) else None

    def refuse_revision(self, kind: str, action: Mapping[str, Any]) -> str | None:
        """Another object only where the action allows it."""
        if kind == "S3_OBJECT_KEY" and action["configuration"].get("AllowOverrideForS3ObjectKey") != "true":
            return (
                f"Source action '{action['name']}' does not allow another object key: its AllowOverrideForS3ObjectKey is "
                "not true"
            )
        return None

    async def start(self, action: Action) -> Outcome:
        """Pin the version, copy it."""
        bucket = action.configuration["S3Bucket"]
        key = action.overrides.get("S3_OBJECT_KEY") or action.configuration["S3ObjectKey"]
        wanted = action.overrides.get("S3_OBJECT_VERSION_ID")
        target = action.outputs[0]
        head: dict[str, Any] | None = None
        try:
            versioning = await action.invoke("s3", "GetBucketVersioning", {"Bucket": bucket})
            if versioning.get("Status") != "Enabled":
                return Failed(
                    code="ConfigurationError",
                    message=f"The Amazon S3 bucket {bucket} must have versioning enabled to be used as a source.",
                )
            head_input = {"Bucket": bucket, "Key": key}
            if wanted:
                head_input["VersionId"] = wanted
            head = await action.invoke("s3", "HeadObject", head_input)
            version = head.get("VersionId", "null")
            copy = {
                "Bucket": target.bucket,
                "Key": target.key,
                "CopySource": f"{bucket}/{quote(key)}?versionId={version}",
                "TaggingDirective": "REPLACE",  # the tags of the source are not the artifact's, nor the role's to read
                "ServerSideEncryption": "aws:kms",
                "ChecksumAlgorithm": "SHA256",
            }
            if action.encryption_key:
                copy["SSEKMSKeyId"] = action.encryption_key
            written = await action.invoke("s3", "CopyObject", copy)
        except AccessDenied as error:
            return Failed(
                code="PermissionError",
                message="The provided role does not have permissions to perform this action. "
                f"Underlying error: {error}",
            )
        except ServiceError as error:
            if error.server_fault:
                raise
            if head is not None and error.wire_code == "NoSuchBucket":  # the source was there just now
                message = (
                    f"The artifact store's Amazon S3 bucket '{target.bucket}' cannot be written to. Error: {error}"
                )
                return Failed(code="ConfigurationError", message=message)
            return _failure(error, bucket, key)
        etag = head.get("ETag", "").strip('"')
        result = written["CopyObjectResult"]
        summary = head.get("Metadata", {}).get(_SUMMARY, "")
        artifact = replace(
            target,
            version_id=written.get("VersionId") or "",
            etag=result["ETag"].strip('"'),
            sha256=b64decode(result["ChecksumSHA256"]).hex(),
            revision=version,
        )
        return Succeeded(
            external_id=version,
            summary=f"Amazon S3 version id: {version}",
            outputs=(artifact,),
            revision=Revision(
                id=version,
                change_id=etag,
                summary=summary or f"Amazon S3 version id: {version}",
                created=head.get("LastModified"),
            ),
            variables={"BucketName": bucket, "ETag": etag, "ObjectKey": key, "VersionId": version},
        )


def _subject(bucket: str, key: str) -> str:
    return f"s3:{bucket}/{key}"


def _failure(error: ServiceError, bucket: str, key: str) -> Failed:
    if error.wire_code in _ABSENT or error.status == 404:
        return Failed(
            code="ConfigurationError",
            message=f"The object with key '{key}' does not exist in the Amazon S3 bucket '{bucket}'. Error: {error}",
        )
    return Failed(code="JobFailed", message=f"The source could not be fetched: {error} ({error.wire_code})")


PROVIDER = S3Source()
