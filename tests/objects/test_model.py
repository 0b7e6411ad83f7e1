"""Any sequence of writes and deletes, against a naive model of a bucket; afterwards exactly the referenced bytes are left."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from penstock_examples import examples

from penstock.objects import collector
from penstock.objects.errors import NoSuchKey

# Two keys: walks meet the same one again and again, so that versions lie upon versions.
KEYS = ("a", "b/c")
KEY = st.sampled_from(KEYS)
STEP = st.one_of(
    st.tuples(st.just("put"), KEY),
    st.tuples(st.just("copy"), KEY, KEY),
    st.tuples(st.just("delete"), KEY),
    st.tuples(st.just("delete version"), KEY, st.integers(0, 2)),
    st.tuples(st.just("versioning"), st.sampled_from(["Enabled", "Suspended"])),
    st.tuples(st.just("multipart"), KEY),
)
_numbers = itertools.count()


class Model:
    """Per key: (version, bytes or None for a marker), the newest first."""

    def __init__(self) -> None:
        self.keys: dict[str, list[tuple[str, bytes | None]]] = {}
        self.versioning = ""

    def add(self, key: str, version: str | None, data: bytes | None) -> None:
        versions = self.keys.setdefault(key, [])
        if self.versioning != "Enabled":
            version = "null"
            versions[:] = [item for item in versions if item[0] != "null"]
        assert version is not None
        versions.insert(0, (version, data))

    def remove(self, key: str, version: str) -> None:
        self.keys[key] = [item for item in self.keys.get(key, []) if item[0] != version]

    def latest(self, key: str) -> bytes | None:
        versions = self.keys.get(key) or [("", None)]
        return versions[0][1]


async def run(harness: Any, bucket: str, steps: list[tuple]) -> None:
    model = Model()
    await harness("CreateBucket", Bucket=bucket)
    for number, step in enumerate(steps):
        match step:
            case ("put", key):
                data = f"{bucket} {number}".encode() * 3
                done = await harness("PutObject", Bucket=bucket, Key=key, Body=data)
                model.add(key, done.get("VersionId"), data)
            case ("multipart", key):
                at = {"Bucket": bucket, "Key": key}
                at["UploadId"] = (await harness("CreateMultipartUpload", **at))["UploadId"]
                part = await harness("UploadPart", **at, PartNumber=5, Body=b"part %d" % number)
                listed = {"Parts": [{"PartNumber": 5, "ETag": part["ETag"]}]}
                done = await harness("CompleteMultipartUpload", **at, MultipartUpload=listed)
                model.add(key, done.get("VersionId"), b"part %d" % number)
            case ("copy", source, key):
                if (data := model.latest(source)) is None or source == key:
                    continue
                done = await harness("CopyObject", Bucket=bucket, Key=key, CopySource=f"{bucket}/{source}")
                model.add(key, done.get("VersionId"), data)
            case ("delete", key):
                done = await harness("DeleteObject", Bucket=bucket, Key=key)
                if model.versioning:
                    model.add(key, done["VersionId"], None)
                else:
                    model.remove(key, "null")
            case ("delete version", key, index):
                versions = model.keys.get(key) or [("null", b"")]
                version = versions[index % len(versions)][0]
                await harness("DeleteObject", Bucket=bucket, Key=key, VersionId=version)
                model.remove(key, version)
            case ("versioning", status):
                await harness("PutBucketVersioning", Bucket=bucket, VersioningConfiguration={"Status": status})
                model.versioning = status
        await check(harness, bucket, model)
    await empty(harness, bucket, model)


async def check(harness: Any, bucket: str, model: Model) -> None:
    listed = await harness("ListObjectVersions", Bucket=bucket)
    found = (listed.get("Versions") or []) + (listed.get("DeleteMarkers") or [])
    for key in KEYS:
        versions = model.keys.get(key, [])
        assert {item["VersionId"] for item in found if item["Key"] == key} == {version for version, _ in versions}
        assert [item["VersionId"] for item in listed.get("Versions") or [] if item["Key"] == key] == [
            version for version, data in versions if data is not None
        ]
        latest = [item["VersionId"] for item in found if item["Key"] == key and item["IsLatest"]]
        assert latest == [version for version, _ in versions[:1]]
        for version, data in versions:
            if data is not None:
                assert await harness.read(bucket, key, VersionId=version) == data
        if model.latest(key) is None:
            with pytest.raises(NoSuchKey):
                await harness.read(bucket, key)
        else:
            assert await harness.read(bucket, key) == model.latest(key)
    plain = await harness("ListObjectsV2", Bucket=bucket)
    assert [item["Key"] for item in plain["Contents"] or []] == [key for key in KEYS if model.latest(key) is not None]


async def empty(harness: Any, bucket: str, model: Model) -> None:
    # Whatever is collected, what is referred to stays; and nothing else does.
    harness.app.clock.advance(2 * collector.GRACE_MS)
    harness.age()
    await collector.collect(harness.app, harness.blobs)
    for key, versions in model.keys.items():
        for version, data in versions:
            if data is not None:
                assert await harness.read(bucket, key, VersionId=version) == data
    for key, versions in model.keys.items():
        for version, _ in list(versions):
            await harness("DeleteObject", Bucket=bucket, Key=key, VersionId=version)
    await harness("DeleteBucket", Bucket=bucket)
    harness.app.clock.advance(2 * collector.GRACE_MS)
    harness.age()
    await collector.collect(harness.app, harness.blobs)
    assert harness.files() == set()


@settings(max_examples=examples(80), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=st.sampled_from(["Enabled", "Suspended", ""]), steps=st.lists(STEP, min_size=6, max_size=14))
def test_a_bucket_agrees_with_the_model(model_harness, first: str, steps: list[tuple]) -> None:
    harness, loop = model_harness
    begin = [("versioning", first)] if first else []
    loop.run_until_complete(run(harness, f"bucket-{next(_numbers)}", begin + steps))


@pytest.fixture
def model_harness(sqlite_url, clock, tmp_path, harness_factory):
    from penstock.store.database import Store

    loop = asyncio.new_event_loop()
    store = loop.run_until_complete(Store.open(sqlite_url, clock=clock))
    entered = harness_factory(store, clock, tmp_path)
    harness = loop.run_until_complete(entered.__aenter__())
    yield harness, loop
    loop.run_until_complete(entered.__aexit__(None, None, None))
    loop.run_until_complete(store.close())
    loop.close()
