"""A deployment to a fleet of simulated hosts that do everything at once: how long it takes, and what the server needs for it.

Each host speaks the agents' protocol on a connection of its own, as AWS's agents do: it polls, fetches the specification, acknowledges and
reports, seven times. Nothing is installed, so all that is measured is the server.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import time
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

import uvloop

from bench.hosts import TAG, SimulatedHost, make_hosts
from bench.installation import BUCKET, role
from bench.postgresql import postgresql
from bench.run import Row, Unavailable
from bench.served import Served, served

HOSTS = tuple(int(size) for size in os.environ.get("BENCH_FLEET", "1000").split(","))
_BARS = {1_000: 12, 5_000: 60, 10_000: 130}  # seconds
_SPARE_FILES = 200
_GIVE_UP_SECONDS = 600
_SERVICE = "codedeploy-commands"
_TARGET = "CodeDeployCommandService_v20141006."


def measure() -> list[Row]:
    _, allowed = resource.getrlimit(resource.RLIMIT_NOFILE)
    if max(HOSTS) > allowed - _SPARE_FILES:
        raise Unavailable(f"only {allowed} files may be open (ulimit -n)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, allowed))
    rows: list[Row] = []
    for hosts in HOSTS:
        with served() as server:
            rows += uvloop.run(_deployed(server, hosts, _BARS.get(hosts)))
    try:
        with postgresql() as url, served("--database", url) as server:
            found = uvloop.run(_deployed(server, HOSTS[0], None))
    except Unavailable as reason:
        return [*rows, Row(what="the same on PostgreSQL", measured=str(reason), bar="", met=None)]
    return [*rows, *(replace(row, what=f"{row.what}, PostgreSQL") for row in found)]


@dataclass(slots=True)
class _Counts:
    """What the hosts saw."""

    offers: int = 0
    acknowledged: int = 0
    dropped: int = 0
    refused: dict[bytes, int] = field(default_factory=dict)


async def _deployed(server: Served, hosts: int, bar: int | None) -> list[Row]:
    client = server.clients()
    where = urlsplit(server.url)
    address: dict[str, Any] = {"host": where.hostname, "port": where.port}
    made = await make_hosts(server.url, address, client.session.get_credentials(), hosts)
    codedeploy = client("codedeploy")
    codedeploy.create_application(applicationName="fleet", computePlatform="Server")
    codedeploy.create_deployment_group(
        applicationName="fleet",
        deploymentGroupName="fleet",
        deploymentConfigName="CodeDeployDefault.AllAtOnce",
        onPremisesInstanceTagFilters=[TAG | {"Type": "KEY_AND_VALUE"}],
        serviceRoleArn=role(client, "codedeploy"),
    )
    client("s3").create_bucket(Bucket=BUCKET)
    client("s3").put_object(Bucket=BUCKET, Key="fleet.zip", Body=b"never fetched")
    counts = _Counts()
    loop = asyncio.get_running_loop()
    agents = []
    for start in range(0, hosts, 100):
        opened = await asyncio.gather(
            *(
                loop.create_connection(lambda host=host: _Agent(host, counts), **address)
                for host in made[start : start + 100]
            )
        )
        agents += [agent for _, agent in opened]
    await asyncio.sleep(7)  # all polls are held, and the sightings written
    before, worked = server.rss_mb(), server.cpu_seconds()
    began = time.monotonic()
    location = {"bucket": BUCKET, "key": "fleet.zip", "bundleType": "zip"}
    id_ = (
        await asyncio.to_thread(
            codedeploy.create_deployment,
            applicationName="fleet",
            deploymentGroupName="fleet",
            revision={"revisionType": "S3", "s3Location": location},
        )
    )["deploymentId"]
    throttled = 0
    while True:
        await asyncio.sleep(0.25)
        try:
            info = (await asyncio.to_thread(codedeploy.get_deployment, deploymentId=id_))["deploymentInfo"]
        except codedeploy.exceptions.ClientError:
            throttled += 1
            continue
        if "completeTime" in info or time.monotonic() - began > _GIVE_UP_SECONDS:
            break
    took = time.monotonic() - began
    worked, grown = server.cpu_seconds() - worked, server.rss_mb() - before
    for agent in agents:
        agent.transport.abort()
    overview = info["deploymentOverview"]
    summary = f"{took:.1f} s, {worked:.1f} s of processor, {counts.offers} offers, {counts.dropped} dropped"
    if counts.refused or throttled or overview["Succeeded"] != hosts:
        summary += f"; {overview}, refused {counts.refused}, observer refused {throttled} times"
    return [
        Row(
            what=f"deployment to {hosts} simulated instant hosts, AllAtOnce",
            measured=summary,
            bar=f"≤ {bar} s" if bar else "",
            met=None if bar is None else took <= bar and overview["Succeeded"] == hosts,
        ),
        Row(
            what=f"the same: memory growth of the server, {hosts} hosts",
            measured=f"{grown:.0f} MB",
            bar="≤ 100 MB",
            met=grown <= 100,
        ),
    ]


class _Agent(asyncio.Protocol):
    """One host: a connection on which it goes round poll, specification, acknowledgement, completion."""

    __slots__ = ("_buffer", "_command", "_counts", "_host", "_step", "transport")

    def __init__(self, host: SimulatedHost, counts: _Counts) -> None:
        self._host = host
        self._counts = counts
        self._buffer = b""
        self._command: dict[str, Any] = {}
        self._step = "PollHostCommand"
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self._poll()

    def _ask(self, step: str, **body: Any) -> None:
        self._step = step
        self.transport.write(self._host.request(_SERVICE, _TARGET + step, json.dumps(body).encode()))

    def _poll(self) -> None:
        self._ask("PollHostCommand", HostIdentifier=self._host.arn)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, mark, rest = self._buffer.partition(b"\r\n\r\n")
        if not mark:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(rest) < length:
            return
        self._buffer = rest[length:]
        if not head.startswith(b"HTTP/1.1 200"):
            reported = head[:12] + rest[:100]
            self._counts.refused[reported] = self._counts.refused.get(reported, 0) + 1
            self._poll()
            return
        self._answered(json.loads(rest[:length] or b"{}"))

    def _answered(self, answer: dict[str, Any]) -> None:
        match self._step:
            case "PollHostCommand":
                command = answer.get("HostCommand")
                if not command:
                    self._poll()
                    return
                self._counts.offers += 1
                self._command = command
                self._ask(
                    "GetDeploymentSpecification",
                    DeploymentExecutionId=command["DeploymentExecutionId"],
                    HostIdentifier=self._host.arn,
                )
            case "GetDeploymentSpecification":
                noop = {"Format": "JSON", "Payload": '{"IsCommandNoop":false}'}
                self._ask(
                    "PutHostCommandAcknowledgement",
                    HostCommandIdentifier=self._command["HostCommandIdentifier"],
                    Diagnostics=noop,
                )
            case "PutHostCommandAcknowledgement":
                if answer.get("CommandStatus") != "InProgress":
                    self._counts.dropped += 1
                    self._poll()
                    return
                self._counts.acknowledged += 1
                report = {"error_code": 0, "script_name": "", "message": "Succeeded", "log": ""}
                self._ask(
                    "PutHostCommandComplete",
                    HostCommandIdentifier=self._command["HostCommandIdentifier"],
                    CommandStatus="Succeeded",
                    Diagnostics={"Format": "JSON", "Payload": json.dumps(report)},
                )
            case _:
                self._poll()
