"""Deploying to a bucket: what lands there, and what is refused before anything does."""

from __future__ import annotations

import io
import json
import re
import stat
import zipfile
from typing import Any

import pytest
import sqlalchemy as sa
from penstock_waiting import until
from penstock_zips import zip_archive, zip_entry

from penstock.pipelines.actions import s3_deploy
from penstock.pipelines.actions.provider import Running
from penstock.pipelines.actions.s3_deploy import content_type
from penstock.store import records

ACCOUNT = "111111111111"


def kind(category: str, provider: str) -> dict[str, str]:
    return {"category": category, "owner": "AWS", "provider": provider, "version": "1"}


def allowed(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **one} for one in statements]})


def role(live: Any, name: str, *may: dict[str, Any]) -> str:
    iam = live.client("iam")
    trust = allowed({"Principal": {"Service": "codepipeline.amazonaws.com"}, "Action": "sts:AssumeRole"})
    arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    iam.put_role_policy(RoleName=name, PolicyName="may", PolicyDocument=allowed(*may))
    return arn


@pytest.fixture(scope="module")
def world(live: Any) -> str:
    """A role that may do everything, a bucket to deploy from and one for artifacts."""
    s3 = live.client("s3")
    for bucket in ("in", "artifacts"):
        s3.create_bucket(Bucket=bucket + "-bucket")
        s3.put_bucket_versioning(Bucket=bucket + "-bucket", VersioningConfiguration={"Status": "Enabled"})
    return role(live, "pipeline", {"Action": "*", "Resource": "*"})


class Deployments:
    """Pipelines that put an object of the tests into a bucket."""

    def __init__(self, live: Any, role: str) -> None:
        self.live = live
        self.role = role
        self.made = 0

    def run(self, archive: bytes, *, role: str = "", action_role: str = "", **configuration: str) -> dict[str, Any]:
        """The deploy action when it has ended, as ListActionExecutions answers it."""
        self.made += 1
        name = f"site-{self.made}"
        pipelines, s3 = self.live.client("codepipeline"), self.live.client("s3")
        s3.put_object(Bucket="in-bucket", Key=f"{name}.zip", Body=archive)
        source = {
            "name": "Fetch",
            "actionTypeId": kind("Source", "S3"),
            "configuration": {"S3Bucket": "in-bucket", "S3ObjectKey": f"{name}.zip"},
            "outputArtifacts": [{"name": "Site"}],
            "namespace": "Src",
        }
        deploy = {
            "name": "Put",
            "actionTypeId": kind("Deploy", "S3"),
            "configuration": configuration,
            "inputArtifacts": [{"name": "Site"}],
        } | ({"roleArn": action_role} if action_role else {})
        pipelines.create_pipeline(
            pipeline={
                "name": name,
                "roleArn": role or self.role,
                "artifactStore": {"type": "S3", "location": "artifacts-bucket"},
                "stages": [{"name": "Source", "actions": [source]}, {"name": "Deploy", "actions": [deploy]}],
            }
        )

        def ended() -> dict[str, Any] | None:
            (run,) = pipelines.list_pipeline_executions(pipelineName=name)["pipelineExecutionSummaries"]
            if run["status"] == "InProgress":
                return None
            return pipelines.list_action_executions(pipelineName=name)["actionExecutionDetails"][0]

        found = until(ended)
        assert found["actionName"] == "Put", found
        return found

    def bucket(self, name: str) -> str:
        self.live.client("s3").create_bucket(Bucket=name)
        return name

    def keys(self, bucket: str) -> list[str]:
        return [found["Key"] for found in self.live.client("s3").list_objects_v2(Bucket=bucket).get("Contents", ())]


@pytest.fixture(scope="module")
def deployments(live: Any, world: str) -> Deployments:
    return Deployments(live, world)


def archive(**files: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as written:
        for name, content in files.items():
            written.writestr(name, content)
    return packed.getvalue()


def error(action: dict[str, Any]) -> tuple[str, str]:
    found = action["output"]["executionResult"]["errorDetails"]
    assert action["status"] == "Failed"
    return found["code"], found["message"]


def test_a_site_is_deployed_file_by_file(live: Any, deployments: Deployments) -> None:
    bucket = deployments.bucket("the-site")
    large = bytes(range(256)) * 12_000  # longer than what is read in one piece
    site = archive(
        **{"index.html": b"<h1>", "css/site.css": b"a{}", "js/app.js": b"1;", "d/": b"", "media/film": large}
    )
    made = deployments.run(
        site, BucketName=bucket, Extract="true", ObjectKey="sites/#{Src.BucketName}/", CacheControl="max-age=60"
    )
    assert made["status"] == "Succeeded"
    result = made["output"]["executionResult"]
    assert result["externalExecutionId"] == "the-site/sites/in-bucket/"
    assert result["externalExecutionSummary"] == "Deployment Succeeded"
    assert deployments.keys(bucket) == [
        "sites/in-bucket/" + name for name in ("css/site.css", "index.html", "js/app.js", "media/film")
    ]
    s3 = live.client("s3")
    page = s3.get_object(Bucket=bucket, Key="sites/in-bucket/index.html")
    assert (page["ContentType"], page["CacheControl"], page["Body"].read()) == ("text/html", "max-age=60", b"<h1>")
    film = s3.get_object(Bucket=bucket, Key="sites/in-bucket/media/film")
    assert (film["ContentType"], film["Body"].read()) == ("binary/octet-stream", large)
    assert s3.head_object(Bucket=bucket, Key="sites/in-bucket/js/app.js")["ContentType"] == "text/javascript"
    # It ran in the slots for what takes long, so that a large site holds up no other action.
    jobs = records.jobs
    ran = sa.select(jobs.c.kind).where(jobs.c.kind == "pipelines.action.start.long", jobs.c.state == "done")
    assert live.run(live.app.store.read(lambda conn: conn.execute(ran).scalars().all()))


def test_files_go_to_the_root_of_the_bucket_without_a_folder(deployments: Deployments) -> None:
    bucket = deployments.bucket("the-root")
    made = deployments.run(archive(**{"./a/b.txt": b"1", "c": b""}), BucketName=bucket, Extract="true")
    assert made["output"]["executionResult"]["externalExecutionId"] == "the-root"
    assert deployments.keys(bucket) == ["a/b.txt", "c"]


def test_more_files_than_are_put_at_once_and_names_twice(live: Any, deployments: Deployments) -> None:
    bucket = deployments.bucket("the-many")
    entries = [zip_entry(b"%03d" % (number % 50), b"%d" % number) for number in range(100)]
    twice = [zip_entry(b"same", b"%d" % number) for number in range(5)]
    assert deployments.run(zip_archive(*entries, *twice), BucketName=bucket, Extract="true")["status"] == "Succeeded"
    s3 = live.client("s3")
    found = {key: s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in deployments.keys(bucket)}
    assert found == {f"{number:03}": b"%d" % (number + 50) for number in range(50)} | {"same": b"4"}


def test_it_shows_how_far_it_is(live: Any, deployments: Deployments, monkeypatch: pytest.MonkeyPatch) -> None:
    async def add(progress: Any, _done: int, _total: int) -> None:
        await progress._action.report(Running(percent=40))

    monkeypatch.setattr(s3_deploy._Progress, "add", add)
    bucket = deployments.bucket("the-watched")
    made = deployments.run(archive(**{f"{n}": b"1" for n in range(20)}), BucketName=bucket, Extract="true")
    assert made["status"] == "Succeeded"
    state = live.client("codepipeline").get_pipeline_state(name=f"site-{deployments.made}")["stageStates"][1]
    assert (
        state["actionStates"][0]["latestExecution"]["percentComplete"] == 100
    )  # whatever was said last before its end


def test_an_artifact_is_deployed_as_it_is_under_a_name_of_its_own(live: Any, deployments: Deployments) -> None:
    bucket = deployments.bucket("the-archive")
    key = live.client("kms").create_key()["KeyMetadata"]["Arn"]
    made = deployments.run(
        b"not even a zip",
        BucketName=bucket,
        Extract="false",
        ObjectKey="{datetime}/{uuid}.tar.gz",
        KMSEncryptionKeyARN=key,
        CannedACL="bucket-owner-full-control",
    )
    (written,) = deployments.keys(bucket)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d/[0-9a-f-]{36}\.tar\.gz", written)
    assert made["output"]["executionResult"]["externalExecutionId"] == f"the-archive/{written}"
    found = live.client("s3").get_object(Bucket=bucket, Key=written)
    assert found["Body"].read() == b"not even a zip"
    assert (found["ContentType"], found["SSEKMSKeyId"]) == ("application/gzip", key)


def behind_a_good_one(*entries: dict[str, Any]) -> bytes:
    return zip_archive(zip_entry(b"good", b"1"), *entries)


BAD = {
    "no zip": (b"hello", "it has no directory of a zip archive"),
    "a parent": (behind_a_good_one(zip_entry(b"../up", b"1")), "unsafe name '../up'"),
    "an absolute name": (behind_a_good_one(zip_entry(b"/etc/x", b"1")), "unsafe name '/etc/x'"),
    "no name": (behind_a_good_one(zip_entry(b"./.", b"1")), "unsafe name './.'"),
    "a link": (
        behind_a_good_one(zip_entry(b"l", b"/etc/passwd", mode=stat.S_IFLNK | 0o777)),
        "'l' is a link or a device",
    ),
    "a pipe": (behind_a_good_one(zip_entry(b"p", b"", mode=stat.S_IFIFO)), "'p' is a link or a device"),
    "another code page": (behind_a_good_one(zip_entry(b"\xff.html", b"1")), "is not UTF-8"),
    "a long key": (behind_a_good_one(zip_entry(b"d/" * 600 + b"x", b"1")), "would have more than 1024 bytes"),
    "a secret": (behind_a_good_one(zip_entry(b"s", b"1", flags=1)), "it is encrypted at 's'"),
    "another method": (behind_a_good_one(zip_entry(b"m", b"1", method=12)), "is packed by method 12"),
    "a bomb": (
        behind_a_good_one(zip_entry(b"b", bytes(100 << 20), method=8)),
        "unpacks to more than 400 times its size",
    ),
    "a wide bomb": (behind_a_good_one(*[zip_entry(b"w", b"", size=0xFFFFFFF0)] * 5), "unpacks to more than 16 GiB"),
}


@pytest.mark.parametrize("what", BAD)
def test_an_archive_that_is_refused_changes_nothing(deployments: Deployments, what: str) -> None:
    content, says = BAD[what]
    bucket = deployments.bucket("bad-" + what.replace(" ", "-"))
    code, message = error(deployments.run(content, BucketName=bucket, Extract="true"))
    assert code == "ConfigurationError"
    assert message.startswith("The artifact Site cannot be unpacked: ")
    assert says in message
    assert deployments.keys(bucket) == []


def test_a_damaged_file_fails_the_action(deployments: Deployments) -> None:
    bucket = deployments.bucket("the-damaged")
    broken = zip_archive(zip_entry(b"ok", b"1"), zip_entry(b"broken", b"22", crc=1))
    code, message = error(deployments.run(broken, BucketName=bucket, Extract="true"))
    assert (code, "'broken' is damaged" in message) == ("ConfigurationError", True)
    assert "broken" not in deployments.keys(bucket)


def test_refusals_of_the_bucket_are_those_of_the_action(live: Any, deployments: Deployments) -> None:
    site = archive(**{"index.html": b"1"})
    code, message = error(deployments.run(site, BucketName="nowhere-at-all", Extract="true"))
    assert code == "ConfigurationError"
    assert message.startswith(
        "The specified bucket does not exist (Service: Amazon S3; Status Code: 404; Error Code: NoSuch"
    )
    bucket = deployments.bucket("no-lists")
    code, message = error(deployments.run(site, BucketName=bucket, Extract="true", CannedACL="public-read"))
    assert code == "ConfigurationError"
    assert message.startswith("The bucket does not allow ACLs (Service: Amazon S3; Status Code: 400;")
    assert deployments.keys(bucket) == []


def test_a_role_that_may_not_write_or_read_is_refused(live: Any, deployments: Deployments) -> None:
    bucket = deployments.bucket("the-guarded")
    site = archive(**{"index.html": b"1"})
    reads = {"Action": "s3:GetObject*", "Resource": "*"}
    sources = {"Action": ["s3:GetBucketVersioning", "s3:PutObject"], "Resource": "arn:aws:s3:::*-bucket*"}
    code, message = error(
        deployments.run(site, role=role(live, "reads", reads, sources), BucketName=bucket, Extract="true")
    )
    assert (code, "permissions to write index.html (s3://the-guarded)" in message) == ("PermissionError", True)
    writes = role(live, "writes", {"Action": "s3:PutObject", "Resource": "*"})
    trust = allowed({"Principal": {"AWS": deployments.role}, "Action": "sts:AssumeRole"})
    live.client("iam").update_assume_role_policy(RoleName="writes", PolicyDocument=trust)
    code, message = error(deployments.run(site, action_role=writes, BucketName=bucket, Extract="true"))
    assert (code, "permissions to read the artifact (s3://artifacts-bucket)" in message) == ("PermissionError", True)
    assert deployments.keys(bucket) == []


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("a/index.html", "text/html"),
        ("style.css", "text/css"),
        ("APP.JS", "text/javascript"),
        ("m.mjs", "text/javascript"),
        ("x.json", "application/json"),
        ("p.png", "image/png"),
        ("v.svg", "image/svg+xml"),
        ("f.woff2", "font/woff2"),
        ("site.webmanifest", "application/manifest+json"),
        ("lib.wasm", "application/wasm"),
        ("a.tar.gz", "application/gzip"),
        ("a.zip", "application/zip"),
        ("d.html/none", "binary/octet-stream"),
        ("what?.html#x", "binary/octet-stream"),
        ("ünï%20.html", "text/html"),
        ("", "binary/octet-stream"),
        ("data:text/html,x", "binary/octet-stream"),
    ],
)
def test_media_types_by_name(key: str, said: str) -> None:
    assert content_type(key) == said
