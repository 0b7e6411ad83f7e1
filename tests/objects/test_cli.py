"""The AWS CLI at work, over http and https."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest


@pytest.fixture(params=["live", "live_tls"])
def server(request):
    return request.getfixturevalue(request.param)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_folder_goes_up_and_comes_down(server, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "sub dir").mkdir(parents=True)
    for name, size in {"a.txt": 10, "sub dir/ü &+.bin": 100_000, "sub dir/empty": 0, "large": 9 << 20}.items():
        (source / name).write_bytes(os.urandom(size))
        # S3 tells times in seconds: what is written within one looks newer than its upload.
        os.utime(source / name, (1, 1))
    server.aws("s3", "mb", "s3://cli")
    assert "cli" in server.aws("s3", "ls")
    server.aws("s3", "sync", str(source), "s3://cli/up")
    assert server.aws("s3", "sync", str(source), "s3://cli/up") == ""  # nothing is left to do
    listed = server.aws("s3", "ls", "s3://cli/up/")
    assert "PRE sub dir/" in listed
    assert "a.txt" in listed
    assert "ü &+.bin" in server.aws("s3", "ls", "--recursive", "s3://cli")
    server.aws("s3", "sync", "s3://cli/up", str(tmp_path / "down"))
    assert tree(tmp_path / "down") == tree(source)
    server.aws("s3", "cp", "s3://cli/up/a.txt", "s3://cli/copied/a.txt")
    server.aws("s3", "mv", "s3://cli/copied/a.txt", "s3://cli/moved.txt")
    server.aws("s3", "cp", "s3://cli/moved.txt", str(tmp_path / "moved.txt"))
    assert (tmp_path / "moved.txt").read_bytes() == (source / "a.txt").read_bytes()
    assert server.aws("s3", "ls", "s3://cli/copied/", check=False).returncode == 1
    url = server.aws("s3", "presign", "s3://cli/moved.txt").strip()
    import ssl
    import urllib.request

    context = ssl.create_default_context(cafile=str(server.running_app.ca_file)) if server.running_app.ca_file else None
    with urllib.request.urlopen(url, timeout=60, context=context) as answer:
        assert answer.read() == (source / "a.txt").read_bytes()
    server.aws("s3", "rm", "--recursive", "s3://cli/up")
    server.aws("s3", "rb", "--force", "s3://cli")
    assert server.aws("s3", "ls", "s3://cli", check=False).returncode != 0


def test_operations_by_name(live, tmp_path: Path) -> None:
    live.aws("s3api", "create-bucket", "--bucket", "api")
    enabled = "Status=Enabled"
    live.aws("s3api", "put-bucket-versioning", "--bucket", "api", "--versioning-configuration", enabled)
    assert live.aws("s3api", "get-bucket-versioning", "--bucket", "api") == {"Status": "Enabled"}
    (tmp_path / "file").write_bytes(b"content")
    where = ("--bucket", "api", "--key", "k")
    put = live.aws("s3api", "put-object", *where, "--body", str(tmp_path / "file"), "--checksum-algorithm", "SHA256")
    head = live.aws("s3api", "head-object", *where, "--checksum-mode", "ENABLED")
    assert head["VersionId"] == put["VersionId"]
    assert head["ChecksumSHA256"] == put["ChecksumSHA256"]
    got = live.aws("s3api", "get-object", *where, "--range", "bytes=1-3", str(tmp_path / "out"))
    assert got["ContentRange"] == "bytes 1-3/7"
    assert (tmp_path / "out").read_bytes() == b"ont"
    deleted = live.aws("s3api", "delete-object", *where)
    assert deleted["DeleteMarker"] is True
    versions = live.aws("s3api", "list-object-versions", "--bucket", "api")
    assert len(versions["Versions"]) == len(versions["DeleteMarkers"]) == 1
    refused = live.aws("s3api", "get-object", *where, str(tmp_path / "out"), check=False)
    assert refused.returncode != 0
    assert "(NoSuchKey)" in refused.stderr


def test_a_deployment_bundle_goes_up_as_aws_deploy_push_sends_it(live, tmp_path: Path) -> None:
    s3 = live.client("s3")
    s3.create_bucket(Bucket="bundles")
    for size in (1000, 13 << 20):
        bundle = tmp_path / "bundle.zip"
        with zipfile.ZipFile(bundle, "w", allowZip64=True) as archive:
            archive.writestr("appspec.yml", "version: 0.0\nos: linux\n")
            archive.writestr("payload", os.urandom(size))
        data = bundle.read_bytes()
        if len(data) < 6 << 20:
            done = s3.put_object(Bucket="bundles", Key="app.zip", Body=data)
        else:
            upload = s3.create_multipart_upload(Bucket="bundles", Key="app.zip")["UploadId"]
            parts = []
            for number, start in enumerate(range(0, len(data), 6 << 20), 1):
                part = s3.upload_part(
                    Bucket="bundles",
                    Key="app.zip",
                    UploadId=upload,
                    PartNumber=number,
                    Body=data[start : start + (6 << 20)],
                )
                parts.append({"PartNumber": number, "ETag": part["ETag"]})
            done = s3.complete_multipart_upload(
                Bucket="bundles", Key="app.zip", UploadId=upload, MultipartUpload={"Parts": parts}
            )
        assert done["ETag"].strip('"')
        # The host's agent asks for exactly this ETag.
        got = s3.get_object(Bucket="bundles", Key="app.zip", IfMatch=done["ETag"])
        assert got["Body"].read() == data
