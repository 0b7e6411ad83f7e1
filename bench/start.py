"""Server start → first answer, and memory at rest."""

from __future__ import annotations

import statistics
import time
import urllib.request

from bench.run import Row
from bench.served import Served, served


def _stopped(server: Served) -> float:
    """Seconds that it takes to end, with a client that keeps its connection."""
    client = server.clients()("sts")
    client.get_caller_identity()
    began = time.monotonic()
    server.process.terminate()
    server.process.wait(30)
    return time.monotonic() - began


def measure() -> list[Row]:
    starts: list[float] = []
    stops: list[float] = []
    memory = 0.0
    for _ in range(3):
        began = time.monotonic()
        with served() as server:
            urllib.request.urlopen(server.url + "/readyz", timeout=10).read()
            starts.append(time.monotonic() - began)
            time.sleep(2)
            memory = server.rss_mb()
            stops.append(_stopped(server))
    median = statistics.median(starts)
    return [
        Row(
            what="server start → first answer (fresh data, migrations included)",
            measured=f"{median:.2f} s",
            bar="≤ 1.0 s",
            met=median <= 1.0,
        ),
        Row(
            what="SIGTERM at rest → exit",
            measured=f"{max(stops):.2f} s at most",
            bar="≤ 1 s",
            met=max(stops) <= 1,
        ),
        Row(what="idle memory of the server", measured=f"{memory:.0f} MB", bar="≤ 110 MB", met=memory <= 110),
    ]
