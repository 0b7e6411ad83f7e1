"""Thousands of hosts that hold a poll each: memory per poll, processor at rest, and how fast all are answered.

Every host is a user with a key of its own and registered as an instance; its poll is signed and authorised like an agent's.
"""

from __future__ import annotations

import asyncio
import json
import resource
import signal
import ssl
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlencode, urlsplit

import uvloop
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from bench.installation import ACCOUNT
from bench.run import Row, Unavailable
from bench.served import Served, served

HOSTS = 5_000
TLS_HOSTS = 1_000
_AT_ONCE = 32  # connections that make the hosts
_REST_SECONDS = 8.0
_SPARE_FILES = 200


def measure() -> list[Row]:
    _, allowed = resource.getrlimit(resource.RLIMIT_NOFILE)
    hosts = min(HOSTS, allowed - _SPARE_FILES)
    if hosts < 100:
        raise Unavailable(f"only {allowed} files may be open (ulimit -n)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, allowed))
    return [*_measured(hosts), *_measured(min(TLS_HOSTS, hosts), "--tls")]


def _measured(hosts: int, *options: str) -> list[Row]:
    tls = "--tls" in options
    with served(*options) as server:
        found = uvloop.run(_polls(server, hosts))
    bar = 45 if tls else 20
    rows = [
        Row(
            what=f"{hosts} idle long polls{', TLS' if tls else ''}: memory of the server for each",
            measured=f"{found['each']:.1f} KB",
            bar=f"≤ {bar} KB",
            met=found["each"] <= bar,
        )
    ]
    if not tls:
        rows += [
            Row(
                what=f"{hosts} idle long polls: processor at rest",
                measured=f"{found['rest']:.1f} % of a core",
                bar="< 2 %",
                met=found["rest"] < 2,
            ),
            Row(
                what=f"{hosts} idle long polls: all woken and answered (by SIGTERM, which drains them)",
                measured=f"last answer after {found['woken']:.2f} s",
                bar="< 1 s",
                met=found["woken"] < 1,
            ),
        ]
    return rows


async def _polls(server: Served, hosts: int) -> dict[str, float]:
    admin = server.clients().session.get_credentials()
    context = None
    if server.url.startswith("https"):
        context = ssl.create_default_context(cafile=str(server.data_dir / "tls" / "ca.pem"))
    where = urlsplit(server.url)
    address: dict[str, Any] = {"host": where.hostname, "port": where.port, "ssl": context}
    keys = await _make(server.url, address, admin, hosts)
    await asyncio.sleep(1)
    before, polls = server.rss_mb(), []
    requests = []
    for number, key in enumerate(keys):
        body = json.dumps({"HostIdentifier": f"arn:aws:iam::{ACCOUNT}:user/host-{number}"})
        target = "CodeDeployCommandService_v20141006.PollHostCommand"
        requests.append(_signed(server.url, key, "codedeploy-commands", body, {"x-amz-target": target}))
    loop = asyncio.get_running_loop()
    for start in range(0, hosts, 100):
        made = await asyncio.gather(
            *(loop.create_connection(lambda: _Poll(loop), **address) for _ in requests[start : start + 100])
        )
        for (transport, poll), request in zip(made, requests[start : start + 100], strict=True):
            transport.write(request)
            polls.append(poll)
    await asyncio.sleep(7)  # whatever their coming makes the server do is done: the last sightings are written
    _all_held(polls)
    each = (server.rss_mb() - before) * 1024 / hosts
    worked, began = server.cpu_seconds(), time.monotonic()
    await asyncio.sleep(_REST_SECONDS)
    rest = (server.cpu_seconds() - worked) / (time.monotonic() - began) * 100
    _all_held(polls)
    began = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    await asyncio.wait_for(asyncio.gather(*(poll.answered for poll in polls)), 30)
    woken = max(poll.answered.result() for poll in polls) - began
    refused = [poll.status for poll in polls if not poll.status.startswith(b"HTTP/1.1 200")]
    if refused:
        raise RuntimeError(f"{len(refused)} polls were answered {refused[0]!r}")
    for poll in polls:
        poll.transport.abort()
    return {"each": each, "rest": rest, "woken": woken}


def _all_held(polls: list[_Poll]) -> None:
    ended = [poll for poll in polls if poll.answered.done()]
    if ended:
        raise RuntimeError(f"{len(ended)} polls of {len(polls)} were not held: {ended[0].status!r}")


class _Poll(asyncio.Protocol):
    """One connection with one poll on it."""

    __slots__ = ("answered", "status", "transport")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.answered: asyncio.Future[float] = loop.create_future()
        self.status = b""
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if not self.answered.done():
            self.status = data[:200]
            self.answered.set_result(time.monotonic())

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.answered.done():
            self.status = f"connection lost: {exc}".encode()
            self.answered.set_result(time.monotonic())


async def _make(url: str, address: dict[str, Any], admin: Any, hosts: int) -> list[Credentials]:
    """Users, keys and registered instances, over a few connections of our own: boto3 would take a minute."""
    numbers = iter(range(hosts))
    keys: dict[int, Credentials] = {}

    async def maker() -> None:
        reader, writer = await asyncio.open_connection(**address)

        async def call(service: str, body: str, headers: dict[str, str]) -> str:
            writer.write(_signed(url, admin, service, body, headers))
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            answer = await reader.readexactly(int(head.split("content-length:", 1)[1].split("\r\n", 1)[0]))
            if " 200 " not in head.split("\r\n", 1)[0]:
                raise RuntimeError(f"{head}{answer.decode()}")
            return answer.decode()

        for number in numbers:
            keys[number] = await _host(call, f"host-{number}")
        writer.close()

    await asyncio.gather(*(maker() for _ in range(_AT_ONCE)))
    return [keys[number] for number in range(hosts)]


async def _host(call: Callable[[str, str, dict[str, str]], Awaitable[str]], name: str) -> Credentials:
    form = {"content-type": "application/x-www-form-urlencoded"}
    for action in ("CreateUser", "CreateAccessKey"):
        answer = await call("iam", urlencode({"Action": action, "Version": "2010-05-08", "UserName": name}), form)
    key, secret = (answer.split(f"<{member}>", 1)[1].split("<", 1)[0] for member in ("AccessKeyId", "SecretAccessKey"))
    instance = json.dumps({"instanceName": name, "iamUserArn": f"arn:aws:iam::{ACCOUNT}:user/{name}"})
    await call("codedeploy", instance, {"x-amz-target": "CodeDeploy_20141006.RegisterOnPremisesInstance"})
    return Credentials(key, secret)


def _signed(url: str, credentials: Any, service: str, body: str, headers: dict[str, str]) -> bytes:
    """A signed POST as it goes over the wire."""
    headers = {"content-type": "application/x-amz-json-1.1", "host": urlsplit(url).netloc} | headers
    request = AWSRequest("POST", url + "/", data=body.encode(), headers=headers)
    SigV4Auth(credentials, service, "us-east-1").add_auth(request)
    lines = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    return f"POST / HTTP/1.1\r\n{lines}content-length: {len(body)}\r\n\r\n{body}".encode()
