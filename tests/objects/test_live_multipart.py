"""Objects in parts, and copies, by boto3 against a live server."""

from __future__ import annotations

import base64
import hashlib
import os
import zlib

import pytest
from boto3.s3.transfer import TransferConfig
from penstock_buckets import Failure

MIB = 1 << 20


def test_copies(s3, bucket: str, versioned: str) -> None:
    s3.put_object(Bucket=bucket, Key="src é", Body=b"source", Metadata={"a": "1"}, Tagging="t=1", ContentType="text/x")
    copied = s3.copy_object(Bucket=versioned, Key="dst", CopySource={"Bucket": bucket, "Key": "src é"})
    assert copied["VersionId"]
    got = s3.get_object(Bucket=versioned, Key="dst")
    assert (got["Body"].read(), got["Metadata"], got["ContentType"], got["TagCount"]) == (
        b"source",
        {"a": "1"},
        "text/x",
        1,
    )
    s3.delete_object(Bucket=bucket, Key="src é")
    assert s3.get_object(Bucket=versioned, Key="dst")["Body"].read() == b"source"
    source = {"Bucket": versioned, "Key": "dst", "VersionId": copied["VersionId"]}
    back = s3.copy_object(
        Bucket=bucket, Key="back", CopySource=source, MetadataDirective="REPLACE", Metadata={"b": "2"}
    )
    assert back["CopySourceVersionId"] == copied["VersionId"]
    assert s3.head_object(Bucket=bucket, Key="back")["Metadata"] == {"b": "2"}
    same = {"Bucket": bucket, "Key": "back"}
    assert Failure(s3.copy_object, **same, CopySource=same) == ("InvalidRequest", 400)
    s3.copy_object(**same, CopySource=same, MetadataDirective="REPLACE")
    assert Failure(s3.copy_object, **same, CopySource=f"{bucket}/none") == ("NoSuchKey", 404)
    assert Failure(s3.copy_object, **same, CopySource="nobucket/none") == ("NoSuchBucket", 404)
    assert Failure(s3.copy_object, **same, CopySource=source, CopySourceIfNoneMatch="*") == ("PreconditionFailed", 412)


def test_multipart(s3, bucket: str) -> None:
    where = {"Bucket": bucket, "Key": "multi/é"}
    upload = s3.create_multipart_upload(**where, Metadata={"m": "1"}, ChecksumAlgorithm="CRC32")
    at = where | {"UploadId": upload["UploadId"]}
    datas = {3: os.urandom(5 * MIB), 7: os.urandom(5 * MIB + 1), 9: b"tail"}
    parts = []
    for number, data in datas.items():
        s3.upload_part(**at, PartNumber=number, Body=b"overwritten")
        done = s3.upload_part(**at, PartNumber=number, Body=data)
        parts.append({"PartNumber": number, "ETag": done["ETag"], "ChecksumCRC32": done["ChecksumCRC32"]})
    s3.upload_part(**at, PartNumber=10, Body=b"unused")
    listed = s3.list_parts(**at, MaxParts=2)
    assert [item["PartNumber"] for item in listed["Parts"]] == [3, 7]
    assert listed["IsTruncated"] is True
    assert s3.list_parts(**at, PartNumberMarker=listed["NextPartNumberMarker"])["Parts"][0]["PartNumber"] == 9
    assert [item["Key"] for item in s3.list_multipart_uploads(Bucket=bucket)["Uploads"]] == ["multi/é"]
    complete = s3.complete_multipart_upload
    assert Failure(complete, **at, MultipartUpload={"Parts": parts[::-1]}) == ("InvalidPartOrder", 400)
    wrong = [parts[0] | {"ETag": '"00"'}]
    assert Failure(complete, **at, MultipartUpload={"Parts": wrong}) == ("InvalidPart", 400)
    last = s3.list_parts(**at)["Parts"][-1]
    small = [parts[0], parts[2], {name: last[name] for name in ("PartNumber", "ETag", "ChecksumCRC32")}]
    assert Failure(complete, **at, MultipartUpload={"Parts": small}) == ("EntityTooSmall", 400)
    assert Failure(complete, **at, MultipartUpload={"Parts": []}) == ("InvalidRequest", 400)
    done = complete(**at, MultipartUpload={"Parts": parts})
    full = b"".join(datas.values())
    md5 = hashlib.md5(b"".join(hashlib.md5(data).digest() for data in datas.values())).hexdigest()
    assert done["ETag"] == f'"{md5}-3"'
    assert done["ChecksumCRC32"].endswith("-3")
    assert done["Location"].endswith("/plain/multi/%C3%A9")
    again = complete(**at, MultipartUpload={"Parts": parts})
    assert again["ETag"] == done["ETag"]
    assert Failure(complete, **at, MultipartUpload={"Parts": parts[:1]}) == ("NoSuchUpload", 404)
    assert Failure(s3.upload_part, **at, PartNumber=1, Body=b"late") == ("NoSuchUpload", 404)
    assert Failure(s3.abort_multipart_upload, **at) == ("NoSuchUpload", 404)
    got = s3.get_object(**where)
    assert got["Metadata"] == {"m": "1"}
    assert got["Body"].read() == full
    edge = s3.get_object(**where, Range=f"bytes={5 * MIB - 3}-{5 * MIB + 2}")
    assert edge["Body"].read() == full[5 * MIB - 3 : 5 * MIB + 3]
    second = s3.get_object(**where, PartNumber=2)
    assert second["Body"].read() == datas[7]
    assert second["PartsCount"] == 3
    assert Failure(s3.get_object, **where, PartNumber=4) == ("InvalidPartNumber", 416)
    # A copy is a plain object.
    copied = s3.copy_object(Bucket=bucket, Key="flat", CopySource=where)
    assert copied["CopyObjectResult"]["ETag"] == f'"{hashlib.md5(full).hexdigest()}"'
    assert s3.get_object(Bucket=bucket, Key="flat")["Body"].read() == full


@pytest.mark.parametrize("member", ["MaxParts", "PartNumberMarker"])
def test_pages_of_parts_have_bounds(s3, bucket: str, member: str) -> None:
    at = {"Bucket": bucket, "Key": "bounds"}
    at["UploadId"] = s3.create_multipart_upload(**at)["UploadId"]
    s3.upload_part(**at, PartNumber=1, Body=b"x")
    assert Failure(s3.list_parts, **at, **{member: -1}) == ("InvalidArgument", 400)
    # A page of none that called for another one would never end.
    assert s3.list_parts(**at, MaxParts=0)["IsTruncated"] is False
    s3.abort_multipart_upload(**at)


def test_full_object_checksums_of_multiparts(s3, bucket: str) -> None:
    where = {"Bucket": bucket, "Key": "full"}
    upload = s3.create_multipart_upload(**where, ChecksumAlgorithm="CRC32", ChecksumType="FULL_OBJECT")
    at = where | {"UploadId": upload["UploadId"]}
    datas = [os.urandom(5 * MIB), b"rest"]
    parts = [
        {"PartNumber": number, "ETag": s3.upload_part(**at, PartNumber=number, Body=data)["ETag"]}
        for number, data in enumerate(datas, 1)
    ]
    value = base64.b64encode(zlib.crc32(b"".join(datas)).to_bytes(4, "big")).decode()
    wrong = base64.b64encode(b"nope").decode()
    assert Failure(
        s3.complete_multipart_upload,
        **at,
        MultipartUpload={"Parts": parts},
        ChecksumCRC32=wrong,
        ChecksumType="FULL_OBJECT",
    ) == ("BadDigest", 400)
    done = s3.complete_multipart_upload(
        **at, MultipartUpload={"Parts": parts}, ChecksumCRC32=value, ChecksumType="FULL_OBJECT"
    )
    assert (done["ChecksumCRC32"], done["ChecksumType"]) == (value, "FULL_OBJECT")
    bad = Failure(s3.create_multipart_upload, **where, ChecksumAlgorithm="SHA256", ChecksumType="FULL_OBJECT")
    assert bad == ("InvalidRequest", 400)


def test_upload_part_copy_and_abort(s3, bucket: str) -> None:
    data = os.urandom(6 * MIB)
    s3.put_object(Bucket=bucket, Key="whole", Body=data)
    where = {"Bucket": bucket, "Key": "pasted"}
    at = where | {"UploadId": s3.create_multipart_upload(**where)["UploadId"]}
    source = {"Bucket": bucket, "Key": "whole"}
    one = s3.upload_part_copy(**at, PartNumber=1, CopySource=source, CopySourceRange=f"bytes=10-{5 * MIB + 9}")
    two = s3.upload_part_copy(**at, PartNumber=2, CopySource=source, CopySourceRange="bytes=0-9")
    assert Failure(s3.upload_part_copy, **at, PartNumber=3, CopySource=source, CopySourceRange="bytes=0-99999999") == (
        "InvalidArgument",
        400,
    )
    parts = [{"PartNumber": n, "ETag": r["CopyPartResult"]["ETag"]} for n, r in ((1, one), (2, two))]
    s3.complete_multipart_upload(**at, MultipartUpload={"Parts": parts})
    s3.delete_object(**source)
    pasted = data[10 : 5 * MIB + 10] + data[:10]
    assert s3.get_object(**where)["Body"].read() == pasted
    # A range over two parts of a multipart object becomes a blob of its own.
    at = where | {"UploadId": s3.create_multipart_upload(**where)["UploadId"]}
    span = s3.upload_part_copy(**at, PartNumber=1, CopySource=where, CopySourceRange=f"bytes=100-{5 * MIB + 5}")
    s3.complete_multipart_upload(
        **at, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": span["CopyPartResult"]["ETag"]}]}
    )
    assert s3.get_object(**where)["Body"].read() == pasted[100 : 5 * MIB + 6]
    at = where | {"UploadId": s3.create_multipart_upload(**where)["UploadId"]}
    s3.upload_part(**at, PartNumber=1, Body=b"x")
    s3.abort_multipart_upload(**at)
    assert Failure(s3.list_parts, **at) == ("NoSuchUpload", 404)


def test_a_digest_is_computed_for_a_caller_from_outside_up_to_a_size(live, s3, bucket: str) -> None:
    """Parts that are copied cost their owner nothing, so that an object of any size is made of five megabytes."""
    ours = live.client("penstock")
    data = bytes(5 * MIB)
    s3.put_object(Bucket=bucket, Key="whole", Body=data)
    for key, count in (("small", 1), ("large", 13)):
        at = {"Bucket": bucket, "Key": key}
        at["UploadId"] = s3.create_multipart_upload(**at)["UploadId"]
        source = {"Bucket": bucket, "Key": "whole"}
        copied = [s3.upload_part_copy(**at, PartNumber=n, CopySource=source) for n in range(1, count + 1)]
        parts = [{"PartNumber": n, "ETag": each["CopyPartResult"]["ETag"]} for n, each in enumerate(copied, 1)]
        s3.complete_multipart_upload(**at, MultipartUpload={"Parts": parts})
    assert ours.get_object_digest(bucketName=bucket, objectKey="small")["sha256"] == hashlib.sha256(data).hexdigest()
    large = ours.get_object_digest(bucketName=bucket, objectKey="large", maximumSize=1 << 40)
    assert large["size"] == 65 * MIB
    assert "sha256" not in large


def test_transfers(s3, bucket: str, tmp_path) -> None:
    data = os.urandom(18 * MIB + 11)
    (tmp_path / "up").write_bytes(data)
    config = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB, max_concurrency=4)
    s3.upload_file(str(tmp_path / "up"), bucket, "transfer", Config=config)
    s3.download_file(bucket, "transfer", str(tmp_path / "down"), Config=config)
    assert (tmp_path / "down").read_bytes() == data
