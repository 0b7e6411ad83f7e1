"""Deletes of many keys, and copies: what they keep, what they read again, and what they must change."""

from __future__ import annotations

import base64
import contextlib
import os
from types import SimpleNamespace
from typing import Any

import pytest
from penstock_object_rows import BUCKET, refused, version

from penstock.objects import commits, data_keys
from penstock.objects.blobs import Blob, Piece
from penstock.objects.checksums import ALGORITHMS, ChecksumType
from penstock.objects.errors import (
    InvalidArgument,
    InvalidRequest,
    MalformedXML,
)
from penstock.objects.lookup import Found
from penstock.objects.model import About, Bucket, Checksum, Versioning
from penstock.objects.operations import copies, deletes


async def test_a_thousand_keys_are_deleted_at_once_and_no_more(monkeypatch):
    deleted = []

    async def write(_many, _call, _bucket, allowed):
        deleted.append(len(allowed))
        return [commits.Deleted() for _ in allowed]

    async def allow(*_):
        return BUCKET

    monkeypatch.setattr(deletes, "note_region", allow)
    app = SimpleNamespace(store=SimpleNamespace(write=write, read=allow), identity=SimpleNamespace(authorize=allow))
    call = SimpleNamespace(app=app, partition="aws", account=BUCKET.account, memo={})
    for number, quiet in ((1000, False), (1, True)):
        asked = {"Bucket": "b", "Delete": {"Objects": [{"Key": str(one)} for one in range(number)], "Quiet": quiet}}
        answer = await deletes.delete_objects(None, call, asked)  # type: ignore[arg-type]
        assert answer["Errors"] is None
        assert answer["Deleted"] is None if quiet else len(answer["Deleted"]) == number
    for number in (0, 1001):
        with refused(MalformedXML):
            await deletes.delete_objects(None, call, {"Bucket": "b", "Delete": {"Objects": [{"Key": "k"}] * number}})  # type: ignore[arg-type]
    assert deleted == [1000, 1]
    asked = {"Bucket": "b", "Delete": {"Objects": [{"Key": "k", "Size": 0}, {"Key": "l", "VersionId": "x"}, {"Key": "é" * 600}]}}  # fmt: skip
    answer = await deletes.delete_objects(None, call, asked)  # type: ignore[arg-type]
    assert [error["Code"] for error in answer["Errors"]] == ["NotImplemented", "NoSuchVersion", "KeyTooLongError"]
    assert deleted == [1000, 1]


@pytest.mark.parametrize(
    ("match", "version", "asked"),
    [(None, None, []), ("*", None, []), ("e", None, ["s3:GetObject"]), ("e", "v", ["s3:GetObjectVersion"])],
)
async def test_an_etag_is_guessed_only_by_who_may_read_it(match, version, asked):
    actions = []

    async def authorize(_call, action, resources):
        assert resources == ("arn:aws:s3:::b/k",)
        actions.append(action)

    call = SimpleNamespace(app=SimpleNamespace(identity=SimpleNamespace(authorize=authorize)), partition="aws")
    await deletes._may_compare(call, "b", commits.DeleteTarget(key="k", version=version, match=match))  # type: ignore[arg-type]
    assert actions == asked


@pytest.mark.parametrize(
    ("input", "settings", "idle"),
    [
        ({}, {}, True),
        ({"MetadataDirective": "COPY", "TaggingDirective": "COPY"}, {}, True),
        ({"MetadataDirective": "REPLACE"}, {}, False),
        ({"TaggingDirective": "REPLACE"}, {}, False),
        ({"CopySource": "b/k?versionId=v"}, {}, False),
        ({"ServerSideEncryption": "AES256"}, {}, False),
        ({"ChecksumAlgorithm": "SHA1"}, {}, False),
        ({"WebsiteRedirectLocation": "/x"}, {}, False),
        ({"StorageClass": "STANDARD"}, {}, False),
        ({}, {"encryption": {"algorithm": "AES256"}}, False),
    ],
)
def test_a_copy_onto_itself_changes_something(input, settings, idle):
    bucket = Bucket(name="b", account="1", region="r", created=0, versioning=Versioning.NEVER, settings=settings)
    with refused(InvalidRequest, "copy an object to itself without changing") if idle else contextlib.nullcontext():
        copies._refuse_idle({"CopySource": "b/k"} | input, bucket)


@pytest.mark.parametrize(
    ("input", "headers", "metadata", "tags"),
    [
        ({}, {"ContentType": "old"}, {"m": "old"}, {"t": "old"}),
        ({"MetadataDirective": "REPLACE", "ContentType": "new"}, {"ContentType": "new"}, {}, {"t": "old"}),
        ({"TaggingDirective": "REPLACE", "Tagging": "t=new"}, {"ContentType": "old"}, {"m": "old"}, {"t": "new"}),
        ({"WebsiteRedirectLocation": "/x"}, {"ContentType": "old"}, {"m": "old"}, {"t": "old"}),
    ],
)
def test_what_a_copy_keeps(input, headers, metadata, tags):
    kept = About(
        headers={"ContentType": "old", "WebsiteRedirectLocation": "/o"}, metadata={"m": "old"}, tags={"t": "old"}
    )
    said = copies._about(input, BUCKET, Found(bucket=BUCKET, version=version(about=kept), pieces=[]))
    assert (said.headers, said.metadata, said.tags) == (headers, metadata, tags)
    with refused(InvalidArgument, "Unknown metadata directive"):
        copies._about({"MetadataDirective": "X"}, BUCKET, Found(bucket=BUCKET, version=version(about=kept), pieces=[]))


@pytest.mark.parametrize(
    ("kept", "parts", "sha256", "algorithm", "md5", "read"),
    [
        (("SHA1", ChecksumType.FULL_OBJECT), None, "", "SHA1", "", False),
        (("SHA1", ChecksumType.FULL_OBJECT), 2, "", "SHA1", "", True),
        (("SHA1", ChecksumType.FULL_OBJECT), 2, "", "SHA1", "not wanted", False),
        (("SHA1", ChecksumType.FULL_OBJECT), None, "", "SHA1", "not known", True),
        (("SHA1", ChecksumType.FULL_OBJECT), None, "", "SHA1", "not known, nor wanted", False),
        (("SHA1", ChecksumType.COMPOSITE), None, "", "SHA1", "not wanted", True),
        (("SHA1", ChecksumType.FULL_OBJECT), None, "ab" * 32, "SHA256", "", False),
        (("SHA1", ChecksumType.FULL_OBJECT), None, "", "SHA256", "not wanted", True),
        (None, None, "ab" * 32, "SHA1", "", True),
        (None, 1, "ab" * 32, "SHA256", "", True),
        (None, 1, "ab" * 32, "SHA256", "not wanted", False),
    ],
)  # fmt: skip
async def test_what_a_copy_is_read_for(monkeypatch, kept, parts, sha256, algorithm, md5, read):
    reads_: list[Any] = []

    async def digests_of(_blobs, _source, start, stop, algorithm, root, *, md5):
        reads_.append((start, stop, algorithm.name, root))
        return SimpleNamespace(md5=bytes(16) if md5 else b"", sha256=bytes(32), value=lambda one: f"new {one.name}")

    monkeypatch.setattr(copies, "digests_of", digests_of)
    checksum = kept and Checksum(algorithm=kept[0], type=kept[1], value="old")
    whole = Piece(blob=Blob(id="b", size=10, key=b""), start=0, length=10)
    about = About(checksum=checksum, sha256=sha256, data_key="of KMS" if md5.startswith("not known") else "")
    root = os.urandom(32) if about.data_key else b""
    about = data_keys.closed_about(root, about)
    found = Found(bucket=BUCKET, version=version(part_count=parts, about=about), pieces=[whole])
    asked: dict[str, Any] = {"md5": not md5.endswith("wanted")}
    etag, made, digest = await copies._hashes(None, found, ALGORITHMS[algorithm], root, **asked)  # type: ignore[arg-type]
    assert reads_ == ([(0, 10, algorithm, root)] if read else [])
    assert digest == ("00" * 32 if read else sha256)
    assert etag == ("e" if not read else "0" * 32 if asked["md5"] else "")
    assert (made.algorithm, made.type) == (algorithm, ChecksumType.FULL_OBJECT)
    if not read:
        known = base64.b64encode(bytes.fromhex(sha256)).decode() if sha256 else "old"
        assert made.value == known
