"""Kill -9 in the midst of a fan-out: every subscription gets every message, under the id that was answered."""

from __future__ import annotations

import contextlib
import http.server
import threading
from collections import Counter
from pathlib import Path

import botocore.config
import botocore.exceptions
import pytest
from penstock_crashing import Crashing
from penstock_topics import many, row
from penstock_waiting import until

from penstock.store.clock import SystemClock
from penstock.store.database import Store
from penstock.store.failpoints import points

POINTS = [point for point in points() if point.startswith("topics.")]


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
    server = Crashing(tmp_path)
    arn = server.client("sns").create_topic(Name="many")["TopicArn"]
    server.end()
    await subscribe(tmp_path, arn, number, receiver.url)
    ids = []
    for crash in ("topics.fanned_out", f"topics.delivered:{number // 3}", f"topics.delivered:{number // 2}"):
        server = Crashing(tmp_path, crash)
        # One that died before it answered has promised nothing: what was on its way from before is enough to kill it.
        with contextlib.suppress(botocore.exceptions.BotoCoreError, FileNotFoundError):
            ids.append(server.client("sns").publish(TopicArn=arn, Message="m")["MessageId"])
        assert server.process.wait(60) != 0
        server.end()
    server = Crashing(tmp_path)
    try:
        ids.append(server.client("sns").publish(TopicArn=arn, Message="m")["MessageId"])
        wanted = {(f"/{at}", id) for at in range(number) for id in ids}
        until(lambda: wanted <= receiver.got.keys(), why=lambda: (tmp_path / "log").read_text()[-2_000:])
    finally:
        server.end()
    assert {id for _, id in receiver.got} >= set(ids)
    assert len({id for _, id in receiver.got}) <= 4  # an answer may be lost, but no message has two ids
