"""A server that was given a collector sends it the trace of a run."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from penstock_console import bucket, gate, pipeline, role, source, waits, zipped
from penstock_live import live_server
from penstock_waiting import until

from penstock.fleet.settings import FleetSettings


@pytest.fixture
def collector() -> Iterator[tuple[str, list[Any]]]:
    taken: list[Any] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            taken.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Nothing is printed."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", taken
        server.shutdown()
        thread.join()


def test_the_trace_of_a_run_that_a_change_started(tmp_path: Path, collector):
    url, taken = collector
    with live_server(tmp_path / "data", components=(FleetSettings(otlp_endpoint=url),)) as live:
        bucket(live, "releases")
        bucket(live, "artifacts")
        put = live.client("s3").put_object
        put(Bucket="releases", Key="shop.zip", Body=zipped(index__html="one"))
        pipeline(live, "shop-web", role(live, "codepipeline"), source("shop.zip"), gate("Approve", "Release"))
        until(lambda: waits(live, "shop-web", "Approve"))
        put(Bucket="releases", Key="shop.zip", Body=zipped(index__html="two"))
        codepipeline = live.client("codepipeline")

        def second() -> str:
            runs = codepipeline.list_pipeline_executions(pipelineName="shop-web")["pipelineExecutionSummaries"]
            return runs[0]["pipelineExecutionId"] if len(runs) == 2 else ""

        run = until(second)
        codepipeline.stop_pipeline_execution(pipelineName="shop-web", pipelineExecutionId=run, abandon=True)

        def sent() -> list[str]:
            found = [one["resourceSpans"][0]["scopeSpans"][0]["spans"] for one in taken]
            return next(([span["name"] for span in spans] for spans in found if run in json.dumps(spans)), [])

        names = until(sent)
    assert names[:4] == ["push", "run shop-web", "stage Source", "action App"]
