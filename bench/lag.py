"""How late the server's event loop is while it takes a 1 GB upload and runs a build.

The server runs in a process of its own (`python -m bench.lag DATA_DIR`) with a probe beside it that sleeps 5 ms at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from bench.installation import BUCKET, build, project, role, sandbox
from bench.run import Row
from penstock.app import running
from penstock.cli.clients import Clients
from penstock.room import Settings

BYTES = 1 << 30
_SLEEP = 0.005


def measure() -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name:
        folder = Path(name)
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(
                [sys.executable, "-m", "bench.lag", str(folder / "data")],
                cwd=Path(__file__).resolve().parent.parent,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        try:
            assert server.stdout is not None
            if server.stdout.readline() != "ready\n":
                raise RuntimeError((folder / "log").read_text()[-3000:])
            return [_row(server, folder)]
        finally:
            assert server.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                server.stdin.close()
            server.wait(30)


def _row(server: subprocess.Popen[str], folder: Path) -> Row:
    assert server.stdin is not None
    assert server.stdout is not None
    client = Clients.administrator(folder / "data")
    client("s3").create_bucket(Bucket=BUCKET)
    project(client, "lag", ["for i in $(seq 1 2000); do echo line $i; done"] * 3, role(client, "codebuild"))
    build(client("codebuild"), "lag")
    upload = subprocess.Popen([sys.executable, "-c", _UPLOAD, str(folder / "data"), str(BYTES), BUCKET])
    server.stdin.write("measure\n")
    server.stdin.flush()
    began, builds = time.monotonic(), 0
    while upload.poll() is None:
        build(client("codebuild"), "lag")
        builds += 1
    took = time.monotonic() - began
    if upload.returncode:
        raise RuntimeError("the upload failed")
    server.stdin.write("tell\n")
    server.stdin.flush()
    late = json.loads(server.stdout.readline())
    p50, p99 = statistics.median(late), statistics.quantiles(late, n=100)[98]
    return Row(
        what=f"event loop's lag during a 1 GB upload and builds ({builds} in {took:.0f} s)",
        measured=f"p50 {p50:.1f} ms, p99 {p99:.1f}, max {max(late):.0f}",
        bar="p99 < 20 ms",
        met=p99 < 20,
    )


# In parts, as the AWS CLI uploads a large file; one connection, so that a core is left for the server.
_UPLOAD = """
import io, sys
from pathlib import Path
from boto3.s3.transfer import TransferConfig
from penstock.cli.clients import Clients

class Zeros(io.RawIOBase):
    def __init__(self, left): self.left = left
    def readable(self): return True
    def read(self, size=-1):
        size = self.left if size is None or size < 0 else min(size, self.left)
        self.left -= size
        return bytes(size)

s3 = Clients.administrator(Path(sys.argv[1]))("s3")
s3.upload_fileobj(Zeros(int(sys.argv[2])), sys.argv[3], "large", Config=TransferConfig(max_concurrency=2))
"""


async def _serve(data_dir: Path) -> None:
    data_dir.mkdir()
    runtime = "bubblewrap" if sandbox() else "process"
    settings = Settings(
        data_dir=data_dir,
        port=0,
        master_key_file=data_dir.parent / "key",
        build_runtime=runtime,
        allow_unisolated_builds=True,
    )
    late: list[float] = []
    async with running(settings):
        print("ready", flush=True)
        probe = asyncio.create_task(_probe(late))
        while line := await asyncio.to_thread(sys.stdin.readline):
            if line == "tell\n":
                print(json.dumps(late), flush=True)
            late.clear()
        probe.cancel()


async def _probe(late: list[float]) -> None:
    while True:
        began = time.perf_counter()
        await asyncio.sleep(_SLEEP)
        late.append(max(0.0, time.perf_counter() - began - _SLEEP) * 1000)


if __name__ == "__main__":
    uvloop.run(_serve(Path(sys.argv[1])))
