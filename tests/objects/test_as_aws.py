"""What AWS was recorded to answer, where an S3 of one's own easily answers something else."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import urllib.error
import urllib.parse
import urllib.request
import zlib

import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

MIB = 1 << 20


@pytest.fixture(scope="module")
def s3(live):
    return live.client("s3")


@pytest.fixture(scope="module")
def quiet(live):
    """A client that sends no checksum unless it is told to."""
    import boto3

    config = Config(
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        retries={"total_max_attempts": 1},
        s3={"addressing_style": "path"},
    )
    return boto3.client("s3", endpoint_url=live.url, region_name="us-east-1", config=config, **live.keys())


@pytest.fixture(scope="module")
def bucket(s3) -> str:
    s3.create_bucket(Bucket="as-aws")
    return "as-aws"


@pytest.fixture(scope="module")
def versioned(s3) -> str:
    s3.create_bucket(Bucket="as-aws-versions")
    s3.put_bucket_versioning(Bucket="as-aws-versions", VersioningConfiguration={"Status": "Enabled"})
    return "as-aws-versions"


def refused(call, **arguments) -> dict:
    """The error of a refused call, with its Status."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    answer = caught.value.response
    return answer["Error"] | {"Status": answer["ResponseMetadata"]["HTTPStatusCode"]}


def code(call, **arguments) -> tuple[str, int]:
    error = refused(call, **arguments)
    return error["Code"], error["Status"]


def presigned(live, method: str, path: str, *, query: str = "", headers: dict[str, str] | None = None) -> str:
    """A version 4 URL whose query states whatever it is told to."""
    keys = live.keys()
    request = AWSRequest(method, f"{live.url}{path}{'?' + query if query else ''}", headers=headers)
    credentials = Credentials(keys["aws_access_key_id"], keys["aws_secret_access_key"])
    S3SigV4QueryAuth(credentials, "s3", "us-east-1", expires=300).add_auth(request)
    return request.url


def signed(live, method: str, path: str, data: bytes = b"", headers: dict[str, str] | None = None):
    keys = live.keys()
    request = AWSRequest(method, f"{live.url}{path}", data=data, headers=headers)
    credentials = Credentials(keys["aws_access_key_id"], keys["aws_secret_access_key"])
    S3SigV4Auth(credentials, "s3", "us-east-1").add_auth(request)
    return send(method, request.url, data, dict(request.headers))


def send(method: str, url: str, data: bytes | None = None, headers: dict[str, str] | None = None):
    """(status, headers, body) of an answer, refusals included."""
    request = urllib.request.Request(url, data=data, method=method, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


def content(s3, bucket: str, key: str) -> bytes:
    return s3.get_object(Bucket=bucket, Key=key)["Body"].read()


def test_a_presigned_url_keeps_the_conditions_that_its_query_states(live, s3, bucket) -> None:
    s3.put_object(Bucket=bucket, Key="kept", Body=b"first")
    for query in ("If-None-Match=*", "if-none-match=%2A", "If-Match=%22other%22"):
        status, _, body = send("PUT", presigned(live, "PUT", f"/{bucket}/kept", query=query), b"second")
        assert (status, b"<Code>PreconditionFailed</Code>" in body) == (412, True)
    # A header that nobody has signed does not undo it.
    url = presigned(live, "PUT", f"/{bucket}/kept", query="If-None-Match=*")
    assert send("PUT", url, b"second", {"If-None-Match": ""})[0] == 412
    assert content(s3, bucket, "kept") == b"first"
    url = presigned(live, "PUT", f"/{bucket}/new", query="If-None-Match=*&x-amz-meta-from=query&x-amz-tagging=a%3Db")
    assert send("PUT", url, b"new")[0] == 200
    head = s3.head_object(Bucket=bucket, Key="new")
    assert (head["Metadata"], head["TagCount"]) == ({"from": "query"}, 1)


def test_a_presigned_url_that_names_a_source_copies_it(live, s3, bucket) -> None:
    s3.put_object(Bucket=bucket, Key="source", Body=b"to be copied")
    url = presigned(live, "PUT", f"/{bucket}/copied", query=f"x-amz-copy-source={bucket}%2Fsource")
    status, _, body = send("PUT", url)
    assert (status, b"CopyObjectResult" in body) == (200, True)
    assert content(s3, bucket, "copied") == b"to be copied"


def test_a_presigned_url_of_version_2_keeps_what_it_states(live, s3, bucket) -> None:
    signer = live.client("s3", signature_version="s3")
    parameters = {"Bucket": bucket, "Key": "two", "Metadata": {"colour": "red"}, "ContentType": "text/x"}
    url = signer.generate_presigned_url("put_object", Params=parameters)
    assert send("PUT", url, b"x", {"Content-Type": "text/x"})[0] == 200
    head = s3.head_object(Bucket=bucket, Key="two")
    assert (head["Metadata"], head["ContentType"]) == ({"colour": "red"}, "text/x")
    for type in ({}, {"Content-Type": "text/html"}):
        status, _, body = send("PUT", url, b"x", type)
        assert (status, b"<Code>SignatureDoesNotMatch</Code>" in body) == (403, True)


def test_errors_name_no_resource(live, bucket) -> None:
    status, headers, body = signed(live, "GET", f"/{bucket}/none")
    assert (status, b"<Resource>" in body) == (404, False)
    assert headers["content-type"] == "application/xml"
    assert signed(live, "HEAD", f"/{bucket}/none")[1]["content-type"] == "application/xml"


def begin(client, bucket: str, key: str, **more) -> tuple[dict, list[dict]]:
    """An upload with one part."""
    at = {"Bucket": bucket, "Key": key}
    at["UploadId"] = client.create_multipart_upload(**at, **more)["UploadId"]
    part = client.upload_part(**at, PartNumber=1, Body=b"part")
    listed = {"PartNumber": 1, "ETag": part["ETag"]}
    return at, [listed | {name: value for name, value in part.items() if name.startswith("Checksum")}]


@pytest.mark.parametrize("change", ["write", "delete"])
def test_an_upload_in_parts_notices_what_happened_since_it_began(s3, quiet, bucket, change) -> None:
    key = f"since-{change}"
    etag = s3.put_object(Bucket=bucket, Key=key, Body=b"1")["ETag"]
    at, parts = begin(quiet, bucket, key)
    wanted = at | {"MultipartUpload": {"Parts": parts}}
    complete = quiet.complete_multipart_upload
    if change == "write":
        s3.put_object(Bucket=bucket, Key=key, Body=b"1")  # with the same ETag
        conflict = refused(complete, **wanted, IfMatch=etag)
        assert code(complete, **wanted, IfNoneMatch="*") == ("PreconditionFailed", 412)
    else:
        s3.delete_object(Bucket=bucket, Key=key)
        conflict = refused(complete, **wanted, IfNoneMatch="*")
        assert code(complete, **wanted, IfMatch=etag) == ("NoSuchKey", 404)
    assert (conflict["Code"], conflict["Status"], conflict["Key"]) == ("ConditionalRequestConflict", 409, key)
    complete(**wanted)
    assert content(s3, bucket, key) == b"part"


def test_an_upload_in_parts_keeps_conditions_that_hold(s3, quiet, bucket) -> None:
    at, parts = begin(quiet, bucket, "condition-new")
    quiet.complete_multipart_upload(**at, MultipartUpload={"Parts": parts}, IfNoneMatch="*")
    etag = s3.head_object(Bucket=bucket, Key="condition-new")["ETag"]
    at, parts = begin(quiet, bucket, "condition-new")
    quiet.complete_multipart_upload(**at, MultipartUpload={"Parts": parts}, IfMatch=etag)


def test_composite_uploads_are_completed_with_the_checksums_of_their_parts(quiet, bucket) -> None:
    at, parts = begin(quiet, bucket, "composite", ChecksumAlgorithm="CRC32")
    value = base64.b64encode(zlib.crc32(b"part").to_bytes(4, "big")).decode()
    parts[0]["ChecksumCRC32"] = value
    bare = {name: parts[0][name] for name in ("PartNumber", "ETag")}
    complete = quiet.complete_multipart_upload
    missing = refused(complete, **at, MultipartUpload={"Parts": [bare]})
    assert (missing["Code"], missing["Status"]) == ("InvalidRequest", 400)
    assert missing["Message"].endswith("It was missing for part 1 in the request.")
    sha1 = base64.b64encode(hashlib.sha1(b"part").digest()).decode()
    for other in (bare | {"ChecksumSHA1": sha1},):
        assert code(complete, **at, MultipartUpload={"Parts": [other]}) == ("BadDigest", 400)
    assert code(complete, **at, MultipartUpload={"Parts": parts}, ChecksumSHA1=sha1) == ("BadDigest", 400)
    wrong = refused(complete, **at, MultipartUpload={"Parts": [parts[0] | {"ETag": '"0"'}]})
    assert (wrong["Code"], "found.  The part" in wrong["Message"]) == ("InvalidPart", True)
    assert refused(complete, **at, MultipartUpload={"Parts": []})["Message"] == "You must specify at least one part"
    assert code(complete, **at | {"UploadId": "none"}, MultipartUpload={"Parts": []}) == ("NoSuchUpload", 404)
    done = complete(**at, MultipartUpload={"Parts": parts})
    assert (done["ChecksumType"], done["ChecksumCRC32"][-2:]) == ("COMPOSITE", "-1")
    part = quiet.get_object(Bucket=bucket, Key="composite", PartNumber=1, ChecksumMode="ENABLED")
    assert (part["ChecksumCRC32"], part["ChecksumType"], part["Body"].read()) == (value, "COMPOSITE", b"part")
    attributes = quiet.get_object_attributes(Bucket=bucket, Key="composite", ObjectAttributes=["Checksum"])
    assert attributes["Checksum"]["ChecksumCRC32"] == done["ChecksumCRC32"][:-2]


def crc64(data: bytes) -> str:
    from penstock.objects.checksums import DEFAULT

    running = DEFAULT.begin()
    running.update(data)
    return base64.b64encode(running.digest()).decode()


def test_who_gives_no_checksum_gets_s3_s_own(quiet, bucket) -> None:
    where = {"Bucket": bucket, "Key": "default"}
    expected = {"ChecksumCRC64NVME": crc64(b"bytes"), "ChecksumType": "FULL_OBJECT"}
    assert expected.items() <= quiet.put_object(**where, Body=b"bytes").items()
    assert expected.items() <= quiet.head_object(**where, ChecksumMode="enabled").items()
    assert quiet.get_object_attributes(**where, ObjectAttributes=["Checksum"])["Checksum"] == expected
    copied = quiet.copy_object(Bucket=bucket, Key="default copy", CopySource=where)["CopyObjectResult"]
    assert expected.items() <= copied.items()
    at, parts = begin(quiet, bucket, "default in parts")
    assert set(parts[0]) == {"PartNumber", "ETag"}  # of a part nothing is said that was not asked for
    full = bytes(5 * MIB) + b"rest"
    first = quiet.upload_part(**at, PartNumber=1, Body=full[: 5 * MIB])
    second = quiet.upload_part(**at, PartNumber=2, Body=b"rest", ChecksumAlgorithm="SHA1")
    assert "ChecksumSHA1" in second  # a part may be checked by another one
    listed = [{"PartNumber": 1, "ETag": first["ETag"]}, {"PartNumber": 2, "ETag": second["ETag"]}]
    done = quiet.complete_multipart_upload(**at, MultipartUpload={"Parts": listed})
    assert (done["ChecksumCRC64NVME"], done["ChecksumType"]) == (crc64(full), "FULL_OBJECT")


def test_version_ids_that_are_none(s3, bucket, versioned) -> None:
    for name, wanted in ((bucket, "n" * 32), (versioned, "none"), (versioned, "../" * 10)):
        where = {"Bucket": name, "Key": "k", "VersionId": wanted}
        for call in (s3.get_object, s3.delete_object, s3.get_object_tagging):
            error = refused(call, **where)
            assert (error["Code"], error["Status"]) == ("InvalidArgument", 400)
            assert (error["Message"], error["ArgumentValue"]) == ("Invalid version id specified", wanted)
        assert code(s3.head_object, **where) == ("400", 400)
        several = s3.delete_objects(Bucket=name, Delete={"Objects": [{"Key": "k", "VersionId": wanted}]})
        assert [(item["Code"], item["VersionId"]) for item in several["Errors"]] == [("NoSuchVersion", wanted)]
    s3.delete_object(Bucket=versioned, Key="k", VersionId="n" * 32)  # as one that is deleted already


def test_only_what_aws_answers(s3, quiet, bucket) -> None:
    put = quiet.put_object(Bucket=bucket, Key="answer", Body=b"x")
    assert {"Size", "VersionId"}.isdisjoint(put)
    s3.create_bucket(Bucket="as-aws-suspended")
    s3.put_bucket_versioning(Bucket="as-aws-suspended", VersioningConfiguration={"Status": "Suspended"})
    where = {"Bucket": "as-aws-suspended", "Key": "k"}
    assert "VersionId" not in s3.put_object(**where)
    assert "VersionId" not in s3.copy_object(**where | {"Key": "copy"}, CopySource=where)
    assert s3.head_object(**where)["VersionId"] == "null"


def test_a_copy_onto_itself(s3, bucket) -> None:
    where = {"Bucket": bucket, "Key": "itself"}
    s3.put_object(**where, Body=b"x")
    s3.copy_object(**where, CopySource=where, StorageClass="STANDARD")
    assert code(s3.copy_object, **where, CopySource=where) == ("InvalidRequest", 400)
    assert code(s3.copy_object, **where, CopySource=where, IfNoneMatch="*") == ("PreconditionFailed", 412)
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})
    s3.copy_object(**where, CopySource=where)
    s3.delete_bucket_encryption(Bucket=bucket)


def test_a_date_in_the_future_is_no_condition(s3, bucket) -> None:
    where = {"Bucket": bucket, "Key": "dated"}
    s3.put_object(**where, Body=b"x")
    modified = s3.head_object(**where)["LastModified"]
    later = dt.datetime.now(dt.UTC) + dt.timedelta(days=1)
    assert s3.get_object(**where, IfModifiedSince=later)["Body"].read() == b"x"
    s3.copy_object(**where | {"Key": "dated copy"}, CopySource=where, CopySourceIfModifiedSince=later)
    for member, value, header in (
        ("CopySourceIfMatch", '"0"', "If-Match"),
        ("CopySourceIfNoneMatch", "*", "If-None-Match"),
        ("CopySourceIfModifiedSince", modified, "If-Modified-Since"),
        ("CopySourceIfUnmodifiedSince", modified - dt.timedelta(hours=1), "If-Unmodified-Since"),
    ):
        error = refused(s3.copy_object, **where | {"Key": "dated copy"}, CopySource=where, **{member: value})
        assert (error["Code"], error["Condition"]) == ("PreconditionFailed", f"x-amz-copy-source-{header}")
    s3.get_object(**where, IfUnmodifiedSince=modified)  # the very second


@pytest.mark.parametrize(
    ("conditions", "header"),
    [
        ({"IfMatch": "*"}, "If-Match"),
        ({"IfNoneMatch": '"etag"'}, "If-None-Match"),
        ({"IfMatch": '"etag"', "IfNoneMatch": "*"}, "If-Match,If-None-Match"),
    ],
)
def test_conditions_that_no_write_takes(s3, bucket, conditions, header) -> None:
    where = {"Bucket": bucket, "Key": "conditioned"}
    s3.put_object(**where, Body=b"x")
    for call in (
        lambda **more: s3.put_object(**where, **more),
        lambda **more: s3.copy_object(**where, CopySource=where, **more),
    ):
        error = refused(call, **conditions)
        assert (error["Code"], error["Status"], error["Header"]) == ("NotImplemented", 501, header)
        assert error["additionalMessage"]


def test_a_marker_within_a_group_is_behind_all_of_it(s3, versioned) -> None:
    for key in ("group/1", "group/2", "group/3", "last"):
        s3.put_object(Bucket=versioned, Key=key)
    uploads = {key: s3.create_multipart_upload(Bucket=versioned, Key=key)["UploadId"] for key in ("group/1", "group/2")}
    listed = s3.list_objects(Bucket=versioned, Delimiter="/", Marker="group/2")
    assert ([item["Key"] for item in listed["Contents"]], listed.get("CommonPrefixes")) == (["last"], None)
    version = s3.list_object_versions(Bucket=versioned, Prefix="group/2")["Versions"][0]["VersionId"]
    for marker in ({"KeyMarker": "group/2"}, {"KeyMarker": "group/2", "VersionIdMarker": version}):
        listed = s3.list_object_versions(Bucket=versioned, Delimiter="/", **marker)
        assert ([item["Key"] for item in listed["Versions"]], listed.get("CommonPrefixes")) == (["last"], None)
    listed = s3.list_multipart_uploads(Bucket=versioned, Delimiter="/", KeyMarker="group/1")
    assert "CommonPrefixes" not in listed
    marked = {"KeyMarker": "group/1", "UploadIdMarker": uploads["group/2"]}
    assert refused(s3.list_multipart_uploads, Bucket=versioned, **marked)["ArgumentName"] == "upload-id-marker"
    every = s3.list_multipart_uploads(Bucket=versioned)
    assert (every["NextKeyMarker"], every["NextUploadIdMarker"]) == ("group/2", uploads["group/2"])
    # Version 2 begins behind a key, not behind its group.
    listed = s3.list_objects_v2(Bucket=versioned, Delimiter="/", StartAfter="group/2")
    assert [item["Prefix"] for item in listed["CommonPrefixes"]] == ["group/"]
    page = s3.list_objects_v2(Bucket=versioned, MaxKeys=1, StartAfter="group/2")
    more = s3.list_objects_v2(Bucket=versioned, StartAfter="group/2", ContinuationToken=page["NextContinuationToken"])
    assert ("StartAfter" in page, "StartAfter" in more) == (True, False)


def test_lists_of_buckets(s3, bucket) -> None:
    assert bucket in [item["Name"] for item in s3.list_buckets(ContinuationToken="")["Buckets"]]
    error = refused(s3.list_buckets, BucketRegion="eu-east-1")
    assert error["Message"] == "Argument value eu-east-1 is not a valid AWS Region"


def test_tags(s3, bucket, versioned) -> None:
    where = {"Bucket": bucket, "Key": "tags"}
    s3.put_object(**where, Tagging="foo=bar&bar")
    assert s3.get_object_tagging(**where)["TagSet"] == [{"Key": "foo", "Value": "bar"}, {"Key": "bar", "Value": ""}]
    put = s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
    assert put["ResponseMetadata"]["HTTPStatusCode"] == 204
    reserved = {"TagSet": [{"Key": "aws:a", "Value": "b"}]}
    assert refused(s3.put_object_tagging, **where, Tagging=reserved)["Message"] == (
        "Your TagKey cannot be prefixed with aws:"
    )
    assert refused(s3.put_bucket_tagging, Bucket=bucket, Tagging=reserved)["Message"] == (
        "System tags cannot be added/updated by requester"
    )
    where = {"Bucket": versioned, "Key": "marked"}
    s3.put_object(**where)
    s3.delete_object(**where)
    tagging = {"Tagging": {"TagSet": []}}
    for method, call in (
        ("GET", s3.get_object_tagging),
        ("PUT", lambda **more: s3.put_object_tagging(**more, **tagging)),
        ("DELETE", s3.delete_object_tagging),
    ):
        error = refused(call, **where)
        assert (error["Code"], error["Status"], error["Method"]) == ("MethodNotAllowed", 405, method)


def test_what_would_be_dropped_is_refused(s3, bucket) -> None:
    where = {"Bucket": bucket, "Key": "bypass"}
    assert code(s3.delete_object, **where, BypassGovernanceRetention=True) == ("InvalidArgument", 400)
    several = {"Delete": {"Objects": [{"Key": "bypass"}]}, "BypassGovernanceRetention": True}
    assert code(s3.delete_objects, Bucket=bucket, **several) == ("InvalidArgument", 400)
    at = {"Bucket": bucket, "Key": "kept upload"}
    at["UploadId"] = s3.create_multipart_upload(**at)["UploadId"]
    then = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    assert code(s3.abort_multipart_upload, **at, IfMatchInitiatedTime=then) == ("NotImplemented", 501)
    s3.abort_multipart_upload(**at)
    assert code(s3.put_object, **where, SSEKMSEncryptionContext="e30=") == ("NotImplemented", 501)
    for more in (
        {"BucketNamespace": "account-regional"},
        {"CreateBucketConfiguration": {"Bucket": {"Type": "Directory", "DataRedundancy": "SingleAvailabilityZone"}}},
        {"CreateBucketConfiguration": {"Location": {"Type": "AvailabilityZone", "Name": "use1-az1"}}},
    ):
        assert code(s3.create_bucket, Bucket="as-aws-other", **more) == ("NotImplemented", 501)
    tags = {"CreateBucketConfiguration": {"Tags": [{"Key": "a", "Value": "b"}]}}
    assert code(s3.create_bucket, Bucket=bucket, **tags) == ("BucketAlreadyOwnedByYou", 409)
    rule = {
        "ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"},
        "BucketKeyEnabled": False,
        "BlockedEncryptionTypes": {"EncryptionType": ["SSE-C"]},
    }
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})
    assert s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"] == [rule]
    s3.delete_bucket_encryption(Bucket=bucket)


def test_the_version_below_comes_up_in_lists(s3, versioned) -> None:
    where = {"Bucket": versioned, "Key": "below"}
    s3.put_object(**where, Body=b"below")
    s3.delete_object(**where, VersionId=s3.put_object(**where, Body=b"newest")["VersionId"])
    assert [item["Key"] for item in s3.list_objects_v2(Bucket=versioned, Prefix="below")["Contents"]] == ["below"]
    assert content(s3, versioned, "below") == b"below"


def test_refused_signatures_show_what_was_signed(live, bucket) -> None:
    url = presigned(live, "GET", f"/{bucket}/none")
    status, _, body = send("GET", url.replace("/none", "/other"))
    assert status == 403
    signed_text = body.partition(b"<StringToSign>")[2].partition(b"</StringToSign>")[0]
    got = body.partition(b"<StringToSignBytes>")[2].partition(b"</StringToSignBytes>")[0]
    assert bytes.fromhex(got.decode()) == signed_text
    assert b"<CanonicalRequestBytes>47 45 54 0a" in body
    status, _, body = send("GET", url, headers={"x-amz-user-agent": "not signed"})
    assert (status, b"<HeadersNotSigned>x-amz-user-agent</HeadersNotSigned>" in body) == (403, True)
    status, _, body = send("GET", "&".join(part for part in url.split("&") if "X-Amz-Expires" not in part))
    assert (status, b"Query-string authentication version 4 requires" in body) == (400, True)
    two = live.client("s3", signature_version="s3").generate_presigned_url
    parameters = {"Params": {"Bucket": bucket, "Key": "none"}}
    status, _, body = send("GET", two("get_object", **parameters).replace("Expires=", "Unknown="))
    assert (status, b"<Code>AccessDenied</Code>" in body) == (403, True)
    assert b"Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters" in body
    status, _, body = send("GET", two("get_object", **parameters, ExpiresIn=-5))
    assert (status, b"<Expires>" in body, b"<ServerTime>" in body) == (403, True, True)


def test_a_browser_s_form_is_refused_with_a_clear_error(live, bucket) -> None:
    form = {"Content-Type": "multipart/form-data; boundary=x"}
    status, _, body = send("POST", f"{live.url}/{bucket}", b"--x--", form)
    assert (status, b"s3:PostObject" in body) == (501, True)


def test_refused_digests_and_arguments_are_repeated(s3, bucket) -> None:
    where = {"Bucket": bucket, "Key": "digests", "Body": b"x"}
    assert refused(s3.put_object, **where, ContentMD5="MTIz")["Content-MD5"] == "MTIz"
    other = hashlib.md5(b"y")
    wrong = base64.b64encode(other.digest()).decode()
    assert refused(s3.put_object, **where, ContentMD5=wrong)["ExpectedDigest"] == other.hexdigest()
    assert refused(s3.put_object, **where, ACL="everyone")["ArgumentName"] == "x-amz-acl"
    s3.put_object(**where, ContentEncoding="deflate, gzip")
    assert s3.head_object(Bucket=bucket, Key="digests")["ContentEncoding"] == "deflate, gzip"
    assert s3.head_bucket(Bucket=bucket)["ResponseMetadata"]["HTTPHeaders"]["content-type"] == "application/xml"
