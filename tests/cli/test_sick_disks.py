"""Disks that are full or take no writes: a sentence at the start, 503 while it lasts, and everything again afterwards."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

SCRIPT = textwrap.dedent(
    """
    import json, os, pathlib, subprocess, sys, time, urllib.error, urllib.request
    import boto3, botocore.config
    folder = pathlib.Path(sys.argv[1])
    disk = folder / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", disk], check=True)
    base = [sys.executable, "-m", "penstock.cli.main"]
    common = ["--data-dir", str(disk / "data"), "--master-key-file", str(folder / "keys" / "master.key")]
    up = [*base, "up", *common, "--port", "0", "--allow-unisolated-builds"]
    server = subprocess.Popen(up, stdout=subprocess.PIPE, stderr=open(folder / "log", "w"), text=True)
    url = server.stdout.readline().split()[-1]
    lines = (disk / "data" / "credentials").read_text().splitlines()
    values = dict(line.replace(" ", "").split("=", 1) for line in lines if "=" in line)

    def client(service):
        return boto3.client(
            service, endpoint_url=url, region_name="us-east-1", aws_access_key_id=values["aws_access_key_id"],
            aws_secret_access_key=values["aws_secret_access_key"],
            config=botocore.config.Config(retries={"total_max_attempts": 1}),
        )

    s3, git, pipelines = client("s3"), client("codecommit"), client("codepipeline")
    s3.create_bucket(Bucket="before")
    said = {}

    def tried(name, call, **input):
        try:
            call(**input)
            said[name] = 200
        except Exception as error:
            said[name] = error.response["ResponseMetadata"]["HTTPStatusCode"], error.response["Error"]["Code"]

    def ready():
        try:
            return urllib.request.urlopen(url + "/readyz").status
        except urllib.error.HTTPError as error:
            return error.code

    def look(when):
        tried(when + " PutObject", s3.put_object, Bucket="before", Key="a", Body=b"x" * 300_000)
        tried(when + " CreateRepository", git.create_repository, repositoryName=when)
        tried(when + " CreateBucket", s3.create_bucket, Bucket=when + "-bucket")
        tried(when + " ListPipelines", pipelines.list_pipelines)
        said[when + " readyz"] = ready()
        doctor = subprocess.run([*base, "doctor", *common], capture_output=True, text=True)
        said[when + " doctor"] = doctor.returncode

    said["well readyz"] = ready()
    filler = open(disk / "filler", "wb", buffering=0)
    try:
        while True:
            filler.write(b"0" * 4096)
    except OSError:
        pass
    def becomes(status):  # an answer of /readyz holds for a while
        end = time.monotonic() + 60
        while ready() != status and time.monotonic() < end:
            time.sleep(0.05)

    becomes(503)
    look("full")
    os.unlink(disk / "filler")
    filler.close()
    tried("again CreateRepository", git.create_repository, repositoryName="again")
    becomes(200)
    said["again readyz"] = ready()
    server.terminate()
    said["exit"] = server.wait(60)
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    started = subprocess.run(up, capture_output=True, text=True)
    said["read-only start"] = started.returncode, started.stderr
    (folder / "said.json").write_text(json.dumps(said))
    """
)


@pytest.mark.needs("netns")
def test_a_full_disk_is_503_everywhere_and_a_read_only_one_a_sentence(tmp_path: Path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    run = subprocess.run(
        ["unshare", "-Urm", sys.executable, str(script), str(tmp_path)],
        capture_output=True, text=True, timeout=150, check=False,
    )  # fmt: skip
    assert (tmp_path / "said.json").exists(), f"{run.stdout}{run.stderr}"
    said = json.loads((tmp_path / "said.json").read_text())
    code, message = said.pop("read-only start")
    assert code == 1
    assert "Read-only file system" in message
    assert "Traceback" not in message
    assert said == {
        "well readyz": 200,
        "full PutObject": [503, "ServiceUnavailable"],
        "full CreateRepository": [503, "ServiceUnavailableException"],
        "full CreateBucket": [503, "ServiceUnavailable"],
        "full ListPipelines": 200,
        "full readyz": 503,
        "full doctor": 2,
        "again CreateRepository": 200,
        "again readyz": 200,
        "exit": 0,
    }
    assert "Traceback" not in (tmp_path / "log").read_text()
