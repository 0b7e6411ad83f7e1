"""PutObject, reads, decisions and polls while somebody floods the server, against their time without.

Each flood comes from a process of its own, of as many threads as its real kind would have: sign-ins without a password, searches of one log,
pages of it as large as they get, large bodies under a key whose secret the sender does not know, XML of a thousand elements, requests that
are compared with policies full of wildcards, and builds whose sources are zip archives of many files.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from bench.hosts import TAG, make_hosts
from bench.installation import BUCKET, approved_pipeline, role, runtime_options
from bench.run import Row
from bench.served import Served, served

FLOODS = ("sign-ins", "log searches", "log pages", "large bodies", "XML", "wildcards", "zip archives")
_ROUNDS = 40
_TIMES = 3.0


def measure() -> list[Row]:
    with served(*runtime_options()) as server:
        asked = _prepared(server)
        rows = []
        for flood in FLOODS:
            # Side by side: what the machine does meanwhile falls on both.
            quiet = {name: _median(call) for name, call in asked.items()}
            with _flooded(server, flood):
                busy = {name: _median(call) for name, call in asked.items()}
            times = {name: busy[name] / quiet[name] for name in asked}
            rows.append(
                Row(
                    what=f"a flood of {flood}: p50 against the quiet time",
                    measured=", ".join(f"{name} {times[name]:.1f}× ({busy[name]:.0f} ms)" for name in asked),
                    bar=f"≤ {_TIMES:.0f}×",
                    met=max(times.values()) <= _TIMES,
                )
            )
        return rows


def _prepared(server: Served) -> dict[str, Callable[[], object]]:
    """What is measured, by name."""
    client = server.clients()
    s3, pipelines, logs = client("s3"), client("codepipeline"), client("logs")
    approved_pipeline(client)
    builder = role(client, "codebuild")
    client("codebuild").create_project(
        name="bench",
        source={
            "type": "S3",
            "location": f"{BUCKET}/many-files.zip",
            "buildspec": "{version: 0.2, phases: {build: {commands: ['true']}}}",
        },
        artifacts={"type": "NO_ARTIFACTS"},
        environment={"type": "LINUX_CONTAINER", "image": "host", "computeType": "BUILD_GENERAL1_SMALL"},
        serviceRole=builder,
    )
    logs.create_log_group(logGroupName="bench")
    logs.create_log_stream(logGroupName="bench", logStreamName="bench")
    now = int(time.time() * 1000)
    for _ in range(40):
        events = [{"timestamp": now, "message": f"line {number} " + "x" * 60} for number in range(8_000)]
        logs.put_log_events(logGroupName="bench", logStreamName="bench", logEvents=events)
    stage: dict[str, str] = {"pipelineName": "bench", "stageName": "Approve", "transitionType": "Inbound"}

    def decide() -> None:
        pipelines.disable_stage_transition(**stage, reason="bench")
        pipelines.enable_stage_transition(**stage)

    return {
        "PutObject": lambda: s3.put_object(Bucket=BUCKET, Key="object", Body=b"x" * 300_000),
        "GetPipelineState": lambda: pipelines.get_pipeline_state(name="bench"),
        "transitions": decide,
        "polls": _polls(server),
    }


def _polls(server: Served) -> Callable[[], None]:
    """A poll is held, a deployment wakes it, and the deployment is stopped."""
    client = server.clients()
    where = urlsplit(server.url)
    admin = client.session.get_credentials()
    (host,) = asyncio.run(make_hosts(server.url, {"host": where.hostname, "port": where.port}, admin, 1))
    codedeploy = client("codedeploy")
    group = {"applicationName": "bench", "deploymentGroupName": "bench"}
    codedeploy.create_application(applicationName="bench", computePlatform="Server")
    codedeploy.create_deployment_group(
        **group,
        onPremisesInstanceTagFilters=[TAG | {"Type": "KEY_AND_VALUE"}],
        serviceRoleArn=role(client, "codedeploy"),
    )
    client("s3").put_object(Bucket=BUCKET, Key="bundle.zip", Body=b"never fetched")
    revision = {"revisionType": "S3", "s3Location": {"bucket": BUCKET, "key": "bundle.zip", "bundleType": "zip"}}
    body = json.dumps({"HostIdentifier": host.arn}).encode()
    connection = http.client.HTTPConnection(where.netloc, timeout=60)
    connection.connect()

    def poll() -> None:
        connection.sock.sendall(
            host.request("codedeploy-commands", "CodeDeployCommandService_v20141006.PollHostCommand", body)
        )
        made = codedeploy.create_deployment(**group, revision=revision)
        answer = http.client.HTTPResponse(connection.sock, method="POST")
        answer.begin()
        if b"HostCommandIdentifier" not in answer.read():
            raise RuntimeError("a poll was not woken")
        codedeploy.stop_deployment(deploymentId=made["deploymentId"])

    return poll


def _median(call: Callable[[], object]) -> float:
    """Milliseconds."""
    call()
    times = []
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        call()
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times)


@contextlib.contextmanager
def _flooded(server: Served, flood: str) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, "-c", _FLOOD, flood, server.url, str(server.data_dir)],
        cwd=Path(__file__).resolve().parent.parent,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        if process.stdout.readline() != "flooding\n":
            raise RuntimeError(f"the flood of {flood} did not begin")
        yield
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


_FLOOD = """
import contextlib, datetime, http.client, io, itertools, json, sys, threading, time, zipfile
import boto3
from pathlib import Path
from urllib.parse import urlsplit
from penstock.cli.clients import Clients

flood, url, data_dir = sys.argv[1:]
where = urlsplit(url)
clients = Clients.administrator(Path(data_dir))
numbers = itertools.count()

def sign_in():
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=30)
    connection.request("POST", "/console/login", "user=nobody&password=wrong-password",
                       {"content-type": "application/x-www-form-urlencoded", "origin": url})
    connection.getresponse().read()
    connection.close()
    time.sleep(0.02)

def search_log():
    clients("logs").filter_log_events(logGroupName="bench", filterPattern="nothing-like-this")

def page_log():
    clients("logs").get_log_events(logGroupName="bench", logStreamName="bench")

def send_xml():
    keys = [{"Key": f"{number}"} for number in range(1000)]
    clients("s3").delete_objects(Bucket="none-such", Delete={"Objects": keys, "Quiet": True})

def match_wildcards():
    suspect("s3").get_object(Bucket="bench", Key=f"{next(numbers)}" + "a" * 1000)

def unpack():
    codebuild = clients("codebuild")
    build = codebuild.start_build(projectName="bench")["build"]["id"]
    while not codebuild.batch_get_builds(ids=[build])["builds"][0]["buildComplete"]:
        time.sleep(0.2)

def send_body():
    at = datetime.datetime.now(tz=datetime.timezone.utc)
    key = clients.session.get_credentials().access_key
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=30)
    connection.putrequest("POST", "/")
    for name, value in {
        "x-amz-target": "CodePipeline_20150709.ListPipelines", "x-amz-date": f"{at:%Y%m%dT%H%M%SZ}", "content-length": "9000000",
        "authorization": f"AWS4-HMAC-SHA256 Credential={key}/{at:%Y%m%d}/us-east-1/codepipeline/aws4_request, "
        f"SignedHeaders=host;x-amz-date;x-amz-target, Signature={'0' * 64}",
    }.items():
        connection.putheader(name, value)
    connection.endheaders()
    for _ in range(80):
        connection.send(b" " * 100_000)
        time.sleep(0.02)
    connection.close()

act, threads = {
    "sign-ins": (sign_in, 8), "log searches": (search_log, 20), "log pages": (page_log, 20), "large bodies": (send_body, 20),
    "XML": (send_xml, 8), "wildcards": (match_wildcards, 8), "zip archives": (unpack, 8),
}[flood]
if flood == "zip archives":
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(20_000):
            archive.writestr(f"{number % 100}/{number}", f"{number}" * 20)
    clients("s3").put_object(Bucket="bench", Key="many-files.zip", Body=packed.getvalue())
if flood == "wildcards":
    iam = clients("iam")
    iam.create_user(UserName="suspect")
    for number in range(20):  # as many and as long as the policies of a user may be
        resources = [f"arn:aws:s3:::b*?{kind}?b" for kind in range(230)]
        policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": resources}]}
        arn = iam.create_policy(PolicyName=f"p{number}", PolicyDocument=json.dumps(policy))["Policy"]["Arn"]
        iam.attach_user_policy(UserName="suspect", PolicyArn=arn)
    key = iam.create_access_key(UserName="suspect")["AccessKey"]
    session = boto3.Session(key["AccessKeyId"], key["SecretAccessKey"], region_name="us-east-1")
    suspect = lambda service: session.client(service, endpoint_url=url)

def work():
    while True:
        with contextlib.suppress(Exception):
            act()

for _ in range(threads):
    threading.Thread(target=work, daemon=True).start()
time.sleep(1)
print("flooding", flush=True)
threading.Event().wait()
"""
