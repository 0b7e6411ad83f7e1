"""DeleteObject and DeleteObjects."""

from __future__ import annotations

from typing import Any

from penstock.application import Call
from penstock.objects import commits, records
from penstock.objects.blobs import Blobs
from penstock.objects.errors import InvalidArgument, MalformedXML, NoSuchVersion, NotServed
from penstock.objects.lookup import bucket_of, expected_one, mine
from penstock.objects.names import arn_of_object, check_key, check_version_id, note_region, object_arn
from penstock.objects.operations import s3
from penstock.store.failpoints import failpoint
from penstock.wire.call import Input, Output
from penstock.wire.errors import AccessDenied as Denied
from penstock.wire.errors import ServiceError
from penstock.wire.registry import Access, Recorded


def _action(_call: Call, input: Input) -> str:
    return "s3:DeleteObjectVersion" if input.get("VersionId") else "s3:DeleteObject"


@s3("DeleteObject", action=_action, resource=object_arn, recorded=Recorded.DATA)
async def delete_object(blobs: Blobs, call: Call, input: Input) -> Output:
    """Delete a key or one version of it; what is not there is no error."""
    key = check_key(input["Key"])
    bucket = await bucket_of(call, input)
    _refuse_bypass(input)
    target = commits.DeleteTarget(
        key=key, version=check_version_id(bucket, input.get("VersionId")), match=input.get("IfMatch")
    )
    await _may_compare(call, bucket.name, target)
    done = await call.app.store.write(commits.delete, call, bucket.name, target)
    failpoint("objects.delete_committed")
    return {"VersionId": done.version, "DeleteMarker": True if done.marker else None}


@s3("DeleteObjects", access=Access.AUTHENTICATED, recorded=Recorded.DATA)
async def delete_objects(blobs: Blobs, call: Call, input: Input) -> Output:
    """Delete up to 1000 keys or versions. Each is authorised by itself; those allowed go in one transaction."""
    await note_region(call, input["Bucket"])
    bucket = expected_one(input, await call.app.store.read(records.find_bucket, input["Bucket"]))
    _refuse_bypass(input)
    asked: list[dict[str, Any]] = input["Delete"].get("Objects") or []
    if not 1 <= len(asked) <= 1000:
        raise MalformedXML
    errors: list[dict[str, Any]] = []
    allowed: list[commits.DeleteTarget] = []
    for item in asked:
        target = commits.DeleteTarget(key=item["Key"], version=item.get("VersionId"), match=item.get("ETag"))
        try:
            check_key(target.key)
            arn = arn_of_object(call, bucket.name, target.key)
            action = "s3:DeleteObject" if target.version is None else "s3:DeleteObjectVersion"
            await call.app.identity.authorize(call, action, (arn,))
            mine(call, input, bucket)  # the policy of another account's has let the caller in by then, or not
            try:
                check_version_id(bucket, target.version)
            except InvalidArgument:
                raise NoSuchVersion from None
            if item.get("LastModifiedTime") is not None or item.get("Size") is not None:
                raise NotServed("LastModifiedTime and Size are conditions of directory buckets; use ETag.")
            await _may_compare(call, bucket.name, target)
        except Denied as denied:
            errors.append(_entry(target) | {"Code": "AccessDenied", "Message": str(denied)})
        except ServiceError as error:
            errors.append(_entry(target) | {"Code": error.wire_code, "Message": error.message})
        else:
            allowed.append(target)
    done = await call.app.store.write(commits.delete_many, call, bucket.name, allowed) if allowed else []
    deleted: list[dict[str, Any]] = []
    for target, what in zip(allowed, done, strict=True):
        if isinstance(what, ServiceError):
            errors.append(_entry(target) | {"Code": what.wire_code, "Message": what.message})
        elif what.marker:
            deleted.append(_entry(target) | {"DeleteMarker": True, "DeleteMarkerVersionId": what.version})
        else:
            deleted.append(_entry(target))
    quiet = input["Delete"].get("Quiet")
    return {"Deleted": None if quiet else deleted or None, "Errors": errors or None}


def _refuse_bypass(input: Input) -> None:
    """No bucket here has Object Lock, so there is no retention that could be bypassed."""
    if input.get("BypassGovernanceRetention") is not None:
        raise InvalidArgument(
            "x-amz-bypass-governance-retention is only applicable to Object Lock enabled buckets.",
            ArgumentName="x-amz-bypass-governance-retention",
        )


def _entry(target: commits.DeleteTarget) -> dict[str, Any]:
    return {"Key": target.key, "VersionId": target.version}


async def _may_compare(call: Call, bucket: str, target: commits.DeleteTarget) -> None:
    """An ETag may be guessed only by who may read it (AWS: "How to perform conditional deletes")."""
    if target.match not in (None, "*"):
        action = "s3:GetObject" if target.version is None else "s3:GetObjectVersion"
        await call.app.identity.authorize(call, action, (arn_of_object(call, bucket, target.key),))
