"""Server start → first answer, and memory at rest."""

from __future__ import annotations

import statistics
import time
import urllib.request

from bench.run import Row
from bench.served import served


def measure() -> list[Row]:
    starts: list[float] = []
    memory = 0.0
    for _ in range(3):
        began = time.monotonic()
        with served() as server:
            urllib.request.urlopen(server.url + "/readyz", timeout=10).read()
            starts.append(time.monotonic() - began)
            time.sleep(2)
            memory = server.rss_mb()
    median = statistics.median(starts)
    return [
        Row(
            what="server start → first answer (fresh data, migrations included)",
            measured=f"{median:.2f} s",
            bar="≤ 1.5 s",
            met=median <= 1.5,
        ),
        Row(what="idle memory of the server", measured=f"{memory:.0f} MB", bar="≤ 150 MB", met=memory <= 150),
    ]
