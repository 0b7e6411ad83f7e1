"""Objects by boto3 against a live server: writing, reading, checksums, tags and what is refused."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import io
import os
import urllib.error
import urllib.parse
import urllib.request
import zlib

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from penstock_buckets import Failure, fetch


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
