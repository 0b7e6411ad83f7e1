"""URLs of signature version 2 at their exact bounds: how long they live, what they claim, what they sign and which headers they state."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from penstock_object_rows import refused

from penstock.objects import (
    presigned_v2,
)
from penstock.objects.presigned_v2 import PresignedV2
from penstock.objects.url_headers import with_url_headers
from penstock.wire.errors import IncompleteSignature, MissingAuthentication, PresignedExpired, SignatureMismatch
from penstock.wire.message import RequestHead


def url(query: str, method: str = "GET", path: str = "/b/k", **headers: str) -> RequestHead:
    return RequestHead(method, path, query, {name.replace("_", "-"): value for name, value in headers.items()})


@pytest.mark.parametrize(
    ("left", "error"),
    [(0, SignatureMismatch), (-0.001, PresignedExpired), (604_800, SignatureMismatch), (604_800.001, IncompleteSignature)],
)  # fmt: skip
def test_a_url_lives_to_its_last_moment_and_for_a_week_at_most(left, error):
    ends = 1_767_225_600
    head = url(f"AWSAccessKeyId=K&Signature={'s' * 300}&Expires={ends}")
    signature = PresignedV2().parse(head, "us-east-1")
    assert signature is not None
    with pytest.raises(error) as caught:
        PresignedV2().verify(signature, head, "secret", round((ends - left) * 1000))
    if error is PresignedExpired:
        assert caught.value.values == {"Expires": "2026-01-01T00:00:00Z", "ServerTime": "2026-01-01T00:00:00Z"}
    if error is SignatureMismatch:
        assert caught.value.values["SignatureProvided"] == "s" * 256


@pytest.mark.parametrize(
    ("query", "error", "said"),
    [
        ("AWSAccessKeyId=K&Signature=s", MissingAuthentication, "requires the Signature, Expires and AWSAccessKeyId parameters"),
        ("AWSAccessKeyId=K&Expires=1", MissingAuthentication, "requires"),
        ("AWSAccessKeyId=K&Signature=s&Expires=" + "1" * 13, IncompleteSignature, r"epoch\): 1{13}$"),
        ("AWSAccessKeyId=K&Signature=s&Expires=" + "x" * 70, IncompleteSignature, r"epoch\): x{64}$"),
        ("AWSAccessKeyId=K&Signature=s&Expires=%C2%B2", IncompleteSignature, "Invalid date"),
        ("AWSAccessKeyId=K&Signature=s&Expires=1&session&abac", IncompleteSignature, "does not sign the parameter abac; use version 4"),
    ],
)  # fmt: skip
def test_urls_that_are_not_signed_so(query, error, said):
    with refused(error, said):
        PresignedV2().parse(url(query), "us-east-1")


def test_what_a_url_of_version_2_claims():
    assert PresignedV2().parse(url("Signature=s&Expires=1"), "us-east-1") is None
    found = PresignedV2().parse(url("AWSAccessKeyId=K&Signature=s&Expires=" + "9" * 12), "eu-west-1")
    assert found is not None
    assert (found.presigned, found.expires_seconds, found.region, found.service) == (True, 999_999_999_999, "eu-west-1", "s3")  # fmt: skip


def test_what_version_2_signs():
    head = url(
        "Expires=9&acl&uploadId=u&versionId=&x-amz-a=1&other=2", "PUT", "/k", content_type="t", content_md5="m", x_amz_b=" 3 "
    )  # fmt: skip
    signed = "PUT\nm\nt\n9\nx-amz-a:1\nx-amz-b:3\n/b/k?acl&uploadId=u&versionId="
    assert presigned_v2.string_to_sign(head, bucket="b") == signed
    assert presigned_v2.string_to_sign(url("", path="/b/k")) == "GET\n\n\n\n/b/k"


@pytest.mark.parametrize(
    ("query", "headers", "signed", "stated"),
    [
        ("x-amz-acl=private", {}, (), {"x-amz-acl": "private"}),
        ("X-Amz-Acl=private", {"x-amz-acl": "public"}, (), {"x-amz-acl": "private"}),
        ("x-amz-acl=private", {"x-amz-acl": "public"}, ("x-amz-acl",), {"x-amz-acl": "public"}),
        ("If-None-Match=*", {}, (), {"if-none-match": "*"}),
        ("x-amz-checksum-crc32=x&X-Amz-Date=1&a=b", {}, (), {}),
    ],
)
def test_headers_that_a_url_states(query, headers, signed, stated):
    head = RequestHead("PUT", "/", query, headers)
    laid = with_url_headers(head, SimpleNamespace(scheme=None, signed_headers=signed))  # type: ignore[arg-type]
    assert laid.headers == headers | stated
    if query.startswith("x-amz-acl"):  # version 2 covers the headers as they are
        scheme = SimpleNamespace(scheme="v2", signed_headers=())
        assert with_url_headers(head, scheme).headers == stated | headers  # type: ignore[arg-type]
