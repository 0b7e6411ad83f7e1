"""What the bundle of a revision is: version, ETag and SHA-256 of the object that its location names, so that every host gets that one.

A location in S3 that was looked up has a member `pinned` beside AWS's: {"version", "eTag", "sha256"}, as far as they are
known. It travels with the location (to the group's target revision, to a rollback, to a restart) and is never shown.
"""

from __future__ import annotations

from typing import Any

from penstock.application import App
from penstock.wire.call import Origin, Session
from penstock.wire.errors import Refused, ServiceError

SMALL = (
    64 << 20
)  # bytes that are read at CreateDeployment to hash a bundle that was uploaded in parts; larger ones wait


class BundleMissing(Exception):
    """The bucket is here, and the object is not."""


def known(location: dict[str, Any]) -> bool:
    """Whether nothing more can be found out about what a location names: it stays as it is."""
    return location["revisionType"] != "S3" or bool(location.get("pinned", {}).get("sha256"))


def of_artifacts(location: dict[str, Any], artifacts: list[dict[str, Any]]) -> dict[str, Any]:
    """The location with the SHA-256 of the write that made its bundle, when it is one of a pipeline's artifacts."""
    if location["revisionType"] != "S3":
        return location
    named = location["s3Location"]
    wanted = tuple(named.get(member) for member in ("bucket", "key", "version", "eTag"))
    for place in (artifact["location"]["s3Location"] for artifact in artifacts):
        written = tuple(place.get(member) for member in ("bucketName", "objectKey", "versionId", "eTag"))
        if written == wanted and "sha256" in place:
            return {**location, "pinned": {"sha256": place["sha256"]}}
    return location


async def pinned(
    app: App, session: Session, location: dict[str, Any], *, region: str, origin: Origin, limit: int | None = None
) -> dict[str, Any]:
    """The location with what its bundle is, as far as `session` may read it; the location as it is otherwise.

    It stays as it is where the bucket is not of this installation, or where the object is another one than the given ETag
    says: then hosts refuse it themselves. `limit` is the size in bytes up to which a bundle is read to be hashed.

    Raises:
        BundleMissing: there is no such object or version in a bucket of ours.
    """
    if known(location):
        return location
    pins = location.get("pinned", {})
    named = location["s3Location"]
    version, etag = (pins.get(name) or named.get(name, "") for name in ("version", "eTag"))
    request: dict[str, Any] = {"bucketName": named["bucket"], "objectKey": named["key"]}
    if version:
        request["versionId"] = version
    if limit is not None:
        request["maximumSize"] = limit
    try:
        found = await app.invoke(session, "penstock", "GetObjectDigest", request, region=region, origin=origin)
    except ServiceError as error:
        if error.wire_code in ("NoSuchKey", "NoSuchVersion", "MethodNotAllowed"):
            raise BundleMissing from None
        return location
    except Refused:
        return location
    if etag and etag.strip('"') != found["eTag"]:
        return location
    pin = {"version": found.get("versionId"), "eTag": found["eTag"], "sha256": found.get("sha256")}
    return {**location, "pinned": {name: value for name, value in pin.items() if value}}
