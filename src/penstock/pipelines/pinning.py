"""Whether an artifact still is what was written: the check before an action gets it as its input."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from penstock.pipelines.actions.provider import Action, Failed, Invoke
from penstock.pipelines.model import ArtifactLocation
from penstock.wire.errors import AccessDenied, ServiceError, passes

_READ = 64 << 20  # bytes that are read for a digest; of a larger object only its ETag is pinned


async def changed_input(action: Action) -> Failed | None:
    """Why the action cannot start: an input artifact was changed or deleted since it was written. None when all are as they were.

    This check is for the sentence. Whoever reads the artifact (a build, a host) compares what it reads with the same pin,
    so that nothing can be exchanged after this look; a role that may not read artifacts is therefore no obstacle here.
    """
    for artifact in action.inputs:
        if not artifact.etag:
            continue
        request = {"bucketName": artifact.bucket, "objectKey": artifact.key, "maximumSize": 0}
        if artifact.immutable:
            request["versionId"] = artifact.version_id
        try:
            now = await action.invoke("penstock", "GetObjectDigest", request)
        except AccessDenied:
            continue
        except ServiceError as error:
            if error.server_fault:
                raise
            if error.status == 403:
                continue
            if error.status in (404, 405):
                reason = f"is not there any more ({error.wire_code}). Run the action that makes it again."
            else:  # such as a key of KMS that is disabled
                reason = f"cannot be read: {error.message} ({error.wire_code}). Mend that, then retry the stage."
            return Failed(code="RevisionUnavailable", message=f"The artifact {_named(artifact)} {reason}")
        if now["sha256"] != artifact.sha256 if "sha256" in now else now["eTag"] != artifact.etag:
            when = datetime.fromtimestamp(now["lastModified"] / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
            return Failed(
                code="RevisionOutOfSync",
                message=f"The artifact {_named(artifact)} was changed at {when}, after the pipeline had written it, and is "
                "not used: what earlier actions built or approved is not what lies there now. Run the action that makes it "
                "again, and enable versioning on the bucket so that an overwritten artifact stays readable.",
            )
    return None


async def written(invoke: Invoke, artifact: ArtifactLocation) -> ArtifactLocation:
    """An artifact that somebody outside says to have written, with what lies there now.

    Without a pin where there is nothing, or the role may not read it: then only what reads it next finds out, as on AWS.
    """
    request = {"bucketName": artifact.bucket, "objectKey": artifact.key, "maximumSize": _READ}
    try:
        now = await invoke("penstock", "GetObjectDigest", request)
    except AccessDenied:
        return artifact
    except ServiceError as error:
        if passes(error):
            raise
        return artifact
    return replace(artifact, version_id=now.get("versionId", ""), etag=now["eTag"], sha256=now.get("sha256", ""))


def _named(artifact: ArtifactLocation) -> str:
    return f"{artifact.name} (s3://{artifact.bucket}/{artifact.key})"
