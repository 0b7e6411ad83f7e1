"""Simulated hosts: users with keys of their own that are registered as instances, and their signed requests.

boto3 would take a minute to make thousands of them and more processor to sign for them than the server needs to answer.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from bench.installation import ACCOUNT

REGION = "us-east-1"
TAG = {"Key": "bench", "Value": "fleet"}
_AT_ONCE = 32  # connections that make the hosts
_TAGGED_AT_ONCE = 100


@dataclass(slots=True)
class Caller:
    """Who signs, with the key of the day derived once for each service."""

    netloc: str
    key_id: str
    secret: str
    derived: dict[tuple[str, str], bytes]

    def request(
        self, service: str, target: str, body: bytes, content_type: str = "application/x-amz-json-1.1"
    ) -> bytes:
        """A signed POST as it goes over the wire."""
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        headers = [("content-type", content_type), ("host", self.netloc), ("x-amz-date", stamp)]
        if target:
            headers.append(("x-amz-target", target))
        names = ";".join(name for name, _ in headers)
        lines = "".join(f"{name}:{value}\n" for name, value in headers)
        canonical = f"POST\n/\n\n{lines}\n{names}\n{hashlib.sha256(body).hexdigest()}"
        scope = f"{stamp[:8]}/{REGION}/{service}/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        signature = hmac.digest(self._key(stamp[:8], service), text.encode(), "sha256").hex()
        signed = f"AWS4-HMAC-SHA256 Credential={self.key_id}/{scope}, SignedHeaders={names}, Signature={signature}"
        sent = "".join(f"{name}: {value}\r\n" for name, value in headers)
        head = f"POST / HTTP/1.1\r\n{sent}authorization: {signed}\r\ncontent-length: {len(body)}\r\n\r\n"
        return head.encode() + body

    def _key(self, day: str, service: str) -> bytes:
        known = self.derived.get((day, service))
        if known is None:
            known = f"AWS4{self.secret}".encode()
            for part in (day, REGION, service, "aws4_request"):
                known = hmac.digest(known, part.encode(), "sha256")
            self.derived[day, service] = known
        return known


@dataclass(slots=True)
class SimulatedHost(Caller):
    """A registered instance."""

    name: str

    @property
    def arn(self) -> str:
        """Its user's."""
        return f"arn:aws:iam::{ACCOUNT}:user/{self.name}"


async def make_hosts(url: str, address: dict[str, Any], admin: Any, hosts: int) -> list[SimulatedHost]:
    """Users, keys and registered instances that bear `TAG`. `admin` is the administrator's credentials of botocore."""
    netloc = urlsplit(url).netloc
    caller = Caller(netloc, admin.access_key, admin.secret_key, {})
    made: dict[int, SimulatedHost] = {}
    numbers = iter(range(hosts))

    async def maker() -> None:
        connection = _Connection(*await asyncio.open_connection(**address))
        for number in numbers:
            name = f"host-{number}"
            for action in ("CreateUser", "CreateAccessKey"):
                form = urlencode({"Action": action, "Version": "2010-05-08", "UserName": name}).encode()
                answer = await connection.ask(caller.request("iam", "", form, "application/x-www-form-urlencoded"))
            key, secret = (
                answer.split(f"<{member}>", 1)[1].split("<", 1)[0] for member in ("AccessKeyId", "SecretAccessKey")
            )
            host = made[number] = SimulatedHost(netloc, key, secret, {}, name)
            instance = json.dumps({"instanceName": name, "iamUserArn": host.arn}).encode()
            await connection.ask(
                caller.request("codedeploy", "CodeDeploy_20141006.RegisterOnPremisesInstance", instance)
            )
        connection.writer.close()

    await asyncio.gather(*(maker() for _ in range(_AT_ONCE)))
    found = [made[number] for number in range(hosts)]
    connection = _Connection(*await asyncio.open_connection(**address))
    for start in range(0, hosts, _TAGGED_AT_ONCE):
        names = [host.name for host in found[start : start + _TAGGED_AT_ONCE]]
        body = json.dumps({"instanceNames": names, "tags": [TAG]}).encode()
        await connection.ask(caller.request("codedeploy", "CodeDeploy_20141006.AddTagsToOnPremisesInstances", body))
    connection.writer.close()
    return found


@dataclass(slots=True)
class _Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def ask(self, request: bytes) -> str:
        self.writer.write(request)
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        answer = await self.reader.readexactly(int(head.split("content-length:", 1)[1].split("\r\n", 1)[0]))
        if " 200 " not in head.split("\r\n", 1)[0]:
            raise RuntimeError(f"{head}{answer.decode()}")
        return answer.decode()
