"""From an event that is put to the request that an API destination gets, on this machine: a server of its own, one event at a time."""

from __future__ import annotations

import json
import queue
import statistics
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.run import Row
from bench.served import served

EVENTS, WARM = 200, 20
_BAR_MS = 30
_TRUST = {"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sts:AssumeRole"}
_ALLOW = {"Effect": "Allow", "Action": "events:InvokeApiDestination", "Resource": "*"}


def _document(statement: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def measure() -> list[Row]:
    """The row of `make bench`."""
    came: queue.Queue[float] = queue.Queue()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came.put(time.perf_counter())
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    receiver = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    with served("--egress-network", "127.0.0.0/8", "--requests-per-second", "0") as server:
        clients = server.clients()
        events, iam = clients("events"), clients("iam")
        role = iam.create_role(RoleName="calls", AssumeRolePolicyDocument=_document(_TRUST))["Role"]["Arn"]
        iam.put_role_policy(RoleName="calls", PolicyName="p", PolicyDocument=_document(_ALLOW))
        parameters = {"ApiKeyAuthParameters": {"ApiKeyName": "X-Key", "ApiKeyValue": "k"}}
        connection = events.create_connection(Name="c", AuthorizationType="API_KEY", AuthParameters=parameters)
        destination = events.create_api_destination(
            Name="d",
            ConnectionArn=connection["ConnectionArn"],
            InvocationEndpoint=f"http://127.0.0.1:{receiver.server_port}/",
            HttpMethod="POST",
            InvocationRateLimitPerSecond=10_000,
        )
        events.put_rule(Name="r", EventPattern='{"source": ["bench"]}')
        target = {"Id": "t", "Arn": destination["ApiDestinationArn"], "RoleArn": role}
        events.put_targets(Rule="r", Targets=[target])
        taken = []
        for _ in range(WARM + EVENTS):
            began = time.perf_counter()
            events.put_events(Entries=[{"Source": "bench", "DetailType": "x", "Detail": "{}"}])
            taken.append((came.get(timeout=60) - began) * 1000)
    receiver.shutdown()
    p50 = statistics.median(taken[WARM:])
    what = "event put → request of an API destination on this machine, p50"
    return [Row(what=what, measured=f"{p50:.1f} ms", bar=f"≤ {_BAR_MS} ms", met=p50 <= _BAR_MS)]


if __name__ == "__main__":
    for row in measure():
        print(row)
