"""The limits of S3 in numbers, and names, keys and owners at the last character that is taken."""

from __future__ import annotations

import contextlib
import hashlib
from types import SimpleNamespace

import pytest
from penstock_object_rows import refused

from penstock.blobs import segments
from penstock.objects import (
    commits,
    names,
)
from penstock.objects.blobs import BATCH
from penstock.objects.errors import (
    InvalidArgument,
    InvalidBucketName,
    InvalidRequest,
    KeyTooLongError,
)
from penstock.objects.model import time_to_api
from penstock.objects.operations import lists

MIB, GIB, TIB = 1 << 20, 1 << 30, 1 << 40


def test_limits_in_numbers():
    """AWS: "Amazon S3 multipart upload limits", "Object key naming", "User-defined object metadata"."""
    from penstock.objects import model

    assert (model.MAX_KEY, model.MAX_METADATA, model.MAX_PARTS) == (1024, 2048, 10_000)
    assert (model.MAX_PUT, model.MAX_OBJECT, model.MIN_PART) == (5 * GIB, 48 * TIB, 5 * MIB)
    assert (segments.SEGMENT, segments.TAG, segments.KEY, segments.SEALED_SEGMENT) == (65_536, 16, 32, 65_552)
    assert BATCH == 524_288
    assert [segments.segment_count(size) for size in (0, 1, 65_536, 65_537)] == [1, 1, 1, 2]
    assert [segments.stored_size(size) for size in (0, 65_536, 65_537)] == [24, 65_560, 65_577]
    assert [segments.segment_offset(index) for index in (0, 1, 2)] == [8, 65_560, 131_112]
    assert [time_to_api(ms) for ms in (0, 999, 1000, 1999)] == [0, 0, 1000, 1000]


@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("abc", True), ("ab", False), ("a" * 63, True), ("a" * 64, False), ("a.b", True), ("a..b", False), ("-ab", False), ("ab-", False), ("Abc", False),
        ("192.168.0.1", False), ("192.168.0.300", True), ("xn--a", False), ("a--x-s3", False), ("console", False), ("consoles", True),
    ],
)  # fmt: skip
def test_names_of_buckets(name, good):
    with contextlib.nullcontext() if good else refused(InvalidBucketName):
        names.check_bucket_name(name)


def test_keys_that_are_too_long_or_no_text():
    assert names.check_key("é" * 512) == "é" * 512
    with refused(KeyTooLongError) as caught:
        names.check_key("é" * 512 + "x")
    assert caught.value.values == {"Size": "1025", "MaxSizeAllowed": "1024"}
    with refused(InvalidRequest, "Couldn't parse the specified URI"):
        names.check_key("\ud800")


def test_an_owner_has_64_digits():
    assert names.owner("1") == {"ID": hashlib.sha256(b"penstock:1").hexdigest()}


def test_pages_of_keys():
    for asked, limit in ((None, 1000), (1000, 1000), (1001, 1000), (0, 0), (1, 1)):
        input = {"Bucket": "b"} if asked is None else {"Bucket": "b", "MaxKeys": asked}
        assert lists._selection(input, "MaxKeys").limit == limit
        common = lists._common(input, SimpleNamespace(entries=[b"x/"], truncated=True), "MaxKeys", str)  # type: ignore[arg-type]
        assert (common["MaxKeys"], common["CommonPrefixes"], common["IsTruncated"]) == (limit, [{"Prefix": "x/"}], True)
    with refused(InvalidArgument, "Argument MaxKeys must be an integer between 0 and 2147483647"):
        lists._selection({"MaxKeys": -1}, "MaxKeys")


def test_events_of_a_key_share_one_of_64_orders():
    assert [commits.ordering_key(key) for key in ("", "a", "é")] == [0, 3, 62]
    assert {commits.ordering_key(str(number)) for number in range(2000)} == set(range(64))
