"""Names: buckets, keys, ARNs and owners."""

from __future__ import annotations

import hashlib
import ipaddress
import re
from typing import Any

from penstock.application import Call
from penstock.objects import records
from penstock.objects.errors import InvalidArgument, InvalidBucketName, InvalidRequest, KeyTooLongError
from penstock.objects.model import MAX_KEY, NULL, Bucket, Versioning
from penstock.wire.call import Input
from penstock.wire.recognise import RESERVED_PATHS

_BUCKET = re.compile(r"[a-z0-9](?:[a-z0-9-]|\.(?!\.))*[a-z0-9]")
_VERSION = re.compile(r"[A-Za-z0-9._-]{32}")  # of ours and of AWS's
_PREFIXES = ("xn--", "sthree-", "amzn-s3-demo-")
_SUFFIXES = ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")


def check_bucket_name(name: str) -> None:
    """Raise InvalidBucketName unless a bucket may be called so.

    AWS: "General purpose bucket naming rules". The paths that this installation needs for itself are no names either.
    """
    valid = 3 <= len(name) <= 63 and _BUCKET.fullmatch(name) is not None
    if not valid or name.startswith(_PREFIXES) or name.endswith(_SUFFIXES) or _is_address(name):
        raise InvalidBucketName(BucketName=name)
    if name in RESERVED_PATHS:
        raise InvalidBucketName(
            f"The specified bucket is not valid: '{name}' is a path of this installation.", BucketName=name
        )


def _is_address(name: str) -> bool:
    try:
        ipaddress.IPv4Address(name)
    except ValueError:
        return False
    return True


def check_key(key: str) -> str:
    """The key, or KeyTooLongError, or InvalidRequest when it is no Unicode text."""
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        raise InvalidRequest("Couldn't parse the specified URI.") from None
    if size > MAX_KEY:
        raise KeyTooLongError(Size=str(size), MaxSizeAllowed=str(MAX_KEY))
    return key


def check_version_id(bucket: Bucket, version: str | None, argument: str = "versionId") -> str | None:
    """The version id, or InvalidArgument when no version in this bucket can be called so."""
    if version is None or version == NULL:
        return version
    if bucket.versioning is Versioning.NEVER or not _VERSION.fullmatch(version):
        raise InvalidArgument("Invalid version id specified", ArgumentName=argument, ArgumentValue=version)
    return version


async def bucket_arn(call: Call, input: Input) -> str:
    """The ARN of the bucket that an input names."""
    await note_region(call, input["Bucket"])
    return arn_of_bucket(call, input["Bucket"])


async def object_arn(call: Call, input: Input) -> str:
    """The ARN of the object that an input names. Raises KeyTooLongError, or InvalidRequest when it is no Unicode text."""
    key = check_key(input["Key"])
    await note_region(call, input["Bucket"])
    return arn_of_object(call, input["Bucket"], key)


async def note_region(call: Call, bucket: str) -> None:
    """Give policies that ask for aws:RequestedRegion the region of the bucket, whatever region was signed for."""
    if len(call.app.settings.all_regions()) > 1:
        found = await call.app.store.read(records.find_bucket, bucket)
        if found is not None:
            call.memo["region"] = found.region


def arn_of_bucket(call: Call, bucket: str) -> str:
    """S3's ARNs have neither region nor account."""
    return f"arn:{call.partition}:s3:::{bucket}"


def arn_of_object(call: Call, bucket: str, key: str) -> str:
    """The ARN of an object."""
    return f"arn:{call.partition}:s3:::{bucket}/{key}"


def owner(account: str) -> dict[str, Any]:
    """An account as S3 names owners: by a canonical user id of 64 hexadecimal digits."""
    return {"ID": hashlib.sha256(f"penstock:{account}".encode()).hexdigest()}
