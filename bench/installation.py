"""What the rows need on a running server: roles, hosts with real agents, bundles, build projects."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from bench.served import rss_mb
from penstock.sandbox import registry
from penstock.sandbox.specification import Layout

T = TypeVar("T")

ACCOUNT = "111111111111"
BUCKET = "bench"
AGENT_SOURCE = Path(__file__).resolve().parent.parent / "agent" / "src"
_HOOKS = ("ApplicationStop", "AfterInstall", "ApplicationStart")


def policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def role(client: Any, service: str, *, allow: str = "*") -> str:
    """A role that one of the services may take; its ARN."""
    trust = policy(
        {"Effect": "Allow", "Principal": {"Service": f"{service}.amazonaws.com"}, "Action": "sts:AssumeRole"}
    )
    made = client("iam").create_role(RoleName=f"bench-{service}", AssumeRolePolicyDocument=trust)["Role"]
    everything = policy({"Effect": "Allow", "Action": allow, "Resource": "*"})
    client("iam").put_role_policy(RoleName=made["RoleName"], PolicyName="bench", PolicyDocument=everything)
    return made["Arn"]


def approved_pipeline(client: Any) -> None:
    """The bucket, and a pipeline `bench` with a source in it that starts nothing by itself, and an approval."""
    client("s3").create_bucket(Bucket=BUCKET)
    source = {
        "name": "source",
        "actionTypeId": {"category": "Source", "owner": "AWS", "provider": "S3", "version": "1"},
        "configuration": {"S3Bucket": BUCKET, "S3ObjectKey": "source.zip", "PollForSourceChanges": "false"},
        "outputArtifacts": [{"name": "Source"}],
    }
    approval = {
        "name": "approve",
        "actionTypeId": {"category": "Approval", "owner": "AWS", "provider": "Manual", "version": "1"},
    }
    client("codepipeline").create_pipeline(
        pipeline={
            "name": "bench",
            "roleArn": role(client, "codepipeline"),
            "artifactStore": {"type": "S3", "location": BUCKET},
            "stages": [{"name": "Source", "actions": [source]}, {"name": "Approve", "actions": [approval]}],
        }
    )


class Agent:
    """Our own agent in a process of its own, for one host below a folder."""

    def __init__(self, client: Any, folder: Path, name: str, url: str) -> None:
        self.root = folder / "root"
        self.root.mkdir(parents=True)
        self.log = folder / "log"
        iam, codedeploy = client("iam"), client("codedeploy")
        arn = iam.create_user(UserName=name)["User"]["Arn"]
        read = policy({"Effect": "Allow", "Action": "s3:Get*", "Resource": f"arn:aws:s3:::{BUCKET}/*"})
        iam.put_user_policy(UserName=name, PolicyName="read", PolicyDocument=read)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        codedeploy.register_on_premises_instance(instanceName=name, iamUserArn=arn)
        codedeploy.add_tags_to_on_premises_instances(tags=[{"Key": "bench", "Value": name}], instanceNames=[name])
        config = {
            "endpoint": url,
            "region": "us-east-1",
            "iam_user_arn": arn,
            "aws_access_key_id": key["AccessKeyId"],
            "aws_secret_access_key": key["SecretAccessKey"],
            "root_dir": str(folder / "state"),
            "install_root": str(self.root),
        }
        self._config = folder / "agent.yml"
        self._config.write_text(json.dumps(config))
        self._config.chmod(0o600)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Agent:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "penstock_agent", "run", "--config", str(self._config)],
                env=environment | {"PYTHONPATH": str(AGENT_SOURCE)},
                stdout=log,
                stderr=log,
            )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def rss_mb(self) -> float:
        assert self._process is not None
        return rss_mb(self._process.pid)


def bundle(version: str, folder: Path) -> bytes:
    """A revision of two files and three tiny hooks, each of which writes down when it began (ns)."""
    hooks = "".join(f"  {event}:\n    - location: {event}.sh\n      timeout: 30\n" for event in _HOOKS)
    files = {
        "appspec.yml": "version: 0.0\nos: linux\nfiles:\n  - source: index.html\n    destination: /srv/site\n"
        f"  - source: version\n    destination: /srv/site\nfile_exists_behavior: OVERWRITE\nhooks:\n{hooks}",
        "index.html": f"<h1>{version}</h1>",
        "version": version,
        **{f"{event}.sh": f"#!/bin/sh\ndate +%s%N >{folder}/{event}\n" for event in _HOOKS},
    }
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, text in files.items():
            info = zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0))
            info.external_attr = (0o755 if name.endswith(".sh") else 0o644) << 16
            archive.writestr(info, text)
    return packed.getvalue()


def until(page: Callable[[], T], *, seconds: float = 60, every: float = 0.005, what: str = "it") -> T:
    """The first true value of `look()`."""
    deadline = time.monotonic() + seconds
    while True:
        found = page()
        if found:
            return found
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what} did not happen within {seconds:.0f} s")
        time.sleep(every)


def project(client: Any, name: str, commands: list[str], service_role: str) -> None:
    """A build project without a source that runs these commands."""
    phases = {"build": {"commands": commands}}
    client("codebuild").create_project(
        name=name,
        source={"type": "NO_SOURCE", "buildspec": json.dumps({"version": 0.2, "phases": phases})},
        artifacts={"type": "NO_ARTIFACTS"},
        environment={"type": "LINUX_CONTAINER", "image": "host", "computeType": "BUILD_GENERAL1_SMALL"},
        serviceRole=service_role,
    )


def build(codebuild: Any, name: str) -> float:
    """Seconds from asking for a build until it is seen complete."""
    began = time.monotonic()
    id_ = codebuild.start_build(projectName=name)["build"]["id"]
    found = until(
        lambda: (one := codebuild.batch_get_builds(ids=[id_])["builds"][0])["buildComplete"] and one,
        every=0.01,
        what="the build",
    )
    took = time.monotonic() - began
    if found["buildStatus"] != "SUCCEEDED":
        raise RuntimeError(f"the build ended as {found['buildStatus']}: {found['phases']}")
    return took


def runtime_options() -> tuple[str, ...]:
    """The server's options for builds with the best runtime that works here, isolated or not."""
    return ("--allow-unisolated-builds",)


def runtime() -> str:
    """The best runtime that works here."""
    return registry.choose(wanted=registry.AUTO, network="", allow_unisolated=True, layout=Layout()).name
