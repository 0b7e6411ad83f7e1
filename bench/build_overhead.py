"""A build of one `true`: what it takes beyond the process itself."""

from __future__ import annotations

import statistics
import subprocess
import time

from bench.installation import build, project, role, runtime, runtime_options
from bench.run import Row
from bench.served import served

RUNS = 15


def measure() -> list[Row]:
    with served(*runtime_options()) as server:
        client = server.clients()
        project(client, "one", ["true"], role(client, "codebuild"))
        codebuild = client("codebuild")
        build(codebuild, "one")
        took, bare = [], []
        for _ in range(RUNS):
            took.append(build(codebuild, "one") * 1000)
            began = time.monotonic()
            subprocess.run(["/bin/sh", "-c", "true"], check=True)
            bare.append((time.monotonic() - began) * 1000)
    more = statistics.median(took) - statistics.median(bare)
    kind = runtime()
    return [
        Row(
            what=f"build of one `true`, overhead over the bare process ({kind}), {RUNS} runs",
            measured=f"p50 {more:.0f} ms (build {statistics.median(took):.0f}, max {max(took):.0f}; bare {statistics.median(bare):.1f})",
            bar="≤ 80 ms",
            met=more <= 80,
        )
    ]
