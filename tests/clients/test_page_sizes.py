"""A list that fits into its page has no next one; one that does not continues where it ended."""

from __future__ import annotations

from typing import Any

import pytest
from penstock_live import Live, live  # noqa: F401 - the fixture

ROLE = '{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":"codepipeline.amazonaws.com"},"Action":"sts:AssumeRole"}}'
DENY = '{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"*","Resource":"*"}}'
NAMES = ("p-1", "p-2", "p-3")


@pytest.fixture(scope="module")
def three(live: Live) -> Live:  # noqa: F811
    """Three of everything that is listed."""
    logs, s3, iam = live.client("logs"), live.client("s3"), live.client("iam")
    s3.create_bucket(Bucket="p-1")
    uploads = s3.create_multipart_upload(Bucket="p-1", Key="parts")
    for number, name in enumerate(NAMES, start=1):
        logs.create_log_group(logGroupName=f"/pages/{name}")
        logs.create_log_stream(logGroupName="/pages/p-1" if number > 1 else f"/pages/{name}", logStreamName=name)
        s3.put_object(Bucket="p-1", Key=name, Body=b"x")
        if number > 1:
            s3.create_bucket(Bucket=name)
        s3.upload_part(Bucket="p-1", Key="parts", UploadId=uploads["UploadId"], PartNumber=number, Body=bytes(5 << 20))
        s3.create_multipart_upload(Bucket="p-2" if number > 1 else "p-1", Key=f"upload-{number}")
        iam.create_user(UserName=name, Path="/pages/")
        iam.create_role(RoleName=name, Path="/pages/", AssumeRolePolicyDocument=ROLE)
        iam.create_policy(
            PolicyName=name,
            Path="/pages/",
            PolicyDocument=DENY,
        )
    s3.create_multipart_upload(Bucket="p-2", Key="upload-1")
    live.upload = uploads["UploadId"]  # type: ignore[attr-defined]
    return live


# service, operation, input, the member with the page's size, the one with the list, the one that leads on, and where it is given back
LISTS: list[tuple[str, str, dict[str, Any], str, str, str, str]] = [
    ("logs", "describe_log_groups", {"logGroupNamePrefix": "/pages/"}, "limit", "logGroups", "nextToken", "nextToken"),
    ("logs", "describe_log_streams", {"logGroupName": "/pages/p-1"}, "limit", "logStreams", "nextToken", "nextToken"),
    ("s3", "list_objects_v2", {"Bucket": "p-1"}, "MaxKeys", "Contents", "NextContinuationToken", "ContinuationToken"),
    ("s3", "list_objects", {"Bucket": "p-1", "Delimiter": "/"}, "MaxKeys", "Contents", "NextMarker", "Marker"),
    ("s3", "list_object_versions", {"Bucket": "p-1"}, "MaxKeys", "Versions", "NextKeyMarker", "KeyMarker"),
    ("s3", "list_buckets", {"Prefix": "p-"}, "MaxBuckets", "Buckets", "ContinuationToken", "ContinuationToken"),
    ("s3", "list_parts", {"Bucket": "p-1", "Key": "parts"}, "MaxParts", "Parts", "NextPartNumberMarker", "PartNumberMarker"),
    ("s3", "list_multipart_uploads", {"Bucket": "p-2"}, "MaxUploads", "Uploads", "NextKeyMarker", "KeyMarker"),
    ("iam", "list_users", {"PathPrefix": "/pages/"}, "MaxItems", "Users", "Marker", "Marker"),
    ("iam", "list_roles", {"PathPrefix": "/pages/"}, "MaxItems", "Roles", "Marker", "Marker"),
    ("iam", "list_policies", {"Scope": "Local", "PathPrefix": "/pages/"}, "MaxItems", "Policies", "Marker", "Marker"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("service", "operation", "input", "size", "list_", "next_", "back"), LISTS, ids=[row[1] for row in LISTS]
)
def test_a_page_of_exactly_so_many_is_the_last(three, service, operation, input, size, list_, next_, back):
    call = getattr(three.client(service), operation)
    given = input | ({"UploadId": three.upload} if operation == "list_parts" else {})
    for large in (3, 4):
        page = call(**given, **{size: large})
        assert len(page[list_]) == 3
        assert not page.get("IsTruncated")
        if "IsTruncated" not in page:  # S3 repeats the last marker, whether or not there is more
            assert next_ not in page
    first = call(**given, **{size: 2})
    assert len(first[list_]) == 2
    assert first.get("IsTruncated", True) is True
    rest = call(**given, **{size: 2, back: first[next_]})
    assert len(rest[list_]) == 1
    assert not rest.get("IsTruncated")
    assert [str(item) for item in first[list_] + rest[list_]] == [str(item) for item in page[list_]]
