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
    assert [point for point in points() if point.startswith("logs.")] == [
        "logs.appended",
        "logs.queried",
        "logs.segment_kept",
        "logs.segment_written",
        "logs.segments_dropped",
        "logs.sent",
    ]


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


def test_a_stream_that_is_being_packed_survives_kill_9(tmp_path: Path):
    names = {"logGroupName": "g", "logStreamName": "s"}
    now = SystemClock().now()
    written: list[str] = []

    def put(logs: Any, batches: int) -> None:
        for _ in range(batches):
            lines = [f"{len(written) + n:06} ".ljust(1_000, "x") for n in range(1_000)]
            logs.put_log_events(**names, logEvents=[{"timestamp": now, "message": line} for line in lines])
            written.extend(lines)

    def read(logs: Any) -> list[str]:
        pages = logs.get_paginator("filter_log_events").paginate(logGroupName="g")
        return [event["message"] for page in pages for event in page["events"]]

    def blobs() -> int:
        return sum(path.is_file() for path in (tmp_path / "data" / "log-segments").rglob("*"))

    server = Crashing(tmp_path, "logs.segment_written")
    try:
        logs = server.client("logs")
        logs.create_log_group(logGroupName="g")
        logs.create_log_stream(**names)
        put(logs, 5)
        until(
            lambda: "lastEventTimestamp" in logs.describe_log_streams(logGroupName="g")["logStreams"][0]
        )  # it is synced
        put(logs, 5)
        assert server.process.wait(60) != 0
        server.end()
        server = Crashing(tmp_path, "logs.segment_kept")  # where the job is taken up again
        assert server.process.wait(60) != 0
        server.end()
        server = Crashing(tmp_path)
        logs = server.client("logs")
        file = next((tmp_path / "data" / "log-events").rglob("*.log"))
        until(lambda: file.stat().st_blocks * 512 < file.stat().st_size - 4_000_000)
        assert read(logs) == written
        put(logs, 1)
        assert read(logs) == written
        assert blobs() == 2
        logs.delete_log_group(logGroupName="g")
        server.end()
        server = Crashing(tmp_path, "logs.segments_dropped")
        assert server.process.wait(60) != 0
        server.end()
        server = Crashing(tmp_path)
        until(lambda: blobs() == 0)
    finally:
        server.end()
