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
from typing import Any
from urllib.parse import urlsplit

import uvloop

from bench.hosts import make_hosts
from bench.run import Row, Unavailable
from bench.served import Served, served

HOSTS = 5_000
TLS_HOSTS = 1_000
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
    made = await make_hosts(server.url, address, admin, hosts)
    await asyncio.sleep(1)
    before, polls = server.rss_mb(), []
    requests = []
    for host in made:
        body = json.dumps({"HostIdentifier": host.arn}).encode()
        requests.append(host.request("codedeploy-commands", "CodeDeployCommandService_v20141006.PollHostCommand", body))
    loop = asyncio.get_running_loop()
    for start in range(0, hosts, 100):
        opened = await asyncio.gather(
            *(loop.create_connection(lambda: _Poll(loop), **address) for _ in requests[start : start + 100])
        )
        for (transport, poll), request in zip(opened, requests[start : start + 100], strict=True):
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
