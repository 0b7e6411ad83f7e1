"""The deployment specification: what to deploy, from where, as which deployment."""

from __future__ import annotations

import json
import re
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

from penstock_agent import cms
from penstock_agent.failures import CommandFailure

BUNDLE_TYPES = ("tar", "tgz", "zip")
MAX_ENVELOPE = 64 * 1024
_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$")


class Revision(NamedTuple):
    """Where the bundle is: `kind` is S3, GitHub, Local File or Local Directory; other fields belong to one of them."""

    kind: str
    bundle_type: str = ""
    bucket: str = ""
    key: str = ""
    version: str = ""
    etag: str = ""
    location: str = ""
    sha256: str = ""  # of the bundle, in hexadecimal; "" when the server did not know it


class IssuedFor(NamedTuple):
    """For what the server signed a specification. Times are ms since the epoch."""

    execution: str
    host_identifier: str
    command_prefix: str  # of the identifiers of its commands; the number of the event follows
    events: Tuple[str, ...]
    begun_ms: int
    expires_ms: int


class Specification(NamedTuple):
    """A checked specification; ids are safe as names of directories."""

    deployment_id: str
    group_id: str
    group_name: str
    application_name: str
    creator: str
    deployment_type: str
    revision: Revision
    appspec_name: str
    file_exists_behavior: str
    possible_events: Optional[List[str]]
    reuse_from: str
    strict: bool
    issued_for: Optional[IssuedFor] = None


def open_specification(answer: Dict[str, Any], pinned: Sequence[cms.Certificate]) -> Specification:
    """The specification in the answer of GetDeploymentSpecification.

    Raises:
        CommandFailure: the envelope's signature does not hold, or a field is missing.
    """
    system = answer.get("DeploymentSystem")
    if system != "CodeDeploy":
        raise CommandFailure("Deployment System mismatch: CodeDeploy != %s" % system)
    envelope = (answer.get("DeploymentSpecification") or {}).get("GenericEnvelope")
    if not isinstance(envelope, dict):
        raise CommandFailure("Deployment Specification missing")
    kind, payload = envelope.get("Format"), envelope.get("Payload")
    if kind != "PKCS7/JSON":
        raise CommandFailure("Unsupported DeploymentSpecification format: %s" % kind)
    if not isinstance(payload, str) or len(payload) > MAX_ENVELOPE:
        raise CommandFailure("The deployment specification's envelope is missing or too long")
    try:
        content = cms.open_envelope(payload, pinned)
    except cms.EnvelopeInvalid as error:
        raise CommandFailure("Validation of the deployment specification failed: %s" % error) from None
    return parse_specification(content)


def parse_specification(content: bytes) -> Specification:
    """The specification in a JSON text. Raises CommandFailure."""
    try:
        document = json.loads(content.decode("utf-8"))
    except ValueError:
        raise CommandFailure("The deployment specification is not JSON") from None
    if not isinstance(document, dict):
        raise CommandFailure("The deployment specification is not a JSON object")
    fields = {name: _text(document, name) for name in ("DeploymentGroupId", "DeploymentGroupName", "ApplicationName")}
    deployment = _text(document, "DeploymentId")
    if deployment.startswith("arn:"):
        deployment = deployment.rpartition("deployment/")[2]
    for name, value in (("DeploymentId", deployment), ("DeploymentGroupId", fields["DeploymentGroupId"])):
        if not _NAME.match(value):
            raise CommandFailure("The deployment specification's %s cannot name a directory" % name)
    overrides = (document.get("AgentActionOverrides") or {}).get("AgentOverrides") or {}
    appspec = str(document.get("AppSpecFilename") or "appspec.yml")
    reuse = str(document.get("ReuseArchiveFromDeploymentId") or "")
    if reuse and not _NAME.match(reuse):
        raise CommandFailure("The deployment specification's ReuseArchiveFromDeploymentId cannot name a directory")
    events = document.get("AllPossibleLifecycleEvents")
    return Specification(
        deployment_id=deployment,
        group_id=fields["DeploymentGroupId"],
        group_name=fields["DeploymentGroupName"],
        application_name=fields["ApplicationName"],
        creator=str(document.get("DeploymentCreator") or "user"),
        deployment_type=str(document.get("DeploymentType") or "IN_PLACE"),
        revision=_revision(document.get("Revision")),
        appspec_name=appspec,
        file_exists_behavior=str(overrides.get("FileExistsBehavior") or "DISALLOW").upper(),
        possible_events=[str(each) for each in events] if isinstance(events, list) else None,
        reuse_from=reuse,
        strict=document.get("Strict") is True,
        issued_for=_issued_for(document),
    )


def _issued_for(document: Dict[str, Any]) -> Optional[IssuedFor]:
    value = document.get("IssuedFor")
    if value is None:
        return None
    texts = ("DeploymentExecutionId", "HostIdentifier", "CommandPrefix")
    times = ("Begun", "Expires")
    if (
        not isinstance(value, dict)
        or not all(isinstance(value.get(name), str) and value[name] for name in texts)
        or not all(type(value.get(name)) is int for name in times)
        or not isinstance(value.get("Events"), list)
    ):
        raise CommandFailure("IssuedFor in the deployment specification cannot be read")
    return IssuedFor(
        execution=value["DeploymentExecutionId"],
        host_identifier=value["HostIdentifier"],
        command_prefix=value["CommandPrefix"],
        events=tuple(str(each) for each in value["Events"]),
        begun_ms=value["Begun"],
        expires_ms=value["Expires"],
    )


def _text(document: Dict[str, Any], name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str) or not value:
        raise CommandFailure("Deployment Spec has no %s" % name)
    return value


def _sha256(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or not re.match(r"^[0-9a-f]{64}$", value):
        raise CommandFailure("Sha256 in S3Revision must be 64 hexadecimal digits")
    return value


def _revision(value: Any) -> Revision:
    if not isinstance(value, dict):
        raise CommandFailure("Must specify a revison")
    kind = value.get("RevisionType")
    if not kind:
        raise CommandFailure("Must specify a revision source")
    if kind == "S3":
        source = value.get("S3Revision") or {}
        if not all(source.get(name) for name in ("Bucket", "Key", "BundleType")):
            raise CommandFailure("S3Revision in Deployment Spec must specify Bucket, Key and BundleType")
        if source["BundleType"] not in BUNDLE_TYPES:
            raise CommandFailure("BundleType in S3Revision must be tar, tgz or zip")
        return Revision(
            kind="S3",
            bundle_type=source["BundleType"],
            bucket=str(source["Bucket"]),
            key=str(source["Key"]),
            version=str(source.get("Version") or ""),
            etag=str(source.get("ETag") or "").strip('"'),
            sha256=_sha256(source.get("Sha256")),
        )
    if kind == "GitHub":
        return Revision(kind="GitHub", version=str((value.get("GitHubRevision") or {}).get("CommitId") or ""))
    if kind in ("Local File", "Local Directory"):
        source = value.get("LocalRevision") or {}
        if not source.get("Location") or source.get("BundleType") not in (*BUNDLE_TYPES, "directory"):
            raise CommandFailure("LocalRevision in Deployment Spec must specify Location and BundleType")
        return Revision(kind=kind, bundle_type=source["BundleType"], location=str(source["Location"]))
    raise CommandFailure("Exactly one of S3Revision, GitHubRevision, or LocalRevision must be specified")
