"""Buckets: where a new one is made and by whom, what making it again is answered, which are listed, and the region that policies see."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from penstock_object_rows import refused

from penstock.objects import (
    names,
    records,
)
from penstock.objects.errors import (
    BucketAlreadyExists,
    BucketAlreadyOwnedByYou,
    IllegalLocationConstraintException,
    InvalidLocationConstraint,
    InvalidRequest,
    InvalidTag,
    NotServed,
)
from penstock.objects.model import Bucket, Versioning
from penstock.objects.operations import buckets


@pytest.mark.parametrize(
    ("via", "region", "constraint", "answer"),
    [
        ("http", "us-east-1", "", "us-east-1"),
        ("http", "us-east-1", "EU", "eu-west-1"),
        ("http", "eu-west-1", "eu-west-1", "eu-west-1"),
        ("http", "eu-west-1", "", IllegalLocationConstraintException),
        ("http", "eu-west-2", "eu-west-1", IllegalLocationConstraintException),
        ("http", "us-east-1", "us-east-1", InvalidLocationConstraint),
        ("http", "us-east-1", "eu-west-9", InvalidLocationConstraint),
        ("invoke", "eu-west-2", "", "eu-west-2"),
        ("invoke", "eu-west-2", "eu-west-1", "eu-west-1"),
        ("invoke", "eu-west-2", "us-east-1", InvalidLocationConstraint),
    ],
)
def test_the_region_of_a_new_bucket(via, region, constraint, answer):
    settings = SimpleNamespace(all_regions=lambda: ("us-east-1", "eu-west-1", "eu-west-2"))
    call = SimpleNamespace(via=via, region=region, app=SimpleNamespace(settings=settings))
    if isinstance(answer, str):
        assert buckets._region(call, constraint) == answer  # type: ignore[arg-type]
        return
    with refused(answer) as caught:
        buckets._region(call, constraint)  # type: ignore[arg-type]
    if answer is InvalidLocationConstraint:
        assert "the regions of this installation are us-east-1, eu-west-1, eu-west-2" in caught.value.message


@pytest.mark.parametrize(
    ("there", "asked", "error"),
    [
        (("1", "us-east-1"), ("1", "us-east-1", {}), None),
        (("1", "us-east-1"), ("1", "us-east-1", {"tags": {}}), BucketAlreadyOwnedByYou),
        (("1", "us-east-1"), ("1", "eu-west-1", {}), BucketAlreadyOwnedByYou),
        (("1", "eu-west-1"), ("1", "us-east-1", {}), BucketAlreadyOwnedByYou),
        (("1", "eu-west-1"), ("1", "eu-west-1", {}), BucketAlreadyOwnedByYou),
        (("2", "us-east-1"), ("1", "us-east-1", {}), BucketAlreadyExists),
    ],
)
async def test_a_bucket_is_made_once(store, there, asked, error):
    def bucket(account: str, region: str, settings: dict[str, Any] | None = None) -> Bucket:
        return Bucket(
            name="b", account=account, region=region, created=1, versioning=Versioning.NEVER, settings=settings or {}
        )

    await store.write(buckets._create, bucket(*there))
    with refused(error) if error else contextlib.nullcontext():
        await store.write(buckets._create, bucket(*asked))
    found = await store.read(records.find_bucket, "b")
    assert (found.account, found.region, found.settings) == (*there, {})


async def test_which_buckets_are_listed(store):
    def make(conn: sa.Connection) -> None:
        for account, name, region in (
            ("1", "aa", "r1"), ("1", "ab", "r1"), ("1", "b", "r2"), ("2", "ac", "r1"), ("1", "xa", "r1"),
        ):  # fmt: skip
            records.insert_bucket(
                conn,
                Bucket(name=name, account=account, region=region, created=1, versioning=Versioning.NEVER, settings={}),
            )

    await store.write(make)

    def listed(**asked: Any) -> Any:
        question = {"after": None, "prefix": "", "region": "", "limit": 10} | asked
        return lambda conn: [bucket.name for bucket in records.list_buckets(conn, "1", **question)]

    for asked, found in (
        ({}, ["aa", "ab", "b", "xa"]), ({"prefix": "a"}, ["aa", "ab"]), ({"prefix": "ab"}, ["ab"]), ({"region": "r2"}, ["b"]),
        ({"after": ["aa"], "limit": 2}, ["ab", "b"]), ({"prefix": "z"}, []),
    ):  # fmt: skip
        assert await store.read(listed(**asked)) == found


@pytest.mark.parametrize(
    ("regions", "found", "memo"),
    [(("r1", "r2"), "r2", {"region": "r2"}), (("r1", "r2"), None, {}), (("r1",), "r2", {})],
)
async def test_the_region_that_policies_see_is_the_buckets(regions, found, memo):
    async def read(_find, name):
        assert name == "b"
        return found and SimpleNamespace(region=found)

    settings = SimpleNamespace(all_regions=lambda: regions)
    call: Any = SimpleNamespace(app=SimpleNamespace(settings=settings, store=SimpleNamespace(read=read)), memo={})
    await names.note_region(call, "b")
    assert call.memo == memo


@pytest.mark.parametrize(
    ("input", "error", "settings"),
    [
        ({}, None, {}),
        ({"CreateBucketConfiguration": {"Tags": [{"Key": "a", "Value": "1"}]}}, None, {"tags": {"a": "1"}}),
        ({"BucketNamespace": "global", "ObjectOwnership": "BucketOwnerEnforced"}, None, {}),
        ({"BucketNamespace": "mine"}, NotServed, None),
        ({"ObjectLockEnabledForBucket": True}, NotServed, None),
        ({"ObjectOwnership": "ObjectWriter"}, InvalidRequest, None),
        ({"CreateBucketConfiguration": {"Bucket": {"Type": "Directory"}}}, NotServed, None),
        ({"CreateBucketConfiguration": {"Location": {"Name": "x"}}}, NotServed, None),
        ({"CreateBucketConfiguration": {"Tags": [{"Key": "aws:a", "Value": "1"}]}}, InvalidTag, None),
    ],
)
async def test_what_a_new_bucket_is_answered(input, error, settings):
    made = []

    async def write(_create, bucket):
        made.append(bucket)

    app = SimpleNamespace(
        settings=SimpleNamespace(all_regions=lambda: ("us-east-1",)), store=SimpleNamespace(write=write)
    )
    call: Any = SimpleNamespace(via="http", region="us-east-1", account="1", partition="aws", now=5, app=app)
    with refused(error) if error else contextlib.nullcontext():
        answer = await buckets.create_bucket(None, call, {"Bucket": "abc"} | input)  # type: ignore[arg-type]
        assert answer == {"Location": "/abc", "BucketArn": "arn:aws:s3:::abc"}
    expected = Bucket(
        name="abc", account="1", region="us-east-1", created=5, versioning=Versioning.NEVER, settings=settings or {}
    )
    assert made == ([] if error else [expected])
