"""The room in process, on both databases: what is committed together, what races, what is collected."""

from __future__ import annotations

import asyncio
import hashlib
import os

import pytest
import sqlalchemy as sa

from penstock.objects import collector, commits, contents, records
from penstock.objects.blobs import BATCH
from penstock.objects.errors import (
    BadDigest,
    BucketNotEmpty,
    EntityTooLarge,
    InvalidArgument,
    NoSuchBucket,
    NoSuchKey,
    NoSuchUpload,
    PreconditionFailed,
)
from penstock.objects.events import EVENTS
from penstock.store import events

MIB = 1 << 20
HOUR = 3_600_000


async def stream(data: bytes, step: int = 50_000):
    for start in range(0, len(data), step):
        yield data[start : start + step]


class Body:
    """As other rooms stream: a length and an iteration."""

    def __init__(self, data: bytes, length: int | None = None) -> None:
        self.data, self.length = data, length

    def __aiter__(self):
        return stream(self.data)


async def happened(house) -> list[tuple[str, dict]]:
    """The type and payload of every event; each has the form that its declaration shows."""
    emitted = await house.app.store.scan(events.after, 0)
    declared = {type.name: type for type in EVENTS}
    for event in emitted:
        type = declared[event.type]
        assert (event.payload.keys(), event.version) == (type.sample.keys(), type.version)
        assert event.aggregate.startswith(f"{type.aggregate}/")
    return [(event.type, event.payload) for event in emitted]


async def count(house, table) -> int:
    return await house.app.store.scan(lambda conn: conn.execute(sa.select(sa.func.count()).select_from(table)).scalar())


async def test_other_rooms_put_and_get(house) -> None:
    await house("CreateBucket", Bucket="room")
    data = os.urandom(3 * BATCH + 5)
    for body in (data, stream(data), Body(data, len(data))):
        put = await house(
            "PutObject", Bucket="room", Key="k", Body=body, Metadata={"A": "b"}, ChecksumAlgorithm="SHA256"
        )
        assert put["ETag"] == f'"{hashlib.md5(data).hexdigest()}"'
        got = await house("GetObject", Bucket="room", Key="k")
        assert got["ContentLength"] == got["Body"].length == len(data)
        assert await got["Body"].read() == data
        assert got["Metadata"] == {"a": "b"}
    head = await house("HeadObject", Bucket="room", Key="k", ChecksumMode="ENABLED")
    assert head["ChecksumSHA256"]
    told = await happened(house)
    assert [kind for kind, _ in told] == ["s3.object.created"] * 3
    assert told[0][1] == {
        "bucket": "room", "key": "k", "versionId": "null", "eTag": hashlib.md5(data).hexdigest(), "size": len(data),
        "reason": "PutObject",
    }  # fmt: skip
    with pytest.raises(NoSuchKey):
        await house("GetObject", Bucket="room", Key="none")


async def test_events_of_one_key_keep_their_order_and_keys_do_not_wait_for_each_other(house) -> None:
    await house("CreateBucket", Bucket="room")
    for number in range(40):
        await house("PutObject", Bucket="room", Key=f"k{number % 20}", Body=b"x")
    aggregates: dict[str, set[str]] = {}
    for event in await house.app.store.scan(events.after, 0):
        aggregates.setdefault(event.payload["key"], set()).add(event.aggregate)
    assert all(len(found) == 1 for found in aggregates.values())
    assert len(set.union(*aggregates.values())) > 10


async def test_what_does_not_match_leaves_nothing(house) -> None:
    await house("CreateBucket", Bucket="room")

    class Broken(Exception):
        pass

    async def broken():
        yield b"x" * BATCH
        yield b"x" * BATCH
        raise Broken

    with pytest.raises(Broken):
        await house("PutObject", Bucket="room", Key="k", Body=broken())
    with pytest.raises(BadDigest):
        await house("PutObject", Bucket="room", Key="k", Body=b"x", ContentMD5="1B2M2Y8AsgTpgAmY7PhCfg==")
    with pytest.raises(BadDigest):
        await house("PutObject", Bucket="room", Key="k", Body=stream(b"x" * 9), ChecksumCRC32="AAAAAA==")
    with pytest.raises(EntityTooLarge):
        await house("PutObject", Bucket="room", Key="k", Body=Body(b"", 6 << 30))
    await house.blobs.run(lambda: None)
    await house.blobs.run(lambda: None)
    assert house.files() == set()
    assert await count(house, records.versions) == await count(house, records.blobs) == 0
    assert await happened(house) == []


async def test_rows_and_event_commit_together(house, monkeypatch) -> None:
    await house("CreateBucket", Bucket="room")

    def failing(*_args, **_kwargs):
        raise RuntimeError("no event")

    monkeypatch.setattr(commits, "emit", failing)
    with pytest.raises(RuntimeError):
        await house("PutObject", Bucket="room", Key="k", Body=b"x")
    monkeypatch.undo()
    assert await count(house, records.versions) == await count(house, records.blobs) == 0
    # Nobody knows whether such a commit happened, so the bytes are left to the collector.
    assert len(house.files()) == 1
    house.age()
    assert await collector.collect(house.app, house.blobs) == 1
    assert house.files() == set()


async def test_many_writers_of_one_key(house) -> None:
    await house("CreateBucket", Bucket="room")
    await house("PutBucketVersioning", Bucket="room", VersioningConfiguration={"Status": "Enabled"})
    made = await asyncio.gather(*(house("PutObject", Bucket="room", Key="k", Body=str(n).encode()) for n in range(12)))
    listed = await house("ListObjectVersions", Bucket="room")
    assert {item["VersionId"] for item in listed["Versions"]} == {item["VersionId"] for item in made}
    assert [item["IsLatest"] for item in listed["Versions"]] == [True] + [False] * 11
    told = [payload["versionId"] for _, payload in await happened(house)]
    assert told == [item["VersionId"] for item in reversed(listed["Versions"])]


async def test_one_of_many_conditional_writers_wins(house) -> None:
    await house("CreateBucket", Bucket="room")
    tries = [house("PutObject", Bucket="room", Key="k", Body=str(n).encode(), IfNoneMatch="*") for n in range(8)]
    done = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(result, PreconditionFailed) for result in done) == 7
    winner = next(n for n, result in enumerate(done) if not isinstance(result, Exception))
    assert await house.read("room", "k") == str(winner).encode()
    assert len(house.files()) == 1


async def test_overwrites_of_unversioned_keys_race(house) -> None:
    await house("CreateBucket", Bucket="room")
    await asyncio.gather(*(house("PutObject", Bucket="room", Key="k", Body=bytes([n])) for n in range(10)))
    assert await count(house, records.versions) == 1
    assert await count(house, records.parts) == 1
    house.app.clock.advance(2 * HOUR)
    house.age()
    assert await collector.collect(house.app, house.blobs) == 9
    assert len(house.files()) == await count(house, records.blobs) == 1
    assert len(await house.read("room", "k")) == 1


async def test_a_reader_outlives_delete_and_collection(house) -> None:
    await house("CreateBucket", Bucket="room")
    data = os.urandom(4 * BATCH)
    await house("PutObject", Bucket="room", Key="k", Body=data)
    body = (await house("GetObject", Bucket="room", Key="k"))["Body"]
    await house("DeleteObject", Bucket="room", Key="k")
    assert await collector.collect(house.app, house.blobs) == 0  # within the grace period
    house.app.clock.advance(2 * HOUR)
    assert await collector.collect(house.app, house.blobs) == 1
    assert house.files() == set()
    assert await body.read() == data


async def test_a_shared_blob_lives_as_long_as_its_last_reference(house) -> None:
    await house("CreateBucket", Bucket="room")
    await house("PutObject", Bucket="room", Key="a", Body=b"shared")
    await house("CopyObject", Bucket="room", Key="b", CopySource="room/a")
    assert len(house.files()) == 1
    await house("DeleteObject", Bucket="room", Key="a")
    house.app.clock.advance(2 * HOUR)
    assert await collector.collect(house.app, house.blobs) == 0
    assert await house.read("room", "b") == b"shared"
    await house("DeleteObject", Bucket="room", Key="b")
    house.app.clock.advance(2 * HOUR)
    assert await collector.collect(house.app, house.blobs) == 1


async def test_a_source_that_is_no_text_is_not_another_key(house) -> None:
    await house("CreateBucket", Bucket="room")
    await house("PutObject", Bucket="room", Key="\ufffd", Body=b"bytes that are no text are read as this letter")
    with pytest.raises(InvalidArgument):
        await house("CopyObject", Bucket="room", Key="b", CopySource="room/%FF")
    await house("CopyObject", Bucket="room", Key="b", CopySource="room/%EF%BF%BD")


async def test_the_collector_spares_what_is_being_written(house) -> None:
    await house("CreateBucket", Bucket="room")
    going, go_on = asyncio.Event(), asyncio.Event()

    async def slow():
        yield bytes(BATCH)
        yield bytes(BATCH)
        going.set()
        await go_on.wait()
        yield b"end"

    put = asyncio.create_task(house("PutObject", Bucket="room", Key="slow", Body=slow()))
    await going.wait()
    house.age()
    assert await collector.collect(house.app, house.blobs) == 0
    go_on.set()
    await put
    house.age()
    assert await collector.collect(house.app, house.blobs) == 0
    assert len(await house.read("room", "slow")) == 2 * BATCH + 3


async def test_a_late_writer_cannot_refer_to_collected_bytes(house) -> None:
    # A writer of another process, which this one knows nothing of.
    await house("CreateBucket", Bucket="room")
    written = await house.blobs.write(b"late")
    house.blobs.settled(written.blob)
    house.age()
    assert await collector.collect(house.app, house.blobs) == 1

    def tx(conn):
        contents.insert_blob(conn, written.blob, sha256="", account="1", region="r", now=0)

    with pytest.raises(sa.exc.IntegrityError):
        await house.app.store.write(tx)
    house.app.clock.advance(8 * 24 * HOUR)
    await collector.collect(house.app, house.blobs)
    assert await count(house, records.blobs) == 0


async def test_a_collector_that_died_goes_on(house) -> None:
    await house("CreateBucket", Bucket="room")
    await house("PutObject", Bucket="room", Key="k", Body=b"x")
    await house("DeleteObject", Bucket="room", Key="k")
    house.app.clock.advance(2 * HOUR)
    (blob,) = house.files()
    # Given up, not unlinked: as after a crash between the two.
    assert await house.app.store.write(contents.give_up_blobs, [blob], house.app.clock.now()) == [blob]
    assert not await house.app.store.write(contents.keep_blobs, [blob])
    assert await collector.collect(house.app, house.blobs) >= 1
    assert house.files() == set()
    assert await count(house, records.blobs) == 0


async def upload(house, key: str, *datas: bytes, **more) -> tuple[dict, list[dict]]:
    made = await house("CreateMultipartUpload", Bucket="room", Key=key, **more)
    at = {"Bucket": "room", "Key": key, "UploadId": made["UploadId"]}
    parts = []
    for number, data in enumerate(datas, 1):
        done = await house("UploadPart", **at, PartNumber=number, Body=data)
        parts.append({"PartNumber": number, "ETag": done["ETag"]})
    return at, parts


async def test_two_complete_one_upload(house) -> None:
    await house("CreateBucket", Bucket="room")
    await house("PutBucketVersioning", Bucket="room", VersioningConfiguration={"Status": "Enabled"})
    at, parts = await upload(house, "k", bytes(5 * MIB), b"end")
    tries = [house("CompleteMultipartUpload", **at, MultipartUpload={"Parts": parts}) for _ in range(4)]
    done = await asyncio.gather(*tries)
    assert len({item["VersionId"] for item in done}) == 1
    assert len((await house("ListObjectVersions", Bucket="room"))["Versions"]) == 1
    assert [kind for kind, _ in await happened(house)] == ["s3.object.created"]
    house.app.clock.advance(25 * HOUR)
    await collector.collect(house.app, house.blobs)
    with pytest.raises(NoSuchUpload):
        await house("CompleteMultipartUpload", **at, MultipartUpload={"Parts": parts})
    assert await house.read("room", "k", Range=f"bytes={5 * MIB}-") == b"end"


async def test_aborted_replaced_and_unused_parts_are_collected(house) -> None:
    await house("CreateBucket", Bucket="room")
    at, _ = await upload(house, "gone", b"1", b"2")
    await house("AbortMultipartUpload", **at)
    at, parts = await upload(house, "kept", b"old", b"unused")
    parts[0]["ETag"] = (await house("UploadPart", **at, PartNumber=1, Body=b"new"))["ETag"]
    await house("CompleteMultipartUpload", **at, MultipartUpload={"Parts": parts[:1]})
    assert len(house.files()) == 5
    house.app.clock.advance(2 * HOUR)
    house.age()
    assert await collector.collect(house.app, house.blobs) == 4
    assert await house.read("room", "kept") == b"new"


async def test_a_deleted_bucket_takes_its_uploads_along(house) -> None:
    await house("CreateBucket", Bucket="room")
    at, _ = await upload(house, "k", b"1")
    await house("DeleteBucket", Bucket="room")
    with pytest.raises(NoSuchBucket):
        await house("UploadPart", **at, PartNumber=2, Body=b"x")
    house.app.clock.advance(2 * HOUR)
    assert await collector.collect(house.app, house.blobs) == 1


async def test_a_bucket_is_not_deleted_under_a_writer(house) -> None:
    for _ in range(5):
        await house("CreateBucket", Bucket="room")
        put, gone = await asyncio.gather(
            house("PutObject", Bucket="room", Key="k", Body=b"x"),
            house("DeleteBucket", Bucket="room"),
            return_exceptions=True,
        )
        assert isinstance(put, NoSuchBucket) != isinstance(gone, BucketNotEmpty)
        if not isinstance(put, Exception):
            await house("DeleteObject", Bucket="room", Key="k")
            await house("DeleteBucket", Bucket="room")


async def test_a_permanent_delete_is_an_event(house) -> None:
    await house("CreateBucket", Bucket="room")
    await house("PutBucketVersioning", Bucket="room", VersioningConfiguration={"Status": "Enabled"})
    version = (await house("PutObject", Bucket="room", Key="k", Body=b"1"))["VersionId"]
    marker = (await house("DeleteObject", Bucket="room", Key="k"))["VersionId"]
    await house("DeleteObject", Bucket="room", Key="k", VersionId=version)
    await house("DeleteObject", Bucket="room", Key="k", VersionId=version)  # what is gone is no event
    deleted = [payload for kind, payload in await happened(house) if kind == "s3.object.deleted"]
    assert [(one["versionId"], one["deletionType"]) for one in deleted] == [
        (marker, "Delete Marker Created"),
        (version, "Permanently Deleted"),
    ]


async def test_a_part_that_comes_after_the_completion_is_none_of_the_object(house) -> None:
    await house("CreateBucket", Bucket="room")
    at, parts = await upload(house, "k", b"whole")
    going, go_on = asyncio.Event(), asyncio.Event()

    async def slow():
        yield bytes(BATCH)
        yield bytes(BATCH)
        going.set()
        await go_on.wait()
        yield b"late"

    late = asyncio.create_task(house("UploadPart", **at, PartNumber=1, Body=slow()))
    await going.wait()
    await house("CompleteMultipartUpload", **at, MultipartUpload={"Parts": parts})
    go_on.set()
    with pytest.raises(NoSuchUpload):
        await late
    assert await house.read("room", "k") == b"whole"


async def test_tags_race_with_an_overwrite(house) -> None:
    await house("CreateBucket", Bucket="room")
    await house("PutObject", Bucket="room", Key="k", Body=b"1")
    tags = {"TagSet": [{"Key": "a", "Value": "b"}]}
    await asyncio.gather(
        house("PutObject", Bucket="room", Key="k", Body=b"2"),
        house("PutObjectTagging", Bucket="room", Key="k", Tagging=tags),
        return_exceptions=True,
    )
    got = (await house("GetObjectTagging", Bucket="room", Key="k"))["TagSet"]
    assert got in ([], tags["TagSet"])


async def test_a_copy_is_of_what_was_looked_at(house, monkeypatch):
    """A source without versions that is overwritten in the middle of a copy: its ETag and its bytes stay together."""
    from penstock.objects.errors import NoSuchVersion
    from penstock.objects.operations import copies

    await house("CreateBucket", Bucket="plain-bucket")
    await house("PutObject", Bucket="plain-bucket", Key="source", Body=b"looked at")
    hashes = copies._hashes

    async def overwritten(*arguments):
        found = await hashes(*arguments)
        await house("PutObject", Bucket="plain-bucket", Key="source", Body=b"put in between")
        return found

    monkeypatch.setattr(copies, "_hashes", overwritten)
    with pytest.raises(NoSuchVersion):
        await house("CopyObject", Bucket="plain-bucket", Key="copy", CopySource="plain-bucket/source")
    monkeypatch.undo()
    copied = await house("CopyObject", Bucket="plain-bucket", Key="copy", CopySource="plain-bucket/source")
    assert await house.read("plain-bucket", "copy") == b"put in between"
    assert (
        copied["CopyObjectResult"]["ETag"] == (await house("HeadObject", Bucket="plain-bucket", Key="source"))["ETag"]
    )


async def test_the_bytes_of_an_object_are_on_disk_before_the_row_that_names_them(house, monkeypatch):
    """At every COMMIT, whatever was written below `blobs` is synced, and its folder after it."""
    root = house.app.settings.data_dir / "blobs"
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.readlink(f"/proc/self/fd/{descriptor}")))
    commits: list[int] = []

    def before_commit(name: str) -> None:
        if name != "store.before_commit":
            return
        for path in root.rglob("*"):
            if path.is_file():
                assert str(path.parent) in synced[synced.index(str(path)) :]
        commits.append(len(house.files()))

    monkeypatch.setattr("penstock.store.sqlite.point", before_commit)
    monkeypatch.setattr("penstock.store.postgresql.point", before_commit)
    at = {"Bucket": "bucket", "Key": "k"}
    await house("CreateBucket", Bucket="bucket")
    await house("PutObject", **at, Body=b"x" * 100_000)
    assert commits[-1] == 1
    at["UploadId"] = (await house("CreateMultipartUpload", **at))["UploadId"]
    part = await house("UploadPart", **at, PartNumber=1, Body=b"y" * 100_000)
    assert commits[-1] == 2
    await house("CompleteMultipartUpload", **at, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})
    await house("CopyObject", Bucket="bucket", Key="copy", CopySource="bucket/k")
    assert await house.read("bucket", "copy") == b"y" * 100_000
