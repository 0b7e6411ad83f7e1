"""GetPipeline and GetDeployment at 16 connections, beside moto_server: same generator, same requests, one after the other, twice."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import botocore.config
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

from bench.peers import environment
from bench.run import Row, Unavailable
from bench.served import served

CONNECTIONS = 16
SECONDS = 5
ROUNDS = 2


def measure() -> list[Row]:
    if shutil.which("wrk") is None:
        raise Unavailable("wrk is not installed (apt-get install wrk)")
    rows: list[Row] = []
    with served() as ours, moto() as theirs_url:
        clients = ours.clients()
        theirs = moto_clients(theirs_url)
        bodies = [resources(make) for make in (clients, theirs)]
        for name, service, target in (
            ("GetPipeline", "codepipeline", "CodePipeline_20150709.GetPipeline"),
            ("GetDeployment", "codedeploy", "CodeDeploy_20141006.GetDeployment"),
        ):
            got: dict[str, list[tuple[float, float]]] = {"ours": [], "moto": []}
            for _ in range(ROUNDS):
                for who, url, session, body in (
                    ("ours", ours.url, clients.session, bodies[0][name]),
                    ("moto", theirs_url, boto3.Session("x", "x", region_name="us-east-1"), bodies[1][name]),
                ):
                    got[who].append(wrk(url, session, service, target, body))
            rate = statistics.median(rate for rate, _ in got["ours"])
            peer = statistics.median(rate for rate, _ in got["moto"])
            p99, peer_p99 = (statistics.median(late for _, late in got[who]) for who in ("ours", "moto"))
            rows.append(
                Row(
                    what=f"{name}, {CONNECTIONS} connections, against moto_server",
                    measured=f"{rate / peer:.1f}× requests/s ({rate:.0f} against {peer:.0f}), p99 {p99:.1f} ms against {peer_p99:.1f} ms",
                    bar="≥ 8×, p99 lower",
                    met=rate / peer >= 8 and p99 < peer_p99,
                )
            )
    return rows


def resources(client: Any) -> dict[str, str]:
    """The same pipeline and deployment on both; the request bodies that ask for them."""
    roles = {name: role(client, name) for name in ("codepipeline", "codedeploy")}
    client("s3").create_bucket(Bucket="bench-artifacts")
    actions = [
        {
            "name": "Source",
            "actionTypeId": action("Source", "S3"),
            "configuration": {"S3Bucket": "bench-artifacts", "S3ObjectKey": "a.zip"},
            "outputArtifacts": [{"name": "App"}],
        },
        {"name": "Ask", "actionTypeId": action("Approval", "Manual")},
        {"name": "Again", "actionTypeId": action("Approval", "Manual")},
    ]
    client("codepipeline").create_pipeline(
        pipeline={
            "name": "bench",
            "roleArn": roles["codepipeline"],
            "artifactStore": {"type": "S3", "location": "bench-artifacts"},
            "stages": [{"name": f"Stage{number}", "actions": [one]} for number, one in enumerate(actions)],
        }
    )
    codedeploy = client("codedeploy")
    codedeploy.create_application(applicationName="bench", computePlatform="Server")
    codedeploy.create_deployment_group(
        applicationName="bench", deploymentGroupName="bench", serviceRoleArn=roles["codedeploy"]
    )
    revision = {"revisionType": "S3", "s3Location": {"bucket": "bench-artifacts", "key": "a.zip", "bundleType": "zip"}}
    deployment = codedeploy.create_deployment(applicationName="bench", deploymentGroupName="bench", revision=revision)[
        "deploymentId"
    ]
    return {"GetPipeline": json.dumps({"name": "bench"}), "GetDeployment": json.dumps({"deploymentId": deployment})}


def role(client: Any, service: str) -> str:
    statement = {"Effect": "Allow", "Principal": {"Service": f"{service}.amazonaws.com"}, "Action": "sts:AssumeRole"}
    trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    return client("iam").create_role(RoleName=f"bench-{service}", AssumeRolePolicyDocument=trust)["Role"]["Arn"]


def action(category: str, provider: str) -> dict[str, str]:
    return {"category": category, "owner": "AWS", "provider": provider, "version": "1"}


def wrk(url: str, session: boto3.Session, service: str, target: str, body: str) -> tuple[float, float]:
    """Requests per second and p99 in ms of one signed request, sent again and again."""
    headers = {"content-type": "application/x-amz-json-1.1", "x-amz-target": target, "host": urlsplit(url).netloc}
    request = AWSRequest("POST", url + "/", data=body.encode(), headers=headers)
    SigV4Auth(session.get_credentials(), service, "us-east-1").add_auth(request)
    lines = [
        f"wrk.headers[{json.dumps(name)}] = {json.dumps(str(value))}"
        for name, value in request.headers.items()
        if name.lower() != "host"
    ]
    script = f"wrk.method = 'POST'\nwrk.body = {json.dumps(body)}\n" + "\n".join(lines) + "\n"
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script)
        file.flush()
        answer = urllib.request.urlopen(
            urllib.request.Request(url + "/", body.encode(), dict(request.headers.items())), timeout=10
        )
        assert answer.status == 200
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "--latency", "-s", file.name, url + "/"]
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in printed:
        raise RuntimeError(printed)
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", printed)[1])
    late, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", printed).groups()
    return rate, float(late) * {"us": 0.001, "ms": 1, "s": 1000}[unit]


def moto_clients(url: str) -> Any:
    session = boto3.Session("x", "x", region_name="us-east-1")
    return lambda service: session.client(
        service, endpoint_url=url, config=botocore.config.Config(retries={"total_max_attempts": 1})
    )


@contextlib.contextmanager
def moto() -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(environment() / "moto_server"), "-H", "127.0.0.1", "-p", str(port)]
    with Path("/dev/null").open("wb") as nothing:
        process = subprocess.Popen(command, stdout=nothing, stderr=nothing)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(200):
            try:
                urllib.request.urlopen(url + "/moto-api/data.json", timeout=5).read()
                break
            except OSError:
                time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(10)
