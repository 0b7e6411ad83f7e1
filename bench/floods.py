"""PutObject, reads and decisions while somebody floods the server, against their time without.

Each flood comes from a process of its own, of as many threads as its real kind would have: sign-ins without a password, readers of one log, and
large bodies under a key whose secret the sender does not know.
"""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench.installation import BUCKET, role
from bench.run import Row
from bench.served import Served, served

FLOODS = ("sign-ins", "log readers", "large bodies")
_ROUNDS = 40
_TIMES = 3.0


def measure() -> list[Row]:
    with served() as server:
        asked = _prepared(server.clients())
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


def _prepared(client: Any) -> dict[str, Callable[[], object]]:
    """What is measured, by name."""
    s3, pipelines, logs = client("s3"), client("codepipeline"), client("logs")
    s3.create_bucket(Bucket=BUCKET)
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
    pipelines.create_pipeline(
        pipeline={
            "name": "bench",
            "roleArn": role(client, "codepipeline"),
            "artifactStore": {"type": "S3", "location": BUCKET},
            "stages": [{"name": "Source", "actions": [source]}, {"name": "Approve", "actions": [approval]}],
        }
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
    }


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
import contextlib, datetime, http.client, sys, threading, time
from pathlib import Path
from urllib.parse import urlsplit
from penstock.cli.clients import Clients

flood, url, data_dir = sys.argv[1:]
where = urlsplit(url)
clients = Clients.administrator(Path(data_dir))

def sign_in():
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=30)
    connection.request("POST", "/console/login", "user=nobody&password=wrong-password",
                       {"content-type": "application/x-www-form-urlencoded", "origin": url})
    connection.getresponse().read()
    connection.close()
    time.sleep(0.02)

def read_log():
    clients("logs").filter_log_events(logGroupName="bench", filterPattern="nothing-like-this")

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

act, threads = {"sign-ins": (sign_in, 8), "log readers": (read_log, 20), "large bodies": (send_body, 20)}[flood]

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
