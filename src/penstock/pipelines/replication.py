"""Copies of input artifacts in the store of the region where an action runs. AWS: actions-create-cross-region."""

from __future__ import annotations

from base64 import b64decode
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from penstock.pipelines.actions.provider import Failed, Invoke
from penstock.pipelines.artifacts import object_key
from penstock.pipelines.model import ArtifactLocation
from penstock.pipelines.pinning import changed_input
from penstock.pipelines.preparation import Prepared, action_of
from penstock.store.failpoints import failpoint
from penstock.wire.errors import AccessDenied, ServiceError, passes


def lies_elsewhere(prepared: Prepared) -> bool:
    """Whether an input artifact of an action has to be copied before it can start."""
    return any(_elsewhere(prepared, artifact) for artifact in prepared.inputs)


def _elsewhere(prepared: Prepared, artifact: ArtifactLocation) -> bool:
    return prepared.replicates and artifact.bucket != prepared.store["location"]


async def replicated(invoke: Invoke, prepared: Prepared) -> tuple[ArtifactLocation, ...] | Failed:
    """The input artifacts of an action as they lie in its region's store, where they are copied to if they lie in another one.

    `invoke` calls under the pipeline's role in the action's region. A copy has the bytes that the first write of the artifact had, under the
    store's own key; its place derives from the artifact's, so that the actions of a run in one region share it, and a
    second start finds it.
    """
    action = action_of(prepared, {}, invoke)
    originals = tuple(artifact for artifact in prepared.inputs if _elsewhere(prepared, artifact))
    changed = await changed_input(replace(action, inputs=originals))
    if changed is not None:
        return changed
    found: list[ArtifactLocation] = []
    for artifact in prepared.inputs:
        if not _elsewhere(prepared, artifact):
            found.append(artifact)
            continue
        place = replace(
            artifact,
            bucket=prepared.store["location"],
            key=object_key(prepared.key.name, artifact.name, f"{artifact.bucket}/{artifact.key}/{artifact.version_id}"),
        )
        copy = await _there(invoke, place) or await _copied(invoke, prepared, artifact, place)
        if isinstance(copy, Failed):
            return copy
        found.append(copy)
    return tuple(found)


async def _there(invoke: Invoke, place: ArtifactLocation) -> ArtifactLocation | None:
    """The copy that an earlier action, or an earlier start, has made; None where nothing with the same bytes lies."""
    if not place.sha256:
        return None
    request = {"bucketName": place.bucket, "objectKey": place.key, "maximumSize": 0}
    try:
        now = await invoke("penstock", "GetObjectDigest", request)
    except AccessDenied:
        return None
    except ServiceError as error:
        if passes(error):
            raise
        return None
    if now.get("sha256") != place.sha256:
        return None
    return replace(place, version_id=now.get("versionId", ""), etag=now["eTag"])


async def _copied(
    invoke: Invoke, prepared: Prepared, artifact: ArtifactLocation, place: ArtifactLocation
) -> ArtifactLocation | Failed:
    source = quote(f"{artifact.bucket}/{artifact.key}")
    request: dict[str, Any] = {
        "Bucket": place.bucket,
        "Key": place.key,
        "CopySource": f"{source}?versionId={artifact.version_id}" if artifact.immutable else source,
        "TaggingDirective": "REPLACE",
        "ServerSideEncryption": "aws:kms",
        "ChecksumAlgorithm": "SHA256",
    }
    if artifact.etag:
        request["CopySourceIfMatch"] = artifact.etag
    key = prepared.store.get("encryptionKey", {}).get("id", "")
    if key:
        request["SSEKMSKeyId"] = key
    what = (
        f"The artifact {artifact.name} (s3://{artifact.bucket}/{artifact.key}) could not be copied to the artifact store of "
        f"{prepared.region} (bucket {place.bucket})"
    )
    try:
        made = await invoke("s3", "CopyObject", request)
    except AccessDenied as error:
        return Failed(
            code="PermissionError",
            message=f"{what}: the role of the pipeline, {prepared.role}, must be allowed to read the one and write the other. {error}",
        )
    except ServiceError as error:
        if passes(error):
            raise
        if error.status == 412:
            return _changed(what)
        return Failed(
            code="PermissionError" if error.status == 403 else "ConfigurationError",
            message=f"{what}: {error.message} ({error.wire_code})",
        )
    failpoint("replication.copied")
    result = made["CopyObjectResult"]
    sha256 = b64decode(result["ChecksumSHA256"]).hex()
    if artifact.sha256 and sha256 != artifact.sha256:
        return _changed(what)
    return replace(place, version_id=made.get("VersionId") or "", etag=result["ETag"].strip('"'), sha256=sha256)


def _changed(what: str) -> Failed:
    return Failed(
        code="RevisionOutOfSync",
        message=f"{what}: it was changed after the pipeline had written it. Run the action that makes it again.",
    )
