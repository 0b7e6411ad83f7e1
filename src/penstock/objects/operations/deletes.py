"""DeleteObject and DeleteObjects."""

from __future__ import annotations

from typing import Any

from penstock.objects import commits
from penstock.objects.blobs import Blobs
from penstock.objects.errors import MalformedXML, NotServed
from penstock.objects.looking import bucket_of
from penstock.objects.names import arn_of_object, check_key, object_arn
from penstock.objects.table import table
from penstock.room import Call
from penstock.store.crash import point
from penstock.wire.call import Input, Output
from penstock.wire.errors import AccessDenied as Denied
from penstock.wire.errors import ServiceError


def _action(_call: Call, input: Input) -> str:
    return "s3:DeleteObjectVersion" if input.get("VersionId") else "s3:DeleteObject"


@table.operation("DeleteObject", action=_action, resource=object_arn)
async def delete_object(_blobs: Blobs, call: Call, input: Input) -> Output:
    """Delete a key or one version of it; what is not there is no error."""
    key = check_key(input["Key"])
    bucket = await bucket_of(call, input)
    if input.get("IfMatchLastModifiedTime") is not None or input.get("IfMatchSize") is not None:
        raise NotServed(Header="x-amz-if-match-size")
    version = input.get("VersionId")
    if version is not None:
        done = await call.app.store.write(commits.delete_version, call, bucket.name, key, version)
    else:
        conditions = {"IfMatch": input["IfMatch"], "Key": key} if input.get("IfMatch") else {}
        done = await call.app.store.write(commits.delete_latest, call, bucket.name, key, conditions)
    point("objects.delete_committed")
    return {"VersionId": done.version, "DeleteMarker": True if done.marker else None}


@table.operation("DeleteObjects", public=True)
async def delete_objects(_blobs: Blobs, call: Call, input: Input) -> Output:
    """Delete up to 1000 keys or versions. Each is authorised by itself; those allowed go in one transaction."""
    bucket = await bucket_of(call, input)
    asked: list[dict[str, Any]] = input["Delete"].get("Objects") or []
    if not 1 <= len(asked) <= 1000:
        raise MalformedXML
    errors: list[dict[str, Any]] = []
    allowed: list[tuple[str, str | None]] = []
    for item in asked:
        key, version = item["Key"], item.get("VersionId")
        try:
            check_key(key)
            action = "s3:DeleteObject" if version is None else "s3:DeleteObjectVersion"
            await call.app.identity.authorize(call, action, (arn_of_object(call, bucket.name, key),))
        except Denied as denied:
            errors.append({"Key": key, "VersionId": version, "Code": "AccessDenied", "Message": str(denied)})
        except ServiceError as error:
            errors.append({"Key": key, "VersionId": version, "Code": error.wire_code, "Message": error.message})
        else:
            allowed.append((key, version))
    done = await call.app.store.write(commits.delete_many, call, bucket.name, allowed) if allowed else []
    if input["Delete"].get("Quiet"):
        return {"Errors": errors or None}
    deleted: list[dict[str, Any]] = []
    for (key, version), what in zip(allowed, done, strict=True):
        entry: dict[str, Any] = {"Key": key, "VersionId": version}
        if what.marker:
            entry |= {"DeleteMarker": True, "DeleteMarkerVersionId": what.version}
        deleted.append(entry)
    return {"Deleted": deleted or None, "Errors": errors or None}
