"""The component in process, on both databases: what is committed together, what races, what is collected."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import os

import pytest
import sqlalchemy as sa

from penstock.objects import collector, commits, contents, records
from penstock.objects.blobs import BATCH
from penstock.objects.errors import (
    AccessDenied,
    BadDigest,
    BucketNotEmpty,
    EntityTooLarge,
    InvalidArgument,
    InvalidRequest,
    NoSuchBucket,
    NoSuchKey,
    NoSuchPublicAccessBlockConfiguration,
    NoSuchUpload,
    NotModified,
    NotServed,
    PreconditionFailed,
)
from penstock.objects.events import EVENTS
from penstock.store import events
from penstock.store.ids import time_of

MIB = 1 << 20
HOUR = 3_600_000


async def stream(data: bytes, step: int = 50_000):
    for start in range(0, len(data), step):
        yield data[start : start + step]


class Body:
    """As other components stream: a length and an iteration."""

    def __init__(self, data: bytes, length: int | None = None) -> None:
        self.data, self.length = data, length

    def __aiter__(self):
        return stream(self.data)


async def events_emitted(harness) -> list[tuple[str, dict]]:
    """The type and payload of every event; each has the form that its declaration shows."""
    emitted = await harness.app.store.scan(events.after, 0)
    declared = {type.name: type for type in EVENTS}
    for event in emitted:
        type = declared[event.type]
        assert (event.payload.keys(), event.version) == (type.sample.keys(), type.version)
        assert event.aggregate.startswith(f"{type.aggregate}/")
        assert time_of(event.id)  # a trace begins with the change, at the time that is in its event's id
    return [(event.type, event.payload) for event in emitted]


async def count(harness, table) -> int:
    return await harness.app.store.scan(
        lambda conn: conn.execute(sa.select(sa.func.count()).select_from(table)).scalar()
    )


async def test_other_components_put_and_get(harness) -> None:
    await harness("CreateBucket", Bucket="things")
    data = os.urandom(3 * BATCH + 5)
    for body in (data, stream(data), Body(data, len(data))):
        put = await harness(
            "PutObject", Bucket="things", Key="k", Body=body, Metadata={"A": "b"}, ChecksumAlgorithm="SHA256"
        )
        assert put["ETag"] == f'"{hashlib.md5(data).hexdigest()}"'
        got = await harness("GetObject", Bucket="things", Key="k")
        assert got["ContentLength"] == got["Body"].length == len(data)
        assert await got["Body"].read() == data
        assert got["Metadata"] == {"a": "b"}
    head = await harness("HeadObject", Bucket="things", Key="k", ChecksumMode="ENABLED")
    assert head["ChecksumSHA256"]
    published = await events_emitted(harness)
    assert [kind for kind, _ in published] == ["s3.object.created"] * 3
    assert published[0][1] == {
        "version": "0",
        "bucket": {"name": "things"},
        "object": {"key": "k", "size": len(data), "etag": hashlib.md5(data).hexdigest(), "sequencer": f"{harness.app.clock.now():012X}"},
        "request-id": published[0][1]["request-id"],
        "requester": "111111111111",
        "source-ip-address": "",
        "reason": "PutObject",
    }  # fmt: skip
    with pytest.raises(NoSuchKey):
        await harness("GetObject", Bucket="things", Key="none")


async def test_events_of_one_key_keep_their_order_and_keys_do_not_wait_for_each_other(harness) -> None:
    await harness("CreateBucket", Bucket="things")
    for number in range(40):
        await harness("PutObject", Bucket="things", Key=f"k{number % 20}", Body=b"x")
    aggregates: dict[str, set[str]] = {}
    for event in await harness.app.store.scan(events.after, 0):
        aggregates.setdefault(event.payload["object"]["key"], set()).add(event.aggregate)
    assert all(len(found) == 1 for found in aggregates.values())
    assert len(set.union(*aggregates.values())) > 10


async def test_what_does_not_match_leaves_nothing(harness) -> None:
    await harness("CreateBucket", Bucket="things")

    class Broken(Exception):
        pass

    async def broken():
        yield b"x" * BATCH
        yield b"x" * BATCH
        raise Broken

    with pytest.raises(Broken):
        await harness("PutObject", Bucket="things", Key="k", Body=broken())
    with pytest.raises(BadDigest):
        await harness("PutObject", Bucket="things", Key="k", Body=b"x", ContentMD5="1B2M2Y8AsgTpgAmY7PhCfg==")
    with pytest.raises(BadDigest):
        await harness("PutObject", Bucket="things", Key="k", Body=stream(b"x" * 9), ChecksumCRC32="AAAAAA==")
    with pytest.raises(EntityTooLarge):
        await harness("PutObject", Bucket="things", Key="k", Body=Body(b"", 6 << 30))
    await harness.blobs.run(lambda: None)
    await harness.blobs.run(lambda: None)
    assert harness.files() == set()
    assert await count(harness, records.versions) == await count(harness, records.blobs) == 0
    assert await events_emitted(harness) == []


async def test_rows_and_event_commit_together(harness, monkeypatch) -> None:
    await harness("CreateBucket", Bucket="things")

    def failing(*_args, **_kwargs):
        raise RuntimeError("no event")

    monkeypatch.setattr(commits, "emit", failing)
    with pytest.raises(RuntimeError):
        await harness("PutObject", Bucket="things", Key="k", Body=b"x")
    monkeypatch.undo()
    assert await count(harness, records.versions) == await count(harness, records.blobs) == 0
    # Nobody knows whether such a commit happened, so the bytes are left to the collector.
    assert len(harness.files()) == 1
    harness.age()
    assert await collector.collect(harness.app, harness.blobs) == 1
    assert harness.files() == set()


async def test_many_writers_of_one_key(harness) -> None:
    await harness("CreateBucket", Bucket="things")
    await harness("PutBucketVersioning", Bucket="things", VersioningConfiguration={"Status": "Enabled"})
    made = await asyncio.gather(
        *(harness("PutObject", Bucket="things", Key="k", Body=str(n).encode()) for n in range(12))
    )
    listed = await harness("ListObjectVersions", Bucket="things")
    assert {item["VersionId"] for item in listed["Versions"]} == {item["VersionId"] for item in made}
    assert [item["IsLatest"] for item in listed["Versions"]] == [True] + [False] * 11
    published = [payload["object"]["version-id"] for _, payload in await events_emitted(harness)]
    assert published == [item["VersionId"] for item in reversed(listed["Versions"])]


async def test_one_of_many_conditional_writers_wins(harness) -> None:
    await harness("CreateBucket", Bucket="things")
    tries = [harness("PutObject", Bucket="things", Key="k", Body=str(n).encode(), IfNoneMatch="*") for n in range(8)]
    done = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(result, PreconditionFailed) for result in done) == 7
    winner = next(n for n, result in enumerate(done) if not isinstance(result, Exception))
    assert await harness.read("things", "k") == str(winner).encode()
    assert len(harness.files()) == 1


async def test_overwrites_of_unversioned_keys_race(harness) -> None:
    await harness("CreateBucket", Bucket="things")
    await asyncio.gather(*(harness("PutObject", Bucket="things", Key="k", Body=bytes([n])) for n in range(10)))
    assert await count(harness, records.versions) == 1
    assert await count(harness, records.parts) == 1
    harness.app.clock.advance(2 * HOUR)
    harness.age()
    assert await collector.collect(harness.app, harness.blobs) == 9
    assert len(harness.files()) == await count(harness, records.blobs) == 1
    assert len(await harness.read("things", "k")) == 1


async def test_a_reader_outlives_delete_and_collection(harness) -> None:
    await harness("CreateBucket", Bucket="things")
    data = os.urandom(4 * BATCH)
    await harness("PutObject", Bucket="things", Key="k", Body=data)
    body = (await harness("GetObject", Bucket="things", Key="k"))["Body"]
    await harness("DeleteObject", Bucket="things", Key="k")
    assert await collector.collect(harness.app, harness.blobs) == 0  # within the grace period
    harness.app.clock.advance(2 * HOUR)
    assert await collector.collect(harness.app, harness.blobs) == 1
    assert harness.files() == set()
    assert await body.read() == data


async def test_a_shared_blob_lives_as_long_as_its_last_reference(harness) -> None:
    await harness("CreateBucket", Bucket="things")
    await harness("PutObject", Bucket="things", Key="a", Body=b"shared")
    await harness("CopyObject", Bucket="things", Key="b", CopySource="things/a")
    assert len(harness.files()) == 1
    await harness("DeleteObject", Bucket="things", Key="a")
    harness.app.clock.advance(2 * HOUR)
    assert await collector.collect(harness.app, harness.blobs) == 0
    assert await harness.read("things", "b") == b"shared"
    await harness("DeleteObject", Bucket="things", Key="b")
    harness.app.clock.advance(2 * HOUR)
    assert await collector.collect(harness.app, harness.blobs) == 1


async def test_a_source_that_is_no_text_is_not_another_key(harness) -> None:
    await harness("CreateBucket", Bucket="things")
    await harness("PutObject", Bucket="things", Key="\ufffd", Body=b"bytes that are no text are read as this letter")
    for said in ("things/%FF", "things/a%00", "thi%00ngs/a"):
        with pytest.raises(InvalidArgument):
            await harness("CopyObject", Bucket="things", Key="b", CopySource=said)
    await harness("CopyObject", Bucket="things", Key="b", CopySource="things/%EF%BF%BD")


async def test_the_collector_spares_what_is_being_written(harness) -> None:
    await harness("CreateBucket", Bucket="things")
    going, go_on = asyncio.Event(), asyncio.Event()

    async def slow():
        yield bytes(BATCH)
        yield bytes(BATCH)
        going.set()
        await go_on.wait()
        yield b"end"

    put = asyncio.create_task(harness("PutObject", Bucket="things", Key="slow", Body=slow()))
    await going.wait()
    harness.age()
    assert await collector.collect(harness.app, harness.blobs) == 0
    go_on.set()
    await put
    harness.age()
    assert await collector.collect(harness.app, harness.blobs) == 0
    assert len(await harness.read("things", "slow")) == 2 * BATCH + 3


async def test_a_late_writer_cannot_refer_to_collected_bytes(harness) -> None:
    # A writer of another process, which this one knows nothing of.
    await harness("CreateBucket", Bucket="things")
    written = await harness.blobs.write(b"late")
    harness.blobs.settled(written.blob)
    harness.age()
    assert await collector.collect(harness.app, harness.blobs) == 1

    def tx(conn):
        contents.insert_blob(conn, written.blob, account="1", region="r", now=0)

    with pytest.raises(sa.exc.IntegrityError):
        await harness.app.store.write(tx)
    harness.app.clock.advance(8 * 24 * HOUR)
    await collector.collect(harness.app, harness.blobs)
    assert await count(harness, records.blobs) == 0


async def test_a_collector_that_died_goes_on(harness) -> None:
    await harness("CreateBucket", Bucket="things")
    await harness("PutObject", Bucket="things", Key="k", Body=b"x")
    await harness("DeleteObject", Bucket="things", Key="k")
    harness.app.clock.advance(2 * HOUR)
    (blob,) = harness.files()
    # Given up, not unlinked: as after a crash between the two.
    assert await harness.app.store.write(contents.give_up_blobs, [blob], harness.app.clock.now()) == [blob]
    assert not await harness.app.store.write(contents.keep_blobs, [blob])
    assert await collector.collect(harness.app, harness.blobs) >= 1
    assert harness.files() == set()
    assert await count(harness, records.blobs) == 0


async def upload(harness, key: str, *datas: bytes, **more) -> tuple[dict, list[dict]]:
    made = await harness("CreateMultipartUpload", Bucket="things", Key=key, **more)
    at = {"Bucket": "things", "Key": key, "UploadId": made["UploadId"]}
    parts = []
    for number, data in enumerate(datas, 1):
        done = await harness("UploadPart", **at, PartNumber=number, Body=data)
        parts.append({"PartNumber": number, "ETag": done["ETag"]})
    return at, parts


async def test_two_complete_one_upload(harness) -> None:
    await harness("CreateBucket", Bucket="things")
    await harness("PutBucketVersioning", Bucket="things", VersioningConfiguration={"Status": "Enabled"})
    at, parts = await upload(harness, "k", bytes(5 * MIB), b"end")
    tries = [harness("CompleteMultipartUpload", **at, MultipartUpload={"Parts": parts}) for _ in range(4)]
    done = await asyncio.gather(*tries)
    assert len({item["VersionId"] for item in done}) == 1
    assert len((await harness("ListObjectVersions", Bucket="things"))["Versions"]) == 1
    assert [kind for kind, _ in await events_emitted(harness)] == ["s3.object.created"]
    harness.app.clock.advance(25 * HOUR)
    await collector.collect(harness.app, harness.blobs)
    with pytest.raises(NoSuchUpload):
        await harness("CompleteMultipartUpload", **at, MultipartUpload={"Parts": parts})
    assert await harness.read("things", "k", Range=f"bytes={5 * MIB}-") == b"end"


async def test_aborted_replaced_and_unused_parts_are_collected(harness) -> None:
    await harness("CreateBucket", Bucket="things")
    at, _ = await upload(harness, "gone", b"1", b"2")
    await harness("AbortMultipartUpload", **at)
    at, parts = await upload(harness, "kept", b"old", b"unused")
    parts[0]["ETag"] = (await harness("UploadPart", **at, PartNumber=1, Body=b"new"))["ETag"]
    await harness("CompleteMultipartUpload", **at, MultipartUpload={"Parts": parts[:1]})
    assert len(harness.files()) == 5
    harness.app.clock.advance(2 * HOUR)
    harness.age()
    assert await collector.collect(harness.app, harness.blobs) == 4
    assert await harness.read("things", "kept") == b"new"


async def test_a_deleted_bucket_takes_its_uploads_along(harness) -> None:
    await harness("CreateBucket", Bucket="things")
    at, _ = await upload(harness, "k", b"1")
    await harness("DeleteBucket", Bucket="things")
    with pytest.raises(NoSuchBucket):
        await harness("UploadPart", **at, PartNumber=2, Body=b"x")
    harness.app.clock.advance(2 * HOUR)
    assert await collector.collect(harness.app, harness.blobs) == 1


async def test_a_bucket_is_not_deleted_under_a_writer(harness) -> None:
    for _ in range(5):
        await harness("CreateBucket", Bucket="things")
        put, gone = await asyncio.gather(
            harness("PutObject", Bucket="things", Key="k", Body=b"x"),
            harness("DeleteBucket", Bucket="things"),
            return_exceptions=True,
        )
        assert isinstance(put, NoSuchBucket) != isinstance(gone, BucketNotEmpty)
        if not isinstance(put, Exception):
            await harness("DeleteObject", Bucket="things", Key="k")
            await harness("DeleteBucket", Bucket="things")


async def test_a_permanent_delete_is_an_event(harness) -> None:
    await harness("CreateBucket", Bucket="things")
    await harness("PutBucketVersioning", Bucket="things", VersioningConfiguration={"Status": "Enabled"})
    version = (await harness("PutObject", Bucket="things", Key="k", Body=b"1"))["VersionId"]
    marker = (await harness("DeleteObject", Bucket="things", Key="k"))["VersionId"]
    await harness("DeleteObject", Bucket="things", Key="k", VersionId=version)
    await harness("DeleteObject", Bucket="things", Key="k", VersionId=version)  # what is gone is no event
    deleted = [payload for kind, payload in await events_emitted(harness) if kind == "s3.object.deleted"]
    assert [(one["object"]["version-id"], one["deletion-type"]) for one in deleted] == [
        (marker, "Delete Marker Created"),
        (version, "Permanently Deleted"),
    ]


async def test_a_part_that_comes_after_the_completion_is_none_of_the_object(harness) -> None:
    await harness("CreateBucket", Bucket="things")
    at, parts = await upload(harness, "k", b"whole")
    going, go_on = asyncio.Event(), asyncio.Event()

    async def slow():
        yield bytes(BATCH)
        yield bytes(BATCH)
        going.set()
        await go_on.wait()
        yield b"late"

    late = asyncio.create_task(harness("UploadPart", **at, PartNumber=1, Body=slow()))
    await going.wait()
    await harness("CompleteMultipartUpload", **at, MultipartUpload={"Parts": parts})
    go_on.set()
    with pytest.raises(NoSuchUpload):
        await late
    assert await harness.read("things", "k") == b"whole"


async def test_a_part_that_is_refused_leaves_no_bytes(harness) -> None:
    await harness("CreateBucket", Bucket="things")
    upload = await harness("CreateMultipartUpload", Bucket="things", Key="k")
    at = {"Bucket": "things", "Key": "k", "UploadId": upload["UploadId"]}
    wrong = base64.b64encode(hashlib.md5(b"other", usedforsecurity=False).digest()).decode()
    with pytest.raises(BadDigest):
        await harness("UploadPart", **at, PartNumber=1, Body=b"x" * 5000, ContentMD5=wrong)
    assert harness.files() == set()
    assert not (await harness("ListParts", **at)).get("Parts")


async def test_a_copied_part_of_an_upload_that_ends_meanwhile_leaves_no_bytes(harness, monkeypatch) -> None:
    """A range over several parts of its source is written anew."""
    await harness("CreateBucket", Bucket="things")
    source = {"Bucket": "things", "Key": "source"}
    source["UploadId"] = (await harness("CreateMultipartUpload", **source))["UploadId"]
    parts = []
    for number, body in ((1, b"x" * (5 << 20)), (2, b"y")):
        part = await harness("UploadPart", **source, PartNumber=number, Body=body)
        parts.append({"PartNumber": number, "ETag": part["ETag"]})
    await harness("CompleteMultipartUpload", **source, MultipartUpload={"Parts": parts})
    before = harness.files()
    assert len(before) == 2
    at = {"Bucket": "things", "Key": "k"}
    at["UploadId"] = (await harness("CreateMultipartUpload", **at))["UploadId"]
    write = harness.blobs.write

    async def ended_meanwhile(*given, **more):
        written = await write(*given, **more)
        assert len(harness.files()) == 3
        await harness("AbortMultipartUpload", **at)
        return written

    monkeypatch.setattr(harness.blobs, "write", ended_meanwhile)
    with pytest.raises(NoSuchUpload):
        await harness("UploadPartCopy", **at, PartNumber=1, CopySource="things/source")
    assert harness.files() == before


@pytest.mark.parametrize("versioning", ["", "Enabled"])
async def test_tags_go_to_the_version_that_was_looked_at(harness, monkeypatch, versioning) -> None:
    """An overwrite between the look and the change: without versions there is nothing left to be tagged."""
    from penstock.objects.operations import tags as operations

    await harness("CreateBucket", Bucket="things")
    if versioning:
        await harness("PutBucketVersioning", Bucket="things", VersioningConfiguration={"Status": versioning})
    first = await harness("PutObject", Bucket="things", Key="k", Body=b"1")
    tags = {"TagSet": [{"Key": "a", "Value": "b"}]}
    look = operations._tagged

    async def overwritten(*arguments):
        found = await look(*arguments)
        await harness("PutObject", Bucket="things", Key="k", Body=b"2")
        return found

    monkeypatch.setattr(operations, "_tagged", overwritten)
    with contextlib.nullcontext() if versioning else pytest.raises(NoSuchKey):
        await harness("PutObjectTagging", Bucket="things", Key="k", Tagging=tags)
    monkeypatch.undo()
    assert (await harness("GetObjectTagging", Bucket="things", Key="k"))["TagSet"] == []
    if versioning:
        at = {"Bucket": "things", "Key": "k", "VersionId": first["VersionId"]}
        assert (await harness("GetObjectTagging", **at))["TagSet"] == tags["TagSet"]


async def test_a_copy_is_of_what_was_looked_at(harness, monkeypatch):
    """A source without versions that is overwritten in the middle of a copy: its ETag and its bytes stay together."""
    from penstock.objects.errors import NoSuchVersion
    from penstock.objects.operations import copies

    await harness("CreateBucket", Bucket="plain-bucket")
    await harness("PutObject", Bucket="plain-bucket", Key="source", Body=b"looked at")
    hashes = copies._hashes

    async def overwritten(*arguments, **more):
        found = await hashes(*arguments, **more)
        await harness("PutObject", Bucket="plain-bucket", Key="source", Body=b"put in between")
        return found

    monkeypatch.setattr(copies, "_hashes", overwritten)
    with pytest.raises(NoSuchVersion):
        await harness("CopyObject", Bucket="plain-bucket", Key="copy", CopySource="plain-bucket/source")
    monkeypatch.undo()
    copied = await harness("CopyObject", Bucket="plain-bucket", Key="copy", CopySource="plain-bucket/source")
    assert await harness.read("plain-bucket", "copy") == b"put in between"
    assert (
        copied["CopyObjectResult"]["ETag"] == (await harness("HeadObject", Bucket="plain-bucket", Key="source"))["ETag"]
    )


async def test_a_copied_part_is_of_what_was_looked_at(harness, monkeypatch):
    from penstock.objects.errors import NoSuchVersion
    from penstock.objects.operations import multipart

    await harness("CreateBucket", Bucket="plain-bucket")
    await harness("PutObject", Bucket="plain-bucket", Key="source", Body=b"looked at")
    at = {"Bucket": "plain-bucket", "Key": "copy", "CopySource": "plain-bucket/source", "PartNumber": 1}
    at["UploadId"] = (await harness("CreateMultipartUpload", Bucket="plain-bucket", Key="copy"))["UploadId"]
    digests_of = multipart.digests_of
    changes = iter([("PutObject", {"Body": b"put in between"}), ("DeleteObject", {})])

    async def changed(*arguments, **more):
        found = await digests_of(*arguments, **more)
        operation, input = next(changes)
        await harness(operation, Bucket="plain-bucket", Key="source", **input)
        return found

    monkeypatch.setattr(multipart, "digests_of", changed)
    for _ in range(2):
        with pytest.raises(NoSuchVersion):
            await harness("UploadPartCopy", **at)
    listed = await harness("ListParts", Bucket="plain-bucket", Key="copy", UploadId=at["UploadId"])
    assert listed["Parts"] is None


async def test_what_is_read_is_of_one_version_when_the_key_is_written_meanwhile(harness, monkeypatch):
    """Version and bytes are asked for in one message, but PostgreSQL may see a write between the two."""
    await harness("CreateBucket", Bucket="things")
    await harness("PutObject", Bucket="things", Key="k", Body=b"first")
    await harness("PutObject", Bucket="things", Key="later", Body=b"as it became between the two")
    asking = contents.finding_pieces
    monkeypatch.setattr(contents, "finding_pieces", lambda bucket, _key, version: asking(bucket, "later", version))
    assert await (await harness("GetObject", Bucket="things", Key="k"))["Body"].read() == b"first"


async def test_the_bytes_of_an_object_are_on_disk_before_the_row_that_names_them(harness, monkeypatch):
    """At every COMMIT, whatever was written below `blobs` is synced, and its folder after it."""
    root = harness.app.settings.data_dir / "blobs"
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.readlink(f"/proc/self/fd/{descriptor}")))
    commits: list[int] = []

    def before_commit(name: str) -> None:
        if name != "store.before_commit":
            return
        for path in root.rglob("*"):
            if path.is_file():
                assert str(path.parent) in synced[synced.index(str(path)) :]
        commits.append(len(harness.files()))

    monkeypatch.setattr("penstock.store.sqlite.failpoint", before_commit)
    monkeypatch.setattr("penstock.store.postgresql.failpoint", before_commit)
    at = {"Bucket": "bucket", "Key": "k"}
    await harness("CreateBucket", Bucket="bucket")
    await harness("PutObject", **at, Body=b"x" * 100_000)
    assert commits[-1] == 1
    at["UploadId"] = (await harness("CreateMultipartUpload", **at))["UploadId"]
    part = await harness("UploadPart", **at, PartNumber=1, Body=b"y" * 100_000)
    assert commits[-1] == 2
    await harness("CompleteMultipartUpload", **at, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})
    await harness("CopyObject", Bucket="bucket", Key="copy", CopySource="bucket/k")
    assert await harness.read("bucket", "copy") == b"y" * 100_000


async def test_a_list_goes_on_behind_its_marker_and_keeps_to_its_region(harness):
    for bucket in ("here", "there"):
        await harness("CreateBucket", Bucket=bucket)
    await harness.app.store.write(
        lambda conn: conn.execute(records.buckets.update().where(records.buckets.c.name == "there").values(region="eu-west-1"))
    )  # fmt: skip
    listed = (await harness("ListBuckets", BucketRegion="us-east-1"))["Buckets"]
    assert [(each["Name"], each["BucketRegion"], each["BucketArn"]) for each in listed] == [
        ("here", "us-east-1", "arn:aws:s3:::here")
    ]
    assert [each["Name"] for each in (await harness("ListBuckets"))["Buckets"]] == ["here", "there"]
    assert [each["Name"] for each in (await harness("ListBuckets", Prefix="t"))["Buckets"]] == ["there"]
    await harness("PutBucketVersioning", Bucket="here", VersioningConfiguration={"Status": "Enabled"})
    for key in ("a", "a", "b", "b"):
        await harness("PutObject", Bucket="here", Key=key)
        await harness("CreateMultipartUpload", Bucket="here", Key=key)
    for marker, keys in (("", "aabb"), ("a", "bb"), ("b", "")):
        versions = await harness("ListObjectVersions", Bucket="here", KeyMarker=marker)
        uploads = await harness("ListMultipartUploads", Bucket="here", KeyMarker=marker)
        assert "".join(each["Key"] for each in versions["Versions"] or ()) == keys
        assert "".join(each["Key"] for each in uploads["Uploads"] or ()) == keys
    newest = (await harness("ListObjectVersions", Bucket="here"))["Versions"]
    behind = await harness("ListObjectVersions", Bucket="here", KeyMarker="a", VersionIdMarker=newest[0]["VersionId"])
    assert behind["Versions"] == newest[1:]


async def test_every_right_that_an_operation_needs_is_asked_for(harness):
    """What writes tags, compares, reads a source or a version, needs a right of its own to do so."""
    for bucket in ("from", "dest"):
        await harness("CreateBucket", Bucket=bucket)
    await harness("PutBucketVersioning", Bucket="from", VersioningConfiguration={"Status": "Enabled"})
    old = await harness("PutObject", Bucket="from", Key="k", Body=b"old", Tagging="a=b")
    plain = await harness("PutObject", Bucket="from", Key="plain", Body=b"x")
    source = {"CopySource": "from/k", "Bucket": "dest", "Key": "n"}
    version = source | {"CopySource": f"from/k?versionId={old['VersionId']}"}
    ours = {"Bucket": "dest", "Key": "n"}
    assert await harness.asks("PutObject", **ours, Tagging="a=b") == [
        ("PutObject", "dest/n"),
        ("PutObjectTagging", "dest/n"),
    ]
    assert await harness.asks("PutObject", **ours) == [("PutObject", "dest/n")]
    assert await harness.asks("CreateMultipartUpload", **ours, Tagging="a=b") == [
        ("PutObject", "dest/n"), ("PutObjectTagging", "dest/n"),
    ]  # fmt: skip
    assert await harness.asks("CopyObject", **source) == [
        ("PutObject", "dest/n"), ("GetObject", "from/k"), ("GetObjectTagging", "from/k"), ("PutObjectTagging", "dest/n"),
    ]  # fmt: skip
    assert await harness.asks("CopyObject", **version) == [
        ("PutObject", "dest/n"), ("GetObjectVersion", "from/k"), ("GetObjectVersionTagging", "from/k"), ("PutObjectTagging", "dest/n"),
    ]  # fmt: skip
    assert await harness.asks("CopyObject", **source, TaggingDirective="REPLACE", Tagging="c=d") == [
        ("PutObject", "dest/n"), ("GetObject", "from/k"), ("PutObjectTagging", "dest/n"),
    ]  # fmt: skip
    assert await harness.asks("CopyObject", **source, TaggingDirective="REPLACE") == [
        ("PutObject", "dest/n"), ("GetObject", "from/k"),
    ]  # fmt: skip
    assert await harness.asks("CopyObject", **source | {"CopySource": "from/plain"}) == [
        ("PutObject", "dest/n"), ("GetObject", "from/plain"),
    ]  # fmt: skip
    for more, suffix in (({}, ""), ({"VersionId": old["VersionId"]}, "Version")):
        attributes = await harness.asks(
            "GetObjectAttributes", Bucket="from", Key="k", ObjectAttributes=["ETag"], **more
        )
        assert attributes[-1] == (f"GetObject{suffix}Attributes", "from/k")
    targets = [
        {"Key": "k", "ETag": "x"}, {"Key": "k", "VersionId": old["VersionId"], "ETag": "x"}, {"Key": "plain", "ETag": "*"},
    ]  # fmt: skip
    assert (await harness.asks("DeleteObjects", Bucket="from", Delete={"Objects": targets}))[-5:] == [
        ("DeleteObject", "from/k"), ("GetObject", "from/k"), ("DeleteObjectVersion", "from/k"), ("GetObjectVersion", "from/k"),
        ("DeleteObject", "from/plain"),
    ]  # fmt: skip
    assert plain["VersionId"]


async def test_what_is_said_of_uploads_and_refused_of_copies_and_parts(harness):
    await harness("CreateBucket", Bucket="things")
    await harness("PutBucketVersioning", Bucket="things", VersioningConfiguration={"Status": "Enabled"})
    await harness("PutObject", Bucket="things", Key="k", Body=b"x")
    upload = await harness("CreateMultipartUpload", Bucket="things", Key="k")
    (listed,) = (await harness("ListMultipartUploads", Bucket="things"))["Uploads"]
    parts = await harness("ListParts", Bucket="things", Key="k", UploadId=upload["UploadId"])
    for shown in (listed, parts):
        assert shown["Initiator"] == {"ID": "arn:aws:iam::111111111111:root"}
        assert shown["Owner"]["ID"] != "arn:aws:iam::111111111111:root"
    marker = await harness("DeleteObject", Bucket="things", Key="k")
    with pytest.raises(InvalidRequest) as refused:
        await harness("CopyObject", Bucket="things", Key="n", CopySource=f"things/k?versionId={marker['VersionId']}")
    assert refused.value.message == (
        "The source of a copy request may not specifically refer to a delete marker by version id."
    )
    part = await harness("UploadPart", Bucket="things", Key="k", UploadId=upload["UploadId"], PartNumber=1, Body=b"y")
    one = {"PartNumber": 1, "ETag": part["ETag"]}
    whole = {"Bucket": "things", "Key": "k", "UploadId": upload["UploadId"]}
    with pytest.raises(NotServed):
        await harness("CompleteMultipartUpload", **whole, MultipartUpload={"Parts": [one | {"ChecksumXXHASH3": "x"}]})
    await harness("CompleteMultipartUpload", **whole, MultipartUpload={"Parts": [one]})


@pytest.mark.parametrize("any_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("asked", "algorithm", "kind"),
    [
        ({}, None, None),
        ({"ChecksumAlgorithm": "SHA256"}, "SHA256", "COMPOSITE"),
        ({"ChecksumAlgorithm": "CRC32"}, "CRC32", "COMPOSITE"),
        ({"ChecksumAlgorithm": "CRC32", "ChecksumType": "FULL_OBJECT"}, "CRC32", "FULL_OBJECT"),
        ({"ChecksumAlgorithm": "CRC64NVME"}, "CRC64NVME", "FULL_OBJECT"),
    ],
)
async def test_an_upload_says_its_checksum_wherever_it_is_shown(harness, asked, algorithm, kind):
    await harness("CreateBucket", Bucket="things")
    begun = await harness("CreateMultipartUpload", Bucket="things", Key="k", StorageClass="STANDARD_IA", **asked)
    where = {"Bucket": "things", "Key": "k", "UploadId": begun["UploadId"]}
    part = await harness("UploadPart", **where, PartNumber=2, Body=b"x")
    (listed,) = (await harness("ListMultipartUploads", Bucket="things"))["Uploads"]
    parts = await harness("ListParts", **where)
    for shown in (begun, listed, parts):
        assert (shown["ChecksumAlgorithm"], shown["ChecksumType"]) == (algorithm, kind)
    assert {name: begun[name] for name in where} == {name: parts[name] for name in where} == where
    assert (listed["Key"], listed["UploadId"]) == ("k", begun["UploadId"])
    assert listed["StorageClass"] == parts["StorageClass"] == "STANDARD_IA"
    assert (parts["PartNumberMarker"], parts["NextPartNumberMarker"], parts["MaxParts"], parts["IsTruncated"]) == (0, 2, 1000, False)  # fmt: skip
    (entry,) = parts["Parts"]
    assert (entry["PartNumber"], entry["Size"], entry["ETag"]) == (2, 1, part["ETag"])
    member = f"Checksum{algorithm}"
    assert [name for name in entry if name.startswith("Checksum")] == ([member] if algorithm else [])
    assert entry.get(member) == (part[member] if algorithm else None)


async def test_what_is_answered_to_who_asks_for_more(harness):
    await harness("CreateBucket", Bucket="things")
    await harness("PutBucketVersioning", Bucket="things", VersioningConfiguration={"Status": "Enabled"})
    put = await harness("PutObject", Bucket="things", Key="k", Body=b"x", StorageClass="STANDARD_IA")
    with pytest.raises(NotModified) as same:
        await harness("GetObject", Bucket="things", Key="k", IfNoneMatch=put["ETag"])
    assert (same.value.headers["x-amz-version-id"], same.value.headers["etag"]) == (put["VersionId"], put["ETag"])
    head = await harness("HeadObject", Bucket="things", Key="k", ResponseExpires=1000)
    assert head["Expires"] == "Thu, 01 Jan 1970 00:00:01 GMT"
    attributes = await harness(
        "GetObjectAttributes", Bucket="things", Key="k", ObjectAttributes=["StorageClass", "ObjectSize"]
    )
    assert {name: attributes.get(name) for name in ("StorageClass", "ObjectSize", "ETag", "ObjectParts")} == {
        "StorageClass": "STANDARD_IA", "ObjectSize": 1, "ETag": None, "ObjectParts": None,
    }  # fmt: skip
    for more, shown in (({}, False), ({"FetchOwner": True}, True)):
        (entry,) = (await harness("ListObjectsV2", Bucket="things", **more))["Contents"]
        assert ("Owner" in entry) is shown
    ids = [(await harness("CreateMultipartUpload", Bucket="things", Key="k"))["UploadId"] for _ in range(3)]
    listed = (await harness("ListMultipartUploads", Bucket="things"))["Uploads"]
    assert {each["UploadId"] for each in listed} == set(ids)
    behind = await harness("ListMultipartUploads", Bucket="things", KeyMarker="k", UploadIdMarker=listed[0]["UploadId"])
    assert behind["Uploads"] == listed[1:]
    at = {"Bucket": "things", "Key": "k", "UploadId": ids[0], "PartNumber": 1, "CopySource": "things/k"}
    with pytest.raises(AccessDenied):
        await harness("UploadPartCopy", **at, ExpectedSourceBucketOwner="222222222222")
    assert (await harness("UploadPartCopy", **at, ExpectedSourceBucketOwner="111111111111"))[
        "CopySourceVersionId"
    ] == put["VersionId"]
    hashed = {"Bucket": "things", "Key": "k", "ChecksumAlgorithm": "SHA256"}
    at["UploadId"] = (await harness("CreateMultipartUpload", **hashed))["UploadId"]
    shown = await harness("ListParts", **{name: at[name] for name in ("Bucket", "Key", "UploadId")})
    assert (shown["ChecksumAlgorithm"], shown["ChecksumType"]) == ("SHA256", "COMPOSITE")
    digest = base64.b64encode(hashlib.sha256(b"x").digest()).decode()
    assert (await harness("UploadPartCopy", **at))["CopyPartResult"]["ChecksumSHA256"] == digest
    assert set((await harness("GetPublicAccessBlock", Bucket="things"))["PublicAccessBlockConfiguration"].values()) == {
        True
    }
    await harness("DeletePublicAccessBlock", Bucket="things")
    with pytest.raises(NoSuchPublicAccessBlockConfiguration):
        await harness("GetPublicAccessBlock", Bucket="things")
