"""Blobs in another S3 store: its address, what goes up in parts, what is old, and how many requests reads make."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import PartialCredentialsError
from penstock_object_rows import refused

from penstock.blobs.s3_backend import Location
from penstock.store.errors import StoreUnavailable

MIB, GIB, TIB = 1 << 20, 1 << 30, 1 << 40


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("s3://bucket", ""), ("http://bucket", "is not s3://bucket"), ("s3://B", "is not s3://bucket"), ("s3://ab", "is not s3://bucket"),
        ("s3://" + "a" * 63, ""), ("s3://" + "a" * 64, "is not s3://bucket"), ("s3://abc?endpoint=ftp://x", "is no http or https address"),
        ("s3://abc?b=1&a=2", "a, b is not known of an object store: credentials, endpoint, profile, region are"),
    ],
)  # fmt: skip
def test_addresses_of_other_stores(text, said):
    with refused(ValueError, said) if said else contextlib.nullcontext():
        found = Location.parse(text)
        assert (found.prefix, found.region, found.endpoint) == ("", "us-east-1", "")
    assert Location.parse("s3://abc//a/b/?region=r&profile=p").prefix == "a/b/"


CREDENTIALS = """
[default]
aws_access_key_id = one
aws_secret_access_key = two
[other]
aws_access_key_id = three
aws_secret_access_key = four
aws_session_token = five
[half]
aws_access_key_id = six
"""


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize(
    ("profile", "keys"), [("", ("one", "two", None)), ("other", ("three", "four", "five")), ("half", None)]
)
def test_whose_keys_another_store_is_asked_with(tmp_path, monkeypatch, given, profile, keys):
    """Those of the file that the address names; without one, of the file that the AWS SDKs find."""
    from penstock.blobs.s3_backend import _session

    file = tmp_path / "credentials"
    file.write_text(CREDENTIALS)
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none" if given else file))
    location = Location.parse(f"s3://abc?profile={profile}{f'&credentials={file}' if given else ''}")
    if keys is None:
        with pytest.raises(
            StoreUnavailable if given else PartialCredentialsError, match=profile if given else "Partial credentials"
        ):
            _session(location).get_credentials()
        return
    found = _session(location).get_credentials()
    assert (found.access_key, found.secret_key, found.token) == keys


class Client:
    """As much of a client of S3 as a backend uses."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.pages: dict[str, list[dict[str, Any]]] = {}

    def __getattr__(self, operation: str) -> Any:
        def run(**input: Any) -> Any:
            self.asked.append((operation, input))
            return {"UploadId": "u", "ETag": f"e{input.get('PartNumber')}"}

        return run

    def get_paginator(self, operation: str) -> Any:
        return SimpleNamespace(paginate=lambda **_where: self.pages[operation])


@pytest.fixture
def elsewhere():
    from penstock.blobs.s3_backend import S3Backend

    made = S3Backend(Location.parse("s3://abc/p"), connections=2)
    made._client = Client()
    return made


@pytest.mark.parametrize(
    ("sizes", "operations"),
    [
        ([8 * MIB - 1], ["put_object"]),
        ([8 * MIB], ["create_multipart_upload", "upload_part", "complete_multipart_upload"]),
        ([8 * MIB, 1], ["create_multipart_upload", "upload_part", "upload_part", "complete_multipart_upload"]),
    ],
)
def test_what_goes_up_in_parts(elsewhere, sizes, operations):
    sink = elsewhere.create("id")
    for size in sizes:
        sink.write([bytes(size)])
    sink.commit()
    asked = elsewhere._client.asked
    assert [operation for operation, _ in asked] == operations
    assert all(input["Key"] == "p/id" for _, input in asked)
    if len(sizes) == 2:
        parts = [{"PartNumber": 1, "ETag": "e1"}, {"PartNumber": 2, "ETag": "e2"}]
        assert asked[-1][1]["MultipartUpload"] == {"Parts": parts}
        assert [len(input["Body"]) for operation, input in asked if operation == "upload_part"] == sizes
    asked.clear()
    sink.discard()
    assert [operation for operation, _ in asked] == ["abort_multipart_upload"] * (len(operations) > 1) + ["delete_object"]  # fmt: skip


def test_what_is_old_elsewhere(elsewhere, monkeypatch):
    from penstock.blobs import s3_backend

    now = datetime(2026, 1, 2, tzinfo=UTC)
    monkeypatch.setattr(s3_backend, "datetime", SimpleNamespace(now=lambda _zone: now))
    day, second = s3_backend.timedelta(days=1), s3_backend.timedelta(seconds=1)
    elsewhere._client.pages = {
        "list_multipart_uploads": [
            {"Uploads": [{"Initiated": now - day, "Key": "p/young", "UploadId": "1"},
                         {"Initiated": now - day - second, "Key": "p/old", "UploadId": "2"}]},
            {},
        ],
        "list_objects_v2": [
            {"Contents": [{"LastModified": now - 60 * second, "Key": "p/at"}, {"LastModified": now - 61 * second, "Key": "p/old"}]}, {},
        ],
    }  # fmt: skip
    assert list(elsewhere.older_than(60)) == ["old"]
    aborted = {"Bucket": "abc", "Key": "p/old", "UploadId": "2"}
    assert elsewhere._client.asked == [("abort_multipart_upload", aborted)]


def test_reads_that_follow_each_other_are_one_request(elsewhere):
    closed = []

    class Body:
        def __init__(self, start: int) -> None:
            self.at = start

        def read(self, length: int) -> bytes:
            found = b"0123456789"[self.at : self.at + length]
            self.at += len(found)
            return found

        def close(self) -> None:
            closed.append(self.at)

    ranges = []

    def get_object(**input: Any) -> Any:
        ranges.append(input["Range"])
        return {"Body": Body(int(input["Range"][6:-1]))}

    elsewhere._client.get_object = get_object
    source = elsewhere.open("id")
    assert [source.read(0, 3), source.read(3, 3), source.read(1, 2)] == [b"012", b"345", b"12"]
    assert (ranges, closed) == (["bytes=0-", "bytes=1-"], [6])
    source.close()
    source.close()
    assert closed == [6, 3]
