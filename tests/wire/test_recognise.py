"""The order of recognition on the one port: a test per row, and what the rows must not take from each other."""

from __future__ import annotations

import time

import pytest

from penstock.objects.service import s3
from penstock.wire.message import RequestHead
from penstock.wire.recognise import ORDER, RESERVED_PATHS, Kind, Port, Recognised, recognise
from penstock.wire.services import Service, Services

SCOPE = (
    "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261121/{region}/{service}/aws4_request, SignedHeaders=host, Signature=00"
)
OBJECTS = s3()
FUNCTIONS = Service("lambda")
SERVICES = Services()
for one in (Service("iam"), Service("codepipeline"), OBJECTS, FUNCTIONS):
    SERVICES.add(one)
PORT = Port(SERVICES, "penstock.example", "localhost")
FORM = "application/x-www-form-urlencoded; charset=utf-8"


def head(method="POST", path="/", query="", *, scope="", region="us-east-1", **headers: str) -> RequestHead:
    named = {"host": "penstock.example:8470"} | {name.replace("_", "-"): value for name, value in headers.items()}
    if scope:
        named["authorization"] = SCOPE.format(service=scope, region=region)
    return RequestHead(method, path, query, named)


ROWS = {
    "virtual-host bucket": (
        head("GET", "/key", scope="s3", host="my.bucket.penstock.example:8470"),
        Recognised(Kind.REST, OBJECTS, "my.bucket"),
    ),
    "virtual-host bucket, anonymous": (
        head("GET", "/key", host="site.localhost"),
        Recognised(Kind.REST, OBJECTS, "site"),
    ),
    "scope with target prefix": (
        head(scope="codepipeline", x_amz_target="CodePipeline_20150709.GetPipeline"),
        Recognised(Kind.TARGET, detail="CodePipeline_20150709.GetPipeline"),
    ),
    "scope with Query version": (head(scope="iam", content_type=FORM), Recognised(Kind.QUERY)),
    "scope of S3": (head("PUT", "/bucket/key", scope="s3"), Recognised(Kind.REST, OBJECTS)),
    "presigned scope of S3": (
        head(
            "GET", "/bucket/key", "X-Amz-Credential=AKID%2F20261121%2Feu-west-1%2Fs3%2Faws4_request&X-Amz-Signature=0"
        ),
        Recognised(Kind.REST, OBJECTS),
    ),
    "Smithy RPC": (
        head(path="/service/CodePipeline_20150709/operation/GetPipeline", scope="codepipeline"),
        Recognised(Kind.SMITHY, detail="CodePipeline_20150709/GetPipeline"),
    ),
    "Smithy RPC, unsigned": (head(path="/service/S/operation/O"), Recognised(Kind.SMITHY, detail="S/O")),
    "unsigned target": (
        head(x_amz_target="CodePipeline_20150709.GetPipeline"),
        Recognised(Kind.TARGET, detail="CodePipeline_20150709.GetPipeline"),
    ),
    "reserved path": (head("GET", "/console/pipelines"), Recognised(Kind.MOUNT, detail="console")),
    "git": (head("GET", "/v1/repos/hello/info/refs", authorization="Basic abc"), Recognised(Kind.MOUNT, detail="v1")),
    "a browser at the root": (head("GET", "/"), Recognised(Kind.ROOT)),
    "unsigned Query": (head(content_type=FORM), Recognised(Kind.QUERY)),
    "a link that confirms": (
        head("GET", "/", "Action=ConfirmSubscription&TopicArn=a&Token=b"),
        Recognised(Kind.QUERY),
    ),
    "a link with an action elsewhere": (head("GET", "/key", "Action=x"), Recognised(Kind.REST, OBJECTS)),
    "unsigned REST": (head("GET", "/2015-03-31/functions"), Recognised(Kind.REST, FUNCTIONS)),
    "unsigned, anything else": (head("GET", "/bucket/key"), Recognised(Kind.REST, OBJECTS)),
    "unsigned, a path of no operation": (head("GET", "/2015-03-31/nothing"), Recognised(Kind.REST, OBJECTS)),
    "scope of a REST service": (
        head("GET", "/2015-03-31/functions/x", scope="lambda"),
        Recognised(Kind.REST, FUNCTIONS),
    ),
    "scope of a service that is not served": (head("GET", "/v20180820/jobs", scope="glacier"), Recognised(Kind.REST)),
}


@pytest.mark.parametrize("row", ROWS)
def test_each_row(row):
    request, route = ROWS[row]
    assert recognise(request, PORT) == route


def test_every_row_of_the_order_decides_for_some_request():
    decided = set()
    for request, _ in ROWS.values():
        decided.add(next(index for index, row in enumerate(ORDER) if row(request, PORT)))
    assert decided == set(range(len(ORDER)))


@pytest.mark.parametrize("path", RESERVED_PATHS)
def test_a_signed_s3_request_keeps_reserved_names(path):
    # S3 itself refuses a bucket of that name; recognition does not send a signed request to a page.
    assert recognise(head("PUT", f"/{path}", scope="s3"), PORT).service == OBJECTS


def test_a_root_account_key_with_slashes_in_the_scope_is_read_from_its_end():
    odd = "AWS4-HMAC-SHA256 Credential=AK/ID/20261121/eu-west-1/s3/aws4_request, SignedHeaders=host, Signature=00"
    # With another scope: a Query call.
    assert recognise(head("POST", "/", authorization=odd), PORT) == Recognised(Kind.REST, OBJECTS)


def test_a_broken_scope_is_still_a_signed_request():
    assert recognise(head("GET", "/bucket", authorization="AWS4-HMAC-SHA256 Credential=x"), PORT).service == OBJECTS


def test_the_longest_base_has_the_bucket():
    port = Port(SERVICES, "example.org", "localhost")
    for host, bucket in {"a.s3.localhost:8470": "a", "a.localhost": "a", "a.b.s3.example.org": "a.b"}.items():
        assert recognise(RequestHead("GET", "/key", "", {"host": host}), port).label == bucket
    assert recognise(RequestHead("GET", "/bucket/key", "", {"host": "s3.localhost"}), port).label == ""


@pytest.mark.parametrize(
    "authorization",
    [
        "AWS4-HMAC-SHA256 " + "Credential=" * 2900 + "/1" * 16_000,
        "AWS4-HMAC-SHA256 " + "Credential=a/20260101/a/" * 2600,
        "AWS4-HMAC-SHA256 Credential=a" + "/20260101/a/a" * 4900,
        "AWS4-HMAC-SHA256 Credential=" + "a/12345678/" + "a" * 63_000,
        "AWS4-HMAC-SHA256 Credential=" + "," * 64_000,
    ],
)
def test_no_header_takes_long_to_recognise(authorization):
    began = time.thread_time()
    recognise(head("POST", "/", authorization=authorization), PORT)
    recognise(head("POST", "/", query="X-Amz-Credential=" + authorization.replace("/", "%2F")), PORT)
    assert time.thread_time() - began < 0.5  # some took seconds, of everybody's time
