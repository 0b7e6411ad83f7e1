"""What policies cost: one decision with 20 policies attached, and what authorising adds to a request of GetPipeline.

In process: the request comes by the endpoint's ASGI, signed, from memory; nothing goes over a socket. The decision is asked for with a
call of its own each time, under policies with conditions, so that no verdict is remembered; the other row has none.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvloop
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

import penstock.identity
import penstock.pipelines
from bench.requests_vs_moto import action
from bench.run import Row
from penstock.app import compose
from penstock.application import App, Settings
from penstock.wire.call import Session
from penstock.wire.endpoint import Endpoint
from penstock.wire.invoke import call_of

POLICIES, GROUPS = 20, 10  # a user has ten of its own at most, the others come by groups
DECISIONS, REQUESTS, ROUNDS = 4_000, 300, 15
ACTION, NAME = "codepipeline:GetPipeline", "bench"


def measure() -> list[Row]:
    """The rows of the table."""
    return [*uvloop.run(_decisions()), uvloop.run(_requests())]


@asynccontextmanager
async def _application() -> AsyncIterator[tuple[App, Credentials]]:
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(
            data_dir=Path(folder) / "data", master_key_file=Path(folder) / "master.key", requests_per_second=0
        )
        components = (penstock.identity.component, penstock.pipelines.component)
        async with compose(settings, components=components) as app:
            lines = (await app.identity.bootstrap()).splitlines()
            key_id, secret = (line.partition(" = ")[2] for line in lines[1:3])
            yield app, Credentials(key_id, secret)


def _policy(number: int, *, conditional: bool) -> str:
    """As people write them: two statements about services that are not asked for, and one that is."""
    resources = [f"arn:aws:s3:::team-{number}-{name}/*" for name in ("artifacts", "logs", "releases")]
    statements: list[dict[str, Any]] = [
        {"Effect": "Allow", "Action": ["s3:GetObject*", "s3:PutObject*", "s3:List*"], "Resource": resources},
        {"Effect": "Allow", "Action": ["codebuild:StartBuild", "codebuild:BatchGet*"], "Resource": "*"},
        {
            "Effect": "Allow",
            "Action": ["codepipeline:Get*", "codepipeline:List*"],
            "Resource": f"arn:aws:codepipeline:*:*:{NAME if number == POLICIES - 1 else f'team-{number}-*'}",
        },
    ]
    if conditional:
        statements[0]["Condition"] = {"Bool": {"aws:SecureTransport": "true"}}
        statements[2]["Condition"] = {"StringEquals": {"aws:RequestedRegion": ["us-east-1", "eu-central-1"]}}
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


async def _user(app: App, owner: Session, name: str, *, conditional: bool) -> Session:
    async def iam(operation: str, **input: Any) -> Any:
        return await app.invoke(owner, "iam", operation, input, region=app.settings.region)

    await iam("CreateUser", UserName=name)
    for number in range(POLICIES):
        document = _policy(number, conditional=conditional)
        made = await iam("CreatePolicy", PolicyName=f"{name}-{number}", PolicyDocument=document)
        arn = made["Policy"]["Arn"]
        if number < POLICIES - GROUPS:
            await iam("AttachUserPolicy", UserName=name, PolicyArn=arn)
        else:
            group = f"{name}-{number}"
            await iam("CreateGroup", GroupName=group)
            await iam("AttachGroupPolicy", GroupName=group, PolicyArn=arn)
            await iam("AddUserToGroup", GroupName=group, UserName=name)
    key = (await iam("CreateAccessKey", UserName=name))["AccessKey"]["AccessKeyId"]
    return (await app.identity.credential(key, "")).session


async def _decisions() -> list[Row]:
    rows = []
    async with _application() as (app, root):
        owner = (await app.identity.credential(root.access_key or "", "")).session
        for conditional in (True, False):
            name = "conditional" if conditional else "plain"
            session = await _user(app, owner, name, conditional=conditional)
            arn = f"arn:aws:codepipeline:us-east-1:{session.account}:{NAME}"
            took = []
            for _ in range(DECISIONS):
                call = call_of(app, session, "codepipeline", "GetPipeline", region="us-east-1")
                began = time.perf_counter()
                await app.identity.authorize(call, ACTION, (arn,))
                took.append((time.perf_counter() - began) * 1e6)
            p50, p99 = statistics.median(took), statistics.quantiles(took, n=100)[98]
            how = "each with conditions" if conditional else "without conditions"
            rows.append(
                Row(
                    what=f"a decision with {POLICIES} policies attached, {how}",
                    measured=f"p50 {p50:.1f} µs, p99 {p99:.0f}",
                    bar="p50 ≤ 60 µs",
                    met=p50 <= 60,
                )
            )
    return rows


async def _requests() -> Row:
    async with _application() as (app, root):
        owner = (await app.identity.credential(root.access_key or "", "")).session
        kinds = {"Source": ("Source", "S3"), "Ask": ("Approval", "Manual"), "Again": ("Approval", "Manual")}
        actions: list[dict[str, Any]] = [{"name": name, "actionTypeId": action(*kind)} for name, kind in kinds.items()]
        source = {"configuration": {"S3Bucket": "b", "S3ObjectKey": "k"}, "outputArtifacts": [{"name": "App"}]}
        actions[0] |= source
        trust = {"Effect": "Allow", "Principal": {"Service": "codepipeline.amazonaws.com"}, "Action": "sts:AssumeRole"}
        role = {"RoleName": NAME, "AssumeRolePolicyDocument": json.dumps({"Version": "2012-10-17", "Statement": trust})}
        made = await app.invoke(owner, "iam", "CreateRole", role, region=app.settings.region)
        pipeline = {
            "name": NAME,
            "roleArn": made["Role"]["Arn"],
            "artifactStore": {"type": "S3", "location": "artifacts"},
            "stages": [{"name": one["name"], "actions": [one]} for one in actions],
        }
        endpoint = Endpoint(app)
        await app.invoke(owner, "codepipeline", "CreatePipeline", {"pipeline": pipeline}, region=app.settings.region)
        scope, body = _signed(root)
        decided = app.identity.authorize
        ratios: list[float] = []
        for _ in range(ROUNDS):  # turn by turn, so that both sides have the same neighbours
            with_it = await _processor_time(endpoint, scope, body)
            app.identity.authorize = _let  # type: ignore[method-assign]
            without = await _processor_time(endpoint, scope, body)
            app.identity.authorize = decided  # type: ignore[method-assign]
            ratios.append(with_it / without)
        ratio = statistics.median(ratios)
        return Row(
            what="GetPipeline with authorisation against a stubbed decision, processor time in the server",
            measured=f"{ratio:.3f}× (median of {ROUNDS} turns, {min(ratios):.3f} to {max(ratios):.3f})",
            bar="≤ 1.15×",
            met=ratio <= 1.15,
        )


async def _let(*_of: object) -> None:
    """A decision that costs nothing."""


async def _processor_time(endpoint: Endpoint, scope: dict[str, Any], body: bytes) -> float:
    began = time.process_time()
    for _ in range(REQUESTS):
        status = 0

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            nonlocal status
            status = message.get("status", status)

        await endpoint(dict(scope), receive, send)
        if status != 200:
            raise RuntimeError(f"GetPipeline answered {status}")
    return time.process_time() - began


def _signed(credentials: Credentials) -> tuple[dict[str, Any], bytes]:
    """The scope and the body of a request of GetPipeline."""
    body = json.dumps({"name": NAME}).encode()
    headers = {"content-type": "application/x-amz-json-1.1", "x-amz-target": "CodePipeline_20150709.GetPipeline"}
    request = AWSRequest("POST", "http://localhost/", data=body, headers={**headers, "host": "localhost"})
    SigV4Auth(credentials, "codepipeline", "us-east-1").add_auth(request)
    raw = [(name.lower().encode(), str(value).encode()) for name, value in request.headers.items()]
    scope = {
        "type": "http", "http_version": "1.1", "method": "POST", "scheme": "http", "path": "/", "raw_path": b"/",
        "query_string": b"", "headers": [*raw, (b"content-length", str(len(body)).encode())], "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }  # fmt: skip
    return scope, body
