"""Kill -9 between what a destination got and the note of it: nothing is missing, and an event that comes again has the same id."""

from __future__ import annotations

import gzip
import http.server
import json
import threading
from pathlib import Path
from typing import Any

import pytest
from penstock_crashing import Crashing
from penstock_waiting import until

from penstock.store.clock import SystemClock
from penstock.store.failpoints import points


@pytest.fixture
def receiver():
    """A web server that keeps the events that it gets."""

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            found = json.loads(gzip.decompress(self.rfile.read(int(self.headers["Content-Length"]))))
            if found["messageType"] == "DATA_MESSAGE":
                server.got += [(event["id"], event["message"]) for event in found["logEvents"]]
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_args: Any):  # pyright: ignore[reportIncompatibleMethodOverride]
            pass

    server: Any = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    server.got = []
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_each_crash_point_has_a_scene():
    assert [point for point in points() if point.startswith("logs.")] == ["logs.appended", "logs.queried", "logs.sent"]


def test_what_a_filter_sends_survives_kill_9(tmp_path: Path, receiver: Any):
    clock = SystemClock()
    names = {"logGroupName": "g", "logStreamName": "s"}
    server = Crashing(tmp_path, "logs.sent")
    try:
        logs = server.client("logs")
        logs.create_log_group(logGroupName="g")
        logs.create_log_stream(**names)
        url = f"http://127.0.0.1:{receiver.server_port}/"
        logs.put_subscription_filter(
            logGroupName="g", filterName="f", filterPattern="x", destinationArn=f"arn:aws:penstock:us-east-1:111111111111:{url}"
        )  # fmt: skip
        put = clock.now()
        until(lambda: clock.now() > put)
        logs.put_log_events(**names, logEvents=[{"timestamp": clock.now(), "message": "x 1"}])
        assert server.process.wait(60) != 0
        server.end()
        server = Crashing(tmp_path)
        server.client("logs").put_log_events(**names, logEvents=[{"timestamp": clock.now(), "message": "x 2"}])
        until(lambda: {text for _, text in receiver.got} >= {"x 1", "x 2"} and len(receiver.got) > 2)
    finally:
        server.end()
    assert [text for _, text in receiver.got].count("x 1") == 2
    assert len({id for id, _ in receiver.got}) == 2


def test_a_query_that_was_broken_off_is_run_again(tmp_path: Path):
    names = {"logGroupName": "g", "logStreamName": "s"}
    now = SystemClock().now()
    server = Crashing(tmp_path, "logs.queried")
    try:
        logs = server.client("logs")
        logs.create_log_group(logGroupName="g")
        logs.create_log_stream(**names)
        logs.put_log_events(**names, logEvents=[{"timestamp": now, "message": "x"}])
        query = logs.start_query(
            logGroupName="g", startTime=0, endTime=now // 1000 + 60, queryString="display @message"
        )["queryId"]
        assert server.process.wait(60) != 0
        server.end()
        server = Crashing(tmp_path)
        logs = server.client("logs")
        until(lambda: logs.get_query_results(queryId=query)["status"] == "Complete")
        assert [row[0] for row in logs.get_query_results(queryId=query)["results"]] == [
            {"field": "@message", "value": "x"}
        ]
    finally:
        server.end()
