"""Buckets and objects by boto3 against a live server."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import io
import json
import os
import urllib.error
import urllib.parse
import urllib.request
import zlib

import boto3
import pytest
from boto3.s3.transfer import TransferConfig
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

MIB = 1 << 20


@pytest.fixture(scope="module")
def s3(live):
    return live.client("s3")


@pytest.fixture(scope="module")
def key(live) -> str:
    """The ARN of a key of KMS."""
    return live.client("kms").create_key()["KeyMetadata"]["Arn"]


@pytest.fixture(scope="module")
def bucket(s3) -> str:
    s3.create_bucket(Bucket="plain")
    return "plain"


@pytest.fixture(scope="module")
def versioned(s3) -> str:
    s3.create_bucket(Bucket="versioned")
    s3.put_bucket_versioning(Bucket="versioned", VersioningConfiguration={"Status": "Enabled"})
    return "versioned"


class Failure:
    """What a call was refused with."""

    def __init__(self, call, **arguments):
        with pytest.raises(ClientError) as error:
            call(**arguments)
        self.response = error.value.response
        self.error = self.response["Error"]
        self.code = self.error["Code"]
        self.status = self.response["ResponseMetadata"]["HTTPStatusCode"]
        self.headers = self.response["ResponseMetadata"]["HTTPHeaders"]

    def __eq__(self, other):
        return (self.code, self.status) == other

    def __repr__(self):
        return repr((self.code, self.status, self.error))


def limited(live, name: str, bucket: str, *actions: str):
    """S3 as a user who may do these things to the objects of a bucket, and nothing else."""
    iam = live.client("iam")
    iam.create_user(UserName=name)
    allow = {"Effect": "Allow", "Action": actions, "Resource": f"arn:aws:s3:::{bucket}/*"}
    iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=json.dumps({"Statement": [allow]}))
    made = iam.create_access_key(UserName=name)["AccessKey"]
    keys = {"aws_access_key_id": made["AccessKeyId"], "aws_secret_access_key": made["SecretAccessKey"]}
    return live.client("s3", keys=keys)


def test_an_object_comes_and_goes(s3) -> None:
    s3.create_bucket(Bucket="first")
    put = s3.put_object(
        Bucket="first", Key="a/b c+é.txt", Body=b"hello", Metadata={"Colour": "red"}, ContentType="text/plain"
    )
    assert put["ETag"] == '"5d41402abc4b2a76b9719d911017c592"'
    assert "VersionId" not in put
    got = s3.get_object(Bucket="first", Key="a/b c+é.txt")
    assert got["Body"].read() == b"hello"
    assert got["Metadata"] == {"colour": "red"}
    assert got["ContentType"] == "text/plain"
    assert got["ServerSideEncryption"] == "AES256"
    assert s3.head_object(Bucket="first", Key="a/b c+é.txt")["ContentLength"] == 5
    assert [item["Key"] for item in s3.list_objects_v2(Bucket="first")["Contents"]] == ["a/b c+é.txt"]
    assert [item["Key"] for item in s3.list_objects(Bucket="first")["Contents"]] == ["a/b c+é.txt"]
    assert Failure(s3.delete_bucket, Bucket="first") == ("BucketNotEmpty", 409)
    s3.delete_object(Bucket="first", Key="a/b c+é.txt")
    s3.delete_object(Bucket="first", Key="a/b c+é.txt")
    missing = Failure(s3.get_object, Bucket="first", Key="a/b c+é.txt")
    assert missing == ("NoSuchKey", 404)
    assert missing.error["Key"] == "a/b c+é.txt"
    s3.delete_bucket(Bucket="first")
    assert Failure(s3.head_bucket, Bucket="first") == ("404", 404)
    assert Failure(s3.get_object, Bucket="first", Key="x") == ("NoSuchBucket", 404)


def test_bucket_names_and_owners(s3, bucket: str) -> None:
    for name in ("console", "healthz", "metrics", "webhooks", "service", "192.168.1.1", "xn--abc", "a-s3alias"):
        assert Failure(s3.create_bucket, Bucket=name) == ("InvalidBucketName", 400), name
    assert Failure(s3.create_bucket, Bucket="Capital") == ("InvalidBucketName", 400)
    s3.create_bucket(Bucket=bucket)  # as AWS answers in us-east-1
    names = [item["Name"] for item in s3.list_buckets()["Buckets"]]
    assert bucket in names
    page = s3.list_buckets(MaxBuckets=1)
    assert len(page["Buckets"]) == 1
    if len(names) > 1:
        rest = s3.list_buckets(ContinuationToken=page["ContinuationToken"])
        assert page["Buckets"][0]["Name"] not in [item["Name"] for item in rest["Buckets"]]
    assert s3.get_bucket_location(Bucket=bucket)["LocationConstraint"] is None
    assert s3.head_bucket(Bucket=bucket)["BucketRegion"] == "us-east-1"
    wrong = {"LocationConstraint": "eu-west-3"}
    assert Failure(s3.create_bucket, Bucket="elsewhere", CreateBucketConfiguration=wrong) == (
        "InvalidLocationConstraint",
        400,
    )
    assert Failure(s3.head_bucket, Bucket=bucket, ExpectedBucketOwner="222222222222") == ("403", 403)


def _user_of_one_region(live, region: str, *, name: str = "local", action: str = "s3:*") -> dict[str, str]:
    iam = live.client("iam")
    iam.create_user(UserName=name)
    elsewhere = {"StringNotEquals": {"aws:RequestedRegion": region}}
    statements = [
        {"Effect": "Allow", "Action": "s3:*", "Resource": "*"},
        {"Effect": "Deny", "Action": action, "Resource": "*", "Condition": elsewhere},
    ]
    document = json.dumps({"Version": "2012-10-17", "Statement": statements})
    iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=document)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}


def test_regions(live_factory) -> None:
    with live_factory(region="us-east-1", regions=("eu-central-1", "plant-7")) as live:
        s3 = live.client("s3", region="eu-central-1")
        assert Failure(s3.create_bucket, Bucket="there") == ("IllegalLocationConstraintException", 400)
        there = {"LocationConstraint": "eu-central-1"}
        s3.create_bucket(Bucket="there", CreateBucketConfiguration=there)
        assert Failure(s3.create_bucket, Bucket="there", CreateBucketConfiguration=there) == (
            "BucketAlreadyOwnedByYou",
            409,
        )
        assert s3.get_bucket_location(Bucket="there")["LocationConstraint"] == "eu-central-1"
        home = live.client("s3")
        home.put_object(Bucket="there", Key="x", Body=b"1")
        assert home.head_bucket(Bucket="there")["BucketRegion"] == "eu-central-1"
        home.create_bucket(Bucket="here", CreateBucketConfiguration={"LocationConstraint": "plant-7"})
        assert home.get_bucket_location(Bucket="here")["LocationConstraint"] == "plant-7"
        keys = _user_of_one_region(live, "eu-central-1")
        for signed in ("eu-central-1", "us-east-1"):
            theirs = live.client("s3", region=signed, keys=keys)
            assert theirs.get_object(Bucket="there", Key="x")["Body"].read() == b"1"
            assert Failure(theirs.put_object, Bucket="here", Key="x", Body=b"") == ("AccessDenied", 403)
            assert Failure(theirs.copy_object, Bucket="there", Key="y", CopySource="here/x") == ("AccessDenied", 403)
            gone = theirs.delete_objects(Bucket="here", Delete={"Objects": [{"Key": "x"}]})
            assert [error["Code"] for error in gone["Errors"]] == ["AccessDenied"]
            ours = live.client("penstock", region=signed, keys=keys)
            assert ours.get_object_digest(bucketName="there", objectKey="x")["size"] == 1
            with pytest.raises(ClientError, match="s3:GetObject on resource: .* explicit deny"):
                ours.get_object_digest(bucketName="here", objectKey="x")
        # The tags of a copy's source are read where the source lies.
        home.put_object(Bucket="here", Key="tagged", Body=b"1", Tagging="a=b")
        theirs = live.client(
            "s3", keys=_user_of_one_region(live, "eu-central-1", name="tags", action="s3:GetObjectTagging")
        )
        assert Failure(theirs.copy_object, Bucket="there", Key="y", CopySource="here/tagged") == ("AccessDenied", 403)
        theirs.copy_object(Bucket="there", Key="y", CopySource="here/tagged", TaggingDirective="REPLACE")
        for nowhere in ("mars", "us-east-1"):
            configuration = {"LocationConstraint": nowhere}
            assert Failure(home.create_bucket, Bucket="nowhere", CreateBucketConfiguration=configuration) == (
                "InvalidLocationConstraint",
                400,
            )


def test_ranges(s3, bucket: str) -> None:
    data = os.urandom(200_000)
    s3.put_object(Bucket=bucket, Key="range", Body=data)
    for header, start, stop in (
        ("bytes=0-0", 0, 1),
        ("bytes=65530-65550", 65530, 65551),
        ("bytes=199990-", 199990, 200000),
        ("bytes=-5", 199995, 200000),
        ("bytes=0-999999", 0, 200000),
    ):
        got = s3.get_object(Bucket=bucket, Key="range", Range=header)
        assert got["ResponseMetadata"]["HTTPStatusCode"] == 206
        assert got["Body"].read() == data[start:stop]
        assert got["ContentRange"] == f"bytes {start}-{stop - 1}/200000"
        assert s3.head_object(Bucket=bucket, Key="range", Range=header)["ContentLength"] == stop - start
    for ignored in ("bytes=5-2", "bytes=0-1,5-6", "lines=1-2"):
        got = s3.get_object(Bucket=bucket, Key="range", Range=ignored)
        assert got["ResponseMetadata"]["HTTPStatusCode"] == 200
        assert len(got["Body"].read()) == 200_000
    refused = Failure(s3.get_object, Bucket=bucket, Key="range", Range="bytes=200000-")
    assert refused == ("InvalidRange", 416)
    assert refused.error["ActualObjectSize"] == "200000"
    s3.put_object(Bucket=bucket, Key="empty", Body=b"")
    assert s3.get_object(Bucket=bucket, Key="empty")["Body"].read() == b""
    assert Failure(s3.get_object, Bucket=bucket, Key="empty", Range="bytes=0-") == ("InvalidRange", 416)


def test_conditional_reads(s3, bucket: str) -> None:
    etag = s3.put_object(Bucket=bucket, Key="cond", Body=b"1")["ETag"]
    hour = dt.timedelta(hours=1)
    modified = s3.head_object(Bucket=bucket, Key="cond")["LastModified"]
    where = {"Bucket": bucket, "Key": "cond"}
    s3.get_object(**where, IfMatch=etag)
    assert Failure(s3.get_object, **where, IfMatch='"other"') == ("PreconditionFailed", 412)
    same = Failure(s3.get_object, **where, IfNoneMatch=etag)
    assert same == ("304", 304)
    assert same.headers["etag"] == etag
    s3.get_object(**where, IfNoneMatch='"other"')
    assert Failure(s3.get_object, **where, IfModifiedSince=modified) == ("304", 304)
    s3.get_object(**where, IfModifiedSince=modified - hour)
    assert Failure(s3.head_object, **where, IfUnmodifiedSince=modified - hour) == ("412", 412)
    s3.get_object(**where, IfMatch=etag, IfUnmodifiedSince=modified - hour)


def test_conditional_writes(s3, bucket: str) -> None:
    where = {"Bucket": bucket, "Key": "once"}
    etag = s3.put_object(**where, Body=b"1", IfNoneMatch="*")["ETag"]
    assert Failure(s3.put_object, **where, Body=b"2", IfNoneMatch="*") == ("PreconditionFailed", 412)
    assert Failure(s3.put_object, **where, Body=b"2", IfMatch='"0"') == ("PreconditionFailed", 412)
    s3.put_object(**where, Body=b"2", IfMatch=etag)
    assert s3.get_object(**where)["Body"].read() == b"2"
    assert Failure(s3.put_object, Bucket=bucket, Key="never", Body=b"2", IfMatch=etag) == ("NoSuchKey", 404)
    assert Failure(s3.delete_object, **where, IfMatch=etag) == ("PreconditionFailed", 412)


def test_versions_of_one_key_continue_where_a_page_ended(s3) -> None:
    s3.create_bucket(Bucket="paged-versions")
    s3.put_bucket_versioning(Bucket="paged-versions", VersioningConfiguration={"Status": "Enabled"})
    made = [
        (key, s3.put_object(Bucket="paged-versions", Key=key, Body=b"x")["VersionId"])
        for key in ("a", "b", "b", "b", "c")
    ]
    pages = s3.get_paginator("list_object_versions").paginate(Bucket="paged-versions", PaginationConfig={"PageSize": 1})
    listed = [(item["Key"], item["VersionId"]) for page in pages for item in page["Versions"]]
    assert listed == [made[0], *made[3:0:-1], made[4]]  # the newest version of a key first
    refusal = Failure(s3.delete_bucket, Bucket="paged-versions")
    assert refusal == ("BucketNotEmpty", 409)
    assert "You must delete all versions in the bucket" in refusal.error["Message"]


def test_a_token_continues_the_list_that_it_came_from(s3) -> None:
    for bucket in ("listed-one", "listed-two"):
        s3.create_bucket(Bucket=bucket)
        for key in ("p/1", "p/2", "q/1"):
            s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    page = s3.list_objects_v2(Bucket="listed-one", Prefix="p/", MaxKeys=1)
    token = page["NextContinuationToken"]
    rest = s3.list_objects_v2(Bucket="listed-one", Prefix="p/", ContinuationToken=token)
    assert [item["Key"] for item in rest["Contents"]] == ["p/2"]
    for other in ({"Prefix": "q/"}, {"Prefix": "p/", "Delimiter": "/"}, {"Bucket": "listed-two", "Prefix": "p/"}):
        assert Failure(s3.list_objects_v2, **{"Bucket": "listed-one", "ContinuationToken": token, **other}) == (
            "InvalidArgument",
            400,
        )
    refusal = Failure(s3.delete_bucket, Bucket="listed-one")
    assert refusal == ("BucketNotEmpty", 409)
    assert "versions" not in refusal.error["Message"]


def test_conditions_on_a_delete_marker_find_nothing(s3, versioned: str) -> None:
    where = {"Bucket": versioned, "Key": "marked"}
    etag = s3.put_object(**where, Body=b"1")["ETag"]
    s3.delete_object(**where)
    assert Failure(s3.put_object, **where, Body=b"2", IfMatch=etag) == ("NoSuchKey", 404)
    assert Failure(s3.get_object, **where, IfMatch=etag) == ("NoSuchKey", 404)
    s3.put_object(**where, Body=b"3", IfNoneMatch="*")
    assert s3.get_object(**where)["Body"].read() == b"3"


def test_values_that_are_none_of_s3_s_have_errors_of_their_own(s3, bucket: str) -> None:
    where = {"Bucket": bucket, "Key": "valued"}
    s3.put_object(**where)
    assert Failure(s3.put_object, **where, StorageClass="GOLD") == ("InvalidStorageClass", 400)
    source = {"CopySource": where, "MetadataDirective": "MOVE"}
    copied = Failure(s3.copy_object, **where, **source)
    assert (copied.code, copied.error["ArgumentName"]) == ("InvalidArgument", "x-amz-metadata-directive")
    listed = Failure(s3.list_objects_v2, Bucket=bucket, EncodingType="rot13")
    assert (listed.code, listed.error["ArgumentName"]) == ("InvalidArgument", "encoding-type")


def test_overrides_and_headers(s3, bucket: str, key: str) -> None:
    s3.put_object(
        Bucket=bucket,
        Key="headers",
        Body=b"x",
        CacheControl="no-cache",
        ContentDisposition="inline",
        ContentEncoding="gzip",
        ContentLanguage="de",
        Expires=dt.datetime(2030, 1, 1, tzinfo=dt.UTC),
        StorageClass="STANDARD_IA",
        WebsiteRedirectLocation="/other",
        ServerSideEncryption="aws:kms",
        SSEKMSKeyId=key,
    )
    head = s3.head_object(Bucket=bucket, Key="headers")
    for member, value in {
        "CacheControl": "no-cache",
        "ContentDisposition": "inline",
        "ContentEncoding": "gzip",
        "ContentLanguage": "de",
        "ContentType": "binary/octet-stream",
        "StorageClass": "STANDARD_IA",
        "WebsiteRedirectLocation": "/other",
        "ServerSideEncryption": "aws:kms",
        "SSEKMSKeyId": key,
        "Expires": dt.datetime(2030, 1, 1, tzinfo=dt.UTC),
    }.items():
        assert head[member] == value
    got = s3.get_object(Bucket=bucket, Key="headers", ResponseContentType="text/csv", ResponseCacheControl="max-age=1")
    assert (got["ContentType"], got["CacheControl"]) == ("text/csv", "max-age=1")


def test_what_is_refused(s3, bucket: str) -> None:
    where = {"Bucket": bucket, "Key": "refused"}
    assert Failure(s3.put_object, Bucket=bucket, Key="k" * 1025, Body=b"") == ("KeyTooLongError", 400)
    assert Failure(s3.put_object, **where, Metadata={"a": "b" * 2048}) == ("MetadataTooLarge", 400)
    assert Failure(s3.put_object, **where, ACL="public-read") == ("AccessControlListNotSupported", 400)
    assert Failure(s3.put_object, **where, StorageClass="GLACIER") == ("InvalidStorageClass", 400)
    assert Failure(s3.put_object, **where, ObjectLockLegalHoldStatus="ON") == ("InvalidRequest", 400)
    assert Failure(s3.put_object, **where, Tagging="a=1&a=2") == ("InvalidArgument", 400)
    assert Failure(s3.put_object, **where, Body=b"x", ContentMD5="bm9wZQ==") == ("InvalidDigest", 400)
    wrong = base64.b64encode(hashlib.md5(b"y").digest()).decode()
    assert Failure(s3.put_object, **where, Body=b"x", ContentMD5=wrong) == ("BadDigest", 400)
    crc = base64.b64encode(zlib.crc32(b"y").to_bytes(4, "big")).decode()
    assert Failure(s3.put_object, **where, Body=b"x", ChecksumCRC32=crc) == ("BadDigest", 400)
    assert Failure(s3.put_object, **where, Body=b"x", ChecksumCRC32="zzz") == ("InvalidRequest", 400)
    assert Failure(s3.head_object, **where) == ("404", 404)
    s3.put_object(**where, ACL="bucket-owner-full-control")


def test_customer_keys_refused_with_a_reason(live_tls) -> None:
    s3 = live_tls.client("s3")  # boto3 sends such keys over TLS only
    s3.create_bucket(Bucket="keys")
    refused = Failure(s3.put_object, Bucket="keys", Key="x", SSECustomerAlgorithm="AES256", SSECustomerKey="k" * 32)
    assert refused == ("NotImplemented", 501)
    assert "SSE-C" in refused.error["Message"]


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"])
def test_checksums(live, s3, bucket: str, algorithm: str) -> None:
    from penstock.objects.checksums import ALGORITHMS, Digests

    spec = ALGORITHMS[algorithm]
    data = os.urandom(100_000)
    digests = Digests([spec])
    digests.update(data)
    value = digests.value(spec)
    put = s3.put_object(Bucket=bucket, Key=algorithm, Body=data, **{spec.member: value})
    assert put[spec.member] == value
    head = s3.head_object(Bucket=bucket, Key=algorithm, ChecksumMode="ENABLED")
    assert head[spec.member] == value
    assert head["ChecksumType"] == "FULL_OBJECT"
    assert spec.member not in s3.head_object(Bucket=bucket, Key=algorithm)
    described = s3.get_object_attributes(
        Bucket=bucket, Key=algorithm, ObjectAttributes=["Checksum", "ObjectSize", "ETag"]
    )
    assert described["Checksum"][spec.member] == value
    assert described["ObjectSize"] == 100_000
    # The same as a trailer of an aws-chunked body, signed over TLS and in plain; and a wrong one.
    assert (
        s3.copy_object(Bucket=bucket, Key="copied", CopySource=f"{bucket}/{algorithm}")["CopyObjectResult"][spec.member]
        == value
    )


def test_trailing_checksums(live_tls) -> None:
    s3 = live_tls.client("s3")
    s3.create_bucket(Bucket="trailers")
    data = os.urandom(300_000)
    for algorithm in ("CRC32", "SHA256"):
        s3.put_object(Bucket="trailers", Key="t", Body=io.BytesIO(data), ChecksumAlgorithm=algorithm)
        got = s3.get_object(Bucket="trailers", Key="t", ChecksumMode="ENABLED")
        assert got[f"Checksum{algorithm}"]
        assert "ContentEncoding" not in got
        assert got["Body"].read() == data


def test_versions(s3, versioned: str) -> None:
    where = {"Bucket": versioned, "Key": "v"}
    one = s3.put_object(**where, Body=b"one")["VersionId"]
    two = s3.put_object(**where, Body=b"two")["VersionId"]
    assert s3.get_object(**where)["Body"].read() == b"two"
    assert s3.get_object(**where, VersionId=one)["Body"].read() == b"one"
    gone = s3.delete_object(**where)
    assert gone["DeleteMarker"] is True
    missing = Failure(s3.get_object, **where)
    assert missing == ("NoSuchKey", 404)
    assert missing.headers["x-amz-delete-marker"] == "true"
    assert missing.headers["x-amz-version-id"] == gone["VersionId"]
    assert Failure(s3.get_object, **where, VersionId=gone["VersionId"]) == ("MethodNotAllowed", 405)
    assert Failure(s3.get_object, **where, VersionId="nothere") == ("InvalidArgument", 400)
    assert Failure(s3.get_object, **where, VersionId="n" * 32) == ("NoSuchVersion", 404)
    listed = s3.list_object_versions(Bucket=versioned, Prefix="v")
    assert [item["VersionId"] for item in listed["Versions"]] == [two, one]
    assert [item["IsLatest"] for item in listed["Versions"]] == [False, False]
    assert [item["VersionId"] for item in listed["DeleteMarkers"]] == [gone["VersionId"]]
    assert listed["DeleteMarkers"][0]["IsLatest"] is True
    assert "Contents" not in s3.list_objects_v2(Bucket=versioned, Prefix="v")
    undone = s3.delete_object(**where, VersionId=gone["VersionId"])
    assert undone["DeleteMarker"] is True
    assert s3.get_object(**where)["Body"].read() == b"two"
    s3.delete_object(**where, VersionId=two)
    assert s3.get_object(**where)["VersionId"] == one
    assert Failure(s3.delete_bucket, Bucket=versioned) == ("BucketNotEmpty", 409)


def test_suspended_versions(s3) -> None:
    s3.create_bucket(Bucket="suspended")
    where = {"Bucket": "suspended", "Key": "k"}
    assert "Status" not in s3.get_bucket_versioning(Bucket="suspended")
    s3.put_object(**where, Body=b"null 1")
    s3.put_bucket_versioning(Bucket="suspended", VersioningConfiguration={"Status": "Enabled"})
    first = s3.put_object(**where, Body=b"first")["VersionId"]
    s3.put_bucket_versioning(Bucket="suspended", VersioningConfiguration={"Status": "Suspended"})
    assert s3.get_bucket_versioning(Bucket="suspended")["Status"] == "Suspended"
    s3.put_object(**where, Body=b"null 2")
    versions = s3.list_object_versions(Bucket="suspended")["Versions"]
    assert [item["VersionId"] for item in versions] == ["null", first]
    assert s3.get_object(**where, VersionId="null")["Body"].read() == b"null 2"
    assert s3.delete_object(**where)["VersionId"] == "null"
    assert s3.get_object(**where, VersionId=first)["Body"].read() == b"first"
    assert Failure(s3.get_object, **where) == ("NoSuchKey", 404)
    keys = [{"Key": "k", "VersionId": first}, {"Key": "k", "VersionId": "null"}]
    done = s3.delete_objects(Bucket="suspended", Delete={"Objects": keys})
    assert len(done["Deleted"]) == 2
    s3.delete_bucket(Bucket="suspended")


def test_lists(s3) -> None:
    s3.create_bucket(Bucket="lists")
    keys = ["a", "a/1", "a/2", "b b", "b/1/2", "c&<>", "c\x01", "ä", "\U0001f600"]
    for key in keys:
        s3.put_object(Bucket="lists", Key=key, Body=key.encode())
    ordered = sorted(keys, key=str.encode)
    assert [item["Key"] for item in s3.list_objects_v2(Bucket="lists")["Contents"]] == ordered
    grouped = s3.list_objects_v2(Bucket="lists", Delimiter="/")
    assert [item["Prefix"] for item in grouped["CommonPrefixes"]] == ["a/", "b/"]
    assert [item["Key"] for item in grouped["Contents"]] == [key for key in ordered if "/" not in key]
    assert grouped["KeyCount"] == 8
    for size in (1, 2, 3):
        for operation in ("list_objects_v2", "list_objects"):
            pages = s3.get_paginator(operation).paginate(
                Bucket="lists", Delimiter="/", PaginationConfig={"PageSize": size}
            )
            seen: list[str] = []
            for page in pages:
                assert len(page.get("Contents", [])) + len(page.get("CommonPrefixes", [])) <= size
                seen += [item["Key"] for item in page.get("Contents", [])]
                seen += [item["Prefix"] for item in page.get("CommonPrefixes", [])]
            assert sorted(seen) == sorted([key for key in keys if "/" not in key] + ["a/", "b/"])
    assert [item["Key"] for item in s3.list_objects_v2(Bucket="lists", StartAfter="a/1", Prefix="a")["Contents"]] == [
        "a/2"
    ]
    assert s3.list_objects_v2(Bucket="lists", MaxKeys=0)["KeyCount"] == 0
    assert Failure(s3.list_objects_v2, Bucket="lists", ContinuationToken="forged") == ("InvalidArgument", 400)
    s3.delete_object(Bucket="lists", Key="c\x01")  # XML cannot name it
    keys.remove("c\x01")
    done = s3.delete_objects(Bucket="lists", Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True})
    assert "Deleted" not in done
    s3.delete_bucket(Bucket="lists")


def test_a_bucket_is_emptied_page_by_page(s3) -> None:
    s3.create_bucket(Bucket="emptied")
    s3.put_bucket_versioning(Bucket="emptied", VersioningConfiguration={"Status": "Enabled"})
    for key in ("a", "b"):
        for _ in range(3):
            s3.put_object(Bucket="emptied", Key=key, Body=b"x")
        s3.delete_object(Bucket="emptied", Key=key)
    for page in s3.get_paginator("list_object_versions").paginate(Bucket="emptied", PaginationConfig={"PageSize": 3}):
        found = page.get("Versions", []) + page.get("DeleteMarkers", [])
        objects = [{"Key": item["Key"], "VersionId": item["VersionId"]} for item in found]
        s3.delete_objects(Bucket="emptied", Delete={"Objects": objects})
    s3.delete_bucket(Bucket="emptied")


def test_copies(s3, bucket: str, versioned: str) -> None:
    s3.put_object(Bucket=bucket, Key="src é", Body=b"source", Metadata={"a": "1"}, Tagging="t=1", ContentType="text/x")
    copied = s3.copy_object(Bucket=versioned, Key="dst", CopySource={"Bucket": bucket, "Key": "src é"})
    assert copied["VersionId"]
    got = s3.get_object(Bucket=versioned, Key="dst")
    assert (got["Body"].read(), got["Metadata"], got["ContentType"], got["TagCount"]) == (
        b"source",
        {"a": "1"},
        "text/x",
        1,
    )
    s3.delete_object(Bucket=bucket, Key="src é")
    assert s3.get_object(Bucket=versioned, Key="dst")["Body"].read() == b"source"
    source = {"Bucket": versioned, "Key": "dst", "VersionId": copied["VersionId"]}
    back = s3.copy_object(
        Bucket=bucket, Key="back", CopySource=source, MetadataDirective="REPLACE", Metadata={"b": "2"}
    )
    assert back["CopySourceVersionId"] == copied["VersionId"]
    assert s3.head_object(Bucket=bucket, Key="back")["Metadata"] == {"b": "2"}
    same = {"Bucket": bucket, "Key": "back"}
    assert Failure(s3.copy_object, **same, CopySource=same) == ("InvalidRequest", 400)
    s3.copy_object(**same, CopySource=same, MetadataDirective="REPLACE")
    assert Failure(s3.copy_object, **same, CopySource=f"{bucket}/none") == ("NoSuchKey", 404)
    assert Failure(s3.copy_object, **same, CopySource="nobucket/none") == ("NoSuchBucket", 404)
    assert Failure(s3.copy_object, **same, CopySource=source, CopySourceIfNoneMatch="*") == ("PreconditionFailed", 412)


def test_a_part_of_an_object_that_cannot_be_deleted_is_not_the_object(live, s3, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="kept", Body=b"kept")
    s3.create_bucket(Bucket="kept-bucket")
    credentials = live.client("s3")._request_signer._credentials
    for method, path in (
        ("DELETE", f"/{bucket}/kept?acl"),
        ("PUT", f"/{bucket}/kept?partNumber=1"),
        ("DELETE", "/kept-bucket?versions"),
    ):
        request = AWSRequest(method=method, url=f"{live.url}{path}", data=b"")
        S3SigV4Auth(credentials, "s3", "us-east-1").add_auth(request)
        with pytest.raises(urllib.error.HTTPError) as caught:
            fetch(request.url, method=method, headers=dict(request.headers))
        with caught.value as refused:
            assert refused.code == 405
    assert s3.get_object(Bucket=bucket, Key="kept")["Body"].read() == b"kept"
    s3.delete_bucket(Bucket="kept-bucket")


def test_keys_of_slashes_alone(s3, bucket: str) -> None:
    for key in ("/", "//"):
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == key.encode()
        s3.delete_object(Bucket=bucket, Key=key)


def test_tags(s3, versioned: str) -> None:
    where = {"Bucket": versioned, "Key": "tagged"}
    s3.put_object(**where, Body=b"x", Tagging="a=1&b%20c=%C3%A9")
    assert s3.get_object_tagging(**where)["TagSet"] == [{"Key": "a", "Value": "1"}, {"Key": "b c", "Value": "é"}]
    s3.put_object_tagging(**where, Tagging={"TagSet": [{"Key": "z", "Value": ""}]})
    assert s3.get_object_tagging(**where)["TagSet"] == [{"Key": "z", "Value": ""}]
    s3.delete_object_tagging(**where)
    assert s3.get_object_tagging(**where)["TagSet"] == []
    many = [{"Key": str(number), "Value": ""} for number in range(11)]
    assert Failure(s3.put_object_tagging, **where, Tagging={"TagSet": many}) == ("BadRequest", 400)


def test_multipart(s3, bucket: str) -> None:
    where = {"Bucket": bucket, "Key": "multi/é"}
    upload = s3.create_multipart_upload(**where, Metadata={"m": "1"}, ChecksumAlgorithm="CRC32")
    at = where | {"UploadId": upload["UploadId"]}
    datas = {3: os.urandom(5 * MIB), 7: os.urandom(5 * MIB + 1), 9: b"tail"}
    parts = []
    for number, data in datas.items():
        s3.upload_part(**at, PartNumber=number, Body=b"overwritten")
        done = s3.upload_part(**at, PartNumber=number, Body=data)
        parts.append({"PartNumber": number, "ETag": done["ETag"], "ChecksumCRC32": done["ChecksumCRC32"]})
    s3.upload_part(**at, PartNumber=10, Body=b"unused")
    listed = s3.list_parts(**at, MaxParts=2)
    assert [item["PartNumber"] for item in listed["Parts"]] == [3, 7]
    assert listed["IsTruncated"] is True
    assert s3.list_parts(**at, PartNumberMarker=listed["NextPartNumberMarker"])["Parts"][0]["PartNumber"] == 9
    assert [item["Key"] for item in s3.list_multipart_uploads(Bucket=bucket)["Uploads"]] == ["multi/é"]
    complete = s3.complete_multipart_upload
    assert Failure(complete, **at, MultipartUpload={"Parts": parts[::-1]}) == ("InvalidPartOrder", 400)
    wrong = [parts[0] | {"ETag": '"00"'}]
    assert Failure(complete, **at, MultipartUpload={"Parts": wrong}) == ("InvalidPart", 400)
    last = s3.list_parts(**at)["Parts"][-1]
    small = [parts[0], parts[2], {name: last[name] for name in ("PartNumber", "ETag", "ChecksumCRC32")}]
    assert Failure(complete, **at, MultipartUpload={"Parts": small}) == ("EntityTooSmall", 400)
    assert Failure(complete, **at, MultipartUpload={"Parts": []}) == ("InvalidRequest", 400)
    done = complete(**at, MultipartUpload={"Parts": parts})
    full = b"".join(datas.values())
    md5 = hashlib.md5(b"".join(hashlib.md5(data).digest() for data in datas.values())).hexdigest()
    assert done["ETag"] == f'"{md5}-3"'
    assert done["ChecksumCRC32"].endswith("-3")
    assert done["Location"].endswith("/plain/multi/%C3%A9")
    again = complete(**at, MultipartUpload={"Parts": parts})
    assert again["ETag"] == done["ETag"]
    assert Failure(complete, **at, MultipartUpload={"Parts": parts[:1]}) == ("NoSuchUpload", 404)
    assert Failure(s3.upload_part, **at, PartNumber=1, Body=b"late") == ("NoSuchUpload", 404)
    assert Failure(s3.abort_multipart_upload, **at) == ("NoSuchUpload", 404)
    got = s3.get_object(**where)
    assert got["Metadata"] == {"m": "1"}
    assert got["Body"].read() == full
    edge = s3.get_object(**where, Range=f"bytes={5 * MIB - 3}-{5 * MIB + 2}")
    assert edge["Body"].read() == full[5 * MIB - 3 : 5 * MIB + 3]
    second = s3.get_object(**where, PartNumber=2)
    assert second["Body"].read() == datas[7]
    assert second["PartsCount"] == 3
    assert Failure(s3.get_object, **where, PartNumber=4) == ("InvalidPartNumber", 416)
    # A copy is a plain object.
    copied = s3.copy_object(Bucket=bucket, Key="flat", CopySource=where)
    assert copied["CopyObjectResult"]["ETag"] == f'"{hashlib.md5(full).hexdigest()}"'
    assert s3.get_object(Bucket=bucket, Key="flat")["Body"].read() == full


def test_conditional_deletes(live, s3, versioned: str) -> None:
    old = s3.put_object(Bucket=versioned, Key="conditional", Body=b"old")
    new = s3.put_object(Bucket=versioned, Key="conditional", Body=b"new")
    at = {"Bucket": versioned, "Key": "conditional"}
    assert Failure(s3.delete_object, **at, IfMatch=old["ETag"]) == ("PreconditionFailed", 412)
    stale = {"VersionId": old["VersionId"], "IfMatch": new["ETag"]}
    assert Failure(s3.delete_object, **at, **stale) == ("PreconditionFailed", 412)

    def delete_all(*objects):
        done = s3.delete_objects(Bucket=versioned, Delete={"Objects": list(objects)})
        codes = [(item["Key"], item["Code"]) for item in done.get("Errors", [])]
        return [item["Key"] for item in done.get("Deleted", [])], codes

    s3.put_object(Bucket=versioned, Key="other", Body=b"")
    refused = [
        {"Key": "conditional", "ETag": old["ETag"]},
        {"Key": "conditional", "VersionId": old["VersionId"], "ETag": new["ETag"]},
        {"Key": "conditional", "Size": 3},
    ]
    deleted, errors = delete_all(*refused, {"Key": "none", "ETag": "*"}, {"Key": "other", "ETag": "*"})
    assert deleted == ["other"]
    assert sorted(errors) == [
        ("conditional", "NotImplemented"),
        ("conditional", "PreconditionFailed"),
        ("conditional", "PreconditionFailed"),
        ("none", "NoSuchKey"),
    ]
    assert s3.get_object(**at)["Body"].read() == b"new"
    assert delete_all({"Key": "conditional", "VersionId": old["VersionId"], "ETag": old["ETag"]}) == (
        ["conditional"],
        [],
    )
    # Only callers that may read an object learn whether its ETag matches.
    blind = limited(live, "blind", versioned, "s3:DeleteObject")
    assert Failure(blind.delete_object, **at, IfMatch=new["ETag"]) == ("AccessDenied", 403)
    blind.delete_object(**at, IfMatch="*")


@pytest.mark.parametrize("member", ["MaxParts", "PartNumberMarker"])
def test_pages_of_parts_have_bounds(s3, bucket: str, member: str) -> None:
    at = {"Bucket": bucket, "Key": "bounds"}
    at["UploadId"] = s3.create_multipart_upload(**at)["UploadId"]
    s3.upload_part(**at, PartNumber=1, Body=b"x")
    assert Failure(s3.list_parts, **at, **{member: -1}) == ("InvalidArgument", 400)
    # A page of none that called for another one would never end.
    assert s3.list_parts(**at, MaxParts=0)["IsTruncated"] is False
    s3.abort_multipart_upload(**at)


def test_full_object_checksums_of_multiparts(s3, bucket: str) -> None:
    where = {"Bucket": bucket, "Key": "full"}
    upload = s3.create_multipart_upload(**where, ChecksumAlgorithm="CRC32", ChecksumType="FULL_OBJECT")
    at = where | {"UploadId": upload["UploadId"]}
    datas = [os.urandom(5 * MIB), b"rest"]
    parts = [
        {"PartNumber": number, "ETag": s3.upload_part(**at, PartNumber=number, Body=data)["ETag"]}
        for number, data in enumerate(datas, 1)
    ]
    value = base64.b64encode(zlib.crc32(b"".join(datas)).to_bytes(4, "big")).decode()
    wrong = base64.b64encode(b"nope").decode()
    assert Failure(
        s3.complete_multipart_upload,
        **at,
        MultipartUpload={"Parts": parts},
        ChecksumCRC32=wrong,
        ChecksumType="FULL_OBJECT",
    ) == ("BadDigest", 400)
    done = s3.complete_multipart_upload(
        **at, MultipartUpload={"Parts": parts}, ChecksumCRC32=value, ChecksumType="FULL_OBJECT"
    )
    assert (done["ChecksumCRC32"], done["ChecksumType"]) == (value, "FULL_OBJECT")
    bad = Failure(s3.create_multipart_upload, **where, ChecksumAlgorithm="SHA256", ChecksumType="FULL_OBJECT")
    assert bad == ("InvalidRequest", 400)


def test_upload_part_copy_and_abort(s3, bucket: str) -> None:
    data = os.urandom(6 * MIB)
    s3.put_object(Bucket=bucket, Key="whole", Body=data)
    where = {"Bucket": bucket, "Key": "pasted"}
    at = where | {"UploadId": s3.create_multipart_upload(**where)["UploadId"]}
    source = {"Bucket": bucket, "Key": "whole"}
    one = s3.upload_part_copy(**at, PartNumber=1, CopySource=source, CopySourceRange=f"bytes=10-{5 * MIB + 9}")
    two = s3.upload_part_copy(**at, PartNumber=2, CopySource=source, CopySourceRange="bytes=0-9")
    assert Failure(s3.upload_part_copy, **at, PartNumber=3, CopySource=source, CopySourceRange="bytes=0-99999999") == (
        "InvalidArgument",
        400,
    )
    parts = [{"PartNumber": n, "ETag": r["CopyPartResult"]["ETag"]} for n, r in ((1, one), (2, two))]
    s3.complete_multipart_upload(**at, MultipartUpload={"Parts": parts})
    s3.delete_object(**source)
    pasted = data[10 : 5 * MIB + 10] + data[:10]
    assert s3.get_object(**where)["Body"].read() == pasted
    # A range over two parts of a multipart object becomes a blob of its own.
    at = where | {"UploadId": s3.create_multipart_upload(**where)["UploadId"]}
    span = s3.upload_part_copy(**at, PartNumber=1, CopySource=where, CopySourceRange=f"bytes=100-{5 * MIB + 5}")
    s3.complete_multipart_upload(
        **at, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": span["CopyPartResult"]["ETag"]}]}
    )
    assert s3.get_object(**where)["Body"].read() == pasted[100 : 5 * MIB + 6]
    at = where | {"UploadId": s3.create_multipart_upload(**where)["UploadId"]}
    s3.upload_part(**at, PartNumber=1, Body=b"x")
    s3.abort_multipart_upload(**at)
    assert Failure(s3.list_parts, **at) == ("NoSuchUpload", 404)


def test_a_digest_is_computed_for_a_caller_from_outside_up_to_a_size(live, s3, bucket: str) -> None:
    """Parts that are copied cost their owner nothing, so that an object of any size is made of five megabytes."""
    ours = live.client("penstock")
    data = bytes(5 * MIB)
    s3.put_object(Bucket=bucket, Key="whole", Body=data)
    for key, count in (("small", 1), ("large", 13)):
        at = {"Bucket": bucket, "Key": key}
        at["UploadId"] = s3.create_multipart_upload(**at)["UploadId"]
        source = {"Bucket": bucket, "Key": "whole"}
        copied = [s3.upload_part_copy(**at, PartNumber=n, CopySource=source) for n in range(1, count + 1)]
        parts = [{"PartNumber": n, "ETag": each["CopyPartResult"]["ETag"]} for n, each in enumerate(copied, 1)]
        s3.complete_multipart_upload(**at, MultipartUpload={"Parts": parts})
    assert ours.get_object_digest(bucketName=bucket, objectKey="small")["sha256"] == hashlib.sha256(data).hexdigest()
    large = ours.get_object_digest(bucketName=bucket, objectKey="large", maximumSize=1 << 40)
    assert large["size"] == 65 * MIB
    assert "sha256" not in large


def test_transfers(s3, bucket: str, tmp_path) -> None:
    data = os.urandom(18 * MIB + 11)
    (tmp_path / "up").write_bytes(data)
    config = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB, max_concurrency=4)
    s3.upload_file(str(tmp_path / "up"), bucket, "transfer", Config=config)
    s3.download_file(bucket, "transfer", str(tmp_path / "down"), Config=config)
    assert (tmp_path / "down").read_bytes() == data


def test_bucket_settings(s3, bucket: str, key: str) -> None:
    rule = {
        "ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key},
        "BucketKeyEnabled": True,
    }
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})
    assert s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"] == [rule]
    put = s3.put_object(Bucket=bucket, Key="default", Body=b"")
    assert (put["ServerSideEncryption"], put["SSEKMSKeyId"], put["BucketKeyEnabled"]) == ("aws:kms", key, True)
    s3.delete_bucket_encryption(Bucket=bucket)
    assert s3.put_object(Bucket=bucket, Key="default", Body=b"")["ServerSideEncryption"] == "AES256"
    assert Failure(s3.get_bucket_tagging, Bucket=bucket) == ("NoSuchTagSet", 404)
    tags = [{"Key": "a", "Value": "b"}]
    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": tags})
    assert s3.get_bucket_tagging(Bucket=bucket)["TagSet"] == tags
    s3.delete_bucket_tagging(Bucket=bucket)
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration={"BlockPublicAcls": True})
    block = s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
    assert (block["BlockPublicAcls"], block["BlockPublicPolicy"]) == (True, False)


def test_permissions(live, s3, bucket: str) -> None:
    iam = live.client("iam")
    iam.create_user(UserName="reader")
    allow = [
        {"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/open/*"},
        {"Effect": "Allow", "Action": "s3:DeleteObject", "Resource": f"arn:aws:s3:::{bucket}/open/deletable"},
    ]
    policy = json.dumps({"Version": "2012-10-17", "Statement": allow})
    iam.put_user_policy(UserName="reader", PolicyName="p", PolicyDocument=policy)
    made = iam.create_access_key(UserName="reader")["AccessKey"]
    keys = {"aws_access_key_id": made["AccessKeyId"], "aws_secret_access_key": made["SecretAccessKey"]}
    reader = live.client("s3", keys=keys)
    for key in ("open/a", "open/deletable", "shut/a"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    assert reader.get_object(Bucket=bucket, Key="open/a")["Body"].read() == b"x"
    assert Failure(reader.get_object, Bucket=bucket, Key="shut/a") == ("AccessDenied", 403)
    assert Failure(reader.put_object, Bucket=bucket, Key="open/a") == ("AccessDenied", 403)
    assert Failure(reader.list_objects_v2, Bucket=bucket) == ("AccessDenied", 403)
    # Callers that may not list do not learn that a key is missing.
    assert Failure(reader.head_object, Bucket=bucket, Key="open/none") == ("403", 403)
    assert Failure(reader.get_object, Bucket=bucket, Key="open/none") == ("AccessDenied", 403)
    assert Failure(reader.copy_object, Bucket=bucket, Key="open/a", CopySource=f"{bucket}/shut/a") == (
        "AccessDenied",
        403,
    )
    keys_ = [{"Key": "open/deletable"}, {"Key": "shut/a"}]
    done = reader.delete_objects(Bucket=bucket, Delete={"Objects": keys_})
    assert [item["Key"] for item in done["Deleted"]] == ["open/deletable"]
    assert [(item["Key"], item["Code"]) for item in done["Errors"]] == [("shut/a", "AccessDenied")]
    assert s3.head_object(Bucket=bucket, Key="shut/a")


def test_buckets_are_listed_by_who_may_list_all_of_them(live, s3, bucket: str) -> None:
    every = limited(live, "every", "*", "s3:ListAllMyBuckets")
    assert Failure(every.list_buckets) == ("AccessDenied", 403)  # arn:aws:s3:::*/* are objects
    allow = {"Effect": "Allow", "Action": "s3:ListAllMyBuckets", "Resource": "arn:aws:s3:::*"}
    put = live.client("iam").put_user_policy
    put(UserName="every", PolicyName="p", PolicyDocument=json.dumps({"Statement": [allow]}))
    assert bucket in [item["Name"] for item in every.list_buckets()["Buckets"]]
    put(
        UserName="every",
        PolicyName="p",
        PolicyDocument=json.dumps({"Statement": [allow | {"Resource": f"{allow['Resource']}{bucket}"}]}),
    )
    assert Failure(every.list_buckets) == ("AccessDenied", 403)


def test_tags_and_attributes_ask_for_actions_of_their_own(live, s3, bucket: str) -> None:
    copier = limited(live, "copier", bucket, "s3:GetObject", "s3:PutObject")
    s3.put_object(Bucket=bucket, Key="plainly", Body=b"x")
    s3.put_object(Bucket=bucket, Key="tagged", Body=b"x", Tagging="team=a")
    copier.copy_object(Bucket=bucket, Key="to", CopySource=f"{bucket}/plainly")
    tagged = {"Bucket": bucket, "Key": "to", "CopySource": f"{bucket}/tagged"}
    assert Failure(copier.copy_object, **tagged) == ("AccessDenied", 403)
    copier.copy_object(**tagged, TaggingDirective="REPLACE")
    attributes = {"Bucket": bucket, "Key": "tagged", "ObjectAttributes": ["ETag"]}
    assert Failure(copier.get_object_attributes, **attributes) == ("AccessDenied", 403)
    tagger = limited(live, "tagger", bucket, "s3:GetObject*", "s3:PutObject*")
    tagger.copy_object(**tagged)
    assert tagger.get_object_tagging(Bucket=bucket, Key="to")["TagSet"] == [{"Key": "team", "Value": "a"}]
    assert tagger.get_object_attributes(**attributes)["ETag"]


def fetch(
    url: str, *, method: str = "GET", data: bytes | None = None, headers: dict[str, str] | None = None, context=None
):
    request = urllib.request.Request(url, data=data, method=method, headers=headers or {})
    with urllib.request.urlopen(request, timeout=20, context=context) as answer:  # noqa: S310
        return answer.status, dict(answer.headers), answer.read()


@pytest.mark.parametrize("version", ["s3", "s3v4"])  # boto3 makes version 2 for us-east-1 when nothing is said
def test_presigned(live, s3, bucket: str, version: str) -> None:
    s3.put_object(Bucket=bucket, Key="signed ä", Body=b"hello")
    signer = live.client("s3", signature_version=version)
    where = {"Bucket": bucket, "Key": "signed ä"}
    url = signer.generate_presigned_url("get_object", Params=where | {"ResponseContentType": "text/plain"})
    status, headers, body = fetch(url)
    assert (status, headers["content-type"], body) == (200, "text/plain", b"hello")
    status, headers, body = fetch(url, headers={"Range": "bytes=1-2"})
    assert (status, body) == (206, b"el")
    put = signer.generate_presigned_url("put_object", Params=where | {"ContentType": "text/x"})
    assert fetch(put, method="PUT", data=b"new", headers={"Content-Type": "text/x"})[0] == 200
    assert s3.get_object(**where)["Body"].read() == b"new"
    with pytest.raises(urllib.error.HTTPError) as error:
        fetch(url.replace("signed", "sigNed"))
    assert error.value.code == 403
    assert b"<Code>SignatureDoesNotMatch</Code>" in error.value.read()
    error.value.close()
    expired = signer.generate_presigned_url("get_object", Params=where, ExpiresIn=-5)
    with pytest.raises(urllib.error.HTTPError) as error:
        fetch(expired)
    assert error.value.code in (400, 403)
    error.value.close()
    with pytest.raises(urllib.error.HTTPError) as error:
        fetch(f"{live.url}/{bucket}/signed")
    assert error.value.code == 403
    error.value.close()


@pytest.mark.parametrize("version", ["s3", "s3v4"])
def test_virtual_host_style(live, s3, bucket: str, version: str) -> None:
    s3.put_object(Bucket=bucket, Key="dir/x", Body=b"virtual")
    address = urllib.parse.urlsplit(live.url)
    virtual = boto3.client(
        "s3",
        region_name="us-east-1",
        endpoint_url=f"http://localhost:{address.port}",
        config=Config(s3={"addressing_style": "virtual"}, signature_version=version, retries={"total_max_attempts": 1}),
        **live.keys(),
    )
    url = virtual.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "dir/x"})
    host = urllib.parse.urlsplit(url).netloc
    assert host == f"{bucket}.localhost:{address.port}"
    direct = url.replace(f"//{host}", f"//{address.netloc}")
    assert fetch(direct, headers={"Host": host})[2] == b"virtual"


def test_tampered_bodies_leave_nothing(live, s3, bucket: str) -> None:
    keys = live.keys()
    for index, body in enumerate((b"", b"x" * 70_000)):
        url = f"{live.url}/{bucket}/tampered{index}"
        request = AWSRequest("PUT", url, data=body + b"honest")
        request.headers["X-Amz-Content-SHA256"] = hashlib.sha256(body + b"honest").hexdigest()
        S3SigV4Auth(Credentials(keys["aws_access_key_id"], keys["aws_secret_access_key"]), "s3", "us-east-1").add_auth(
            request
        )
        with pytest.raises(urllib.error.HTTPError) as error:
            fetch(url, method="PUT", data=body + b"forged", headers=dict(request.headers))
        assert error.value.code == 400
        assert b"XAmzContentSHA256Mismatch" in error.value.read()
        error.value.close()
        assert Failure(s3.head_object, Bucket=bucket, Key=f"tampered{index}") == ("404", 404)


def test_a_page_among_the_objects_cannot_act_at_the_address_of_the_console(live, s3, bucket) -> None:
    s3.put_object(Bucket=bucket, Key="page.html", Body=b"<script>", ContentType="text/html")
    url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "page.html"})
    with urllib.request.urlopen(url) as answer:
        assert answer.headers["content-security-policy"] == "sandbox"
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("host", ["127.0.0.1", "penstock.example.com", "a.b"])
def test_no_bucket_takes_the_address_of_the_console_for_its_own(live, s3, host) -> None:
    """Whatever host name leads to the console, a bucket called like its first labels is somebody else there."""
    bucket = next(name for name in (host.rpartition(".")[0], "127") if 3 <= len(name))
    port = live.url.rpartition(":")[2]
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="page.html", Body=b"<script>", ContentType="text/html")
    keys = live.keys()
    credentials = Credentials(keys["aws_access_key_id"], keys["aws_secret_access_key"])
    request = AWSRequest("GET", f"http://{host}:{port}/{bucket}/page.html", headers={"host": f"{host}:{port}"})
    S3SigV4Auth(credentials, "s3", "us-east-1").add_auth(request)
    with urllib.request.urlopen(
        urllib.request.Request(f"{live.url}/{bucket}/page.html", headers=dict(request.headers))
    ) as answer:
        assert answer.headers["content-security-policy"] == "sandbox"
    s3.delete_object(Bucket=bucket, Key="page.html")
    s3.delete_bucket(Bucket=bucket)


def test_a_page_at_a_bucket_s_own_address_may_do_what_it_likes(live, bucket) -> None:
    port = live.url.rpartition(":")[2]
    client = boto3.client(
        "s3",
        endpoint_url=f"http://s3.localhost:{port}",
        region_name="us-east-1",
        config=Config(signature_version="s3v4", s3={"addressing_style": "virtual"}),
        **live.keys(),
    )
    live.client("s3").put_object(Bucket=bucket, Key="own.html", Body=b"<script>", ContentType="text/html")
    url = client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "own.html"})
    parts = urllib.parse.urlsplit(url)
    assert parts.hostname == f"{bucket}.s3.localhost"
    asked = urllib.request.Request(f"{live.url}{parts.path}?{parts.query}", headers={"host": parts.netloc})
    with urllib.request.urlopen(asked) as answer:
        assert answer.headers["content-security-policy"] is None
