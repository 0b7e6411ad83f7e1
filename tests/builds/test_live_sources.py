"""Where builds have their sources from and put their artifacts, on a live server."""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import subprocess
import uuid
import zipfile
from pathlib import Path
from urllib.parse import quote

import pytest
from penstock_builder import Builder, commands, failure

from penstock.builds.unpacking import Bounds


def zipped(**files: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in files.items():
            archive.writestr(name.replace("__", "/"), text)
    return content.getvalue()


@pytest.fixture(scope="module")
def bucket(builder: Builder) -> str:
    name = f"bucket-{uuid.uuid4().hex[:8]}"
    builder.s3.create_bucket(Bucket=name)
    return name


def test_a_source_from_s3_and_artifacts_to_s3(builder: Builder, bucket: str):
    spec = "version: 0.2\nphases:\n  build:\n    commands: ['cat lib/b.txt > out.txt; ls']\nartifacts:\n  files: ['*.txt', lib/**/*]\n  name: built-$CODEBUILD_BUILD_NUMBER\n"
    builder.s3.put_object(
        Bucket=bucket, Key="in/app.zip", Body=zipped(**{"buildspec.yml": spec, "lib__b.txt": "content", "a.txt": "a"})
    )
    name = builder.project(
        source={"type": "S3", "location": f"{bucket}/in/app.zip"},
        artifacts={"type": "S3", "location": bucket, "path": "out", "packaging": "ZIP", "name": "app.zip"},
    )
    build = builder.run(name)
    assert build["buildStatus"] == "SUCCEEDED", builder.log(build["id"])
    assert build["artifacts"]["location"] == f"arn:aws:s3:::{bucket}/out/app.zip"
    found = builder.s3.get_object(Bucket=bucket, Key="out/app.zip")
    data = found["Body"].read()
    assert found["Metadata"]["codebuild-buildarn"] == build["arn"]
    assert build["artifacts"]["sha256sum"] == hashlib.sha256(data).hexdigest()
    assert build["artifacts"]["md5sum"] == hashlib.md5(data, usedforsecurity=False).hexdigest()
    of_s3 = builder.live.client("kms").describe_key(KeyId=build["encryptionKey"])["KeyMetadata"]["Arn"]
    assert (build["encryptionKey"].rpartition(":")[2], found["SSEKMSKeyId"]) == ("alias/aws/s3", of_s3)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert sorted(archive.namelist()) == ["a.txt", "lib/b.txt", "out.txt"]
        assert archive.read("out.txt") == b"content"
    assert build["resolvedSourceVersion"]

    builder.codebuild.update_project(
        name=name,
        artifacts={
            "type": "S3",
            "location": bucket,
            "path": "plain",
            "namespaceType": "BUILD_ID",
            "name": "x",
            "overrideArtifactName": True,
            "encryptionDisabled": True,
        },
    )
    build = builder.run(name)
    uuid_ = build["id"].rpartition(":")[2]
    keys = {item["Key"] for item in builder.s3.list_objects_v2(Bucket=bucket, Prefix="plain/")["Contents"]}
    assert keys == {f"plain/{uuid_}/built-2/{file}" for file in ("a.txt", "lib/b.txt", "out.txt")}
    assert "sha256sum" not in build["artifacts"]
    assert build["artifacts"]["encryptionDisabled"] is True
    plain = builder.s3.head_object(Bucket=bucket, Key=f"plain/{uuid_}/built-2/a.txt")
    assert (plain["ServerSideEncryption"], plain.get("SSEKMSKeyId")) == ("AES256", None)


def test_secondary_sources_and_artifacts(builder: Builder, bucket: str):
    builder.s3.put_object(Bucket=bucket, Key="second.zip", Body=zipped(**{"x.txt": "second"}))
    spec = commands(
        "cp $CODEBUILD_SRC_DIR_other/x.txt one.txt",
        artifacts={
            "files": "one.txt",
            "secondary-artifacts": {"extra": {"files": ["x.txt"], "base-directory": "$CODEBUILD_SRC_DIR_other"}},
        },
    )
    name = builder.project(
        spec,
        secondarySources=[{"type": "S3", "location": f"{bucket}/second.zip", "sourceIdentifier": "other"}],
        artifacts={"type": "S3", "location": bucket, "name": "first.zip", "packaging": "ZIP"},
        secondaryArtifacts=[
            {"type": "S3", "location": bucket, "name": "extra.zip", "packaging": "ZIP", "artifactIdentifier": "extra"}
        ],
    )
    build = builder.run(name)
    assert build["buildStatus"] == "SUCCEEDED", builder.log(build["id"])
    assert [a["artifactIdentifier"] for a in build["secondaryArtifacts"]] == ["extra"]
    with zipfile.ZipFile(io.BytesIO(builder.s3.get_object(Bucket=bucket, Key="extra.zip")["Body"].read())) as archive:
        assert archive.namelist() == ["x.txt"]


def test_a_missing_source_and_nothing_to_upload_fails_with_a_reason(builder: Builder, bucket: str):
    build = builder.run(builder.project(commands("true"), source={"type": "S3", "location": f"{bucket}/none.zip"}))
    status, reason = failure(build, "DOWNLOAD_SOURCE")
    assert status == "CLIENT_ERROR"
    assert "NoSuchKey" in reason
    name = builder.project(commands("true", artifacts={"files": "*.jar"}), artifacts={"type": "S3", "location": bucket})
    build = builder.run(name)
    assert (build["buildStatus"], failure(build, "UPLOAD_ARTIFACTS")) == (
        "FAILED",
        ("CLIENT_ERROR", "no matching artifact paths found"),
    )


def test_a_buildspec_that_is_not_there(builder: Builder, bucket: str):
    builder.s3.put_object(Bucket=bucket, Key="empty.zip", Body=zipped(a="a"))
    build = builder.run(
        builder.project(source={"type": "S3", "location": f"{bucket}/empty.zip", "buildspec": "ci/none.yml"})
    )
    status, reason = failure(build, "DOWNLOAD_SOURCE")
    assert status == "YAML_FILE_ERROR"
    assert reason.endswith("ci/none.yml: no such file or directory")
    for address in ("arn:aws:s3:::", "arn:aws:sns:topic/x", f"s3://{bucket}/spec.yml"):
        build = builder.run(build["projectName"], buildspecOverride=address)
        status, message = failure(build, "DOWNLOAD_SOURCE")
        assert status == "YAML_FILE_ERROR"
        assert message == f"The buildspec {address} is not the ARN of an object. Name one as arn:aws:s3:::BUCKET/KEY"


def test_hostile_sources_end_the_build_with_a_reason_without_paths_of_the_host(builder: Builder, bucket: str):
    def put(key: str, body: bytes) -> dict[str, str]:
        builder.s3.put_object(Bucket=bucket, Key=key, Body=body)
        return {"type": "S3", "location": f"{bucket}/{key}"}

    circle = io.BytesIO()
    with zipfile.ZipFile(circle, "w") as archive:
        for name, to in (("buildspec.yml", "other"), ("other", "buildspec.yml")):
            info = zipfile.ZipInfo(name)
            info.external_attr = 0o120777 << 16
            archive.writestr(info, to)
    put("both/a", b"a file")
    put("both/a/b", b"and a folder")
    put("long/" + "x" * 300, b"")
    for source in (
        put("circle.zip", circle.getvalue()),
        put("some.zip", zipped(a="")) | {"buildspec": "x" * 300},
        {"type": "S3", "location": f"{bucket}/both/"},
        {"type": "S3", "location": f"{bucket}/long/"},
    ):
        build = builder.run(builder.project(None, source=source))
        assert build["buildStatus"] == "FAILED"
        code_, reason = failure(build, "DOWNLOAD_SOURCE")
        assert code_ in ("YAML_FILE_ERROR", "CLIENT_ERROR")
        assert reason
        assert str(builder.live.app.settings.data_dir) not in reason


def test_a_source_from_a_repository_of_this_server(builder: Builder, tmp_path: Path):
    codecommit = builder.live.client("codecommit")
    repository = f"repo-{uuid.uuid4().hex[:8]}"
    url = codecommit.create_repository(repositoryName=repository)["repositoryMetadata"]["cloneUrlHttp"]
    keys = builder.live.keys()
    with_keys = f"{builder.live.url}/v1/repos/{repository}".replace(
        "//", f"//{quote(keys['aws_access_key_id'])}:{quote(keys['aws_secret_access_key'], safe='')}@", 1
    )
    work = tmp_path / "work"
    work.mkdir()
    (work / "buildspec.yml").write_text("version: 0.2\nphases: {build: {commands: [git log --format=%s, cat file]}}")
    (work / "file").write_text("first")

    def git(*arguments: str) -> str:
        identity = ("-c", "user.name=n", "-c", "user.email=e@x", "-c", "init.defaultBranch=main")
        return subprocess.run(
            ["git", *identity, *arguments], cwd=work, check=True, capture_output=True, text=True
        ).stdout

    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "the first commit")
    git("push", "-q", with_keys, "main")
    first = git("rev-parse", "HEAD").strip()
    (work / "file").write_text("second")
    git("commit", "-qam", "the second commit")
    git("push", "-q", with_keys, "main", "main:other")
    name = builder.project(source={"type": "CODECOMMIT", "location": url})
    build = builder.run(name)
    assert build["buildStatus"] == "SUCCEEDED", (build["phases"], builder.log(build["id"]))
    assert build["resolvedSourceVersion"] == git("rev-parse", "HEAD").strip()
    assert "\nthe first commit" in builder.log(build["id"])
    assert "\nsecond" in builder.log(build["id"])
    build = builder.run(name, sourceVersion=first)
    assert build["resolvedSourceVersion"] == first
    assert "\nfirst\n" in builder.log(build["id"])
    build = builder.run(name, sourceVersion="refs/heads/other", gitCloneDepthOverride=1)
    assert build["buildStatus"] == "SUCCEEDED", build["phases"]
    build = builder.run(name, sourceVersion="nowhere")
    assert failure(build, "DOWNLOAD_SOURCE")[0] == "CLIENT_ERROR"
    assert failure(build, "DOWNLOAD_SOURCE")[1].startswith(
        "reference not found for primary source and source version nowhere: "
    )


def test_artifacts_that_are_not_zipped_are_objects_with_the_names_of_files(builder: Builder, bucket: str):
    made = (
        r"""mkdir o; printf x >"o/$(printf 'caf\351')"; printf y >"o/$(printf 'caf\303\251')"; ln -s /nowhere o/link"""
    )
    spec = commands(made, artifacts={"files": "*", "base-directory": "o"})
    build = builder.run(builder.project(spec, artifacts={"type": "S3", "location": bucket, "name": "unzipped"}))
    assert build["buildStatus"] == "SUCCEEDED", build["phases"]
    keys = {found["Key"] for found in builder.s3.list_objects_v2(Bucket=bucket, Prefix="unzipped/")["Contents"]}
    assert keys == {"unzipped/caf\ufffd", "unzipped/caf\u00e9"}
    assert "Skipping the link link: an object cannot be one" in builder.log(build["id"])


def test_a_build_that_ends_before_its_source_leaves_no_directory(builder: Builder, monkeypatch: pytest.MonkeyPatch):
    def full(_: object) -> None:
        raise OSError(28, "No space left on device", "/some/path/of/the/server")

    monkeypatch.setattr("penstock.builds.workspace.Workspace.make_wakeup", full)
    build = builder.run(builder.project(commands("true")))
    assert build["buildStatus"] == "FAULT"
    assert failure(build, "PROVISIONING") == (
        "INTERNAL_ERROR",
        "The build's directory could not be made: No space left on device",
    )
    folder = builder.live.data_dir / "builds" / build["id"].rpartition(":")[2]
    builder.until(build["id"], lambda _: not folder.exists())


def test_a_folder_of_sources_is_bounded(builder: Builder, bucket: str, monkeypatch: pytest.MonkeyPatch):
    for key in ("tree/buildspec.yml", "tree/a", "tree/b"):
        builder.s3.put_object(Bucket=bucket, Key=key, Body=json.dumps(commands("ls")))
    name = builder.project(source={"type": "S3", "location": f"{bucket}/tree/"})
    assert builder.run(name)["buildStatus"] == "SUCCEEDED"
    monkeypatch.setattr("penstock.builds.sources.Bounds.of", lambda _: Bounds(entries=2))
    status, reason = failure(builder.run(name), "DOWNLOAD_SOURCE")
    assert status == "CLIENT_ERROR"
    assert reason.endswith("/tree/ has more than 2 entries. The server's option --source-entries raises this limit")


def test_a_commit_that_cannot_be_counted_is_not_checked_out(builder: Builder, tmp_path):
    made = builder.live.client("codecommit").create_repository(repositoryName="bomb")["repositoryMetadata"]
    url = made["cloneUrlHttp"]
    keys = builder.live.keys()
    scheme, _, rest = url.partition("://")
    with_keys = f"{scheme}://{keys['aws_access_key_id']}:{quote(keys['aws_secret_access_key'], safe='')}@{rest}"

    def git(*arguments: str, given: str = "") -> str:
        command = ["git", "-c", "user.name=n", "-c", "user.email=e@x", *arguments]
        return subprocess.run(
            command, cwd=tmp_path, check=True, capture_output=True, text=True, input=given
        ).stdout.strip()

    git("init", "-q")
    below, kind = git("hash-object", "-w", "--stdin", given="x"), "100644 blob"
    for _ in range(12):
        below = git("mktree", given="".join(f"{kind} {below}\t{number:02}\n" for number in range(16)))
        kind = "040000 tree"
    commit = git("commit-tree", "-m", "bomb", below)
    git("push", "-q", with_keys, f"{commit}:refs/heads/main")
    build = builder.run(builder.project(commands("true"), source={"type": "CODECOMMIT", "location": url}))
    assert failure(build, "DOWNLOAD_SOURCE") == (
        "CLIENT_ERROR",
        f"The commit {commit} of bomb has more than 200000 entries. The server's option --source-entries raises this limit",
    )


def test_git_in_a_build_has_the_credentials_of_its_role_when_the_buildspec_says_so(builder: Builder):
    builder.live.client("codecommit").create_repository(repositoryName="wanted")
    clone = "git clone -q $AWS_ENDPOINT_URL/v1/repos/wanted clone && ls -d clone/.git"
    asked = "printf 'protocol=http\nhost=elsewhere.example\n\n' | GIT_TERMINAL_PROMPT=0 git credential fill || echo none for others"
    build = builder.run(builder.project(commands(clone, asked, env={"git-credential-helper": "yes"})))
    log = builder.log(build["id"])
    assert build["buildStatus"] == "SUCCEEDED", log
    assert "\nclone/.git" in log
    assert "\nnone for others" in log
    assert "password=" not in log
    without = builder.run(builder.project(commands(f"GIT_TERMINAL_PROMPT=0; {clone}")))
    assert without["buildStatus"] == "FAILED"
    role = builder.make_role("logs:*")
    denied = builder.run(builder.project(commands(clone, env={"git-credential-helper": True}), serviceRole=role))
    assert denied["buildStatus"] == "FAILED"


def test_names_and_links_go_through_a_build_as_they_are(builder: Builder, bucket: str):
    class Raw(zipfile.ZipInfo):
        def _encodeFilenameFlags(self):  # noqa: N802
            return os.fsencode(self.filename), 0

    names = {"caf\udce9": b"latin", "caf\u00e9": b"utf", "d/\udcff\udcfe": b"noise"}
    links = {"localtime": b"/usr/share/zoneinfo/UTC", "up": b"../../up", "loop": b"loop"}
    spec = commands("ls | wc -l", artifacts={"files": ["**/*"], "enable-symlinks": "yes"})
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in names.items():
            archive.writestr(Raw(name), content)
        for name, content in links.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(info, content)
        archive.writestr("buildspec.yml", json.dumps(spec))
    builder.s3.put_object(Bucket=bucket, Key="in/names.zip", Body=packed.getvalue())
    name = builder.project(
        source={"type": "S3", "location": f"{bucket}/in/names.zip"},
        artifacts={"type": "S3", "location": bucket, "name": "names.zip", "packaging": "ZIP"},
    )
    build = builder.run(name)
    assert build["buildStatus"] == "SUCCEEDED", builder.log(build["id"])
    out = builder.s3.get_object(Bucket=bucket, Key="names.zip")["Body"].read()
    with zipfile.ZipFile(io.BytesIO(out)) as archive:
        found = {
            info.filename.encode("utf-8" if info.flag_bits & 0x800 else "cp437"): archive.read(info)
            for info in archive.infolist()
        }
        assert stat.S_ISLNK(archive.getinfo("localtime").external_attr >> 16)
    assert found.pop(b"buildspec.yml")
    assert found == {os.fsencode(name): content for name, content in (names | links).items()}
