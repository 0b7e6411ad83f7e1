"""From a signed push to a webhook to its answer, which comes when the execution that it starts is on disk: one at a time."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import statistics
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.installation import approved_pipeline
from bench.run import Row
from bench.served import served

PUSHES, WARM = 100, 10
_A_SECOND = 9  # a webhook takes ten
_BAR_MS = 30


def measure() -> list[Row]:
    """The row of `make bench`."""
    body = json.dumps({"ref": "refs/heads/main", "commits": [{"id": "a" * 40, "message": "x" * 200}] * 20}).encode()
    signature = hmac.new(b"secret", body, hashlib.sha256).hexdigest()
    with served() as server:
        clients = server.clients()
        approved_pipeline(clients)
        pipelines = clients("codepipeline")
        webhook = {
            "name": "bench",
            "targetPipeline": "bench",
            "targetAction": "source",
            "filters": [{"jsonPath": "$.ref", "matchEquals": "refs/heads/main"}],
            "authentication": "GITHUB_HMAC",
            "authenticationConfiguration": {"SecretToken": "secret"},
        }
        where = urlsplit(pipelines.put_webhook(webhook=webhook)["webhook"]["url"])
        assert where.hostname
        connection = http.client.HTTPConnection(where.hostname, where.port, timeout=30)
        taken = []
        for _ in range(WARM + PUSHES):
            began = time.perf_counter()
            connection.request("POST", where.path, body, {"X-Hub-Signature-256": f"sha256={signature}"})
            answer = connection.getresponse()
            text = answer.read().decode()
            taken.append((time.perf_counter() - began) * 1000)
            if not text.startswith("Started"):
                raise RuntimeError(f"{answer.status}: {text}")
            time.sleep(1 / _A_SECOND)
        connection.close()
    median = statistics.median(taken[WARM:])
    return [
        Row(
            what="a push to a webhook → the execution is started",
            measured=f"p50 {median:.1f} ms, max {max(taken[WARM:]):.1f}",
            bar=f"p50 ≤ {_BAR_MS} ms",
            met=median <= _BAR_MS,
        )
    ]
