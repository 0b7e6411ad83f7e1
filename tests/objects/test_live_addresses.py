"""Presigned and virtual-host addresses, and what a page at one of them may do, against a live server."""

from __future__ import annotations

import urllib.error
import urllib.parse
import urllib.request

import boto3
import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from penstock_buckets import fetch


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
