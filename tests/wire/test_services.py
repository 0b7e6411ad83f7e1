"""Which service and operation a request finds."""

import subprocess
import sys

import pytest

from penstock.objects import service as objects
from penstock.objects.codec import S3Codec
from penstock.wire.errors import MalformedBody
from penstock.wire.message import RequestHead
from penstock.wire.refusals import worded
from penstock.wire.services import Service, Services, merge, read_metadata

NAMES = ["codepipeline", "codedeploy", "codebuild", "s3", "iam", "sts", "cloudwatch", "sns", "kms", "cloudformation"]


@pytest.fixture(scope="module")
def services():
    found = Services()
    for name in NAMES:
        found.add(objects.s3() if name == "s3" else Service(name))
    return found


def test_a_service_is_there_by_its_name(services) -> None:
    assert "codepipeline" in services
    assert "CodePipeline" not in services
    assert [service.name for service in services] == NAMES


def test_targets_find_their_operation(services) -> None:
    route = services.by_target("CodePipeline_20150709.GetPipeline")
    assert (route.service.name, route.protocol, route.name) == ("codepipeline", "json", "GetPipeline")
    assert route.operation.name == "GetPipeline"
    assert services.by_target("CodePipeline_20150709.Nothing").operation is None
    for unknown in ("Nothing_1.GetPipeline", "GetPipeline", "", "."):
        assert services.by_target(unknown) is None


def test_query_calls_find_their_operation(services) -> None:
    assert services.by_query("2010-05-08", "GetUser", "iam").service.name == "iam"
    assert services.by_query("2011-06-15", "AssumeRole", "sts").operation.name == "AssumeRole"
    assert services.by_query("2011-06-15", "AssumeRoleWithWebIdentity").service.name == "sts"
    assert services.by_query("2010-05-08", "GetUser", "sts") is None
    assert services.by_query("2010-08-01", "PutMetricData", "monitoring").protocol == "query"
    assert services.by_query("1999-01-01", "GetUser") is None


def test_the_protocol_is_the_one_that_clients_choose(services) -> None:
    assert services.get("codepipeline").codec.protocol == "json"
    assert services.get("cloudwatch").protocols == ("json", "smithy-rpc-v2-cbor", "query")
    assert services.get("iam").codec.protocol == "query"
    assert services.get("s3").codec.protocol == "rest-xml"
    assert [service.name for service in services.by_signing_name("monitoring")] == ["cloudwatch"]


@pytest.mark.parametrize(
    ("method", "path", "query", "headers", "operation"),
    [
        ("GET", "/", "", {}, "ListBuckets"),
        ("GET", "/b", "", {}, "ListObjects"),
        ("GET", "/b/", "", {}, "ListObjects"),
        ("GET", "/b", "list-type=2&prefix=a", {}, "ListObjectsV2"),
        ("GET", "/b", "location", {}, "GetBucketLocation"),
        ("GET", "/b", "location=", {}, "GetBucketLocation"),
        ("GET", "/b", "versions", {}, "ListObjectVersions"),
        ("GET", "/b", "uploads", {}, "ListMultipartUploads"),
        ("GET", "/b", "lifecycle", {}, "GetBucketLifecycleConfiguration"),
        ("PUT", "/b", "lifecycle", {}, "PutBucketLifecycleConfiguration"),
        ("GET", "/b", "notification", {}, "GetBucketNotificationConfiguration"),
        ("PUT", "/b", "", {}, "CreateBucket"),
        ("HEAD", "/b", "", {}, "HeadBucket"),
        ("DELETE", "/b", "", {}, "DeleteBucket"),
        ("POST", "/b", "delete", {}, "DeleteObjects"),
        ("GET", "/b/k", "", {}, "GetObject"),
        ("GET", "/b/k/", "", {}, "GetObject"),
        ("GET", "/b//k", "", {}, "GetObject"),
        ("GET", "/b/a/b%2Fc", "versionId=x&x-id=GetObject", {}, "GetObject"),
        ("HEAD", "/b/k", "", {}, "HeadObject"),
        ("PUT", "/b/k", "", {}, "PutObject"),
        ("PUT", "/b/k", "", {"x-amz-copy-source": "/b/j"}, "CopyObject"),
        ("PUT", "/b/k", "partNumber=1&uploadId=u", {}, "UploadPart"),
        ("PUT", "/b/k", "partNumber=1&uploadId=u", {"x-amz-copy-source": "/b/j"}, "UploadPartCopy"),
        ("PUT", "/b/k", "tagging", {}, "PutObjectTagging"),
        ("PUT", "/b/k", "acl", {}, "PutObjectAcl"),
        ("GET", "/b/k", "uploadId=u", {}, "ListParts"),
        ("POST", "/b/k", "uploads", {}, "CreateMultipartUpload"),
        ("POST", "/b/k", "uploadId=u", {}, "CompleteMultipartUpload"),
        ("DELETE", "/b/k", "uploadId=u", {}, "AbortMultipartUpload"),
        ("DELETE", "/b/k", "versionId=u", {}, "DeleteObject"),
        ("PATCH", "/b/k", "", {}, None),
        ("POST", "/", "", {}, None),
        ("GET", "/b//", "", {}, "GetObject"),
        ("PUT", "/b///", "", {}, "PutObject"),
        ("GET", "/b/k", "partNumber=1", {}, "GetObject"),
        ("DELETE", "/b/k", "acl", {}, None),
        ("DELETE", "/b/k", "uploads=", {}, None),
        ("DELETE", "/b", "versions", {}, None),
        ("DELETE", "/b", "acl&x-id=DeleteBucket", {}, None),
        ("PUT", "/b", "uploads", {}, None),
        ("PUT", "/b/k", "torrent", {}, None),
        ("PUT", "/b/k", "partNumber=1", {}, None),
        ("PUT", "/b/k", "uploadId=u", {}, None),
        ("PUT", "/b/k", "uploadId=u", {"x-amz-copy-source": "/b/j"}, None),
        ("GET", "/b", "list-type=3", {}, None),
    ],
)
def test_s3_requests_find_their_operation(services, method, path, query, headers, operation) -> None:
    s3 = services.get("s3")
    found = services.by_path(s3, RequestHead(method, path, query, headers)).operation
    assert (found.name if found else None) == operation
    if path.startswith("/b") and operation:
        hosted = RequestHead(method, path.removeprefix("/b") or "/", query, headers)
        assert services.by_path(s3, hosted, label="b").operation is found


def test_labels_of_both_styles_of_address(services) -> None:
    s3 = services.get("s3")
    operation = s3.operation("GetObject")
    for path, bucket in (("/b/a%20b//c%2Fd/", ""), ("/a%20b//c%2Fd/", "b")):
        parsed = s3.codec.parse(operation, RequestHead("GET", path), b"", label=bucket)
        assert parsed == {"Bucket": "b", "Key": "a b//c/d/"}
    assert s3.codec.parse(operation, RequestHead("GET", "/b//"), b"") == {"Bucket": "b", "Key": "/"}


@pytest.mark.parametrize(
    ("query", "headers", "name"),
    [
        ("max-parts=many", {}, "max-parts"),
        ("max-parts=", {}, "max-parts"),
        ("part-number-marker=99999999999", {}, "part-number-marker"),
        ("", {"x-amz-expected-bucket-owner": "1", "if-modified-since": "yesterday"}, "if-modified-since"),
    ],
)
def test_a_parameter_of_another_type_is_an_argument_error_that_names_it(services, query, headers, name) -> None:
    s3 = services.get("s3")
    operation = s3.operation("ListParts" if query else "GetObject")
    with pytest.raises(MalformedBody) as caught:
        s3.codec.parse(operation, RequestHead("GET", "/b/k", query, headers), b"")
    answer = worded(caught.value, s3.codec.refusals)
    assert (answer.wire_code, answer.status, answer.values["ArgumentName"]) == ("InvalidArgument", 400, name)


def test_patches_lie_over_the_model_and_remove() -> None:
    patch = {
        "shapes": {
            "PipelineName": {"max": 7, "pattern": None},
            "Extra": {"type": "string"},
            "GetPipelineInput": {"members": {"extra": {"shape": "Extra"}}},
        }
    }
    service = Service("codepipeline", patch=patch)
    shape = service.operation("GetPipeline").input
    assert shape.members["name"].traits["max"] == 7
    assert "pattern" not in shape.members["name"].traits
    assert set(shape.members) == {"name", "version", "extra"}
    assert merge({"a": {"b": 1}}, {"a": {"c": 2}}) == {"a": {"b": 1, "c": 2}}


def test_a_patch_names_root_elements_and_unwraps_answers() -> None:
    patch = {
        "operations": {
            "ListBuckets": {"output": {"locationName": "ListAllMyBucketsResult"}},
            "GetBucketLocation": {"unwrappedXmlOutput": True},
        }
    }
    s3 = Service("s3", patch=patch, codecs={"rest-xml": S3Codec})
    xmlns = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
    for name, output, body in (
        ("ListBuckets", {}, f"<ListAllMyBucketsResult {xmlns}></ListAllMyBucketsResult>"),
        ("GetBucketLocation", {"LocationConstraint": "eu"}, f"<LocationConstraint {xmlns}>eu</LocationConstraint>"),
        ("GetBucketLocation", {}, f"<LocationConstraint {xmlns}/>"),
    ):
        answer = s3.codec.serialize(s3.operation(name), output, "r")
        assert answer.body.decode().split("\n", 1)[1] == body


def test_a_reply_may_have_a_status_and_headers_of_its_own() -> None:
    s3 = Service("s3")
    answer = s3.codec.serialize(
        s3.operation("GetObject"),
        {"Body": b"abc", "ContentLength": 3},
        "r",
        status=206,
        headers={"Content-Range": "bytes 0-2/9"},
    )
    assert answer.status == 206
    assert dict(answer.headers)[b"content-range"] == b"bytes 0-2/9"
    assert [value for name, value in answer.headers if name == b"content-length"] == [b"3"]


def test_header_values_cannot_start_a_header_of_their_own() -> None:
    s3 = Service("s3")
    answer = s3.codec.serialize(
        s3.operation("GetObject"), {"Body": b"", "ContentType": "a\r\nSet-Cookie: x", "Metadata": {"k": "v\nw"}}, "r"
    )
    assert not any(b"\r" in value or b"\n" in value for _, value in answer.headers)


@pytest.mark.parametrize("name", NAMES)
def test_metadata_is_read_from_the_head_of_the_file(name) -> None:
    service = Service(name)
    assert read_metadata(service.model_path) == dict(service.model.metadata)
    assert not any("documentation" in operation for operation in service.model._operations.values())


def test_a_service_cannot_be_added_twice(services) -> None:
    with pytest.raises(ValueError, match="twice"):
        services.add(Service("s3"))
    with pytest.raises(FileNotFoundError):
        Service("no-such-service").metadata


def test_botocore_itself_stays_out_of_the_process() -> None:
    code = "import sys, penstock.wire.services, penstock.wire.chunked; sys.exit('botocore' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_of_rest_services_with_one_signing_name_the_path_decides() -> None:
    found = Services()
    for name in ("apigateway", "apigatewayv2", "codepipeline", "lambda"):
        found.add(Service(name))
    found.add(objects.s3())
    for path, name in (("/v2/apis", "apigatewayv2"), ("/restapis", "apigateway"), ("/nothing/at/all", "apigateway")):
        assert found.rest("apigateway", RequestHead("GET", path)).name == name
    assert found.rest("lambda", RequestHead("GET", "/nothing/at/all")).name == "lambda"
    assert found.rest("codepipeline", RequestHead("GET", "/")) is None
    assert found.rest("nobody", RequestHead("GET", "/")) is None
    for path, name in (("/v2/apis", "apigatewayv2"), ("/restapis", "apigateway"), ("/a-bucket/key", "s3")):
        assert found.rest_unsigned(RequestHead("GET", path)).name == name


def test_a_path_that_no_operation_has_is_one_of_the_service_all_the_same(services) -> None:
    route = services.by_path(services.get("s3"), RequestHead("PATCH", "/b/k"))
    assert (route.service.name, route.protocol, route.name, route.operation) == ("s3", "rest-xml", "", None)
    route = services.by_path(services.get("s3"), RequestHead("GET", "/b/k"))
    assert (route.protocol, route.name) == ("rest-xml", "GetObject")
