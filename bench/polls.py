"""Thousands of hosts that hold a poll each: memory per poll, processor at rest, how fast all are answered, and what a restart does.

Every host is a user with a key of its own and registered as an instance; its poll is signed and authorised like an agent's.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import resource
import signal
import ssl
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import uvloop
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from bench.hosts import Caller, SimulatedHost, make_hosts
from bench.installation import BUCKET, role
from bench.run import Row, Unavailable
from bench.served import Served, served, served_from
from penstock.cli.clients import Clients

HOSTS = int(os.environ.get("BENCH_POLLS", "10000"))
TLS_HOSTS = 1_000
_REST_SECONDS = 8.0
_SPARE_FILES = 200
_AGAIN_SECONDS = 0.1  # agents try again after about that time, then ever more slowly
_SLOWEST_AGAIN_SECONDS = 5.0
_POLL = ("codedeploy-commands", "CodeDeployCommandService_v20141006.PollHostCommand")


def measure() -> list[Row]:
    _, allowed = resource.getrlimit(resource.RLIMIT_NOFILE)
    hosts = min(HOSTS, allowed - _SPARE_FILES)
    if hosts < 100:
        raise Unavailable(f"only {allowed} files may be open (ulimit -n)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, allowed))
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder:
        rows = _plain(Path(folder), hosts)
    with served("--tls") as server:
        found = uvloop.run(_held(server, min(TLS_HOSTS, hosts)))
    return [*rows, _memory(f"{min(TLS_HOSTS, hosts)} idle long polls, TLS", found["each"], 45)]


def _plain(folder: Path, hosts: int) -> list[Row]:
    with served_from(folder) as server:
        found = uvloop.run(_held(server, hosts))
    with served_from(folder) as server:
        storm = uvloop.run(_killed(folder, server, found["hosts"]))
    what = f"{hosts} idle long polls"
    return [
        Row(
            what=f"{what}: all connected and held",
            measured=f"after {found['connected']:.1f} s, {found['refused']} refused",
            bar="none refused",
            met=found["refused"] == 0,
        ),
        _memory(what, found["each"], 20),
        Row(
            what=f"{what}: processor at rest",
            measured=f"{found['rest']:.1f} % of a core",
            bar="< 2 %",
            met=found["rest"] < 2,
        ),
        Row(
            what=f"{what}: all woken and answered (by SIGTERM, which drains them)",
            measured=f"last answer after {found['woken']:.2f} s",
            bar="< 1 s",
            met=found["woken"] < 1,
        ),
        Row(
            what=f"{what}: kill -9 and start; GetDeployment and PutObject while all connect again",
            measured=f"slowest {storm['slowest']:.2f} s, p50 {storm['p50'] * 1000:.0f} ms of {storm['calls']} calls, "
            f"{storm['failed']} failed; all held {storm['held']:.1f} s after the server was ready",
            bar="≤ 2 s, none fails",
            met=storm["slowest"] <= 2 and storm["failed"] == 0,
        ),
    ]


def _memory(what: str, each: float, bar: int) -> Row:
    return Row(
        what=f"{what}: memory of the server for each",
        measured=f"{each:.1f} KB",
        bar=f"≤ {bar} KB",
        met=each <= bar,
    )


class _Host(asyncio.Protocol):
    """One host: a connection with one poll on it; it connects again for as long as nobody ends it."""

    __slots__ = ("_request", "answered", "ended", "status", "transport")

    def __init__(self, request: bytes) -> None:
        self._request = request
        self.transport: Any = None
        self.status = b""
        self.answered = 0.0  # when
        self.ended: asyncio.Event | None = None  # set when the connection is lost

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.status = b""
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if not self.status:
            self.status = data[:200]
            self.answered = time.monotonic()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.status:
            self.status = f"connection lost: {exc}".encode()
            self.answered = time.monotonic()
        if self.ended is not None:
            self.ended.set()


async def _held(server: Served, hosts: int) -> dict[str, Any]:
    """What held polls cost; ends the server by SIGTERM."""
    address = _address(server)
    admin = server.clients().session.get_credentials()
    made = await make_hosts(server.url, address, admin, hosts)
    await asyncio.sleep(1)
    before = server.rss_mb()
    polls = [_Host(_poll(host)) for host in made]
    loop, began = asyncio.get_running_loop(), time.monotonic()
    for start in range(0, hosts, 100):
        together = polls[start : start + 100]
        await asyncio.gather(*(loop.create_connection(lambda poll=poll: poll, **address) for poll in together))
    await _all_read(server, address)
    connected = time.monotonic() - began
    await asyncio.sleep(7)  # whatever their coming makes the server do is done: the last sightings are written
    refused = sum(bool(poll.status) for poll in polls)
    each = (server.rss_mb() - before) * 1024 / hosts
    worked, began = server.cpu_seconds(), time.monotonic()
    await asyncio.sleep(_REST_SECONDS)
    rest = (server.cpu_seconds() - worked) / (time.monotonic() - began) * 100
    refused = max(refused, sum(bool(poll.status) for poll in polls))
    began = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    while not all(poll.status for poll in polls):
        if time.monotonic() - began > 30:
            raise RuntimeError("some polls were never answered")
        await asyncio.sleep(0.01)
    woken = max(poll.answered for poll in polls) - began
    refused += sum(not poll.status.startswith(b"HTTP/1.1 200") for poll in polls)
    for poll in polls:
        poll.transport.abort()
    return {
        "connected": connected,
        "refused": refused,
        "each": each,
        "rest": rest,
        "woken": woken,
        "hosts": made,
    }


async def _killed(folder: Path, first: Served, made: list[SimulatedHost]) -> dict[str, Any]:
    """Kills the server with every poll held, starts another on its port, and asks it for other things meanwhile."""
    client = first.clients()
    id_ = await asyncio.to_thread(_deployment, client)
    address = _address(first)
    netloc = urlsplit(first.url).netloc
    for host in made:
        host.netloc = netloc
    hosts = [_Host(_poll(host)) for host in made]
    stop, connected = asyncio.Event(), [0]
    keeping = [asyncio.create_task(_keep_connected(host, address, stop, connected)) for host in hosts]
    while connected[0] < len(hosts):
        await asyncio.sleep(0.1)
    await _all_read(first, address)
    context = multiprocessing.get_context("spawn")
    found, quit_ = context.Queue(), context.Event()
    first.process.kill()
    first.process.wait()
    # One signature lasts five minutes, and signing is none of the server's business.
    connected[0] = 0
    with served_from(folder, "--port", str(address["port"])) as second:
        ready = time.monotonic()
        prober = context.Process(target=_probe, args=(str(second.data_dir), id_, found, quit_), daemon=True)
        prober.start()
        while connected[0] < len(hosts):
            await asyncio.sleep(0.05)
        await _all_read(second, address)
        held = time.monotonic() - ready
        await asyncio.sleep(2)
        quit_.set()
        took, failed = await asyncio.to_thread(found.get, timeout=120)
        prober.join()
        stop.set()
        for task in keeping:
            task.cancel()
        await asyncio.gather(*keeping, return_exceptions=True)
        for host in hosts:
            host.transport.abort()
    took.sort()
    return {"slowest": took[-1], "p50": took[len(took) // 2], "calls": len(took), "failed": failed, "held": held}


async def _keep_connected(host: _Host, address: dict[str, Any], stop: asyncio.Event, connected: list[int]) -> None:
    loop = asyncio.get_running_loop()
    while not stop.is_set():
        host.ended = asyncio.Event()
        again = _AGAIN_SECONDS
        while True:
            try:
                await loop.create_connection(lambda: host, **address)
                break
            except OSError:
                await asyncio.sleep(again)
                again = min(again * 2, _SLOWEST_AGAIN_SECONDS)
        connected[0] += 1
        await host.ended.wait()


def _probe(data_dir: str, deployment: str, found: Any, quit_: Any) -> None:
    """Asks, in a process of its own, as a person or a pipeline would; how long each call took."""
    once = Config(retries={"total_max_attempts": 1}, read_timeout=60)
    client = Clients.administrator(Path(data_dir))
    codedeploy, s3 = (
        client.session.client(name, endpoint_url=client.url, config=once) for name in ("codedeploy", "s3")
    )
    took: list[float] = []
    failed = 0
    while not quit_.is_set():
        for ask in (
            lambda: codedeploy.get_deployment(deploymentId=deployment),
            lambda: s3.put_object(Bucket=BUCKET, Key="probe", Body=b"x" * 4096),
        ):
            began = time.monotonic()
            try:
                ask()
            except (BotoCoreError, ClientError):
                failed += 1
            took.append(time.monotonic() - began)
        time.sleep(0.05)
    found.put((took, failed))


def _deployment(client: Any) -> str:
    """Something that GetDeployment can be asked for, on no host at all."""
    codedeploy = client("codedeploy")
    codedeploy.create_application(applicationName="polls", computePlatform="Server")
    codedeploy.create_deployment_group(
        applicationName="polls", deploymentGroupName="polls", serviceRoleArn=role(client, "codedeploy")
    )
    client("s3").create_bucket(Bucket=BUCKET)
    client("s3").put_object(Bucket=BUCKET, Key="polls.zip", Body=b"never fetched")
    location = {"bucket": BUCKET, "key": "polls.zip", "bundleType": "zip"}
    return codedeploy.create_deployment(
        applicationName="polls",
        deploymentGroupName="polls",
        revision={"revisionType": "S3", "s3Location": location},
    )["deploymentId"]


def _address(server: Served) -> dict[str, Any]:
    context = None
    if server.url.startswith("https"):
        context = ssl.create_default_context(cafile=str(server.data_dir / "tls" / "ca.pem"))
    where = urlsplit(server.url)
    return {"host": where.hostname, "port": where.port, "ssl": context}


def _poll(host: SimulatedHost) -> bytes:
    return host.request(*_POLL, json.dumps({"HostIdentifier": host.arn}).encode())


async def _all_read(server: Served, address: dict[str, Any]) -> None:
    """Wait until the server has read every poll that was sent before: this one, which is refused, comes after them."""
    admin = server.clients().session.get_credentials()
    caller = Caller(urlsplit(server.url).netloc, admin.access_key, admin.secret_key, {})
    last = _Host(caller.request(*_POLL, json.dumps({"HostIdentifier": "nobody"}).encode()))
    await asyncio.get_running_loop().create_connection(lambda: last, **address)
    while not last.status:
        await asyncio.sleep(0.01)
    last.transport.abort()
