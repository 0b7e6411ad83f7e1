"""Buckets: their life, place and versioning."""

from __future__ import annotations

import sqlalchemy as sa

from penstock.application import Call
from penstock.objects import contents, records
from penstock.objects.blobs import Blobs
from penstock.objects.errors import (
    BucketAlreadyExists,
    BucketAlreadyOwnedByYou,
    BucketNotEmpty,
    IllegalLocationConstraintException,
    InvalidArgument,
    InvalidLocationConstraint,
    InvalidRequest,
    MalformedXML,
    NoSuchBucket,
    NotServed,
)
from penstock.objects.lookup import bucket_of
from penstock.objects.model import Bucket, Versioning, time_to_api
from penstock.objects.names import arn_of_bucket, bucket_arn, check_bucket_name, owner
from penstock.objects.operations import pages_by, s3
from penstock.objects.request import NEW_BUCKET_TAGS, refuse_unserved
from penstock.wire.call import Input, Output, Reply
from penstock.wire.tags import pairs_of

_HOME = "us-east-1"  # the region without a location constraint
_PAGES = pages_by("Prefix", "BucketRegion")


@s3("CreateBucket", resource=bucket_arn)
async def create_bucket(blobs: Blobs, call: Call, input: Input) -> Output:
    """Make a bucket in the region of its location constraint, or in us-east-1, or in-process in the call's region."""
    name = input["Bucket"]
    check_bucket_name(name)
    if input.get("ObjectLockEnabledForBucket"):
        raise NotServed(Header="x-amz-bucket-object-lock-enabled")
    refuse_unserved(input)
    configuration = input.get("CreateBucketConfiguration") or {}
    if input.get("BucketNamespace", "global") != "global":
        raise NotServed(
            "A header you provided implies functionality that is not implemented: namespaces of an account. Every bucket is in "
            "the global one; leave the header out.",
            Header="x-amz-bucket-namespace",
        )
    if configuration.get("Bucket") or configuration.get("Location"):
        raise NotServed(
            "Directory buckets are not implemented: leave Bucket and Location out of the CreateBucketConfiguration, and a "
            "general purpose bucket is made."
        )
    region = _region(call, configuration.get("LocationConstraint") or "")
    settings = {}
    if tags := configuration.get("Tags"):
        settings["tags"] = NEW_BUCKET_TAGS.check(pairs_of(tags))
    if input.get("ObjectOwnership", "BucketOwnerEnforced") != "BucketOwnerEnforced":
        raise InvalidRequest("ACLs are not served: the only object ownership is BucketOwnerEnforced.")
    bucket = Bucket(
        name=name,
        account=call.account,
        region=region,
        created=call.now,
        versioning=Versioning.NEVER,
        settings=settings,
    )
    await call.app.store.write(_create, bucket)
    return {"Location": f"/{name}", "BucketArn": arn_of_bucket(call, name)}


def _region(call: Call, constraint: str) -> str:
    configured = call.app.settings.all_regions()
    constraint = "eu-west-1" if constraint == "EU" else constraint  # the oldest name of that region
    if call.via != "http":
        region = constraint or call.region
    else:
        region = constraint or _HOME
        if call.region not in (_HOME, region):
            raise IllegalLocationConstraintException(constraint=constraint or "unspecified")
    if region not in configured or constraint == _HOME:  # us-east-1 is named by saying nothing
        raise InvalidLocationConstraint(
            f"The specified location-constraint is not valid: the regions of this installation are {', '.join(configured)}",
            LocationConstraint=region,
        )
    return region


def _create(conn: sa.Connection, bucket: Bucket) -> None:
    there = records.find_bucket(conn, bucket.name, lock="share")
    if there is None:
        records.insert_bucket(conn, bucket)
    elif there.account != bucket.account:
        raise BucketAlreadyExists(BucketName=bucket.name)
    elif there.region != _HOME or bucket.region != _HOME or bucket.settings:
        # In us-east-1, AWS answers a second creation by the owner like the first, unless that would drop tags.
        raise BucketAlreadyOwnedByYou(BucketName=bucket.name)


@s3("HeadBucket", action="s3:ListBucket", resource=bucket_arn)
async def head_bucket(blobs: Blobs, call: Call, input: Input) -> Reply:
    """Whether it is there and open to the caller, and where it is."""
    bucket = await bucket_of(call, input)
    answer = {"BucketRegion": bucket.region, "BucketArn": arn_of_bucket(call, bucket.name), "AccessPointAlias": False}
    return Reply(answer, headers={"content-type": "application/xml"})


def _every_bucket(call: Call, _input: Input) -> str:
    """AWS's own policies allow it on `*` or on `arn:aws:s3:::*`."""
    return arn_of_bucket(call, "*")


@s3("ListBuckets", action="s3:ListAllMyBuckets", resource=_every_bucket)
async def list_buckets(blobs: Blobs, call: Call, input: Input) -> Output:
    """The account's buckets in all regions, by name."""
    asked = input.get("MaxBuckets")
    limit = 10_000 if asked is None else min(asked, 10_000)
    region = input.get("BucketRegion")
    if region and region not in call.app.settings.all_regions():
        raise InvalidArgument(f"Argument value {region} is not a valid AWS Region", ArgumentName="bucket-region")
    rows = await call.app.store.scan(
        records.list_buckets,
        call.account,
        after=_PAGES.after(call, input),
        prefix=input.get("Prefix") or "",
        region=region or "",
        limit=limit + 1,
    )
    page = _PAGES.page(call, input, rows, limit=limit, keyset=lambda bucket: [bucket.name])
    return {
        "Buckets": [
            {
                "Name": bucket.name,
                "CreationDate": time_to_api(bucket.created),
                "BucketRegion": bucket.region,
                "BucketArn": arn_of_bucket(call, bucket.name),
            }
            for bucket in page.rows
        ],
        "Owner": owner(call.account),
        "Prefix": input.get("Prefix"),
        **page.more,
    }


@s3("DeleteBucket", resource=bucket_arn)
async def delete_bucket(blobs: Blobs, call: Call, input: Input) -> Output:
    """Remove an empty bucket; uploads under way go with it."""
    bucket = await bucket_of(call, input)
    await call.app.identity.change(lambda conn: _delete(conn, bucket.name, call.now))
    return {}


def _delete(conn: sa.Connection, name: str, now: int) -> None:
    bucket = records.find_bucket(conn, name, lock="update")
    if bucket is None:
        raise NoSuchBucket(BucketName=name)
    if records.bucket_has_versions(conn, name):
        if bucket.versioning is Versioning.NEVER:
            raise BucketNotEmpty(BucketName=name)
        raise BucketNotEmpty(
            "The bucket you tried to delete is not empty. You must delete all versions in the bucket.", BucketName=name
        )
    for upload, is_open in contents.uploads_of_bucket(conn, name):
        if is_open:
            contents.release_content(conn, upload, now)
        contents.delete_upload(conn, upload)
    records.delete_bucket(conn, name)


@s3("GetBucketLocation", resource=bucket_arn)
async def get_bucket_location(blobs: Blobs, call: Call, input: Input) -> Output:
    """The location constraint: empty for us-east-1."""
    bucket = await bucket_of(call, input)
    return {"LocationConstraint": "" if bucket.region == _HOME else bucket.region}


@s3("GetBucketVersioning", resource=bucket_arn)
async def get_bucket_versioning(blobs: Blobs, call: Call, input: Input) -> Output:
    """`Status` is absent until versioning was enabled for the first time."""
    bucket = await bucket_of(call, input)
    return {"Status": bucket.versioning.value or None}


@s3("PutBucketVersioning", resource=bucket_arn)
async def put_bucket_versioning(blobs: Blobs, call: Call, input: Input) -> Output:
    """Enable or suspend."""
    configuration = input["VersioningConfiguration"]
    if configuration.get("MFADelete") == "Enabled":
        raise NotServed(
            "A header you provided implies functionality that is not implemented: MFA delete.", Header="x-amz-mfa"
        )
    if configuration.get("Status") not in ("Enabled", "Suspended"):
        raise MalformedXML
    bucket = await bucket_of(call, input)
    await call.app.store.write(_set_versioning, bucket.name, configuration["Status"])
    return {}


def _set_versioning(conn: sa.Connection, name: str, status: str) -> None:
    if records.find_bucket(conn, name, lock="update") is None:
        raise NoSuchBucket(BucketName=name)
    records.update_bucket(conn, name, versioning=status)
