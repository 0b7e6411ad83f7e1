"""What strangers can make the server keep or write is bounded, and nobody else's request waits for it."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import logging
import socket
import time
from dataclasses import replace
from urllib.parse import urlsplit

import botocore.exceptions
import pytest
from penstock_waiting import until

from penstock.app import _listen
from penstock.wire.budget import BodyBudget, Share
from penstock.wire.call import ANONYMOUS, PrincipalKind, Session
from penstock.wire.endpoint import Endpoint
from penstock.wire.errors import Throttled
from penstock.wire.http import HttpServer
from penstock.wire.requestlog import RequestLog

TARGET = "CodePipeline_20150709.ListPipelines"


def test_a_budget_is_shared_and_no_key_takes_all_of_it():
    async def shared() -> None:
        budget = BodyBudget(total=100, each=60)
        a, b, c = (Share(key, asyncio.timeout(None)) for key in "abc")
        budget.take(a, 60)
        with pytest.raises(Throttled):
            budget.take(a, 61)
        budget.take(b, 40)
        with pytest.raises(Throttled):
            budget.take(c, 1)
        for _ in range(2):
            budget.give_back(a)
        budget.take(c, 60)
        with pytest.raises(Throttled):
            budget.take(b, 41)

    asyncio.run(shared())


def test_who_dawdles_makes_room_for_others():
    async def shared() -> None:
        budget = BodyBudget(total=100, each=60)
        ended: list[str] = []

        async def read(key: str, size: int, *, arrives: bool, age: float) -> None:
            try:
                async with asyncio.timeout(60) as reading:
                    share = Share(key, reading)
                    share.since -= age
                    budget.take(share, size)
                    if arrives:
                        budget.arrived(share)
                    await asyncio.sleep(60)
            except TimeoutError:
                ended.append(key)
                budget.give_back(share)

        tasks = [
            asyncio.ensure_future(read(key, size, arrives=arrives, age=age))
            for key, size, arrives, age in (
                ("worked on", 20, True, 9),
                ("slow", 30, False, 8),
                ("slower", 30, False, 7),
                ("new", 20, False, 0),
            )
        ]
        await asyncio.sleep(0)
        mine = Share("mine", asyncio.timeout(None))
        budget.take(mine, 20)  # one that dawdles is enough
        await asyncio.wait([tasks[1]])
        assert ended == ["slow"]
        budget.take(mine, 60)
        await asyncio.wait([tasks[2]])
        assert ended == ["slow", "slower"]
        with pytest.raises(Throttled):  # neither what is worked on nor what has just begun
            budget.take(Share("another", asyncio.timeout(None)), 1)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    asyncio.run(shared())


def connected(live) -> socket.socket:
    where = urlsplit(live.url)
    return socket.create_connection((where.hostname, where.port), timeout=60)


def claim(live, *, at: dt.datetime | None = None, length: int = 9_000_000, key: str = "") -> bytes:
    """The head of a request that claims the administrator's key, which is no secret, without knowing what it signs with."""
    at = at or dt.datetime.now(tz=dt.UTC)
    scope = f"{at:%Y%m%d}/us-east-1/codepipeline/aws4_request"
    key = key or live.keys()["aws_access_key_id"]
    return (
        f"POST / HTTP/1.1\r\nhost: x\r\nx-amz-target: {TARGET}\r\nx-amz-date: {at:%Y%m%dT%H%M%SZ}\r\n"
        f"authorization: AWS4-HMAC-SHA256 Credential={key}/{scope}, SignedHeaders=host;x-amz-date;x-amz-target, Signature={'0' * 64}\r\n"
        f"content-length: {length}\r\n\r\n"
    ).encode()


def test_who_knows_a_key_id_fills_no_memory_and_keeps_its_owner_from_nothing(live, monkeypatch):
    monkeypatch.setattr("penstock.wire.budget._DUE_SECONDS", 3600)  # on a slow machine the first would give way
    log = live.data_dir / "logs" / "strangers.jsonl"

    def refused() -> int:
        return log.read_text().count("ThrottlingException") if log.exists() else 0

    with contextlib.ExitStack() as stack:
        for _ in range(6):
            flooding = stack.enter_context(connected(live))
            with contextlib.suppress(OSError):  # its connection is closed while it sends
                flooding.sendall(claim(live) + b" " * 8_000_000)
        until(lambda: refused() >= 3)  # three bodies of one key do not fit
        assert live.client("codepipeline").list_pipelines()["pipelines"] == []


def test_many_known_keys_keep_nobody_from_a_large_body(live):
    """Three keys' worth of bodies fill the budget and never end: they have to give way."""
    iam = live.client("iam")
    ids = []
    for number in range(4):
        iam.create_user(UserName=f"flooded-{number}")
        ids.append(iam.create_access_key(UserName=f"flooded-{number}")["AccessKey"]["AccessKeyId"])
    with contextlib.ExitStack() as stack:
        for key in ids * 2:
            flooding = stack.enter_context(connected(live))
            with contextlib.suppress(OSError):
                flooding.sendall(claim(live, key=key) + b" " * 8_900_000)
        end, code = time.monotonic() + 60, "ThrottlingException"
        while code == "ThrottlingException":
            assert time.monotonic() < end, "the flood keeps everybody else's body out"
            with pytest.raises(botocore.exceptions.ClientError) as refused:
                live.client("codepipeline").list_pipelines(nextToken="x" * 5_000_000)
            code = refused.value.response["Error"]["Code"]
        assert code in ("InvalidNextTokenException", "ValidationException")


def test_a_claim_that_cannot_hold_is_refused_before_its_body(live):
    with connected(live) as raw:
        raw.sendall(claim(live, at=dt.datetime.now(tz=dt.UTC) - dt.timedelta(hours=1)))
        assert b"Signature expired" in raw.recv(8192)


def test_strangers_push_nothing_out_of_the_request_log(live_factory):
    with live_factory() as server:
        with connected(server) as raw:
            for name in ("A" * 50_000, "CodePipeline_20150709." + "B" * 50_000):
                raw.sendall(f"POST / HTTP/1.1\r\nhost: x\r\nx-amz-target: {name}\r\ncontent-length: 0\r\n\r\n".encode())
                assert b"MissingAuthentication" in raw.recv(8192)
        server.client("codepipeline").list_pipelines()
    logs = server.data_dir / "logs"
    known = [json.loads(line) for line in (logs / "requests.jsonl").read_text().splitlines()]
    assert [line["operation"] for line in known] == ["ListPipelines"]
    strangers = (logs / "strangers.jsonl").read_text().splitlines()
    assert len(strangers) == 2
    assert max(map(len, strangers)) < 1000


async def test_the_strangers_file_is_rotated_by_itself(tmp_path):
    log = RequestLog(tmp_path / "logs" / "requests.jsonl", rotate_bytes=8_000)
    async with log.writing():
        rest = dict.fromkeys(("service", "region", "code", "id", "via", "source"), "") | {
            "at": 1,
            "status": 200,
            "began": 0,
        }
        known = Session(account="1", kind=PrincipalKind.ROOT, arn="a", principal_id="1")
        log.add(known, operation="CreatePipeline", **rest)
        for _ in range(60):
            log.add(ANONYMOUS, operation="x" * 5000, **rest)
            log._flush()
            await asyncio.wrap_future(log._writing)
    assert log.path.read_text().count("CreatePipeline") == 1
    assert sum(path.stat().st_size for path in log.path.parent.glob("strangers*")) < 12_000


@pytest.mark.parametrize(
    ("service", "operation", "code"),
    [
        ("codepipeline", "list_pipelines", "ServiceUnavailableException"),
        ("iam", "list_users", "ServiceUnavailable"),
        ("s3", "list_buckets", "ServiceUnavailable"),
    ],
)
def test_a_server_with_all_its_connections_says_so_in_the_clients_protocol(live, service, operation, code):
    listening = _listen("127.0.0.1", 0)
    stack = contextlib.AsyncExitStack()

    async def start():
        endpoint = Endpoint(live.app)
        await stack.enter_async_context(HttpServer(endpoint, listening, None, connections=1).serving())

    live.run(start())
    try:
        full = replace(
            live, running_app=replace(live.running_app, url=f"http://127.0.0.1:{listening.getsockname()[1]}")
        )
        client = full.client(service)
        with pytest.raises(botocore.exceptions.ClientError) as refused:
            getattr(client, operation)()
        response = refused.value.response
        assert (response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]) == (code, 503)
        client.close()
    finally:
        live.run(stack.aclose())
        listening.close()


@pytest.mark.parametrize("fault", [ValueError("in the middle"), OSError(5, "Input/output error")])
def test_an_answer_that_fails_in_the_middle_has_no_end_and_one_line_in_the_log(live, monkeypatch, caplog, fault):
    async def broken(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise fault

    monkeypatch.setitem(live.app.mounts, "/healthz", broken)
    with caplog.at_level(logging.WARNING), connected(live) as raw:
        raw.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        answer = b""
        while piece := raw.recv(4096):
            answer += piece
    assert answer.endswith(b"4\r\nhalf\r\n"), "the end of chunks would make it a complete answer"
    assert [record.getMessage() for record in caplog.records] == ["request.cut_short"]
    assert caplog.records[0].exc_info is None


@pytest.mark.parametrize(("fault", "status"), [(ValueError("x"), 500), (OSError(30, "Read-only file system"), 503)])
def test_a_page_that_fails_before_its_answer_says_so(live, monkeypatch, fault, status):
    async def broken(scope, receive, send):
        raise fault

    monkeypatch.setitem(live.app.mounts, "/healthz", broken)
    with connected(live) as raw:
        raw.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert raw.recv(4096).startswith(f"HTTP/1.1 {status}".encode())


def test_a_key_that_asks_too_much_is_throttled_in_its_protocol_and_no_other_key(live):
    """Which is full until an hour from now, so that no machine is too slow for the test."""
    iam = live.client("iam")
    iam.create_user(UserName="other")
    made = iam.create_access_key(UserName="other")["AccessKey"]
    iam.attach_user_policy(UserName="other", PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
    other = {"aws_access_key_id": made["AccessKeyId"], "aws_secret_access_key": made["SecretAccessKey"]}
    listening, stack = _listen("127.0.0.1", 0), contextlib.AsyncExitStack()
    full = live.keys()["aws_access_key_id"]

    async def start():
        endpoint = Endpoint(live.app)
        endpoint.rates._full[full] = time.perf_counter() + 3600
        await stack.enter_async_context(HttpServer(endpoint, listening, None).serving())

    live.run(start())
    try:
        there = replace(
            live, running_app=replace(live.running_app, url=f"http://127.0.0.1:{listening.getsockname()[1]}")
        )
        for service, operation, answer in (
            ("codepipeline", "list_pipelines", ("ThrottlingException", 400)),
            ("iam", "list_users", ("Throttling", 400)),
            ("s3", "list_buckets", ("SlowDown", 503)),
        ):
            client = there.client(service)
            with pytest.raises(botocore.exceptions.ClientError) as refused:
                getattr(client, operation)()
            response = refused.value.response
            assert (response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]) == answer
            client.close()
            theirs = there.client(service, keys=other)
            getattr(theirs, operation)()
            theirs.close()
    finally:
        live.run(stack.aclose())
        listening.close()


def test_agents_are_never_throttled(live):
    for operation in live.app.registry:
        if operation.service == "codedeploy-commands":
            assert operation.unthrottled, operation.name
