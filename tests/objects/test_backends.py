"""Where blobs lie: what a disk and an S3-compatible store both promise. The store is a Penstock of its own, which speaks S3."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import botocore.config
import pytest
from penstock_live import live, live_factory  # noqa: F401 - the fixtures

from penstock.blobs.backend import Backend, DiskBackend
from penstock.blobs.s3_backend import Location, S3Backend
from penstock.blobs.segments import DamagedBlob
from penstock.blobs.settings import ObjectsSettings, store_address
from penstock.objects.blobs import Blobs, Piece
from penstock.store.errors import StoreUnavailable
from penstock.store.sealing import Sealer

MIB = 1 << 20


def store_url(live: Any, folder: Path, *, bucket: str = "") -> str:  # noqa: F811
    """A new bucket of a live server, and how `--objects` names it."""
    bucket = bucket or f"blobs-{uuid.uuid4().hex[:12]}"
    live.client("s3").create_bucket(Bucket=bucket)
    keys = folder / "store-credentials"
    keys.write_text((live.data_dir / "credentials").read_text())
    return f"s3://{bucket}/deep/down?endpoint={live.url}&credentials={keys}&profile=penstock"


@pytest.fixture(params=["disk", "s3"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    if request.param == "disk":
        made: Backend = DiskBackend(tmp_path / "blobs")
    else:
        made = S3Backend(Location.parse(store_url(request.getfixturevalue("live"), tmp_path)), connections=4)
    made.prepare()
    return made


def write(backend: Backend, blob: str, *pieces: bytes) -> None:
    sink = backend.create(blob)
    for piece in pieces:
        sink.write([piece[:10], piece[10:]])
    sink.commit()


def everything(backend: Backend, blob: str) -> bytes:
    source = backend.open(blob)
    try:
        return source.read(0, 100 * MIB)
    finally:
        source.close()


@pytest.mark.parametrize("sizes", [[0], [1], [5 * MIB], [8 * MIB], [8 * MIB, 8 * MIB, 1], [MIB] * 20], ids=str)
def test_what_was_committed_comes_back(backend: Backend, sizes: list[int]) -> None:
    pieces = [os.urandom(size) for size in sizes]
    write(backend, "ab" * 16, *pieces)
    assert everything(backend, "ab" * 16) == b"".join(pieces)


def test_any_part_is_read_in_any_order(backend: Backend) -> None:
    data = os.urandom(3 * MIB)
    write(backend, "cd" * 16, data)
    source = backend.open("cd" * 16)
    for start, length in ((0, 10), (10, MIB), (MIB + 10, MIB), (5, 5), (3 * MIB - 1, 10), (2 * MIB, 1)):
        assert source.read(start, length) == data[start : start + length]
    source.close()


@pytest.mark.parametrize("size", [10, 20 * MIB])
def test_nothing_is_there_before_the_commit_or_after_a_discard(backend: Backend, size: int) -> None:
    sink = backend.create("ef" * 16)
    sink.write([os.urandom(size)])
    if isinstance(backend, S3Backend):  # a file is there, and nobody knows its id
        with pytest.raises(FileNotFoundError):
            everything(backend, "ef" * 16)
    sink.discard()
    with pytest.raises(FileNotFoundError):
        everything(backend, "ef" * 16)
    sink.discard()


def test_what_is_removed_is_gone_and_may_be_removed_again(backend: Backend) -> None:
    write(backend, "01" * 16, b"x")
    backend.remove("01" * 16)
    backend.remove("01" * 16)
    with pytest.raises(FileNotFoundError):
        everything(backend, "01" * 16)


def test_the_collector_learns_what_is_old(backend: Backend) -> None:
    ids = sorted(f"{number:02x}" * 16 for number in range(5))
    for blob in ids:
        write(backend, blob, b"x")
    if isinstance(backend, S3Backend):  # what lies in a place below, such as segments of logs, is not its own
        below = S3Backend(replace(backend.location, prefix=f"{backend.location.prefix}below/"), connections=1)
        below.prepare()
        write(below, "ab" * 16, b"x")
        assert list(below.older_than(-60)) == ["ab" * 16]
    assert list(backend.older_than(3600)) == []
    assert sorted(backend.older_than(-60)) == ids


async def test_blobs_on_it_verify_and_report_what_is_missing(backend: Backend) -> None:
    blobs = Blobs(backend, Sealer([(b"test", b"k" * 32)]), threads=2)
    try:
        data = os.urandom(9 * MIB)
        blob = (await blobs.write(data)).blob
        reader = await blobs.open([Piece(blob=blob, start=MIB, length=5 * MIB)])
        assert await reader.read() == data[MIB : 6 * MIB]
        await blobs.discard(blob)
        with pytest.raises(DamagedBlob, match="is missing"):
            await blobs.open([Piece(blob=blob, start=0, length=1)])
    finally:
        blobs.close()


# --- the store ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bucket", "is not s3://bucket"),
        ("http://bucket", "is not s3://bucket"),
        ("s3://", "is not s3://bucket"),
        ("s3://Big", "is not s3://bucket"),
        ("s3://bucket?endpoint=ftp://x", "is no http or https address"),
        ("s3://bucket?endpiont=http://x", "endpiont is not known"),
    ],
)
def test_an_address_that_means_nothing_refused_with_a_reason(text: str, message: str) -> None:
    for read in (Location.parse, store_address):
        with pytest.raises(ValueError, match=message):
            read(text)


def test_an_address_is_read() -> None:
    assert Location.parse(
        "s3://b-1/x/y/?endpoint=https://s3.example.org&region=eu-1&credentials=/k&profile=p"
    ) == Location(
        bucket="b-1", prefix="x/y/", endpoint="https://s3.example.org", region="eu-1", credentials="/k", profile="p"
    )
    assert Location.parse("s3://b-1").region == "us-east-1"


def test_a_store_that_refuses_or_is_not_there_keeps_the_server_from_starting(live, tmp_path: Path) -> None:  # noqa: F811
    good = store_url(live, tmp_path)
    for wrong, message in (
        (good.replace("s3://blobs-", "s3://other-"), "refuses"),
        (good.replace(live.url, "http://127.0.0.1:9"), "cannot be used"),
        (good.replace("profile=penstock", "profile=nobody"), "has no usable profile nobody"),
        (good.replace("store-credentials", "nowhere"), "No such file"),
    ):
        with pytest.raises(StoreUnavailable, match=message):
            S3Backend(Location.parse(wrong), connections=1).prepare()


def test_uploads_that_a_dead_writer_left_are_taken_back(live, tmp_path: Path, monkeypatch) -> None:  # noqa: F811
    monkeypatch.setattr("penstock.blobs.s3_backend._ABANDONED", timedelta(days=-1))
    backend = S3Backend(Location.parse(store_url(live, tmp_path, bucket="left-open")), connections=1)
    backend.prepare()
    backend.create("aa" * 16).write([bytes(9 * MIB)])
    s3 = live.client("s3")
    assert len(s3.list_multipart_uploads(Bucket="left-open")["Uploads"]) == 1
    assert list(backend.older_than(0)) == []
    assert "Uploads" not in s3.list_multipart_uploads(Bucket="left-open")


@pytest.fixture
def harness(live, live_factory: Callable[..., Any], tmp_path: Path) -> Iterator[Any]:  # noqa: F811
    """A server whose objects lie in another one's bucket."""
    with live_factory(components=(ObjectsSettings(objects=store_url(live, tmp_path)),)) as running:
        yield running


def test_a_server_keeps_its_objects_there_sealed(live, harness) -> None:  # noqa: F811
    s3 = harness.client("s3")
    s3.create_bucket(Bucket="mine")
    small, large = os.urandom(1000), os.urandom(20 * MIB)
    s3.put_object(Bucket="mine", Key="small", Body=small)
    s3.put_object(Bucket="mine", Key="large", Body=large)
    assert s3.get_object(Bucket="mine", Key="small")["Body"].read() == small
    assert s3.get_object(Bucket="mine", Key="large")["Body"].read() == large
    part = s3.get_object(Bucket="mine", Key="large", Range="bytes=9000000-9000099")["Body"].read()
    assert part == large[9_000_000:9_000_100]
    assert not (harness.data_dir / "blobs").exists()
    store = live.client("s3")
    bucket = harness.app.settings.of(ObjectsSettings).objects[5:].partition("/")[0]
    kept = store.list_objects_v2(Bucket=bucket)["Contents"]
    assert len(kept) == 2
    for item in kept:
        assert item["Key"].startswith("deep/down/")
        assert small not in store.get_object(Bucket=bucket, Key=item["Key"])["Body"].read()


def test_a_store_that_is_away_is_answered_503_and_made_up_for(live, harness, monkeypatch) -> None:  # noqa: F811
    s3 = harness.client("s3")
    s3.create_bucket(Bucket="mine")
    s3.put_object(Bucket="mine", Key="k", Body=b"before")
    backend = harness.app.registry.get("s3", "PutObject").handler.args[0].backend
    there = backend._client
    away = boto3.client(
        "s3", endpoint_url="http://127.0.0.1:9", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="y",
        config=botocore.config.Config(retries={"total_max_attempts": 1}),
    )  # fmt: skip
    monkeypatch.setattr(backend, "_client", away)
    for call in (
        lambda: s3.put_object(Bucket="mine", Key="k", Body=b"during"),
        lambda: s3.get_object(Bucket="mine", Key="k"),
    ):
        with pytest.raises(s3.exceptions.ClientError) as refused:
            call()
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503
    monkeypatch.setattr(backend, "_client", there)
    assert s3.get_object(Bucket="mine", Key="k")["Body"].read() == b"before"


def test_a_later_start_reads_what_an_earlier_one_wrote(live, live_factory, tmp_path: Path) -> None:  # noqa: F811
    objects = store_url(live, tmp_path)
    with live_factory(components=(ObjectsSettings(objects=objects),)) as first:
        first.client("s3").create_bucket(Bucket="mine")
        first.client("s3").put_object(Bucket="mine", Key="k", Body=b"kept")
    with live_factory(components=(ObjectsSettings(objects=objects),)) as again:
        assert again.client("s3").get_object(Bucket="mine", Key="k")["Body"].read() == b"kept"
