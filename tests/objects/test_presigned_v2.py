"""URLs of signature version 2: what boto3 makes of them holds, and nothing that somebody else made of such a URL does."""

from __future__ import annotations

import time
from urllib.parse import urlsplit

import botocore.loaders
import pytest
from botocore.auth import HmacV1QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from penstock.objects.presigned_v2 import PresignedV2
from penstock.wire.errors import IncompleteSignature, PresignedExpired, SignatureMismatch
from penstock.wire.message import RequestHead

KEY, SECRET = "AKIAPENSTOCKEXAMPLE0", "secret/with+signs"


def presigned(method="GET", path="/bucket/key", *, headers=None, expires=3600, token=None):
    request = AWSRequest(method=method, url=f"http://localhost{path}", headers=headers or {})
    HmacV1QueryAuth(Credentials(KEY, SECRET, token), expires=expires).add_auth(request)
    parts = urlsplit(request.prepare().url)
    return RequestHead(method, parts.path, parts.query, {"host": "localhost"} | (headers or {}))


def check(head, *, seconds=0.0, bucket=""):
    signature = PresignedV2().parse(head, "us-east-1")
    assert signature is not None
    signature.scheme.verify(signature, head, SECRET, int((time.time() + seconds) * 1000), label=bucket)
    return signature


def with_query(head, query, *, method="", headers=None):
    return RequestHead(method or head.method, head.path, query, headers or head.headers)


def test_what_botocore_signs_holds():
    assert check(presigned()).access_key_id == KEY
    check(presigned("PUT", headers={"content-type": "text/plain"}))
    check(presigned("GET", "/bucket/a%20key?versionId=one"))
    assert check(presigned(token="session")).session_token == "session"


def test_a_bucket_in_the_host_name_is_signed_as_the_first_part_of_the_path():
    head = presigned()
    check(RequestHead("GET", "/key", head.query, {"host": "bucket.localhost"}), bucket="bucket")
    with pytest.raises(SignatureMismatch):
        check(RequestHead("GET", "/key", head.query, {"host": "other.localhost"}), bucket="other")


def test_it_ends_and_cannot_be_made_for_longer_than_a_week():
    with pytest.raises(PresignedExpired):
        check(presigned(expires=60), seconds=61)
    with pytest.raises(IncompleteSignature):
        check(presigned(expires=8 * 86_400))


def test_an_expired_url_does_not_live_on_by_stating_two_ends():
    head = presigned(expires=60)
    old = next(part for part in head.query.split("&") if part.startswith("Expires="))
    later = f"Expires={int(time.time()) + 600}"
    rest = "&".join(part for part in head.query.split("&") if part != old)
    for query in (
        f"{later}&{old.lower()}&{rest}",
        f"{later}&{old}&{rest}",
        f"{old}&{later}&{rest}",
        f"{old.upper()}&{later}&{rest}",
        f"{later}&%65xpires={old.partition('=')[2]}&{rest}",
    ):
        with pytest.raises(IncompleteSignature, match="given more than once"):
            check(with_query(head, query), seconds=61)


@pytest.mark.parametrize(
    "change",
    [
        {"method": "DELETE"},
        {"query": "&uploads"},
        {"query": "&versionId=other"},
        {"query": "&response-content-type=text/html"},
        {"query": "&%75ploads"},
        {"headers": {"host": "localhost", "x-amz-copy-source": "/other/key"}},
        {"headers": {"host": "localhost", "content-type": "text/html"}},
    ],
)
def test_nothing_that_chooses_what_is_done_can_be_changed(change):
    head = presigned()
    changed = with_query(
        head, head.query + change.get("query", ""), method=change.get("method", ""), headers=change.get("headers")
    )
    with pytest.raises(SignatureMismatch):
        check(changed)


def test_no_parameter_that_chooses_an_operation_is_left_unsigned():
    model = botocore.loaders.Loader().load_service_model("s3", "service-2")
    uris = (operation["http"]["requestUri"] for operation in model["operations"].values())
    choosing = {part for uri in uris for part in uri.partition("?")[2].split("&") if part}
    # Only the pages of a list look different with it; the permission asked for is the same.
    for name in sorted(choosing - {"list-type=2"}):
        head = presigned()
        with pytest.raises((SignatureMismatch, IncompleteSignature)):
            check(with_query(head, f"{head.query}&{name}"))
