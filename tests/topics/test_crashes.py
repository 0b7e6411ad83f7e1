"""Kill -9 in the midst of a fan-out: every subscription gets every message, under the id that was answered."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import socket
import threading
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import botocore.config
import botocore.exceptions
import pytest
from penstock_starter import PENSTOCK, start
from penstock_topics import many, row
from penstock_waiting import until

from penstock.store.clock import SystemClock
from penstock.store.database import Store
from penstock.store.failpoints import points

POINTS = [point for point in points() if point.startswith("topics.")]


class Server:
    """A server of its own that dies at a crash point."""

    def __init__(self, folder: Path, crash: str = "") -> None:
        self.data = folder / "data"
        self.log = (folder / "log").open("ab")
        (self.data / "server.json").unlink(missing_ok=True)
        self.process = start(
            PENSTOCK, "up", "--data-dir", str(self.data), "--port", "0", "--master-key-file", str(folder / "keys" / "master.key"),
            "--builds", "0", "--egress-network", "127.0.0.0/8",
            env={**os.environ, "PENSTOCK_CRASH_POINT": crash}, stdout=self.log, stderr=self.log,
        )  # fmt: skip

    def client(self):
        until(self._answers)
        facts = json.loads((self.data / "server.json").read_text())
        lines = dict(
            line.split(" = ") for line in (self.data / "credentials").read_text().splitlines() if " = " in line
        )
        config = botocore.config.Config(retries={"total_max_attempts": 1}, connect_timeout=10)
        return boto3.client(
            "sns", endpoint_url=facts["url"], region_name="us-east-1", config=config,
            aws_access_key_id=lines["aws_access_key_id"], aws_secret_access_key=lines["aws_secret_access_key"],
        )  # fmt: skip

    def _answers(self) -> bool:
        """Whether it listens: its address is known a moment before."""
        try:
            address = urlsplit(json.loads((self.data / "server.json").read_text())["url"])
            socket.create_connection((address.hostname, address.port), timeout=10).close()
        except (FileNotFoundError, ConnectionRefusedError):
            return self.process.poll() is not None
        return True

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(60)
        self.log.close()


@pytest.fixture
def receiver():
    """A web server that counts what each path gets, by message."""

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            server.got[self.path, self.headers["x-amz-sns-message-id"]] += 1
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_args):
            pass

    class Front(http.server.ThreadingHTTPServer):
        request_queue_size = 128

    server = Front(("127.0.0.1", 0), Receiver)
    server.got, server.url = Counter(), f"http://127.0.0.1:{server.server_port}/{{}}"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


async def subscribe(folder: Path, arn: str, number: int, url: str) -> None:
    store = await Store.open(f"sqlite:///{folder / 'data' / 'penstock.db'}", clock=SystemClock())
    await store.write(many, await store.read(row, arn), number, url=url)
    await store.close()


def test_each_crash_point_has_a_scene():
    assert POINTS == ["topics.delivered", "topics.fanned_out"]


@pytest.mark.parametrize("number", [40, pytest.param(1_000, marks=pytest.mark.prove)])
async def test_a_fan_out_survives_kill_9(tmp_path, receiver, number):
    server = Server(tmp_path)
    arn = server.client().create_topic(Name="many")["TopicArn"]
    server.end()
    await subscribe(tmp_path, arn, number, receiver.url)
    ids = []
    for crash in ("topics.fanned_out", f"topics.delivered:{number // 3}", f"topics.delivered:{number // 2}"):
        server = Server(tmp_path, crash)
        # One that died before it answered has promised nothing: what was on its way from before is enough to kill it.
        with contextlib.suppress(botocore.exceptions.BotoCoreError, FileNotFoundError):
            ids.append(server.client().publish(TopicArn=arn, Message="m")["MessageId"])
        assert server.process.wait(60) != 0
        server.end()
    server = Server(tmp_path)
    try:
        ids.append(server.client().publish(TopicArn=arn, Message="m")["MessageId"])
        wanted = {(f"/{at}", id) for at in range(number) for id in ids}
        until(lambda: wanted <= receiver.got.keys(), why=lambda: (tmp_path / "log").read_text()[-2_000:])
    finally:
        server.end()
    assert {id for _, id in receiver.got} >= set(ids)
    assert len({id for _, id in receiver.got}) <= 4  # an answer may be lost, but no message has two ids
