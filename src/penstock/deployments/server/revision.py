"""Revisions of an application: what a location must say, which ones are the same, and the form in which a host gets one."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*/[A-Za-z0-9_.-]+")
_MEMBERS = {"S3": "s3Location", "GitHub": "gitHubLocation", "String": "string", "AppSpecContent": "appSpecContent"}


class BadRevision(ValueError):
    """The location cannot be deployed; the message says why."""


def checked(location: Mapping[str, Any]) -> dict[str, Any]:
    """A `RevisionLocation` for a server deployment without its empty members. Raises BadRevision."""
    kind = location.get("revisionType")
    given = [name for name in _MEMBERS.values() if location.get(name) is not None]
    if not kind:
        raise BadRevision("Revision type is missing")
    if kind not in _MEMBERS:
        raise BadRevision(f"Revision type {kind} is not known")
    if given != [_MEMBERS[kind]]:
        raise BadRevision(f"Exactly {_MEMBERS[kind]} must be given for a revision of type {kind}")
    if kind == "S3":
        return {"revisionType": kind, "s3Location": _s3(location["s3Location"])}
    if kind == "GitHub":
        return {"revisionType": kind, "gitHubLocation": _github(location["gitHubLocation"])}
    raise BadRevision(f"Revision type {kind} is not supported for the compute platform Server; use S3 or GitHub")


def _s3(found: Mapping[str, Any]) -> dict[str, Any]:
    for name in ("bucket", "key", "bundleType"):
        if not found.get(name):
            raise BadRevision(f"{name} is missing in s3Location")
    if found["bundleType"] not in ("tar", "tgz", "zip"):
        raise BadRevision("BundleType must be one of tar, tgz and zip for the compute platform Server")
    if len(found["key"].encode()) > 1024 or len(found["bucket"]) > 255:
        raise BadRevision("The bucket or the key of s3Location is too long")
    if len(found.get("version") or "") > 1024 or len(found.get("eTag") or "") > 256:
        raise BadRevision("The version or the eTag of s3Location is too long")
    return {name: found[name] for name in ("bucket", "key", "bundleType", "version", "eTag") if found.get(name)}


def _github(found: Mapping[str, Any]) -> dict[str, Any]:
    if not _REPOSITORY.fullmatch(found.get("repository") or ""):
        raise BadRevision("repository of gitHubLocation must be given as account/repository")
    if not found.get("commitId"):
        raise BadRevision("commitId is missing in gitHubLocation")
    if len(found["repository"]) > 256 or len(found["commitId"]) > 256:
        raise BadRevision("The repository or the commitId of gitHubLocation is too long")
    return {"repository": found["repository"], "commitId": found["commitId"]}


def to_api(location: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """A `RevisionLocation` as AWS shows it: what its bundle was found to be is not a part of it."""
    return None if location is None else {name: value for name, value in location.items() if name != "pinned"}


def content(location: Mapping[str, Any]) -> str:
    """What is the same for two locations exactly when hosts get the same from them: 64 hexadecimal digits."""
    sha256 = location.get("pinned", {}).get("sha256", "")
    return hashlib.sha256(f"{digest(location)}/{sha256}".encode()).hexdigest() if sha256 else digest(location)


def digest(location: Mapping[str, Any]) -> str:
    """What is the same for two locations exactly when they name the same revision: 64 hexadecimal digits."""
    known = json.loads(json.dumps(to_api(location)))
    if "eTag" in known.get("s3Location", {}):
        known["s3Location"]["eTag"] = known["s3Location"]["eTag"].strip('"')
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()


def bucket_and_key(location: Mapping[str, Any]) -> tuple[str, str]:
    """Bucket and key of an S3 revision, else two empty texts."""
    found = location.get("s3Location") or {}
    return found.get("bucket", ""), found.get("key", "")


def for_host(location: Mapping[str, Any]) -> dict[str, Any]:
    """The `Revision` of a deployment specification, as agents read it. AWS's agents know all members but `Sha256`."""
    if location["revisionType"] == "S3":
        found = {**location.get("pinned", {}), **location["s3Location"]}
        names = {
            "bucket": "Bucket",
            "key": "Key",
            "bundleType": "BundleType",
            "version": "Version",
            "eTag": "ETag",
            "sha256": "Sha256",
        }
        revision = {theirs: found[ours] for ours, theirs in names.items() if ours in found}
        return {"RevisionType": "S3", "S3Revision": revision}
    account, _, repository = location["gitHubLocation"]["repository"].partition("/")
    commit = location["gitHubLocation"]["commitId"]
    found = {"Account": account, "Repository": repository, "CommitId": commit, "Anonymous": True}
    return {"RevisionType": "GitHub", "GitHubRevision": found}
