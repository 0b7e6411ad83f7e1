"""Puts a build's packed artifacts where its project or pipeline wants them, under the build's role."""

from __future__ import annotations

import hashlib
import stat
import zipfile
from base64 import b64decode
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from penstock.application import App
from penstock.builds.buildspec import ArtifactSpec, Buildspec
from penstock.builds.errors import PhaseFailed
from penstock.builds.request import BuildRequest
from penstock.builds.sources import split_location
from penstock.pools import FILES
from penstock.wire.call import Session, partition_of
from penstock.wire.errors import Refused, ServiceError

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """One artifact as the supervisor left it."""

    identifier: str  # "" is the primary one
    file: Path
    name: str  # the buildspec's name as the shell evaluated it


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where one artifact goes."""

    identifier: str
    bucket: str
    key: str  # of the object, or of the folder when it is not zipped
    zipped: bool
    encrypted: bool = True  # under the build's key of KMS


class FileBody:
    """A file (or a part of a zip) as a streaming blob."""

    def __init__(self, source: IO[bytes], length: int) -> None:
        self._source = source
        self.length: int | None = length
        self.md5 = hashlib.md5(usedforsecurity=False)  # of what was read

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while chunk := await FILES.run(self._read):
            yield chunk

    def _read(self) -> bytes:
        chunk = self._source.read(_CHUNK)
        self.md5.update(chunk)
        return chunk


def destination(artifacts: Mapping[str, Any], *, project: str, build_id: str, spec_name: str) -> Destination:
    """Where a project's S3 artifact goes: `[path/][build-id/]name`."""
    zipped = artifacts.get("packaging") == "ZIP"
    name = artifacts.get("name") or (f"{project}.zip" if zipped else project)
    if artifacts.get("overrideArtifactName") and spec_name:
        name = spec_name
    bucket, prefix = split_location(artifacts.get("location", ""))
    parts = [prefix, artifacts.get("path", "")]
    if artifacts.get("namespaceType") == "BUILD_ID":
        parts.append(build_id.rpartition(":")[2])
    parts.append(name)
    key = "/".join(part.strip("/") for part in parts if part.strip("/"))
    return Destination(
        identifier=artifacts.get("artifactIdentifier", ""),
        bucket=bucket,
        key=key,
        zipped=zipped,
        encrypted=not artifacts.get("encryptionDisabled"),
    )


def destination_of(request: BuildRequest, identifier: str, *, name: str = "") -> Destination:
    """Where an artifact of a build goes. `name` is its name in the buildspec as the shell evaluated it."""
    if request.pipeline:
        return pipeline_destinations(request.pipeline["outputArtifacts"])[identifier]
    private = request.private
    declared = next(
        (a for a in private.get("secondaryArtifacts", ()) if a["artifactIdentifier"] == identifier),
        private["artifacts"],
    )
    return destination(declared, project=request.document["projectName"], build_id=request.key.id, spec_name=name)


def chosen(request: BuildRequest, spec: Buildspec) -> tuple[list[ArtifactSpec], str]:
    """What of the buildspec is to be packed, and the message of the failure when it lacks something wanted."""
    by_name = {artifact.identifier: artifact for artifact in spec.secondary_artifacts}
    found: list[ArtifactSpec] = []
    if request.pipeline:
        names = [output["name"] for output in request.pipeline.get("outputArtifacts", ())]
        for name in names:
            artifact = by_name.get(name) or (spec.artifacts if len(names) == 1 else None)
            if artifact is None:
                return [], f"no artifacts are declared in the buildspec for the output artifact {name}"
            found.append(replace(artifact, identifier=name))
        return found, ""
    if request.private["artifacts"]["type"] == "S3":
        if spec.artifacts is None:
            return [], "no artifacts are declared in the buildspec"
        found.append(spec.artifacts)
    for wanted in request.private.get("secondaryArtifacts", ()):
        artifact = by_name.get(wanted["artifactIdentifier"])
        if artifact is None:
            return [], f"no secondary artifact {wanted['artifactIdentifier']} is declared in the buildspec"
        if wanted["type"] == "S3":
            found.append(artifact)
    return found, ""


@dataclass(frozen=True, slots=True)
class Objects:
    """S3 under the session of a build's role."""

    app: App
    session: Session
    region: str
    encryption_key: str  # of the build's artifacts

    async def put(self, to: Destination, key: str, body: FileBody, metadata: Mapping[str, str]) -> dict[str, Any]:
        """PutObject, hashed while it is written; its answer, with `ChecksumSHA256`. Raises PhaseFailed."""
        request: dict[str, Any] = {
            "Bucket": to.bucket,
            "Key": key,
            "Body": body,
            "Metadata": dict(metadata),
            "ChecksumAlgorithm": "SHA256",
        }
        if to.encrypted:
            request["ServerSideEncryption"] = "aws:kms"
            of_s3 = f"arn:{partition_of(self.region)}:kms:{self.region}:{self.session.account}:alias/aws/s3"
            if self.encryption_key != of_s3:  # S3 takes its own by itself, also where the bucket is in another region
                request["SSEKMSKeyId"] = self.encryption_key
        try:
            return await self.app.invoke(self.session, "s3", "PutObject", request, region=self.region)
        except (ServiceError, Refused) as error:
            code = error.wire_code if isinstance(error, ServiceError) else type(error).__name__
            raise PhaseFailed(f"{code}: {error.message} (writing s3://{to.bucket}/{key})") from None


async def upload_all(
    app: App, request: BuildRequest, session: Session, packed: Sequence[Packed], say: Callable[[str], None]
) -> dict[str, Any]:
    """Put every artifact; the members of the API's Build that describe them. Raises PhaseFailed, OSError."""
    objects = Objects(app, session, request.key.region, request.document["encryptionKey"])
    primary: dict[str, Any] = {}
    secondary: list[dict[str, Any]] = []
    for one in packed:
        to = destination_of(request, one.identifier, name=one.name)
        say(f"Uploading to s3://{to.bucket}/{to.key}")
        put = await upload(objects, one, to, build_arn=request.document["arn"], say=say)
        if primary or (one.identifier and not request.pipeline):
            secondary.append(put | {"artifactIdentifier": one.identifier})
        else:
            primary = put
    found: dict[str, Any] = {}
    if primary:
        found["artifacts"] = request.document.get("artifacts", {}) | primary
    if secondary:
        found["secondaryArtifacts"] = secondary
    return found


async def upload(
    objects: Objects, packed: Packed, to: Destination, *, build_arn: str, say: Callable[[str], None]
) -> dict[str, Any]:
    """Put one artifact; its members of the API's BuildArtifacts. Raises PhaseFailed.

    What they say of the object is what PutObject answered, never what is looked up under its key afterwards.
    """
    metadata = {"codebuild-buildarn": build_arn}
    location = f"arn:{partition_of(objects.region)}:s3:::{to.bucket}/{to.key}"
    if not to.zipped:
        await _put_members(objects, packed.file, to, metadata, say)
        return {"location": location}
    with packed.file.open("rb") as file:
        body = FileBody(file, packed.file.stat().st_size)
        put = await objects.put(to, to.key, body, metadata)
    found = {
        "location": location,
        "sha256sum": b64decode(put["ChecksumSHA256"]).hex(),
        "md5sum": body.md5.hexdigest(),
        "eTag": put["ETag"].strip('"'),
    }
    return found | ({"versionId": put["VersionId"]} if put.get("VersionId") else {})


async def _put_members(
    objects: Objects, file: Path, to: Destination, metadata: Mapping[str, str], say: Callable[[str], None]
) -> None:
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            name = _key(member)
            if stat.S_ISLNK(member.external_attr >> 16):
                say(f"Skipping the link {name}: an object cannot be one. Packaging ZIP keeps links")
                continue
            key = f"{to.key}/{name}" if to.key else name
            with archive.open(member) as content:
                await objects.put(to, key, FileBody(content, member.file_size), metadata)


def _key(member: zipfile.ZipInfo) -> str:
    """A member's name as text: keys are UTF-8, so bytes that are not are replaced."""
    if member.flag_bits & 0x800:
        return member.filename
    return member.filename.encode("cp437").decode("utf-8", "replace")


def pipeline_destinations(outputs: Sequence[Mapping[str, Any]]) -> dict[str, Destination]:
    """Which artifact of a buildspec goes to which output artifact of a pipeline's action.

    A single output takes the primary artifact, unless the buildspec has a secondary one of its name; several take the
    secondary artifacts of their names.
    """
    return {
        output["name"]: Destination(
            identifier=output["name"],
            bucket=output["location"]["bucket"],
            key=output["location"]["key"],
            zipped=True,
        )
        for output in outputs
    }
