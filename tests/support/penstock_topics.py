"""Topics for tests: in process with workers, an endpoint that notes what it is sent, and calls of SNS."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import penstock_identity_harness

import penstock.fleet
import penstock.topics
from penstock.egress import EgressSettings
from penstock.topics import letter_rows, message_rows, names, records, subscription_rows, tokens, topic_rows
from penstock.topics.messages import Message
from penstock.topics.outcomes import Failed
from penstock.wire.services import Service

REGION = "us-east-1"
LOOPBACK = EgressSettings(egress_networks=("127.0.0.0/8",))


@contextlib.asynccontextmanager
async def topics_on(store, clock, tmp_path, *chosen):
    """Topics that may send to this machine."""
    component = penstock.topics.component
    async with penstock_identity_harness.harness_on(
        store, clock, tmp_path, component, chosen=(LOOPBACK, *chosen)
    ) as made:
        made.app.public_url = "https://penstock.test"
        made.app.services.add(Service("penstock", penstock.fleet.MODEL))
        yield made


@contextlib.asynccontextmanager
async def working(harness):
    """Jobs are run meanwhile."""
    await harness.app.work.start(harness.app)
    try:
        yield
    finally:
        await harness.app.work.stop(grace_s=0)


@dataclass
class Heard:
    """A request that an endpoint got."""

    path: str
    headers: dict[str, str]  # names in lower case
    body: str

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def type(self):
        return self.headers["x-amz-sns-message-type"]


@dataclass
class Endpoint:
    """A receiver on this machine. What it answers depends on the path: /500 has that status, /silent none."""

    url: str = ""
    heard: list[Heard] = field(default_factory=list)
    answers: dict[str, list[bytes]] = field(default_factory=dict)  # path → what it is answered first
    most: int = 0  # requests at a time
    going: int = 0

    def of(self, path, type="Notification"):
        return [one for one in self.heard if one.path == path and one.type == type]

    async def serve(self, reader, writer):
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:-2])}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            path = head[0].split(" ")[1]
            self.heard.append(Heard(path, headers, body.decode()))
            self.going += 1
            self.most = max(self.most, self.going)
            try:
                await self._answer(path, writer, reader)
            finally:
                self.going -= 1
        writer.close()

    async def _answer(self, path, writer, reader):
        if waiting := self.answers.get(path):
            writer.write(waiting.pop(0))
        elif path.partition("?")[0] == "/silent":
            await reader.read()
        elif path == "/endless":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
            while True:
                writer.write(b"x" * 65_536)
                await writer.drain()
        elif path.startswith("/30"):
            writer.write(answer(302, f"Location: {self.url}/redirected\r\n"))
        else:
            writer.write(answer(int(path[1:4]) if path[1:4].isdigit() and len(path) > 3 else 200))


def answer(status, more=""):
    return f"HTTP/1.1 {status} X\r\n{more}Content-Length: 0\r\n\r\n".encode()


async def sns(harness, by, operation, **input):
    return await harness.app.invoke(by, "sns", operation, input, region=REGION)


async def topic(harness, by, name="deploys", **attributes):
    made = await sns(harness, by, "CreateTopic", Name=name, Attributes=attributes)
    return made["TopicArn"]


async def subscribed(harness, by, arn, endpoint, protocol="http", **attributes):
    """A confirmed subscription; its ARN."""
    made = await sns(
        harness, by, "Subscribe", TopicArn=arn, Protocol=protocol, Endpoint=endpoint, Attributes=attributes,
        ReturnSubscriptionArn=True,
    )  # fmt: skip
    token = tokens.make(harness.app.sealer, tokens.CONFIRM, made["SubscriptionArn"].rpartition(":")[2])
    await sns(harness, by, "ConfirmSubscription", TopicArn=arn, Token=token)
    return made["SubscriptionArn"]


def row(conn: Any, arn: str) -> Any:
    """The row of a topic."""
    return topic_rows.find(conn, names.named_by(arn))


def given_up(conn: Any, sealer: Any, topic: Any) -> str:
    """A message that the first subscription of `many` was not given; the id of its dead letter."""
    text = "11111111-0000-4000-8000-000000000000"
    subscription = subscription_rows.find(conn, "00000000-0000-4000-8000-000000000000")
    content = sealer.seal(Message(text="lost").dump(), records.content_context(text))
    message = SimpleNamespace(topic=topic.id, sequence=1, id=text, at=1, lane="", content=content)
    head = message_rows.Head(message, subscription, topic, 3)
    letter = letter_rows.of(head, Failed("nobody answers"), tries=4, now=2)
    letter_rows.keep(conn, letter)
    return letter["id"]


def many(conn, topic, number, *, url="http://a.test/{}", protocol="http", authenticated=False, **attributes):
    """Confirmed subscriptions, as rows."""
    for at in range(number):
        endpoint = url.format(at)
        subscription_rows.insert(
            conn, id=f"00000000-0000-4000-8000-{at:012}", topic=topic.id, account=topic.account, region=topic.region, name=topic.name,
            owner=topic.account, protocol=protocol, endpoint=endpoint, digest=subscription_rows.digest_of(protocol, endpoint), state="confirmed",
            authenticated=authenticated, principal="", attributes=attributes, created=0, until=None,
        )  # fmt: skip
